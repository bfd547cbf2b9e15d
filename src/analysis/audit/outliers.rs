//! Outliers: images unusually far from their neighbours.
//!
//! Distances to neighbours are positive and skewed, so their logarithms are scored: robust z-scores relative to the median, in
//! units of 1.4826 median absolute deviations (for a normal distribution, the standard deviation), which outliers do not affect.

use std::collections::BTreeMap;

use prospect_common::statistics::median;

/// Deviation from which an image counts as an outlier (Iglewicz and Hoaglin 1993).
pub const CUTOFF: f32 = 3.5;
/// Minimum deviation of the logarithms, so that distances within 2 % count as equal.
const MIN_DEVIATION: f64 = 0.02;
/// Number of images at which a class's own deviation weighs as much as that of all classes.
const PRIOR_IMAGES: f64 = 10.0;

/// 1 for typical images, 0.5 at [`CUTOFF`] deviations, and 0 in the limit.
pub fn score(deviations: f32) -> f32 {
    1.0 / (1.0 + (deviations - CUTOFF).exp())
}

/// Robust z-scores of the distances.
pub fn deviations(distances: &[f32]) -> Vec<f32> {
    let logs = logarithms(distances);
    let (median, deviation) = center_and_deviation(&logs);
    let deviation = deviation.max(MIN_DEVIATION);
    (logs.iter())
        .map(|log| ((log - median) / deviation) as f32)
        .collect()
}

/// Like [`deviations`], within each class. The deviation of a small class is shrunk towards the deviation of all distances from
/// their class median, since a few images cannot estimate it.
pub fn deviations_in_classes(classes: &[i32], distances: &[f32]) -> Vec<f32> {
    let logs = logarithms(distances);
    let mut of_class: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
    for (class, log) in classes.iter().zip(&logs) {
        of_class.entry(*class).or_default().push(*log);
    }
    let known: BTreeMap<i32, (f64, f64, f64)> = (of_class.iter())
        .map(|(class, logs)| {
            let (median, deviation) = center_and_deviation(logs);
            (*class, (median, deviation, logs.len() as f64))
        })
        .collect();
    let residuals: Vec<f64> = (classes.iter().zip(&logs))
        .map(|(class, log)| log - known[class].0)
        .collect();
    let (_, pooled) = center_and_deviation(&residuals);
    let scores = classes.iter().zip(&residuals).map(|(class, residual)| {
        let (_, own, n) = known[class];
        let squared = (n * own * own + PRIOR_IMAGES * pooled * pooled) / (n + PRIOR_IMAGES);
        (residual / squared.sqrt().max(MIN_DEVIATION)) as f32
    });
    scores.collect()
}

fn logarithms(distances: &[f32]) -> Vec<f64> {
    let logarithm = |distance: &f32| f64::from(distance.max(f32::MIN_POSITIVE)).ln();
    distances.iter().map(logarithm).collect()
}

/// The median and 1.4826 times the median absolute deviation; zeros without values.
fn center_and_deviation(values: &[f64]) -> (f64, f64) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        median(&values).unwrap_or(0.0)
    };
    let center = median(values.to_vec());
    let residuals = values.iter().map(|value| (value - center).abs()).collect();
    (center, 1.4826 * median(residuals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_by_hand() {
        // Logarithms -2..=2 and 10: median 0.5, absolute deviations 0.5, 0.5, 1.5, 1.5, 2.5, 9.5.
        let distances = [-2.0f32, -1.0, 0.0, 1.0, 2.0, 10.0].map(f32::exp);
        let found = deviations(&distances);
        let expected = (10.0 - 0.5) / (1.4826 * 1.5);
        assert!((found[5] - expected).abs() < 1e-5, "{found:?}");
        assert!((score(CUTOFF) - 0.5).abs() < 1e-7);
        assert!(score(found[5]) < 0.5 && score(found[0]) > 0.95);
    }

    #[test]
    fn a_class_is_scored_by_its_own_deviation() {
        // Class 0 is narrow, class 1 has larger and more variable distances: 2 is an outlier in class 0 only.
        let narrow = (0..50).map(|at| (0, 1.0 + 0.001 * at as f32));
        let wide = (0..50).map(|at| (1, 1.5 + 0.02 * at as f32));
        let all: Vec<(i32, f32)> = narrow.chain(wide).chain([(0, 2.0), (1, 2.0)]).collect();
        let (classes, distances): (Vec<i32>, Vec<f32>) = all.into_iter().unzip();
        let found = deviations_in_classes(&classes, &distances);
        assert!(
            found[100] > CUTOFF && found[101] < 1.0,
            "{:?}",
            &found[100..]
        );
        assert!(deviations(&distances)[100] < CUTOFF);
    }

    #[test]
    fn degenerate_cases_have_no_outliers() {
        assert!(deviations(&[]).is_empty());
        assert_eq!(deviations(&[0.0; 3]), [0.0; 3]);
        assert_eq!(deviations(&[2.0]), [0.0]);
        // One image, and two that are each other's neighbours.
        let found = deviations_in_classes(&[0, 1, 1], &[5.0, 1.0, 1.0]);
        assert_eq!(found, [0.0; 3]);
    }
}
