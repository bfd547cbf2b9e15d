//! Images far from all others, by how far that is from what is usual.
//!
//! Distances to neighbours are positive and skewed, so their logarithms are judged: in deviations from the median, a deviation being
//! 1.4826 median absolute deviations (the standard deviation, of a normal distribution), which outliers do not move.

use std::collections::BTreeMap;

use prospect_common::statistics::median;

/// Deviations at which an image is called an outlier (Iglewicz and Hoaglin 1993).
pub const CUT: f32 = 3.5;
/// Logarithms that differ less than this are not told apart: a distance 2 % above the usual.
const LEAST_DEVIATION: f64 = 0.02;
/// A class's own deviation counts as much as that of all classes when it has so many images.
const PRIOR_IMAGES: f64 = 10.0;

/// 1 for what is usual, 0.5 at [`CUT`] deviations, and towards 0 beyond.
pub fn score(deviations: f32) -> f32 {
    1.0 / (1.0 + (deviations - CUT).exp())
}

/// How many deviations each distance is above the median.
pub fn deviations(distances: &[f32]) -> Vec<f32> {
    let sizes = logarithms(distances);
    let (median, deviation) = center_and_deviation(&sizes);
    let deviation = deviation.max(LEAST_DEVIATION);
    (sizes.iter())
        .map(|size| ((size - median) / deviation) as f32)
        .collect()
}

/// As [`deviations`], each among those of its class. In small classes the deviation is mostly that of all distances from their
/// class's median, since a handful of images have none worth the name.
pub fn deviations_in_classes(classes: &[i32], distances: &[f32]) -> Vec<f32> {
    let sizes = logarithms(distances);
    let mut of_class: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
    for (class, size) in classes.iter().zip(&sizes) {
        of_class.entry(*class).or_default().push(*size);
    }
    let known: BTreeMap<i32, (f64, f64, f64)> = (of_class.iter())
        .map(|(class, sizes)| {
            let (median, deviation) = center_and_deviation(sizes);
            (*class, (median, deviation, sizes.len() as f64))
        })
        .collect();
    let apart: Vec<f64> = (classes.iter().zip(&sizes))
        .map(|(class, size)| size - known[class].0)
        .collect();
    let (_, of_all) = center_and_deviation(&apart);
    let judged = classes.iter().zip(&apart).map(|(class, apart)| {
        let (_, own, n) = known[class];
        let squared = (n * own * own + PRIOR_IMAGES * of_all * of_all) / (n + PRIOR_IMAGES);
        (apart / squared.sqrt().max(LEAST_DEVIATION)) as f32
    });
    judged.collect()
}

fn logarithms(distances: &[f32]) -> Vec<f64> {
    let logarithm = |distance: &f32| f64::from(distance.max(f32::MIN_POSITIVE)).ln();
    distances.iter().map(logarithm).collect()
}

/// The median, and 1.4826 times the median distance from it; 0 of nothing.
fn center_and_deviation(values: &[f64]) -> (f64, f64) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        median(&values).unwrap_or(0.0)
    };
    let center = median(values.to_vec());
    let apart = values.iter().map(|value| (value - center).abs()).collect();
    (center, 1.4826 * median(apart))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_known_by_hand() {
        // Logarithms -2..=2 and 10: median 0.5, distances from it 0.5, 0.5, 1.5, 1.5, 2.5, 9.5.
        let distances = [-2.0f32, -1.0, 0.0, 1.0, 2.0, 10.0].map(f32::exp);
        let found = deviations(&distances);
        let expected = (10.0 - 0.5) / (1.4826 * 1.5);
        assert!((found[5] - expected).abs() < 1e-5, "{found:?}");
        assert!((score(CUT) - 0.5).abs() < 1e-7);
        assert!(score(found[5]) < 0.5 && score(found[0]) > 0.95);
    }

    #[test]
    fn a_class_is_judged_by_its_own_spread() {
        // Class 0 is narrow, class 1 twice as far apart and wide: 2 is far for class 0 alone.
        let narrow = (0..50).map(|at| (0, 1.0 + 0.001 * at as f32));
        let wide = (0..50).map(|at| (1, 1.5 + 0.02 * at as f32));
        let all: Vec<(i32, f32)> = narrow.chain(wide).chain([(0, 2.0), (1, 2.0)]).collect();
        let (classes, distances): (Vec<i32>, Vec<f32>) = all.into_iter().unzip();
        let found = deviations_in_classes(&classes, &distances);
        assert!(found[100] > CUT && found[101] < 1.0, "{:?}", &found[100..]);
        assert!(deviations(&distances)[100] < CUT);
    }

    #[test]
    fn degenerate_cases_are_quiet() {
        assert!(deviations(&[]).is_empty());
        assert_eq!(deviations(&[0.0; 3]), [0.0; 3]);
        assert_eq!(deviations(&[2.0]), [0.0]);
        // One image, and two that are each other's neighbours.
        let found = deviations_in_classes(&[0, 1, 1], &[5.0, 1.0, 1.0]);
        assert_eq!(found, [0.0; 3]);
    }
}
