//! Minimum similarity of duplicates, from pairs of different pictures of the same dataset.
//!
//! How alike different pictures are depends on the dataset: photos of animals hardly, solar cells a lot. The controls, pairs that
//! cannot be copies, show it; the candidates do not, since any number of them may be copies. On the scale `atanh(similarity)` the
//! upper tail of the controls decays exponentially. It is fitted and extrapolated: at the threshold, chance explains at most one
//! pair in a hundred.

/// Bounds of the threshold. Re-encoded, rescaled or cropped copies reach at least 0.98. If different pictures do so, too, only
/// nearly equal pixels remain above the threshold.
const MIN_SIMILARITY: f64 = 0.97;
pub const MAX_SIMILARITY: f64 = 0.99999;
/// Maximum fraction of chance pairs among the pairs found.
const CHANCE_FRACTION: f64 = 0.01;
/// The tail is the upper tenth, with a minimum number of pairs. Its upper fifth is left out of the fit: these may be copies that
/// the controls missed.
const TAIL_DIVISOR: usize = 10;
const MIN_TAIL: usize = 30;
const LEFT_OUT_DIVISOR: usize = 5;

/// The lowest similarity within the bounds at which the tail of every group of controls explains at most a hundredth of the
/// candidates above. Groups with too few similar pairs are left out.
pub fn min_similarity(candidates: &[f32], controls: &[Vec<f32>]) -> f64 {
    let tails: Vec<Tail> = (controls.iter())
        .filter_map(|similarities| Tail::fit(&scaled(similarities)))
        .collect();
    let candidates = scaled(candidates);
    let n = candidates.len() as f64;
    let chance = |value: f64| {
        let of_tails = tails.iter().map(|tail| n * tail.fraction_above(value));
        of_tails.fold(0.0, f64::max)
    };
    let (min, max) = (MIN_SIMILARITY.atanh(), MAX_SIMILARITY.atanh());
    let first = candidates.partition_point(|value| *value < min);
    let steps = [min].into_iter().chain(candidates[first..].iter().copied());
    let found = steps.chain([max]).find(|value| {
        let above = candidates.len() - candidates.partition_point(|other| other < value);
        chance(*value) <= CHANCE_FRACTION * above.max(1) as f64
    });
    found.unwrap_or(max).clamp(min, max).tanh()
}

/// On the scale of the fit, ascending.
fn scaled(similarities: &[f32]) -> Vec<f64> {
    let mut scaled: Vec<f64> = (similarities.iter())
        .map(|similarity| f64::from(*similarity).clamp(0.0, 0.999_999).atanh())
        .collect();
    scaled.sort_by(f64::total_cmp);
    scaled
}

/// An exponential tail.
struct Tail {
    start: f64,
    /// Fraction of the pairs above the start.
    fraction: f64,
    /// 0 if the tail does not decay.
    rate: f64,
}

impl Tail {
    /// `None` if too few pairs are similar at all.
    fn fit(sorted: &[f64]) -> Option<Tail> {
        let similar = sorted.len() - sorted.partition_point(|value| *value <= 0.0);
        let n_tail = (sorted.len() / TAIL_DIVISOR).max(MIN_TAIL).min(similar);
        if n_tail < MIN_TAIL {
            return None;
        }
        let tail = &sorted[sorted.len() - n_tail..];
        let fitted = &tail[..n_tail - n_tail / LEFT_OUT_DIVISOR];
        let (start, end) = (fitted[0], fitted[fitted.len() - 1]);
        let mean = fitted.iter().sum::<f64>() / fitted.len() as f64 - start;
        let rate = truncated_rate(mean, end - start).unwrap_or(0.0);
        let within = if rate > 0.0 {
            1.0 - (-rate * (end - start)).exp()
        } else {
            1.0
        };
        Some(Tail {
            start,
            fraction: fitted.len() as f64 / within / sorted.len() as f64,
            rate,
        })
    }

    fn fraction_above(&self, value: f64) -> f64 {
        self.fraction * (-self.rate * (value - self.start)).exp()
    }
}

/// Rate of an exponential distribution truncated at `width`, from its mean `1 / rate - width / (exp(rate width) - 1)`; `None` if
/// the mean is not below half the width, since no such distribution exists.
fn truncated_rate(mean: f64, width: f64) -> Option<f64> {
    if mean <= 0.0 || mean >= 0.5 * width {
        return None;
    }
    let mean_of = |rate: f64| 1.0 / rate - width / (rate * width).exp_m1();
    // The mean decreases from half the width to 0; without truncation it is 1 / rate.
    let (mut low, mut high) = (1e-6 / width, 1.0 / mean);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if mean_of(middle) > mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` similarities whose `atanh` follows an exponential distribution from `start` on.
    fn tail(start: f64, rate: f64, n: usize) -> Vec<f32> {
        (0..n)
            .map(|at| {
                let share = (at as f64 + 0.5) / n as f64;
                (start - (1.0 - share).ln() / rate).tanh() as f32
            })
            .collect()
    }

    #[test]
    fn an_exponential_tail_is_extrapolated() {
        // 2,000 candidates like the controls: 0.01 of them by chance beyond 1 + ln(2000 / 0.01) / 5.
        let pairs = tail(1.0, 5.0, 2000);
        let expected = (1.0 + (2e5f64).ln() / 5.0).tanh();
        let found = min_similarity(&pairs, &[tail(1.0, 5.0, 4000)]);
        assert!(
            (found.atanh() - expected.atanh()).abs() < 0.1,
            "{found}, {expected}"
        );
        // The controls that are most alike decide.
        let controls = [tail(0.1, 9.0, 500), tail(1.0, 5.0, 4000), Vec::new()];
        assert_eq!(min_similarity(&pairs, &controls), found);
    }

    #[test]
    fn the_number_of_copies_does_not_matter() {
        let controls = [tail(0.3, 6.0, 2000)];
        for copies in [0, 20, 400, 2000, 40_000] {
            let mut pairs = tail(0.3, 6.0, 2000);
            pairs.extend(vec![0.995; copies]);
            let found = min_similarity(&pairs, &controls);
            assert!(
                (MIN_SIMILARITY..0.995).contains(&found),
                "{copies}: {found}"
            );
        }
    }

    #[test]
    fn a_few_copies_among_the_controls_do_no_harm() {
        let clean = tail(0.3, 6.0, 2000);
        let mixed = [clean.clone(), vec![0.999; 30]].concat();
        let (clean, mixed) = (
            min_similarity(&[0.99; 50], &[clean]),
            min_similarity(&[0.99; 50], &[mixed]),
        );
        assert!((clean - mixed).abs() < 0.01, "{clean}, {mixed}");
    }

    #[test]
    fn the_threshold_stays_within_bounds() {
        assert!((min_similarity(&[], &[]) - MIN_SIMILARITY).abs() < 1e-9);
        assert!((min_similarity(&[0.99; 4], &[vec![0.0; 500]]) - MIN_SIMILARITY).abs() < 1e-9);
        // All pictures look similar.
        let cells: Vec<f32> = (0..500).map(|at| 0.9 + 0.098 * at as f32 / 500.0).collect();
        assert!(min_similarity(&cells, &[cells.clone()]) > 0.9999);
    }

    #[test]
    fn the_rate_of_a_truncated_distribution_is_recovered() {
        let (rate, width) = (3.0f64, 0.7f64);
        let mean = 1.0 / rate - width / ((rate * width).exp() - 1.0);
        assert!((truncated_rate(mean, width).unwrap() - rate).abs() < 1e-9);
        assert!((truncated_rate(0.01, 100.0).unwrap() - 100.0).abs() < 1e-6);
        assert_eq!(truncated_rate(0.5, 0.9), None);
    }
}
