//! What a map keeps of the points' neighbourhoods.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::layout::{GOLDEN, mix};

/// Multiplications that the distances between the points may take; more points or longer vectors: fewer are judged.
const BUDGET: usize = 5_000_000_000;
/// Points that are judged, at least and at most (fewer only where there are not so many).
const LEAST: usize = 250;
const MOST: usize = 2_000;
/// Partial sums of a distance: what the processor adds at once.
const LANES: usize = 8;

/// How far neighbours in the map are neighbours in truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Venna & Kaski 2001, as scikit-learn computes it: 1 less what the map's k nearest that are not among the true k
    /// nearest cost, each by how far down the true order it stands; 1 is best.
    pub trustworthiness: f64,
    /// Share of the true k nearest that are among the map's k nearest; 1 is best.
    pub knn_preservation: f64,
    /// Neighbours that were looked at: what was asked for, and less than half of the points.
    pub k: usize,
    /// Points in the map.
    pub n: usize,
    /// Points that were judged, each against all others.
    pub sampled: usize,
}

/// Judges the map `xy`, `[n, 2]`, of `points`, `[n, dimension]`, by Euclidean distances, equal ones by row.
///
/// All points are judged where there are few; of many a sample of 250 to 2,000 that depends on `seed`, which keeps the cost
/// linear in n. The standard error of the trustworthiness is then well below 0.002. `None` for fewer than three points.
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
    let affordable = (BUDGET / (n * dimension.max(1))).clamp(LEAST, MOST);
    let sample = sample(n, affordable, seed);
    let judged: Vec<(u64, u64)> = (sample.par_iter())
        .map_init(Distances::default, |distances, &i| {
            judge(points, dimension, xy, k, i, distances)
        })
        .collect();
    let (cost, kept) =
        (judged.iter()).fold((0, 0), |(cost, kept), row| (cost + row.0, kept + row.1));
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

/// At most `most` different rows of `n`, ascending.
fn sample(n: usize, most: usize, seed: u64) -> Vec<usize> {
    if n <= most {
        return (0..n).collect();
    }
    let lot = |row: usize| mix(mix(seed).wrapping_add((row as u64 + 1).wrapping_mul(GOLDEN)));
    let mut rows: Vec<usize> = (0..n).collect();
    rows.select_nth_unstable_by_key(most, |&row| (lot(row), row));
    rows.truncate(most);
    rows.sort_unstable();
    rows
}

/// Squared distances of one point to all, and an order of rows: kept between points to save allocations.
#[derive(Default)]
struct Distances {
    points: Vec<f32>,
    places: Vec<f32>,
    order: Vec<u32>,
}

/// By how many ranks the map's `k` nearest of row `i` stand beyond the true `k` nearest, and how many are among those.
fn judge(
    points: &[f32],
    dimension: usize,
    xy: &[f32],
    k: usize,
    i: usize,
    distances: &mut Distances,
) -> (u64, u64) {
    let Distances {
        points: of_points,
        places: of_places,
        order,
    } = distances;
    let here = &points[i * dimension..(i + 1) * dimension];
    of_points.clear();
    of_points.extend(
        points
            .chunks_exact(dimension.max(1))
            .map(|there| squared_distance(here, there)),
    );
    of_places.clear();
    of_places.extend(
        xy.chunks_exact(2)
            .map(|there| (xy[2 * i] - there[0]).powi(2) + (xy[2 * i + 1] - there[1]).powi(2)),
    );
    order.clear();
    order.extend((0..of_places.len() as u32).filter(|&row| row as usize != i));
    let by_place = |&row: &u32| (Total(of_places[row as usize]), row);
    order.select_nth_unstable_by_key(k - 1, by_place);
    let (mut cost, mut kept) = (0, 0);
    for &row in &order[..k] {
        let rank = rank(of_points, row as usize, i);
        cost += rank.saturating_sub(k) as u64;
        kept += u64::from(rank <= k);
    }
    (cost, kept)
}

/// How many rows other than `own` are as near as `row`, itself included, equal ones counting up to its own number.
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
    // The point itself is at distance 0, before all that are farther.
    let own_counted = distances[own] < limit || (distances[own] == limit && own < row);
    nearer + ties - usize::from(own_counted)
}

/// An f32 that is ordered: none of them is NaN.
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
