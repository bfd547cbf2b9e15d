//! Association between a categorical column and labels: normalised and adjusted mutual information, its p-value, and lift.

use std::cmp::Ordering;

use prospect_common::names;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rayon::prelude::*;

use super::significance::{MAX_FALSE, chi_squared_tail, hypergeometric as probability};

/// Minimum expected count of every cell for the G-test (Cochran 1954).
const MIN_EXPECTED: f64 = 5.0;
/// Smallest probability that counts.
const NEGLIGIBLE: f64 = 1e-20;

names! {
    /// The test that a p-value comes from.
    pub enum Test {
        /// Log-likelihood ratio against independence, chi-squared.
        G = "G-test",
        Permutation = "permutation",
    }
}

/// Contingency table of values and labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Contingency {
    /// `[values, labels]`, row-major.
    counts: Vec<u64>,
    by_value: Vec<u64>,
    by_label: Vec<u64>,
    total: u64,
}

/// An associated pair of value and label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopPair {
    pub value: usize,
    pub label: usize,
    /// Images with both.
    pub support: u64,
    /// Observed count divided by the count expected under independence.
    pub lift: f64,
}

impl Contingency {
    /// Counts pairs of a value in `0..values` and a label in `0..labels`.
    ///
    /// # Panics
    /// If a pair is out of range.
    pub fn of(
        pairs: impl Iterator<Item = (u32, u32)>,
        values: usize,
        labels: usize,
    ) -> Contingency {
        let mut counts = vec![0; values * labels];
        for (value, label) in pairs {
            assert!((label as usize) < labels, "labels are in 0..{labels}");
            counts[value as usize * labels + label as usize] += 1;
        }
        let mut table = Contingency {
            by_value: vec![0; values],
            by_label: vec![0; labels],
            total: counts.iter().sum(),
            counts,
        };
        for (cell, &count) in table.counts.iter().enumerate() {
            table.by_value[cell / labels] += count;
            table.by_label[cell % labels] += count;
        }
        table
    }

    /// Number of images.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether at least two values and two labels occur; otherwise no association is possible.
    pub fn varies(&self) -> bool {
        let several = |sums: &[u64]| sums.iter().filter(|&&sum| sum > 0).count() > 1;
        several(&self.by_value) && several(&self.by_label)
    }

    /// Mutual information divided by the mean of the two entropies, in 0..=1: scikit-learn's `normalized_mutual_info_score`
    /// with `average_method="arithmetic"`. 0 if values or labels do not vary.
    pub fn nmi(&self) -> f64 {
        if !self.varies() {
            return 0.0;
        }
        let (mutual, entropy) = self.information();
        (mutual / entropy).min(1.0)
    }

    /// Mutual information, and the mean of the two entropies, in nats.
    fn information(&self) -> (f64, f64) {
        let n = self.total as f64;
        let entropy =
            |sums: &[u64]| -> f64 { n.ln() - sums.iter().map(|&k| weight(k)).sum::<f64>() / n };
        let (values, labels) = (entropy(&self.by_value), entropy(&self.by_label));
        let mutual = (values + labels - entropy(&self.counts)).max(0.0);
        (mutual, (values + labels) / 2.0)
    }

    /// Mutual information adjusted for chance (Vinh et al. 2010): 0 is expected of unrelated columns with the same counts of values,
    /// however many values there are; 1 if each determines the other. scikit-learn's `adjusted_mutual_info_score` with
    /// `average_method="arithmetic"`. 0 if values or labels do not vary.
    pub fn ami(&self) -> f64 {
        if !self.varies() {
            return 0.0;
        }
        let (mutual, entropy) = self.information();
        let expected = self.expected_information();
        (mutual - expected) / (entropy - expected).max(f64::EPSILON)
    }

    /// Mean mutual information over all permutations of the labels: each cell's count is hypergeometric.
    fn expected_information(&self) -> f64 {
        let n = self.total;
        let of_value = |&of_value: &u64| -> f64 {
            let cells = self.by_label.iter().map(|&of_label| {
                let product = of_value as f64 * of_label as f64;
                expectation(n, of_label, of_value, |k| match k {
                    0 => 0.0,
                    k => k as f64 * (k as f64 * n as f64 / product).ln(),
                })
            });
            cells.sum()
        };
        let of_values: Vec<f64> = self.by_value.par_iter().map(of_value).collect();
        of_values.iter().sum::<f64>() / n as f64
    }

    /// The pair with the highest lift among those with at least `min_support` images; ties go to more images, then to the first.
    pub fn top_pair(&self, min_support: u64) -> Option<TopPair> {
        let labels = self.by_label.len();
        let pairs =
            (self.counts.iter().enumerate()).filter(|(_, support)| **support >= min_support.max(1));
        let pairs = pairs.map(|(cell, &support)| {
            let (value, label) = (cell / labels, cell % labels);
            let expected = self.by_value[value] as f64 * self.by_label[label] as f64;
            TopPair {
                value,
                label,
                support,
                lift: support as f64 * self.total as f64 / expected,
            }
        });
        pairs.reduce(|best, pair| {
            let rank = |pair: &TopPair| (pair.lift, pair.support as f64);
            if rank(&pair) > rank(&best) {
                pair
            } else {
                best
            }
        })
    }

    /// P-value of the mutual information: of the G-test if every cell's expected count is large enough, else of a permutation test.
    pub fn test(&self, permutations: usize, seed: u64) -> (Test, f64) {
        let smallest = |sums: &[u64]| sums.iter().copied().filter(|&sum| sum > 0).min();
        let (Some(value), Some(label)) = (smallest(&self.by_value), smallest(&self.by_label))
        else {
            return (Test::Permutation, 1.0);
        };
        if value as f64 * label as f64 >= MIN_EXPECTED * self.total as f64 {
            let several = |sums: &[u64]| sums.iter().filter(|&&sum| sum > 0).count() as u64 - 1;
            let degrees = several(&self.by_value) * several(&self.by_label);
            let statistic = 2.0 * self.total as f64 * self.information().0;
            return (Test::G, chi_squared_tail(statistic, degrees.max(1)));
        }
        (Test::Permutation, self.permutation_test(permutations, seed))
    }

    /// P-value of a permutation test of the mutual information: `(1 + permutations at least as informative) / (1 + permutations)`
    /// (Phipson & Smyth 2010), never 0.
    ///
    /// Each permuted table is drawn directly, cell by cell from hypergeometric distributions given both margins (Patefield
    /// 1981), so the time depends on the number of cells and hardly on the number of images. Permutation i has its own
    /// generator, so the result does not depend on threads.
    fn permutation_test(&self, permutations: usize, seed: u64) -> f64 {
        let statistic = |counts: &[u64]| counts.iter().map(|&k| weight(k)).sum::<f64>();
        // With fixed margins, mutual information increases with this sum.
        let observed = statistic(&self.counts);
        let threshold = observed - 1e-10 * observed.abs().max(1.0);
        let extreme = (0..permutations as u64)
            .into_par_iter()
            .filter(|&index| {
                let own = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let mut random = StdRng::seed_from_u64(own);
                statistic(&self.permuted(&mut random)) >= threshold
            })
            .count();
        (1 + extreme) as f64 / (1 + permutations) as f64
    }

    /// The counts after a random permutation of the labels.
    fn permuted(&self, random: &mut StdRng) -> Vec<u64> {
        let mut remaining = self.by_label.clone();
        let mut pool = self.total;
        let mut counts = Vec::with_capacity(self.counts.len());
        for &of_value in &self.by_value {
            let (mut draws, mut rest) = (of_value, pool);
            for remaining in &mut remaining {
                let drawn = hypergeometric(random, rest, *remaining, draws);
                rest -= *remaining;
                *remaining -= drawn;
                draws -= drawn;
                counts.push(drawn);
            }
            pool -= of_value;
        }
        counts
    }
}

/// Order of associations given as q-value and adjusted mutual information: those that are significant first, then the stronger.
/// Alone, the adjusted mutual information of a column with many values varies more than a weak effect.
pub fn strongest_first(a: (f64, f64), b: (f64, f64)) -> Ordering {
    let is_significant = |q: f64| q <= MAX_FALSE;
    (is_significant(b.0).cmp(&is_significant(a.0))).then(b.1.total_cmp(&a.1))
}

/// `k ln k`, 0 for 0.
fn weight(k: u64) -> f64 {
    let k = k as f64;
    if k > 0.0 { k * k.ln() } else { 0.0 }
}

/// Expected value of `of(k)` for the hypergeometric number `k` of `marked` items among `draws` from `population`, summed outward from
/// the mode.
fn expectation(population: u64, marked: u64, draws: u64, of: impl Fn(u64) -> f64) -> f64 {
    let low = (draws + marked).saturating_sub(population);
    let high = draws.min(marked);
    let mode = ((draws + 1) as f64 * (marked + 1) as f64 / (population + 2) as f64) as u64;
    let mode = mode.clamp(low, high);
    let at_mode = probability(population, marked, draws, mode);
    // p(k + 1) / p(k)
    let ratio = |k: u64| {
        (marked - k) as f64 * (draws - k) as f64
            / ((k + 1) as f64 * (population - marked + k + 1 - draws) as f64)
    };
    let (mut sum, mut p) = (at_mode * of(mode), at_mode);
    for k in mode..high {
        p *= ratio(k);
        if p < NEGLIGIBLE {
            break;
        }
        sum += p * of(k + 1);
    }
    p = at_mode;
    for k in (low..mode).rev() {
        p /= ratio(k);
        if p < NEGLIGIBLE {
            break;
        }
        sum += p * of(k);
    }
    sum
}

/// Draws from the hypergeometric distribution: the number of `marked` items among `draws` from `population`. Inverts outward
/// from the mode, in about as many steps as the standard deviation.
fn hypergeometric(random: &mut StdRng, population: u64, marked: u64, draws: u64) -> u64 {
    let low = (draws + marked).saturating_sub(population);
    let high = draws.min(marked);
    if low == high {
        return low;
    }
    let unmarked = population - marked;
    let mode = ((draws + 1) as f64 * (marked + 1) as f64 / (population + 2) as f64) as u64;
    let mode = mode.clamp(low, high);
    let at_mode = probability(population, marked, draws, mode);
    let mut remaining = random.random::<f64>() - at_mode;
    let (mut above, mut below) = (mode, mode);
    let (mut p_above, mut p_below) = (at_mode, at_mode);
    while remaining > 0.0 && (above < high || below > low) {
        if above < high {
            p_above *= (marked - above) as f64 * (draws - above) as f64
                / ((above + 1) as f64 * (unmarked + above + 1 - draws) as f64);
            above += 1;
            remaining -= p_above;
            if remaining <= 0.0 {
                return above;
            }
        }
        if below > low {
            p_below *= below as f64 * (unmarked + below - draws) as f64
                / ((marked - below + 1) as f64 * (draws - below + 1) as f64);
            below -= 1;
            remaining -= p_below;
            if remaining <= 0.0 {
                return below;
            }
        }
        if p_above + p_below < NEGLIGIBLE {
            break;
        }
    }
    mode
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;
    use crate::audit::significance::benjamini_hochberg;

    fn table(values: &[u32], labels: &[u32]) -> Contingency {
        let n = |all: &[u32]| all.iter().max().map_or(0, |&max| max as usize + 1);
        let pairs = values.iter().copied().zip(labels.iter().copied());
        Contingency::of(pairs, n(values), n(labels))
    }

    /// Reference values from tests/golden/make_associations.py.
    #[test]
    fn equals_scikit_learn_and_a_permutation_test() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/associations.json");
        let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let cases = golden["associations"].as_array().unwrap();
        assert!(cases.len() >= 6);
        for case in cases {
            let numbers = |name: &str| -> Vec<u32> {
                let list = case[name].as_array().unwrap().iter();
                list.map(|n| n.as_u64().unwrap() as u32).collect()
            };
            let (name, found) = (&case["name"], table(&numbers("values"), &numbers("labels")));
            let nmi = case["nmi"].as_f64().unwrap();
            assert!(
                (found.nmi() - nmi).abs() < 1e-12,
                "{name}: {} {nmi}",
                found.nmi()
            );
            let ami = case["ami"].as_f64().unwrap();
            assert!(
                (found.ami() - ami).abs() < 1e-10,
                "{name}: {} {ami}",
                found.ami()
            );
            let (p, permutations) = (case["p_value"].as_f64().unwrap(), 20_000.0_f64);
            let ours = found.permutation_test(20_000, 1);
            // Both are fractions of 20,000 permutations.
            let sigma = (2.0 * (p * (1.0 - p)).max(1.0 / permutations) / permutations).sqrt();
            assert!((ours - p).abs() < 4.0 * sigma, "{name}: {ours} {p}");
        }
    }

    #[test]
    fn constant_columns_have_no_association() {
        assert_eq!(table(&[0, 0, 0], &[0, 1, 2]).nmi(), 0.0);
        assert_eq!(table(&[], &[]).nmi(), 0.0);
        assert_eq!(table(&[], &[]).ami(), 0.0);
        assert_eq!(table(&[0, 0], &[0, 0]).test(9, 1).1, 1.0);
        assert!((table(&[0, 1, 2, 0], &[2, 1, 0, 2]).nmi() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_top_pair_has_minimum_support() {
        // Value 2 occurs once, with label 1; value 1 has label 1 in two of three images.
        let found = table(&[0, 0, 0, 1, 1, 1, 2], &[0, 0, 1, 1, 1, 0, 1]);
        let any = found.top_pair(1).unwrap();
        assert_eq!((any.value, any.label, any.support), (2, 1, 1));
        assert!((any.lift - 7.0 / 4.0).abs() < 1e-12);
        let pair = found.top_pair(2).unwrap();
        assert_eq!((pair.value, pair.label, pair.support), (0, 0, 2));
        assert!((pair.lift - 2.0 * 7.0 / 9.0).abs() < 1e-12);
        assert_eq!(found.top_pair(3), None);
    }

    #[test]
    fn hypergeometric_draws_have_the_right_mean_and_variance() {
        let mut random = StdRng::seed_from_u64(5);
        for (population, marked, draws) in [(10, 4, 3), (1000, 10, 900), (1_000_000, 300_000, 5000)]
        {
            let n = 20_000;
            let drawn: Vec<f64> = (0..n)
                .map(|_| hypergeometric(&mut random, population, marked, draws) as f64)
                .collect();
            let mean = drawn.iter().sum::<f64>() / f64::from(n);
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
            let (total, k, m) = (population as f64, marked as f64, draws as f64);
            let expected = m * k / total;
            let expected_variance = expected * (1.0 - k / total) * (total - m) / (total - 1.0);
            let sigma = (expected_variance / f64::from(n)).sqrt();
            assert!((mean - expected).abs() < 5.0 * sigma, "{mean} {expected}");
            assert!(
                (variance / expected_variance - 1.0).abs() < 0.06,
                "{variance} {expected_variance}"
            );
        }
        assert_eq!(hypergeometric(&mut random, 9, 9, 4), 4);
        assert_eq!(hypergeometric(&mut random, 9, 0, 4), 0);
    }

    #[test]
    fn small_counts_are_permuted_and_large_ones_are_not() {
        let mut random = StdRng::seed_from_u64(1);
        let labels: Vec<u32> = (0..400).map(|at| at % 4).collect();
        let mut column = |values: u32| -> Vec<u32> {
            (0..400).map(|_| random.random_range(0..values)).collect()
        };
        let (few, many) = (table(&column(3), &labels), table(&column(60), &labels));
        let (test, p) = few.test(2000, 1);
        assert_eq!(test, Test::G);
        assert!((p - few.permutation_test(2000, 1)).abs() < 0.05, "{p}");
        assert_eq!(many.test(2000, 1).0, Test::Permutation);
    }

    #[test]
    fn a_random_column_never_outranks_a_camera() {
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let labels: Vec<u32> = (0..5000).map(|at| at % 10).collect();
            // Four cameras; of class 0, the first takes five eighths instead of a quarter.
            let camera = labels.iter().map(|&label| {
                let of_class = label == 0 && random.random_bool(0.5);
                if of_class {
                    0
                } else {
                    random.random_range(0..4)
                }
            });
            let camera = table(&camera.collect::<Vec<u32>>(), &labels);
            let noise: Vec<u32> = (0..5000).map(|_| random.random_range(0..1000)).collect();
            let noise = table(&noise, &labels);
            assert!(noise.nmi() > 5.0 * camera.nmi(), "{seed}");
            let p_values = [&camera, &noise].map(|one| one.test(199, seed).1);
            let q_values = benjamini_hochberg(&p_values);
            let order = strongest_first((q_values[0], camera.ami()), (q_values[1], noise.ami()));
            assert_eq!(order, Ordering::Less, "{seed}: {q_values:?}");
        }
    }
}
