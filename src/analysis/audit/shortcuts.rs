//! Shortcuts: units that respond to a mark in the photos of one class, such as a logo, a date stamp or a frame.
//!
//! A unit that separates classes is not suspicious by itself: wheels identify cars. A mark differs in its *position*. Wheels are
//! where the car is; a mark is in one small region of the image, away from the object, and in a part of the class only. So
//! [`pattern`] tests whether pictures of a class share fine structure to the pixel, [`places`] searches for regions where a unit peaks
//! in many images of one class and in few others, [`cast`] compares the colour of the light, and [`head`] measures how much a linear classifier depends on the unit.

pub mod cast;
pub mod head;
pub mod pattern;
pub mod places;

/// Area under the ROC curve of `values`, with `inside` as the positives: the probability that a positive exceeds a negative, ties
/// counting half (Mann & Whitney 1947). `None` without positives or negatives. Values that are not finite rank lowest.
pub fn auroc(values: &[f32], inside: &[bool]) -> Option<f64> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    let value = |at: u32| {
        let value = values[at as usize];
        if value.is_finite() {
            value
        } else {
            f32::NEG_INFINITY
        }
    };
    order.sort_unstable_by(|&a, &b| value(a).total_cmp(&value(b)));
    let n_inside = inside.iter().filter(|&&is| is).count() as f64;
    let n_outside = inside.len() as f64 - n_inside;
    let (mut below, mut wins) = (0.0, 0.0);
    for equal in order.chunk_by(|&a, &b| value(a) == value(b)) {
        let within = equal.iter().filter(|&&at| inside[at as usize]).count() as f64;
        let without = equal.len() as f64 - within;
        wins += within * (below + without / 2.0);
        below += without;
    }
    (n_inside > 0.0 && n_outside > 0.0).then(|| wins / (n_inside * n_outside))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;

    /// Reference values from tests/golden/make_associations.py.
    #[test]
    fn equals_scikit_learn() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/associations.json");
        let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for case in golden["curves"].as_array().unwrap() {
            let numbers = |name: &str| -> Vec<f64> {
                let list = case[name].as_array().unwrap().iter();
                list.map(|n| n.as_f64().unwrap()).collect()
            };
            let values: Vec<f32> = numbers("values").iter().map(|&v| v as f32).collect();
            let inside: Vec<bool> = numbers("inside").iter().map(|&is| is > 0.0).collect();
            let found = auroc(&values, &inside).unwrap();
            assert!((found - case["auroc"].as_f64().unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn auroc_needs_positives_and_negatives() {
        assert_eq!(auroc(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(auroc(&[], &[]), None);
        assert_eq!(auroc(&[f32::NAN, 0.0], &[false, true]), Some(1.0));
    }
}
