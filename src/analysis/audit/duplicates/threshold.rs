//! Minimum local similarity of duplicates, from pairs of pictures whose alignment was broken on purpose.
//!
//! How alike different pictures are depends on the dataset: photos of animals hardly, solar cells a lot. The candidate pairs do not
//! show it, since any number of them may be copies. But with one picture mirrored, a pair is no copy any more and still shows
//! the same kind of things. On the scale `atanh(similarity)` the upper tail of these pairs decays at least exponentially. It is
//! extrapolated: at the threshold, hardly any pair of different pictures is expected.
//!
//! A hundred copies of a symmetric thing make thousands of such pairs, all alike. So pictures with many copies weigh less, as one
//! picture; which these are follows from the threshold, so the two are found in turns.

use std::collections::BTreeMap;

/// Bounds of the threshold. A picture of 32 x 32 pixels, saved at half the size, reaches 0.9; larger ones re-encoded, rescaled or
/// cropped reach 0.99.
const MIN_SIMILARITY: f64 = 0.9;
const MAX_SIMILARITY: f64 = 0.99999;
/// Threshold if there are too few pairs for an estimate.
const OF_FEW: f64 = 0.97;
/// Maximum expected number of pairs by chance. One would join two groups.
const MAX_CHANCE: f64 = 0.02;
/// The tail begins at the upper two-hundredth and decays as it does from the upper twentieth to there.
const START: f64 = 0.005;
const BEFORE: f64 = 0.05;
/// Turns of weighing the pictures and finding the threshold, after a first one with equal weights.
const TURNS: usize = 3;

/// Local similarities of two pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    pub a: u32,
    pub b: u32,
    /// In the orientation that fits better; 0 if the pictures cannot be copies.
    pub local: f32,
    /// With one of them mirrored from there.
    pub wrong_way: f32,
}

/// The similarity, within bounds, that at most a fiftieth of a pair of different pictures is expected to reach, if each of the
/// `images` has one look-alike.
pub fn min_local(images: usize, compared: &[Compared]) -> f64 {
    let mut order: Vec<(f64, &Compared)> = compared
        .iter()
        .map(|pair| (scaled(pair.wrong_way), pair))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut threshold = f64::INFINITY;
    for _ in 0..=TURNS {
        let mut copies: BTreeMap<u32, usize> = BTreeMap::new();
        for pair in compared {
            if f64::from(pair.local) >= threshold {
                *copies.entry(pair.a).or_default() += 1;
                *copies.entry(pair.b).or_default() += 1;
            }
        }
        let weight = |image: &u32| 1.0 / (1 + copies.get(image).unwrap_or(&0)) as f64;
        let in_groups: f64 = copies.keys().map(weight).sum();
        let distinct = (images.saturating_sub(copies.len())) as f64 + in_groups;
        let different: Vec<(f64, f64)> = order
            .iter()
            .map(|(similarity, pair)| (*similarity, weight(&pair.a) * weight(&pair.b)))
            .collect();
        threshold = extrapolated(distinct, &different);
    }
    threshold
}

fn scaled(similarity: f32) -> f64 {
    f64::from(similarity).clamp(0.0, 0.999_999).atanh()
}

/// `different`: scaled similarities, descending, and weights.
fn extrapolated(images: f64, different: &[(f64, f64)]) -> f64 {
    let Some(tail) = Tail::fit(different) else {
        return OF_FEW;
    };
    let found = tail.start + (images * START / MAX_CHANCE).ln().max(0.0) / tail.rate;
    found
        .clamp(MIN_SIMILARITY.atanh(), MAX_SIMILARITY.atanh())
        .tanh()
}

/// An exponential tail, through two upper quantiles: a few copies do not move them.
struct Tail {
    start: f64,
    rate: f64,
}

impl Tail {
    /// `None` if there are too few pairs.
    fn fit(different: &[(f64, f64)]) -> Option<Tail> {
        let total: f64 = different.iter().map(|(_, weight)| weight).sum();
        let upper = |fraction: f64| {
            let mut above = 0.0;
            let mut down = different.iter();
            let is_enough = fraction * different.len() as f64 >= 1.0;
            let reached = down.find(|(_, weight)| {
                above += weight;
                above >= fraction * total
            });
            reached.filter(|_| is_enough).map(|(value, _)| *value)
        };
        let (start, before) = (upper(START)?, upper(BEFORE)?);
        Some(Tail {
            start,
            rate: (BEFORE / START).ln() / (start - before).max(f64::MIN_POSITIVE),
        })
    }
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

    /// Pairs of different pictures.
    fn pairs(wrong_way: Vec<f32>) -> Vec<Compared> {
        let pair = |(at, wrong_way): (u32, f32)| Compared {
            a: 2 * at,
            b: 2 * at + 1,
            local: 0.0,
            wrong_way,
        };
        (0..).zip(wrong_way).map(pair).collect()
    }

    #[test]
    fn an_exponential_tail_is_extrapolated() {
        // 2,000 pairs: 0.02 of them by chance beyond 1 + ln(2000 / 0.02) / 5.
        let expected = 1.0 + (1e5f64).ln() / 5.0;
        let found = min_local(2000, &pairs(tail(1.0, 5.0, 4000)));
        assert!((found.atanh() - expected).abs() < 0.05, "{found}");
    }

    #[test]
    fn a_few_copies_do_no_harm() {
        let clean = tail(0.9, 6.0, 2000);
        let mixed = [clean.clone(), vec![0.999; 4]].concat();
        let [clean, mixed] = [clean, mixed].map(|different| min_local(500, &pairs(different)));
        assert!(
            clean > MIN_SIMILARITY && mixed - clean < 0.01,
            "{clean}, {mixed}"
        );
    }

    #[test]
    fn copies_of_a_symmetric_thing_count_once() {
        // A hundred copies of a picture that looks much like its own mirror image.
        let mut mixed = pairs(tail(0.2, 6.0, 2000));
        let alone = min_local(2001, &mixed);
        let pictures = (0..100u32).flat_map(|a| (a + 1..100).map(move |b| (a, b)));
        let copies = pictures.zip(tail(0.9, 4.0, 4950));
        mixed.extend(copies.map(|((a, b), wrong_way)| Compared {
            a: 10_000 + a,
            b: 10_000 + b,
            local: 0.999_99,
            wrong_way,
        }));
        assert!((min_local(2100, &mixed) - alone).abs() < 0.002);
        // Of different pictures, the same similarities count.
        let different = mixed.iter().map(|pair| pair.wrong_way).collect();
        assert!(min_local(2100, &pairs(different)) > 0.99);
    }

    #[test]
    fn the_threshold_stays_within_bounds() {
        for (different, expected) in [
            (vec![], OF_FEW),
            (vec![0.99; 4], OF_FEW),
            (vec![0.0; 500], MIN_SIMILARITY),
        ] {
            let found = min_local(100, &pairs(different));
            assert!((found - expected).abs() < 1e-9);
        }
        // All pictures look similar.
        let cells: Vec<f32> = (0..500).map(|at| 0.9 + 0.098 * at as f32 / 500.0).collect();
        assert!(min_local(500, &pairs(cells)) > 0.999);
    }
}
