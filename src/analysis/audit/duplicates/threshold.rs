//! From which similarity on two pictures are one, found from the candidates themselves.
//!
//! Most candidates are different pictures that look alike; how alike such pictures get differs from dataset to dataset (photos of
//! animals hardly, trousers on a sheet very much). On the scale of `atanh(similarity)` their upper tail falls off exponentially. It is
//! fitted where next to no copies are, and continued: from the threshold on, chance explains at most one pair in a hundred.

use prospect_common::statistics::upper_median;

/// Under this, pairs are taken to be different pictures; in a dataset whose candidates mostly are more alike, under their median.
const DIFFERENT: f64 = 0.9;
/// The threshold's bounds. Copies of photos that were encoded, scaled or cropped anew reach 0.94 at least, mostly 0.98. Where
/// different pictures do so as well, the threshold leaves no more than pixels that are next to equal: such copies cannot be told.
const LEAST: f64 = 0.93;
pub const MOST: f64 = 0.99999;
/// Of the pairs that are found, how many may be there by chance.
const BY_CHANCE: f64 = 0.01;
/// The tail is the upper tenth, of so many pairs at least.
const TAIL: usize = 10;
const ENOUGH: usize = 30;

/// The smallest similarity within the bounds at which the fitted tail explains at most a hundredth of the pairs that reach it.
pub fn least_similarity(similarities: &[f32]) -> f64 {
    let mut sizes: Vec<f64> = (similarities.iter())
        .map(|similarity| f64::from(*similarity).clamp(0.0, 0.999_999).atanh())
        .collect();
    sizes.sort_by(f64::total_cmp);
    let Some(median) = upper_median(&sizes) else {
        return LEAST;
    };
    let end = median.max(DIFFERENT.atanh());
    let different = &sizes[..sizes.partition_point(|size| *size < end)];
    if different.len() < ENOUGH {
        return LEAST;
    }
    let n_tail = (different.len() / TAIL).max(ENOUGH);
    let tail = &different[different.len() - n_tail..];
    let start = tail[0];
    let mean = tail.iter().sum::<f64>() / n_tail as f64 - start;
    let Some(rate) = rate_of_truncated(mean, end - start) else {
        return MOST;
    };
    // The part of the tail beyond `end` was not counted.
    let whole = n_tail as f64 / (1.0 - (-rate * (end - start)).exp());
    let by_chance = |size: f64| whole * (-rate * (size - start)).exp();
    let (least, most) = (LEAST.atanh(), MOST.atanh());
    let reaching = |size: f64| sizes.len() - sizes.partition_point(|other| *other < size);
    // Where one pair alone is found.
    let lonely = start + (whole / BY_CHANCE).ln() / rate;
    let first = sizes.partition_point(|size| *size < least);
    let steps = [least].into_iter().chain(sizes[first..].iter().copied());
    let found = steps
        .chain([lonely])
        .find(|size| by_chance(*size) <= BY_CHANCE * reaching(*size).max(1) as f64 * (1.0 + 1e-9));
    found.unwrap_or(most).clamp(least, most).tanh()
}

/// The rate of an exponential distribution that is cut off at `width`, by its mean: `1 / rate - width / (exp(rate width) - 1)`.
/// None where the mean lies in the upper half, where no such distribution has it.
fn rate_of_truncated(mean: f64, width: f64) -> Option<f64> {
    if mean <= 0.0 || mean >= 0.5 * width {
        return None;
    }
    let mean_of = |rate: f64| 1.0 / rate - width / (rate * width).exp_m1();
    // The mean falls from half the width to nothing; without the cut it is 1 / rate.
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

    /// `n` similarities whose `atanh` is exponential from `start` on.
    fn tail(start: f64, rate: f64, n: usize) -> Vec<f32> {
        (0..n)
            .map(|at| {
                let share = (at as f64 + 0.5) / n as f64;
                (start - (1.0 - share).ln() / rate).tanh() as f32
            })
            .collect()
    }

    #[test]
    fn an_exponential_tail_is_continued() {
        // 2000 pairs: by chance 0.01 beyond 0.4 + ln(2000 / 0.01) / 10.
        let pairs = tail(0.4, 10.0, 2000);
        let expected = (0.4 + (2e5f64).ln() / 10.0).tanh();
        let found = least_similarity(&pairs);
        assert!((found - expected).abs() < 0.01, "{found}, {expected}");
        assert!(pairs.iter().all(|pair| f64::from(*pair) < found));
    }

    #[test]
    fn many_copies_allow_for_a_lower_one() {
        let mut pairs = tail(0.5, 10.0, 4000);
        let alone = least_similarity(&pairs);
        pairs.extend([0.985; 400]);
        let found = least_similarity(&pairs);
        assert!(found < alone - 0.01, "{found}, {alone}");
        let wrong = pairs
            .iter()
            .filter(|pair| f64::from(**pair) >= found)
            .count()
            - 400;
        assert!(wrong <= 8, "{wrong}");
    }

    #[test]
    fn it_stays_within_bounds() {
        assert_eq!(least_similarity(&[]), LEAST);
        assert_eq!(least_similarity(&[0.99; 4]), LEAST);
        assert!((least_similarity(&tail(0.0, 10.0, 500)) - LEAST).abs() < 1e-9);
        // Everything looks like everything.
        let cells: Vec<f32> = (0..500).map(|at| 0.9 + 0.098 * at as f32 / 500.0).collect();
        assert!(least_similarity(&cells) > 0.99);
        // Most look alike, fewer and fewer the more so: still no place where copies would begin.
        let cells: Vec<f32> = tail(1.4, 3.0, 3000);
        assert!(
            least_similarity(&cells) > 0.999,
            "{}",
            least_similarity(&cells)
        );
    }

    #[test]
    fn the_rate_of_a_cut_distribution_is_known() {
        let (rate, width) = (3.0f64, 0.7f64);
        let mean = 1.0 / rate - width / ((rate * width).exp() - 1.0);
        assert!((rate_of_truncated(mean, width).unwrap() - rate).abs() < 1e-9);
        assert!((rate_of_truncated(0.01, 100.0).unwrap() - 100.0).abs() < 1e-6);
        assert_eq!(rate_of_truncated(0.5, 0.9), None);
    }
}
