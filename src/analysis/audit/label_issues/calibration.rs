//! Estimated recall of a review of the worst labels, measured on injected errors. The precision is unknown without reviews.
//!
//! An injected error is found by a review of `n` labels if it is among the `n` worst of the labels that were not changed, as if
//! it were the only one. So injected errors compete with the real ones and not with each other.

/// Tails of the intervals: 95 % lie between.
const TAIL: f64 = 0.025;

/// Estimated yield of a review of the worst labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Review {
    pub reviewed: usize,
    /// Fraction of the injected errors that are found.
    pub recall: f64,
    /// 95 % prediction interval of the fraction of the dataset's own errors, if they are as hard to find as the injected ones.
    pub recall_low: f64,
    pub recall_high: f64,
}

/// Labels after the injection: scores, 0 is the worst.
#[derive(Debug, Clone, Copy)]
pub struct Injected<'a> {
    /// Of the labels that were not changed.
    pub others: &'a [f32],
    pub errors: &'a [f32],
    /// Independent decisions that the errors arose from: fewer if related images were changed together.
    pub decisions: usize,
}

/// Reviews of the `sizes` worst labels. `expected_errors`: number of wrong labels among those as given. Empty without injected
/// errors.
pub fn reviews(injected: &Injected, expected_errors: f64, sizes: &[usize]) -> Vec<Review> {
    let n = injected.errors.len();
    if n == 0 {
        return Vec::new();
    }
    let mut others = injected.others.to_vec();
    others.sort_by(f32::total_cmp);
    let worse_labels = |score: f32| {
        let worse = others.partition_point(|other| *other < score);
        let not_better = others.partition_point(|other| *other <= score);
        // In the middle of equal scores.
        worse + (not_better - worse) / 2
    };
    let ranks: Vec<usize> = (injected.errors.iter())
        .map(|score| worse_labels(*score))
        .collect();
    let own = expected_errors * injected.decisions as f64 / n as f64;
    let review = |&reviewed: &usize| {
        let found = ranks.iter().filter(|rank| **rank < reviewed).count();
        let recall = found as f64 / n as f64;
        let (low, high) = predicted(recall, injected.decisions, own.round().max(1.0) as usize);
        Review {
            reviewed: reviewed.min(others.len() + n),
            recall,
            recall_low: low.min(recall),
            recall_high: high.max(recall),
        }
    };
    sizes.iter().map(review).collect()
}

/// Interval of the fraction of `future` trials that succeed, of which the fraction `success` of `trials` did: quantiles of the
/// beta-binomial distribution with Jeffreys' prior.
fn predicted(success: f64, trials: usize, future: usize) -> (f64, f64) {
    let (a, b) = (
        success * trials as f64 + 0.5,
        (1.0 - success) * trials as f64 + 0.5,
    );
    // Logarithms of the probabilities of 0, 1, … successes, up to a constant.
    let mut logs = vec![0.0];
    for k in 0..future {
        let (k, left) = (k as f64, (future - k) as f64);
        logs.push(logs[k as usize] + (left * (a + k) / ((k + 1.0) * (left - 1.0 + b))).ln());
    }
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let quantile = |probability: f64| {
        let mut below = 0.0;
        let reached = weights.iter().position(|weight| {
            below += weight / total;
            below >= probability
        });
        reached.unwrap_or(future) as f64 / future as f64
    };
    (quantile(TAIL), quantile(1.0 - TAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prediction_interval_is_that_of_the_beta_binomial_distribution() {
        // scipy.stats.betabinom(30, 14.5, 1.5).ppf([0.025, 0.975]), and so on.
        for (success, trials, future, expected) in [
            (14.0 / 15.0, 15, 30, (21.0, 30.0)),
            (0.5, 40, 200, (67.0, 133.0)),
            (0.0, 10, 5, (0.0, 2.0)),
            (1.0, 3, 1, (0.0, 1.0)),
        ] {
            let (low, high) = predicted(success, trials, future);
            let found = (low * future as f64, high * future as f64);
            assert_eq!((found.0.round(), found.1.round()), expected);
        }
    }

    #[test]
    fn the_interval_of_many_errors_is_narrow() {
        let (low, high) = predicted(0.8, 100_000, 100_000);
        assert!(low > 0.795 && high < 0.805, "{low}, {high}");
    }
}
