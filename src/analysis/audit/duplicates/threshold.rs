//! Minimum similarity of duplicates, from pairs of different pictures of the same dataset.
//!
//! How alike different pictures are depends on the dataset: photos of animals hardly, solar cells a lot. The controls, pairs that
//! cannot be copies, show it; the candidates do not, since any number of them may be copies. On the scale `atanh(similarity)` the
//! upper tail of the controls decays at least exponentially. It is extrapolated: at the threshold, hardly any pair
//! is expected by chance.

/// Bounds of the threshold. Re-encoded, rescaled or cropped copies reach at least 0.98. If different pictures do so, too, only
/// nearly equal pixels remain above the threshold.
const MIN_SIMILARITY: f64 = 0.97;
pub const MAX_SIMILARITY: f64 = 0.99999;
/// Maximum expected number of pairs by chance. One would join two groups.
const MAX_CHANCE: f64 = 0.1;
/// The tail begins at the upper hundredth and decays as it does from the upper tenth to there.
const START: f64 = 0.01;
const BEFORE: f64 = 0.1;

/// The lowest similarity within the bounds at which the tail of every group of controls explains at most [`MAX_CHANCE`] of the
/// candidate pairs. Groups with too few similar pairs are left out.
pub fn min_similarity(candidates: usize, controls: &[Vec<f32>]) -> f64 {
    let expected = candidates as f64 * START;
    let of_tails = (controls.iter())
        .filter_map(|similarities| Tail::fit(&scaled(similarities)))
        .map(|tail| tail.start + (expected / MAX_CHANCE).ln().max(0.0) / tail.rate);
    let (min, max) = (MIN_SIMILARITY.atanh(), MAX_SIMILARITY.atanh());
    of_tails.fold(min, f64::max).min(max).tanh()
}

/// On the scale of the fit, ascending.
fn scaled(similarities: &[f32]) -> Vec<f64> {
    let mut scaled: Vec<f64> = (similarities.iter())
        .map(|similarity| f64::from(*similarity).clamp(0.0, 0.999_999).atanh())
        .collect();
    scaled.sort_by(f64::total_cmp);
    scaled
}

/// An exponential tail, through two upper quantiles: a few copies among the controls do not move them.
struct Tail {
    start: f64,
    rate: f64,
}

impl Tail {
    /// `None` if too few pairs are similar at all.
    fn fit(sorted: &[f64]) -> Option<Tail> {
        let upper = |fraction: f64| {
            let above = (fraction * sorted.len() as f64) as usize;
            (above > 0).then(|| sorted[sorted.len() - above])
        };
        let (start, before) = (upper(START)?, upper(BEFORE)?);
        (start > 0.0).then(|| Tail {
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

    #[test]
    fn an_exponential_tail_is_extrapolated() {
        // 2,000 candidates like the controls: 0.1 of them by chance beyond 1 + ln(2000 / 0.1) / 5.
        let expected = 1.0 + (2e4f64).ln() / 5.0;
        let found = min_similarity(2000, &[tail(1.0, 5.0, 4000)]);
        assert!((found.atanh() - expected).abs() < 0.05, "{found}");
        // The controls that are most alike decide.
        let controls = [tail(0.1, 9.0, 500), tail(1.0, 5.0, 4000), Vec::new()];
        assert_eq!(min_similarity(2000, &controls), found);
    }

    #[test]
    fn a_few_copies_among_the_controls_do_no_harm() {
        let clean = tail(0.9, 6.0, 2000);
        let mixed = [clean.clone(), vec![0.999; 10]].concat();
        let [clean, mixed] = [clean, mixed].map(|controls| min_similarity(500, &[controls]));
        assert!(
            clean > MIN_SIMILARITY && mixed - clean < 0.01,
            "{clean}, {mixed}"
        );
    }

    #[test]
    fn the_threshold_stays_within_bounds() {
        for controls in [vec![], vec![0.0; 500], vec![0.99; 4]] {
            assert!((min_similarity(100, &[controls]) - MIN_SIMILARITY).abs() < 1e-9);
        }
        // All pictures look similar.
        let cells: Vec<f32> = (0..500).map(|at| 0.9 + 0.098 * at as f32 / 500.0).collect();
        assert!(min_similarity(500, &[cells]) > 0.9999);
    }
}
