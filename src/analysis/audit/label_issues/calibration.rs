//! Estimated recall of a review of the worst labels, measured on injected errors. The precision is unknown without reviews.
//!
//! Scores are probabilities and comparable between the two runs, except that more errors make every label more doubtful. So
//! the odds of the run with injected errors are first scaled by the odds of an error before and after the injection. The
//! recall of the `n` worst labels is then the fraction of injected errors that score no better than the n-th worst label of
//! the run without them, bounded by `n` over the expected number of errors.

use crate::audit::groups::wilson;

/// Estimated yield of a review of the worst labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Review {
    pub reviewed: usize,
    /// Fraction of all label errors that are reviewed; the 95 % interval follows from the number of injected errors.
    pub recall: f64,
    pub recall_low: f64,
    pub recall_high: f64,
}

/// Reviews of the `sizes` worst labels, sizes ascending. `scores` are those of all labels as given, `with_injected` those of all
/// labels after the injection, `injected` those of the injected errors, which arose from fewer independent `decisions` if related
/// images were changed together; the interval is that of so many. Empty without injected errors.
pub fn reviews(
    scores: &[f32],
    with_injected: &[f32],
    injected: &[f32],
    decisions: usize,
    sizes: &[usize],
) -> Vec<Review> {
    if injected.is_empty() {
        return Vec::new();
    }
    let scale = odds(with_injected) / odds(scores);
    let injected: Vec<f64> = (injected.iter())
        .map(|score| {
            let score = f64::from(*score);
            score * scale / (score * scale + 1.0 - score)
        })
        .collect();
    let errors = expected_errors(scores);
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    let review = |&reviewed: &usize| {
        let reviewed = reviewed.min(sorted.len());
        let worst = reviewed.checked_sub(1).map(|last| f64::from(sorted[last]));
        let found = |score: &&f64| worst.is_some_and(|worst| **score <= worst);
        let found = injected.iter().filter(found).count();
        let max_recall = (reviewed as f64 / errors).min(1.0);
        let found_decisions = (found * decisions) as f64 / injected.len() as f64;
        let (low, high) = wilson(found_decisions.round() as u64, decisions as u64);
        let recall = (found as f64 / injected.len() as f64).min(max_recall);
        Review {
            reviewed,
            recall,
            recall_low: low.min(recall),
            // Without the bound: the expected number of errors is itself an estimate.
            recall_high: high.max(recall),
        }
    };
    sizes.iter().map(review).collect()
}

/// Expected number of wrong labels; positive, so that fractions of it are finite.
fn expected_errors(scores: &[f32]) -> f64 {
    let errors: f64 = scores.iter().map(|score| 1.0 - f64::from(*score)).sum();
    errors.max(1e-6)
}

/// Odds that a label is wrong.
fn odds(scores: &[f32]) -> f64 {
    let errors = expected_errors(scores);
    errors / (scores.len() as f64 - errors).max(1e-6)
}
