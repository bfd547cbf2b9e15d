//! New points in a map that stays as it is.

use crate::neighbors::Neighbor;

/// Halvings after which a bandwidth is exact to float64.
const STEPS: usize = 64;
/// Relative tolerance of the bandwidth search.
const TOLERANCE: f64 = 1e-5;
/// Least bandwidth, as a share of the mean distance.
const LEAST: f64 = 1e-3;

/// Where a new point belongs in a map: at the weighted mean of the places of its nearest neighbours among the mapped points.
///
/// `neighbors`: nearest first, their ids being rows of `places`, `[n, 2]`. A neighbour at distance `d` weighs
/// `exp(-(d - d₁) / σ)`, `d₁` being the nearest one's and `σ` such that the k weights add up to log₂ k: the smooth distances
/// of McInnes et al. 2018 (section 3.1), with which umap-learn's `transform` finds its initial places too. An exact copy
/// lands on its twin (the first of them). Without neighbours: the origin.
pub fn place(neighbors: &[Neighbor], places: &[f32]) -> [f32; 2] {
    let place_of = |neighbor: &Neighbor| {
        let row = neighbor.id as usize;
        [places[2 * row], places[2 * row + 1]]
    };
    let Some(nearest) = neighbors.first() else {
        return [0.0; 2];
    };
    if nearest.distance <= 0.0 {
        return place_of(nearest);
    }
    let beyond: Vec<f64> = (neighbors.iter())
        .map(|neighbor| f64::from(neighbor.distance) - f64::from(nearest.distance))
        .collect();
    let bandwidth = bandwidth(&beyond, nearest.distance.into());
    let (mut sum, mut total) = ([0.0; 2], 0.0);
    for (neighbor, beyond) in neighbors.iter().zip(&beyond) {
        let weight = (-beyond / bandwidth).exp();
        let place = place_of(neighbor);
        sum[0] += weight * f64::from(place[0]);
        sum[1] += weight * f64::from(place[1]);
        total += weight;
    }
    sum.map(|sum| (sum / total) as f32)
}

/// The `σ` for which `Σ exp(-beyond / σ)` is log₂ k; the nearest is at `nearest`, the others so far `beyond` it.
fn bandwidth(beyond: &[f64], nearest: f64) -> f64 {
    let k = beyond.len() as f64;
    let target = k.log2();
    let least = LEAST * (nearest + beyond.iter().sum::<f64>() / k);
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut middle = least.max(beyond.last().copied().unwrap_or(0.0));
    for _ in 0..STEPS {
        let sum: f64 = beyond.iter().map(|d| (-d / middle).exp()).sum();
        if (sum - target).abs() <= TOLERANCE * target {
            break;
        }
        if sum > target {
            high = middle;
        } else {
            low = middle;
        }
        middle = if high.is_finite() {
            (low + high) / 2.0
        } else {
            2.0 * middle
        };
    }
    middle.max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbors(distances: &[f32]) -> Vec<Neighbor> {
        (0..)
            .zip(distances)
            .map(|(id, &distance)| Neighbor { id, distance })
            .collect()
    }

    #[test]
    fn a_copy_lands_on_its_twin() {
        let places = [5.0, 6.0, -3.0, 2.0, 9.0, 9.0];
        assert_eq!(place(&neighbors(&[0.0, 0.0, 1.0]), &places), [5.0, 6.0]);
    }

    #[test]
    fn equal_distances_give_the_middle_and_a_single_neighbour_its_place() {
        let places = [0.0, 0.0, 4.0, 0.0, 2.0, 6.0];
        assert_eq!(place(&neighbors(&[2.0, 2.0, 2.0]), &places), [2.0, 2.0]);
        assert_eq!(place(&neighbors(&[7.0]), &places), [0.0, 0.0]);
        assert_eq!(place(&[], &places), [0.0, 0.0]);
    }

    #[test]
    fn weights_add_up_to_log2_of_their_number() {
        let beyond = [0.0, 0.1, 0.4, 0.5, 1.5, 2.0, 2.2, 9.0];
        let sigma = bandwidth(&beyond, 3.0);
        let sum: f64 = beyond.iter().map(|d| (-d / sigma).exp()).sum();
        assert!((sum - 3.0).abs() < 1e-4, "{sum}");
    }

    #[test]
    fn a_place_lies_among_the_neighbours_and_nearer_to_the_nearer() {
        let places = [0.0, 0.0, 1.0, 0.0, 10.0, 0.0, 10.0, 1.0];
        let [x, y] = place(&neighbors(&[1.0, 1.1, 1.9, 2.0]), &places);
        assert!(x > 0.0 && x < 5.0 && (0.0..=1.0).contains(&y), "{x} {y}");
        // Any unit of distance.
        for scale in [1e-6, 1e6] {
            let distances = [1.0, 1.1, 1.9, 2.0].map(|d: f32| d * scale);
            let [other, _] = place(&neighbors(&distances), &places);
            assert!((x - other).abs() < 1e-2, "{x} {other}");
        }
    }
}
