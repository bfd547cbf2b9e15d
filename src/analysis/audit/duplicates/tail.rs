//! Minimum overall similarity of duplicates, estimated from the candidate pairs.
//!
//! In most datasets, most candidates are different pictures that look similar. How similar depends on the dataset: photos of
//! animals hardly, product photos of trousers a lot. On the scale `atanh(similarity)`, the upper tail of their distribution decays
//! exponentially. It is fitted below the similarities of copies and extrapolated: at the threshold, chance explains at most
//! one pair in a hundred. If many candidates are copies, they are taken for the tail, and the threshold is too high, never too
//! low: it then adds nothing to [`super::threshold`].

use prospect_common::statistics::upper_median;

/// Pairs below this similarity, or below the median if that is higher, are assumed to be different pictures.
const DIFFERENT: f64 = 0.9;
/// Bounds of the threshold. Re-encoded, rescaled or cropped copies reach at least 0.94, mostly 0.98. If different pictures do
/// so, too, such copies cannot be distinguished, and only nearly equal pixels remain above the threshold.
const MIN_SIMILARITY: f64 = 0.93;
const MAX_SIMILARITY: f64 = 0.99999;
/// Maximum fraction of chance pairs among the pairs found.
const CHANCE_FRACTION: f64 = 0.01;
/// The tail is the upper tenth, with a minimum number of pairs.
const TAIL_DIVISOR: usize = 10;
const MIN_TAIL: usize = 30;

/// The lowest similarity within the bounds at which the fitted tail explains at most a hundredth of the pairs above.
pub fn min_overall(similarities: &[f32]) -> f64 {
    let mut scaled: Vec<f64> = similarities.iter().copied().map(scaled).collect();
    scaled.sort_by(f64::total_cmp);
    let Some(median) = upper_median(&scaled) else {
        return MIN_SIMILARITY;
    };
    let end = median.max(DIFFERENT.atanh());
    let different = &scaled[..scaled.partition_point(|value| *value < end)];
    if different.len() < MIN_TAIL {
        return MIN_SIMILARITY;
    }
    let n_tail = (different.len() / TAIL_DIVISOR).max(MIN_TAIL);
    let tail = &different[different.len() - n_tail..];
    let start = tail[0];
    let mean = tail.iter().sum::<f64>() / n_tail as f64 - start;
    let Some(rate) = truncated_rate(mean, end - start) else {
        return MAX_SIMILARITY;
    };
    // Including the uncounted part of the tail beyond `end`.
    let total = n_tail as f64 / (1.0 - (-rate * (end - start)).exp());
    let chance = |value: f64| total * (-rate * (value - start)).exp();
    let (min, max) = (MIN_SIMILARITY.atanh(), MAX_SIMILARITY.atanh());
    let above = |value: f64| scaled.len() - scaled.partition_point(|other| *other < value);
    // The threshold for a single pair.
    let single = start + (total / CHANCE_FRACTION).ln() / rate;
    let first = scaled.partition_point(|value| *value < min);
    let steps = [min].into_iter().chain(scaled[first..].iter().copied());
    let found = steps.chain([single]).find(|value| {
        chance(*value) <= CHANCE_FRACTION * above(*value).max(1) as f64 * (1.0 + 1e-9)
    });
    found.unwrap_or(max).clamp(min, max).tanh()
}

/// On the scale of the fit.
pub(super) fn scaled(similarity: f32) -> f64 {
    f64::from(similarity).clamp(0.0, 0.999_999).atanh()
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
pub(super) mod tests {
    use super::*;

    /// `n` similarities whose `atanh` follows an exponential distribution from `start` on.
    pub fn tail(start: f64, rate: f64, n: usize) -> Vec<f32> {
        (0..n)
            .map(|at| {
                let share = (at as f64 + 0.5) / n as f64;
                (start - (1.0 - share).ln() / rate).tanh() as f32
            })
            .collect()
    }

    #[test]
    fn an_exponential_tail_is_extrapolated() {
        // 2000 pairs: 0.01 chance pairs beyond 0.4 + ln(2000 / 0.01) / 10.
        let pairs = tail(0.4, 10.0, 2000);
        let expected = (0.4 + (2e5f64).ln() / 10.0).tanh();
        let found = min_overall(&pairs);
        assert!((found - expected).abs() < 0.01, "{found}, {expected}");
        assert!(pairs.iter().all(|pair| f64::from(*pair) < found));
    }

    #[test]
    fn many_copies_lower_the_threshold() {
        let mut pairs = tail(0.5, 10.0, 4000);
        let alone = min_overall(&pairs);
        pairs.extend([0.985; 400]);
        let found = min_overall(&pairs);
        assert!(found < alone - 0.01, "{found}, {alone}");
        let wrong = pairs
            .iter()
            .filter(|pair| f64::from(**pair) >= found)
            .count()
            - 400;
        assert!(wrong <= 8, "{wrong}");
    }

    #[test]
    fn the_threshold_stays_within_bounds() {
        assert_eq!(min_overall(&[]), MIN_SIMILARITY);
        assert_eq!(min_overall(&[0.99; 4]), MIN_SIMILARITY);
        assert!((min_overall(&tail(0.0, 10.0, 500)) - MIN_SIMILARITY).abs() < 1e-9);
        // All pairs look similar.
        let cells: Vec<f32> = (0..500).map(|at| 0.9 + 0.098 * at as f32 / 500.0).collect();
        assert!(min_overall(&cells) > 0.99);
        // Most look similar, with a smooth tail and no copies.
        let cells: Vec<f32> = tail(1.4, 3.0, 3000);
        assert!(min_overall(&cells) > 0.999, "{}", min_overall(&cells));
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
