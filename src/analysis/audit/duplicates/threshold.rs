//! Minimum local similarity of duplicates, from pairs of pictures whose alignment was broken on purpose.
//!
//! How alike different pictures are depends on the dataset: photos of animals hardly, solar cells a lot. The candidate pairs do not
//! show it, since any number of them may be copies. But with one picture mirrored, a pair is no copy any more and still shows
//! the same kind of things. On the scale `atanh(similarity)` the upper tail of these pairs decays at least exponentially. It is
//! extrapolated: at the threshold, hardly any pair of different pictures is expected.

use super::tail::scaled;

/// Bounds of the threshold. Re-encoded, rescaled or cropped copies reach at least 0.98. If different pictures do so, too, only
/// nearly equal pixels remain above the threshold.
const MIN_SIMILARITY: f64 = 0.97;
const MAX_SIMILARITY: f64 = 0.99999;
/// Maximum expected number of pairs by chance. One would join two groups.
const MAX_CHANCE: f64 = 0.1;
/// The tail begins at the upper hundredth and decays as it does from the upper tenth to there.
const START: f64 = 0.01;
const BEFORE: f64 = 0.1;

/// The similarity, within bounds, that at most a tenth of a pair of different pictures is expected to reach, if each of the `images`
/// has one look-alike. `different` are similarities of different pictures; a few copies among them do no harm.
pub fn min_local(images: usize, different: &[f32]) -> f64 {
    let (min, max) = (MIN_SIMILARITY.atanh(), MAX_SIMILARITY.atanh());
    let expected = images as f64 * START;
    let found = Tail::fit(&scaled(different))
        .map(|tail| tail.start + (expected / MAX_CHANCE).ln().max(0.0) / tail.rate);
    found.map_or(min, |found| found.clamp(min, max)).tanh()
}

/// An exponential tail, through two upper quantiles: a few copies do not move them.
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
    use super::{super::tail::tests::tail, *};

    #[test]
    fn an_exponential_tail_is_extrapolated() {
        // 2,000 pairs: 0.1 of them by chance beyond 1 + ln(2000 / 0.1) / 5.
        let expected = 1.0 + (2e4f64).ln() / 5.0;
        let found = min_local(2000, &tail(1.0, 5.0, 4000));
        assert!((found.atanh() - expected).abs() < 0.05, "{found}");
    }

    #[test]
    fn a_few_copies_do_no_harm() {
        let clean = tail(0.9, 6.0, 2000);
        let mixed = [clean.clone(), vec![0.999; 10]].concat();
        let [clean, mixed] = [clean, mixed].map(|different| min_local(500, &different));
        assert!(
            clean > MIN_SIMILARITY && mixed - clean < 0.01,
            "{clean}, {mixed}"
        );
    }

    #[test]
    fn the_threshold_stays_within_bounds() {
        for different in [vec![], vec![0.0; 500], vec![0.99; 4]] {
            assert!((min_local(100, &different) - MIN_SIMILARITY).abs() < 1e-9);
        }
        // All pictures look similar.
        let cells: Vec<f32> = (0..500).map(|at| 0.9 + 0.098 * at as f32 / 500.0).collect();
        assert!(min_local(500, &cells) > 0.999);
    }
}
