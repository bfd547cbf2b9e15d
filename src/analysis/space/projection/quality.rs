//! Preservation of neighbourhoods by a map.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::layout::{GOLDEN, mix};

/// Maximum multiplications for the distances between points; it limits the sample.
const BUDGET: usize = 5_000_000_000;
/// Minimum and maximum sample size, if there are enough points.
const MIN_SAMPLE: usize = 250;
const MAX_SAMPLE: usize = 2_000;
/// Number of parallel sums of a distance, one SIMD register.
const LANES: usize = 8;

/// Quality of a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Venna & Kaski 2001, as in scikit-learn: 1 minus a penalty for neighbours in the map that are not among the true k nearest,
    /// by their true rank; 1 is best.
    pub trustworthiness: f64,
    /// Fraction of the true k nearest neighbours among the map's k nearest; 1 is best.
    pub knn_preservation: f64,
    /// Number of neighbours considered, less than half the number of points.
    pub k: usize,
    /// Number of points in the map.
    pub n: usize,
    /// Number of evaluated points.
    pub sampled: usize,
}

/// Evaluates the map `xy`, `[n, 2]`, of `points`, `[n, dimension]`, by Euclidean distances, ties by row.
///
/// With many points, a seeded sample of 250 to 2,000 is evaluated, which keeps the cost linear in n with a standard error of the
/// trustworthiness well below 0.002. `None` for fewer than three points.
pub fn quality(
    points: &[f32],
    dimension: usize,
    xy: &[f32],
    k: usize,
    seed: u64,
) -> Option<Quality> {
    let n = xy.len() / 2;
    // scikit-learn's condition: k < n / 2.
    let k = k.min(n.saturating_sub(1) / 2);
    if k == 0 {
        return None;
    }
    let affordable = (BUDGET / (n * dimension.max(1))).clamp(MIN_SAMPLE, MAX_SAMPLE);
    let sample = sample(n, affordable, seed);
    let results: Vec<(u64, u64)> = (sample.par_iter())
        .map_init(Distances::default, |distances, &i| {
            evaluate(points, dimension, xy, k, i, distances)
        })
        .collect();
    let (cost, kept) =
        (results.iter()).fold((0, 0), |(cost, kept), row| (cost + row.0, kept + row.1));
    let rows = sample.len() as f64;
    let worst = k as f64 * (2 * n - 3 * k - 1) as f64;
    Some(Quality {
        trustworthiness: 1.0 - 2.0 * cost as f64 / (rows * worst),
        knn_preservation: kept as f64 / (rows * k as f64),
        k,
        n,
        sampled: sample.len(),
    })
}

/// A sample of up to `size` of `n` rows, ascending.
fn sample(n: usize, size: usize, seed: u64) -> Vec<usize> {
    if n <= size {
        return (0..n).collect();
    }
    let key = |row: usize| mix(mix(seed).wrapping_add((row as u64 + 1).wrapping_mul(GOLDEN)));
    let mut rows: Vec<usize> = (0..n).collect();
    rows.select_nth_unstable_by_key(size, |&row| (key(row), row));
    rows.truncate(size);
    rows.sort_unstable();
    rows
}

/// Squared distances of one point to all others, and an order of rows; reused to save allocations.
#[derive(Default)]
struct Distances {
    points: Vec<f32>,
    map: Vec<f32>,
    order: Vec<u32>,
}

/// For the map's `k` nearest neighbours of row `i`: the sum of their true ranks beyond `k`, and how many are among the true `k`.
fn evaluate(
    points: &[f32],
    dimension: usize,
    xy: &[f32],
    k: usize,
    i: usize,
    distances: &mut Distances,
) -> (u64, u64) {
    let Distances {
        points: in_space,
        map: in_map,
        order,
    } = distances;
    let own = &points[i * dimension..(i + 1) * dimension];
    in_space.clear();
    in_space.extend(
        points
            .chunks_exact(dimension.max(1))
            .map(|other| squared_distance(own, other)),
    );
    in_map.clear();
    in_map.extend(
        xy.chunks_exact(2)
            .map(|other| (xy[2 * i] - other[0]).powi(2) + (xy[2 * i + 1] - other[1]).powi(2)),
    );
    order.clear();
    order.extend((0..in_map.len() as u32).filter(|&row| row as usize != i));
    let by_distance = |&row: &u32| (Total(in_map[row as usize]), row);
    order.select_nth_unstable_by_key(k - 1, by_distance);
    let (mut cost, mut kept) = (0, 0);
    for &row in &order[..k] {
        let rank = rank(in_space, row as usize, i);
        cost += rank.saturating_sub(k) as u64;
        kept += u64::from(rank <= k);
    }
    (cost, kept)
}

/// Rank of `row` by distance from `own`, ties by row.
fn rank(distances: &[f32], row: usize, own: usize) -> usize {
    let limit = distances[row];
    let nearer = distances
        .iter()
        .filter(|&&distance| distance < limit)
        .count();
    let ties = distances[..=row]
        .iter()
        .filter(|&&distance| distance == limit)
        .count();
    // The point itself is not ranked.
    let own_counted = distances[own] < limit || (distances[own] == limit && own < row);
    nearer + ties - usize::from(own_counted)
}

/// An f32 with a total order; never NaN here.
#[derive(PartialEq)]
struct Total(f32);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Total) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Total) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    let rest: f32 = a_rest
        .iter()
        .zip(b_rest)
        .map(|(a, b)| (a - b) * (a - b))
        .sum();
    sums.iter().sum::<f32>() + rest
}
