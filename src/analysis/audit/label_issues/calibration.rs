//! What a review of the worst labels finds, measured on planted errors.
//!
//! Scores are probabilities, so they mean the same whatever is wrong with the labels, but for one thing: with more errors about,
//! every label is more doubtful. So the odds of the planted run are first scaled by those of an error before and after planting.
//! Then the share of all errors among the `n` worst labels is the share of the planted ones that score no better than the n-th
//! worst label does without them. It cannot be more than `n` errors of as many as there are expected to be. Precision follows:
//! recall times expected errors by n.

use crate::audit::groups::wilson;

/// What reviewing the worst labels finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Review {
    pub reviewed: usize,
    /// Share of all label errors that are among those reviewed; 95 % interval from the number of planted errors.
    pub recall: f64,
    pub recall_low: f64,
    pub recall_high: f64,
    /// Share of errors among those reviewed.
    pub precision: f64,
}

/// Reviews of the `sizes` worst of all labels, the smallest review first. The worst labels are taken to be wrong no less often than
/// better ones, so that few planted errors among the very worst tell no tale. `scores`: of all labels as given; `with_planted`: of all labels once errors are
/// planted among them; `planted`: of those errors. None without planted errors.
pub fn reviews(
    scores: &[f32],
    with_planted: &[f32],
    planted: &[f32],
    sizes: &[usize],
) -> Vec<Review> {
    if planted.is_empty() {
        return Vec::new();
    }
    let scale = odds(with_planted) / odds(scores);
    let planted: Vec<f64> = (planted.iter())
        .map(|score| {
            let score = f64::from(*score);
            score * scale / (score * scale + 1.0 - score)
        })
        .collect();
    let errors = expected(scores);
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    let of = |&reviewed: &usize| {
        let reviewed = reviewed.min(sorted.len());
        let worst = reviewed.checked_sub(1).map(|last| f64::from(sorted[last]));
        let found = |score: &&f64| worst.is_some_and(|worst| **score <= worst);
        let found = planted.iter().filter(found).count();
        let most = (reviewed as f64 / errors).min(1.0);
        let (low, high) = wilson(found as u64, planted.len() as u64);
        let recall = (found as f64 / planted.len() as f64).min(most);
        Review {
            reviewed,
            recall,
            recall_low: low.min(recall),
            recall_high: high.min(most).max(recall),
            precision: (recall * errors / reviewed.max(1) as f64).min(1.0),
        }
    };
    let mut reviews: Vec<Review> = sizes.iter().map(of).collect();
    let mut least: f64 = 0.0;
    for review in reviews.iter_mut().rev() {
        least = least.max(review.precision);
        let recall = (least * review.reviewed as f64 / errors).min(1.0);
        review.precision = least;
        review.recall = review.recall.max(recall);
        review.recall_high = review.recall_high.max(review.recall);
    }
    reviews
}

/// How many labels are expected to be wrong; never none, so that shares of them are numbers.
fn expected(scores: &[f32]) -> f64 {
    let errors: f64 = scores.iter().map(|score| 1.0 - f64::from(*score)).sum();
    errors.max(1e-6)
}

/// Odds of a wrong label.
fn odds(scores: &[f32]) -> f64 {
    let errors = expected(scores);
    errors / (scores.len() as f64 - errors).max(1e-6)
}
