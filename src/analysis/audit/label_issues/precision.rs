//! How many of the suspicious labels are wrong, as far as reviews tell, and which labels to review next.
//!
//! The suspicious labels are divided into strata of equal size by rank. [`next`] asks for images of each stratum in the order of
//! their random keys, so the first ones of that order are a simple random sample of it. Images that a person has picked count for
//! themselves only: they are the most suspicious ones, or those that are easy to decide.
//!
//! Wrong labels in a stratum: those known, and of those not reviewed a binomial number with the stratum's rate. The rates have a
//! common Beta distribution whose parameters are estimated from all strata: a stratum with three reviews borrows from the others, and
//! the doubt about the rate enters once, not once per stratum. Intervals are quantiles of draws from the posterior.

use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::{Beta, Binomial, Distribution};
use serde::Serialize;

/// Maximum number of strata, and minimum number of labels in each of several.
const STRATA: usize = 8;
const SIZE: usize = 20;
/// Minimum reviews of a stratum before the variance decides.
const FIRST: usize = 2;
/// Number of draws, and the level of all intervals.
const DRAWS: usize = 2000;
const LEVEL: f64 = 0.95;
const SEED: u64 = 1;
/// Grid of the Beta distribution of the rates: means, and powers of 2 of its sum of parameters. By Jeffreys' prior of the mean, the
/// intervals were too narrow after 50 reviews with a precision of 95 %.
const MEANS: usize = 40;
const SUMS: i32 = 11;
/// The further reviews whose yield is predicted, and the yield below which they are not worth while.
pub const FURTHER: usize = 50;
pub const FEW: usize = 2;
/// Reviewed labels just before the further ones, whose rate bounds theirs because labels are reviewed worst first: at least this many,
/// and this fraction of all. With a fixed number, a long tail of rare errors has a stretch without any sooner or later.
const LAST: usize = 120;
const FRACTION: usize = 5;

/// A label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Whether its score alone would flag it.
    pub suspicious: bool,
    /// A random number that depends on the image only.
    pub key: u64,
    pub review: Option<Verdict>,
}

/// A person's verdict on a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub wrong: bool,
    /// Whether [`next`] asked for it at random.
    pub sampled: bool,
}

/// What the reviews say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Suspicious labels, and how many of them are reviewed.
    pub suspicious: usize,
    pub reviewed: usize,
    /// Fraction of the suspicious labels that are wrong.
    pub precision: Interval,
    /// The worst labels not reviewed, at most [`FURTHER`].
    pub further: usize,
    /// Wrong labels among them.
    pub further_wrong: Interval,
    /// Whether these are, with a probability of 95 %, fewer than [`FEW`].
    pub is_enough: bool,
}

/// A mean and a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// Estimates from the labels, worst first. `None` without any review.
pub fn estimate(labels: &[Label]) -> Option<Estimate> {
    labels.iter().find(|label| label.review.is_some())?;
    let order = order(labels);
    let strata = Stratum::of_suspicious(labels, &order);
    let rates = Rates::new(&strata);
    let mut random = StdRng::seed_from_u64(SEED);
    let mut wrong = Vec::with_capacity(DRAWS);
    let mut further = Vec::with_capacity(DRAWS);
    let window = Window::new(labels, &order, &strata);
    for _ in 0..DRAWS {
        let drawn = rates.draw(&mut random);
        let of_strata = strata.iter().zip(&drawn).map(|(stratum, rate)| {
            stratum.known_wrong
                + stratum.sample_wrong
                + binomial(&mut random, stratum.open.len(), *rate)
        });
        wrong.push(of_strata.sum::<usize>() as f64);
        further.push(window.draw(&drawn, &mut random) as f64);
    }
    let suspicious = labels.iter().filter(|label| label.suspicious);
    let n = suspicious.clone().count();
    let scaled = wrong.into_iter().map(|wrong| wrong / n.max(1) as f64);
    let few = further.iter().filter(|wrong| **wrong < FEW as f64);
    Some(Estimate {
        suspicious: n,
        reviewed: suspicious.filter(|label| label.review.is_some()).count(),
        precision: Interval::of(scaled.collect()),
        is_enough: few.count() as f64 >= LEVEL * DRAWS as f64,
        further: window.n,
        further_wrong: Interval::of(further),
    })
}

/// The labels to review next, as indices, and whether each is of a random sample: first those that narrow the interval of the
/// precision most, then the worst of the others, which show where to stop.
pub fn next(labels: &[Label], n: usize) -> Vec<(usize, bool)> {
    let order = order(labels);
    let mut strata = Stratum::of_suspicious(labels, &order);
    let mut found = Vec::new();
    while found.len() < n {
        let gains = strata.iter().map(Stratum::gain);
        let best =
            (gains.enumerate()).reduce(|best, other| if other.1 > best.1 { other } else { best });
        let Some((best, _)) = best.filter(|(_, gain)| *gain > 0.0) else {
            break;
        };
        let stratum = &mut strata[best];
        found.push((stratum.open.remove(0), true));
        stratum.asked += 1;
    }
    let others = (order.into_iter())
        .filter(|row| !labels[*row].suspicious && labels[*row].review.is_none())
        .map(|row| (row, false));
    found.extend(others.take(n - found.len()));
    found
}

/// Suspicious labels first, then the others.
fn order(labels: &[Label]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|row| !labels[*row].suspicious);
    order
}

/// Suspicious labels of neighbouring ranks.
#[derive(Debug, Default)]
struct Stratum {
    /// The random sample.
    sample: usize,
    sample_wrong: usize,
    /// Wrong labels among the others that are reviewed.
    known_wrong: usize,
    /// Rows not reviewed, in order of their keys.
    open: Vec<usize>,
    /// Further reviews of the sample.
    asked: usize,
}

impl Stratum {
    fn of_suspicious(labels: &[Label], order: &[usize]) -> Vec<Stratum> {
        let suspicious = order.iter().take_while(|row| labels[**row].suspicious);
        let mut rest: Vec<usize> = suspicious.copied().collect();
        let n = (rest.len() / SIZE).clamp(1, STRATA);
        let mut strata = Vec::new();
        for left in (1..=n).rev() {
            let later = rest.split_off(rest.len().div_ceil(left));
            strata.push(Stratum::new(labels, rest));
            rest = later;
        }
        strata
    }

    fn new(labels: &[Label], mut rows: Vec<usize>) -> Stratum {
        rows.sort_by_key(|row| (labels[*row].key, *row));
        let mut stratum = Stratum::default();
        for row in rows {
            match labels[row].review {
                None => stratum.open.push(row),
                // Behind an image without a verdict, the first ones of the order are no longer known.
                Some(review) if review.sampled && stratum.open.is_empty() => {
                    stratum.sample += 1;
                    stratum.sample_wrong += usize::from(review.wrong);
                }
                Some(review) => stratum.known_wrong += usize::from(review.wrong),
            }
        }
        stratum
    }

    /// How much one more review narrows the variance of the number of wrong labels (Neyman's allocation, one by one). The rate is
    /// that of Agresti and Coull, so that a stratum without errors so far is not forgotten.
    fn gain(&self) -> f64 {
        let (n, all) = (
            self.sample + self.asked,
            self.sample + self.asked + self.open.len(),
        );
        if self.open.is_empty() {
            0.0
        } else if n < FIRST {
            // One of each stratum before a second one of any.
            f64::MAX / (n + 1) as f64
        } else {
            let rate = (self.sample_wrong as f64 + 2.0) / (self.sample as f64 + 4.0);
            (all * all) as f64 * rate * (1.0 - rate) / (n * (n + 1)) as f64
        }
    }
}

/// Posterior of the strata's rates.
struct Rates<'a> {
    strata: &'a [Stratum],
    /// Parameters of the common Beta distribution, and the cumulated probability.
    grid: Vec<([f64; 2], f64)>,
}

impl Rates<'_> {
    fn new(strata: &[Stratum]) -> Rates<'_> {
        let parameters = (0..MEANS).flat_map(|at| {
            let mean = (at as f64 + 0.5) / MEANS as f64;
            (0..SUMS).map(move |power| [mean, 1.0 - mean].map(|part| part * 2f64.powi(power)))
        });
        let logs: Vec<([f64; 2], f64)> = parameters
            .map(|parameters| {
                let of = |stratum: &Stratum| log_likelihood(parameters, stratum);
                (parameters, strata.iter().map(of).sum())
            })
            .collect();
        let max = logs.iter().map(|(_, log)| *log).fold(f64::MIN, f64::max);
        let mut sum = 0.0;
        let grid = logs.into_iter().map(|(parameters, log)| {
            sum += (log - max).exp();
            (parameters, sum)
        });
        Rates {
            strata,
            grid: grid.collect(),
        }
    }

    /// One rate per stratum.
    fn draw(&self, random: &mut StdRng) -> Vec<f64> {
        let all = self.grid.last().map_or(0.0, |(_, sum)| *sum);
        let at = random.random::<f64>() * all;
        let found = self.grid.partition_point(|(_, sum)| *sum <= at);
        let [a, b] = self.grid[found.min(self.grid.len() - 1)].0;
        let rate = |stratum: &Stratum| {
            let right = stratum.sample - stratum.sample_wrong;
            beta(random, a + stratum.sample_wrong as f64, b + right as f64)
        };
        self.strata.iter().map(rate).collect()
    }
}

/// Logarithm of the probability of the sample's sequence of verdicts, the rate having a Beta distribution.
fn log_likelihood([a, b]: [f64; 2], stratum: &Stratum) -> f64 {
    let rising = |from: f64, n: usize| (0..n).map(|step| (from + step as f64).ln()).sum::<f64>();
    let (n, wrong) = (stratum.sample, stratum.sample_wrong);
    rising(a, wrong) + rising(b, n - wrong) - rising(a + b, n)
}

/// The worst labels not reviewed.
struct Window {
    n: usize,
    /// How many of them are of each stratum.
    of_strata: Vec<usize>,
    /// The last labels reviewed before them, and the wrong ones.
    last: usize,
    last_wrong: usize,
}

impl Window {
    fn new(labels: &[Label], order: &[usize], strata: &[Stratum]) -> Window {
        let open = order.iter().filter(|row| labels[**row].review.is_none());
        let window: Vec<usize> = open.take(FURTHER).copied().collect();
        let of = |stratum: &Stratum| {
            let is_of = |row: &&usize| stratum.open.contains(*row);
            window.iter().filter(is_of).count()
        };
        let verdicts: Vec<bool> = (order.iter())
            .map_while(|row| labels[*row].review)
            .map(|review| review.wrong)
            .collect();
        let last = LAST.max(verdicts.len() / FRACTION);
        let last = &verdicts[verdicts.len().saturating_sub(last)..];
        Window {
            n: window.len(),
            of_strata: strata.iter().map(of).collect(),
            last: last.len(),
            last_wrong: last.iter().filter(|wrong| **wrong).count(),
        }
    }

    /// Wrong labels in the window, given the strata's rates.
    fn draw(&self, rates: &[f64], random: &mut StdRng) -> usize {
        let mut wrong = 0;
        for (n, rate) in self.of_strata.iter().zip(rates) {
            wrong += binomial(random, *n, *rate);
        }
        let others = self.n - self.of_strata.iter().sum::<usize>();
        let (a, b) = (self.last_wrong, self.last - self.last_wrong);
        let rate = beta(random, a as f64 + 0.5, b as f64 + 0.5);
        wrong + binomial(random, others, rate)
    }
}

fn beta(random: &mut StdRng, a: f64, b: f64) -> f64 {
    Beta::new(a, b).map_or(a / (a + b), |beta| beta.sample(random))
}

fn binomial(random: &mut StdRng, n: usize, rate: f64) -> usize {
    let drawn = Binomial::new(n as u64, rate.clamp(0.0, 1.0));
    drawn.map_or(0, |binomial| binomial.sample(random) as usize)
}

impl Interval {
    fn of(mut draws: Vec<f64>) -> Interval {
        draws.sort_by(f64::total_cmp);
        let at = |share: f64| draws[(share * (draws.len() - 1) as f64).round() as usize];
        Interval {
            mean: draws.iter().sum::<f64>() / draws.len() as f64,
            low: at((1.0 - LEVEL) / 2.0),
            high: at((1.0 + LEVEL) / 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUSPICIOUS: usize = 320;
    const BATCH: usize = 20;

    /// Labels that are wrong with a probability by rank, and the truth.
    fn labels(rate: impl Fn(usize) -> f64, seed: u64) -> (Vec<Label>, Vec<bool>) {
        let mut random = StdRng::seed_from_u64(seed);
        let labels = (0..2 * SUSPICIOUS).map(|rank| Label {
            suspicious: rank < SUSPICIOUS,
            key: random.random(),
            review: None,
        });
        let labels: Vec<Label> = labels.collect();
        let wrong = (0..labels.len()).map(|rank| random.random::<f64>() < rate(rank));
        (labels, wrong.collect())
    }

    fn review(labels: &mut [Label], truth: &[bool], n: usize) {
        for (row, sampled) in next(labels, n) {
            let wrong = truth[row];
            labels[row].review = Some(Verdict { wrong, sampled });
        }
    }

    fn precision(truth: &[bool]) -> f64 {
        truth[..SUSPICIOUS].iter().filter(|wrong| **wrong).count() as f64 / SUSPICIOUS as f64
    }

    /// Probability that the label at a rank is wrong.
    type Rate = fn(usize) -> f64;

    #[test]
    fn intervals_hold_the_precision() {
        let curves: [(&str, Rate); 6] = [
            ("1 %", |_| 0.01),
            ("20 %", |_| 0.2),
            ("60 %", |_| 0.6),
            ("98 %", |_| 0.98),
            ("falling", |rank| {
                0.95 - 0.9 * rank as f64 / SUSPICIOUS as f64
            }),
            ("a cliff", |rank| if rank < 60 { 0.9 } else { 0.05 }),
        ];
        for (name, rate) in curves {
            let (mut held, mut runs) = ([0; 3], 0);
            for seed in 0..40 {
                let (mut labels, truth) = labels(rate, seed);
                let truth_precision = precision(&truth);
                let mut done = 0;
                for (at, size) in [50, 100, 200].into_iter().enumerate() {
                    while done < size {
                        let n = BATCH.min(size - done);
                        review(&mut labels, &truth, n);
                        done += n;
                    }
                    let Interval { low, high, .. } = estimate(&labels).unwrap().precision;
                    held[at] += usize::from((low..=high).contains(&truth_precision));
                }
                runs += 1;
            }
            assert!(
                held.iter().all(|held| held * 10 >= runs as usize * 9),
                "{name}: {held:?} of {runs}"
            );
        }
    }

    #[test]
    fn enough_means_that_few_are_left() {
        // At an even rate of 2 %, 50 labels have one wrong label on average, but by chance two or more in 26 % of all cases: nothing in
        // the others could tell.
        let curves: [(&str, Rate, usize); 3] = [
            ("none", |_| 0.0, 9),
            ("2 %", |_| 0.02, 6),
            ("falling", |rank| 0.9 * (-(rank as f64) / 80.0).exp(), 9),
        ];
        for (name, rate, of_ten) in curves {
            let (mut kept, mut said, mut sum) = (0, 0, 0);
            for seed in 0..30 {
                let (mut labels, truth) = labels(rate, seed);
                for _ in (2 * BATCH..=truth.len()).step_by(2 * BATCH) {
                    review(&mut labels, &truth, 2 * BATCH);
                    if estimate(&labels).unwrap().is_enough {
                        let open = order(&labels)
                            .into_iter()
                            .filter(|row| labels[*row].review.is_none());
                        let found = open.take(FURTHER).filter(|row| truth[*row]).count();
                        kept += usize::from(found < FEW);
                        said += 1;
                        sum += found;
                        break;
                    }
                }
            }
            assert!(
                said >= 27 && kept * 10 >= said * of_ten,
                "{name}: {kept} of {said}"
            );
            assert!(
                sum < FEW * said,
                "{name}: {sum} wrong labels in {said} runs"
            );
        }
    }

    #[test]
    fn picked_labels_count_for_themselves_only() {
        let (mut labels, truth) = labels(|rank| if rank % 4 == 0 { 1.0 } else { 0.0 }, 3);
        assert_eq!(estimate(&labels), None);
        // A person has picked only wrong ones.
        for rank in (0..SUSPICIOUS).step_by(8) {
            labels[rank].review = Some(Verdict {
                wrong: true,
                sampled: false,
            });
        }
        let wide = estimate(&labels).unwrap();
        assert_eq!((wide.suspicious, wide.reviewed), (320, 40));
        assert!(
            wide.precision.low < 0.2 && wide.precision.high > 0.9,
            "{wide:?}"
        );
        review(&mut labels, &truth, 100);
        let narrow = estimate(&labels).unwrap();
        let Interval { low, high, .. } = narrow.precision;
        assert!(low < 0.25 && 0.25 < high && high - low < 0.15, "{narrow:?}");
        // All reviewed: the precision is known.
        review(&mut labels, &truth, 180);
        let known = estimate(&labels).unwrap();
        assert_eq!((known.precision.low, known.precision.high), (0.25, 0.25));
    }

    #[test]
    fn the_sample_ends_at_the_first_image_without_a_verdict() {
        let (mut labels, truth) = labels(|_| 0.5, 4);
        let asked = next(&labels, 40);
        assert_eq!(asked[..7], next(&labels, 7));
        assert!(
            asked
                .iter()
                .all(|(row, sampled)| *row < SUSPICIOUS && *sampled)
        );
        let skipped = asked[0].0;
        for (row, sampled) in asked {
            labels[row].review = Some(Verdict {
                wrong: truth[row],
                sampled,
            });
        }
        labels[skipped].review = None;
        let strata = Stratum::of_suspicious(&labels, &order(&labels));
        let of_skipped = strata
            .iter()
            .find(|stratum| stratum.open.contains(&skipped));
        assert_eq!(of_skipped.unwrap().sample, 0);
        assert_eq!(
            strata.iter().map(|s| s.open.len()).sum::<usize>(),
            SUSPICIOUS - 39
        );
        // It is asked for again.
        assert!(next(&labels, 2).iter().any(|(row, _)| *row == skipped));
    }

    #[test]
    fn after_the_suspicious_labels_the_worst_others_are_next() {
        let (mut labels, truth) = labels(|_| 0.1, 5);
        review(&mut labels, &truth, SUSPICIOUS);
        let others = [(SUSPICIOUS, false), (SUSPICIOUS + 1, false)];
        assert_eq!(next(&labels, 2), others);
        assert_eq!(next(&labels, usize::MAX).len(), SUSPICIOUS);
        assert_eq!(next(&[], 3), []);
    }
}
