//! Summary statistics of class activation maps.

/// Statistics of one map. Energy is the sum of the rectified map, in which negative cells count as 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapSummary {
    /// Minimum of the raw map.
    pub raw_min: f32,
    pub raw_max: f32,
    /// The map's energy.
    pub positive_sum: f32,
    /// Whether the map is uninformative: no cell is positive, or all cells are equal.
    pub zero_map: bool,
    /// Centroid of the energy in 0..=1 of the network's input, from the top; `None` without energy, like the next three.
    pub center_y: Option<f32>,
    /// Centroid from the left.
    pub center_x: Option<f32>,
    /// Fraction of the energy in the border cells; 24/49 for a uniform map of 7x7 cells.
    pub border_fraction: Option<f32>,
    /// Entropy of the energy over cells, in nats: 0 for one cell, `ln(cells)` for a uniform map.
    pub entropy: Option<f32>,
}

/// Zeroes a map with any value that is not finite; returns whether it did.
pub fn clear_if_not_finite(map: &mut [f32]) -> bool {
    let not_finite = map.iter().any(|value| !value.is_finite());
    if not_finite {
        map.fill(0.0);
    }
    not_finite
}

/// Summarises a raw map of `rows` × `cols` finite values, row-major. Sums run in cell order in float64.
pub fn summary(map: &[f32], rows: usize, cols: usize) -> MapSummary {
    let raw_min = map.iter().copied().fold(f32::INFINITY, f32::min);
    let raw_max = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    let (mut y, mut x, mut border) = (0.0, 0.0, 0.0);
    for (index, &value) in map.iter().enumerate() {
        let energy = f64::from(value.max(0.0));
        let (row, col) = (index / cols.max(1), index % cols.max(1));
        sum += energy;
        y += energy * (row as f64 + 0.5);
        x += energy * (col as f64 + 0.5);
        if row == 0 || col == 0 || row + 1 == rows || col + 1 == cols {
            border += energy;
        }
    }
    let shares = map
        .iter()
        .map(|&value| f64::from(value.max(0.0)) / sum)
        .filter(|&share| share > 0.0);
    let entropy: f64 = shares.map(|share| -share * share.ln()).sum();
    let if_energy = |value: f64| (sum > 0.0).then_some(value as f32);
    MapSummary {
        raw_min: if map.is_empty() { 0.0 } else { raw_min },
        raw_max: if map.is_empty() { 0.0 } else { raw_max },
        positive_sum: sum.min(f32::MAX.into()) as f32,
        zero_map: sum <= 0.0 || raw_min == raw_max,
        center_y: if_energy(y / sum / rows as f64),
        center_x: if_energy(x / sum / cols as f64),
        border_fraction: if_energy(border / sum),
        entropy: if_energy(entropy.max(0.0)),
    }
}

/// Overlap of two maps normalised to an energy of 1: 0 for disjoint maps, 1 for proportional ones; `None` if one has no energy.
pub fn overlap(a: &[f32], b: &[f32]) -> Option<f64> {
    let energy = |value: f32| f64::from(value.max(0.0));
    let [of_a, of_b] = [a, b].map(|map| map.iter().map(|value| energy(*value)).sum::<f64>());
    let shared = a
        .iter()
        .zip(b)
        .map(|(a, b)| (energy(*a) / of_a).min(energy(*b) / of_b));
    (of_a > 0.0 && of_b > 0.0).then(|| shared.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn closed_forms() {
        // One positive cell in row 1 of 3, column 3 of 4; negative cells have no energy.
        let mut map = [-1.0; 12];
        map[7] = 2.0;
        let found = summary(&map, 3, 4);
        assert_eq!((found.raw_min, found.raw_max), (-1.0, 2.0));
        assert_eq!((found.positive_sum, found.zero_map), (2.0, false));
        assert_eq!((found.center_y, found.center_x), (Some(0.5), Some(0.875)));
        assert_eq!(
            (found.border_fraction, found.entropy),
            (Some(1.0), Some(0.0))
        );
        // Uniform: uninformative, with the centroid in the middle.
        let found = summary(&[0.5; 49], 7, 7);
        assert!(found.zero_map);
        assert_eq!((found.center_y, found.center_x), (Some(0.5), Some(0.5)));
        assert!((found.border_fraction.unwrap() - 24.0 / 49.0).abs() < 1e-6);
        assert!((found.entropy.unwrap() - 49f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_map_without_energy_has_no_centroid() {
        for map in [vec![0.0; 6], vec![-3.0, -1.0, -2.0, -1.0, -1.0, -9.0]] {
            let found = summary(&map, 2, 3);
            assert!(found.zero_map);
            assert_eq!(found.positive_sum, 0.0);
            assert_eq!(
                (found.center_y, found.border_fraction, found.entropy),
                (None, None, None)
            );
        }
    }

    proptest! {
        #[test]
        fn statistics_are_always_finite(
            rows in 1usize..6, cols in 1usize..6,
            values in prop::collection::vec(prop_oneof![any::<f32>(), Just(0.0), Just(f32::NAN), Just(1e38)], 36),
        ) {
            let mut map = values[..rows * cols].to_vec();
            let not_finite = map.iter().any(|value| !value.is_finite());
            prop_assert_eq!(clear_if_not_finite(&mut map), not_finite);
            let found = summary(&map, rows, cols);
            let numbers = [
                Some(found.raw_min), Some(found.raw_max), Some(found.positive_sum),
                found.center_y, found.center_x, found.border_fraction, found.entropy,
            ];
            prop_assert!(numbers.iter().flatten().all(|number| number.is_finite()));
            prop_assert!(!not_finite || found.zero_map);
            for share in [found.center_y, found.center_x, found.border_fraction].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }
    }

    #[test]
    fn overlap_does_not_depend_on_scale() {
        let map = [1.0, 3.0, -2.0, 0.0];
        assert_eq!(overlap(&map, &map.map(|value| 7.0 * value)), Some(1.0));
        assert_eq!(overlap(&map, &[0.0, 0.0, 5.0, 1.0]), Some(0.0));
        assert_eq!(overlap(&map, &[1.0, 1.0, 0.0, 0.0]), Some(0.75));
        assert_eq!(overlap(&map, &[0.0, -1.0, 0.0, 0.0]), None);
    }
}
