//! UMAP's fuzzy set of pairs.

use rayon::prelude::*;

use super::super::sparse::SparseRows;
use crate::space::neighbors::{Graph, Neighbor};

/// Maximum steps and tolerance of the bandwidth search.
const STEPS: usize = 64;
const TOLERANCE: f64 = 1e-5;
/// Minimum bandwidth, as a fraction of the mean distance.
const MIN_BANDWIDTH: f64 = 1e-3;

/// Membership strengths of pairs (McInnes et al. 2018, section 3.1), scaled to a maximum of 1, over each point's first `k`
/// neighbours, as in umap-learn, where a point is its own first neighbour and `n_neighbors` is `k` + 1.
///
/// The directed strength is `exp(-(d - ρ) / σ)`, where ρ is the distance of the nearest neighbour that is not a copy, and σ makes
/// the k strengths sum to log₂(k + 1); the fuzzy union is `a + b - ab`. Pairs too weak to be sampled in `epochs` are removed.
pub fn memberships(neighbors: &Graph, k: usize, epochs: usize) -> SparseRows {
    let n = neighbors.rows();
    let distance = |neighbor: &Neighbor| f64::from(neighbor.distance);
    let mean = |row: &[Neighbor]| row.iter().map(distance).sum::<f64>() / (k + 1) as f64;
    let means: Vec<f64> = (0..n).map(|i| mean(&neighbors.row(i)[..k])).collect();
    let overall = means.iter().sum::<f64>() / n as f64;
    let mut directed = vec![0f32; n * k];
    (directed.par_chunks_mut(k.max(1)).zip(&means).enumerate()).for_each(|(i, (out, &mean))| {
        let row = &neighbors.row(i)[..k];
        let nearest = row.iter().map(distance).find(|&distance| distance > 0.0);
        let excess: Vec<f64> = (row.iter())
            .map(|neighbor| (distance(neighbor) - nearest.unwrap_or(0.0)).max(0.0))
            .collect();
        let min = MIN_BANDWIDTH * nearest.map_or(overall, |_| mean);
        let bandwidth = bandwidth(&excess, ((k + 1) as f64).log2()).max(min);
        for (out, excess) in out.iter_mut().zip(&excess) {
            *out = if *excess > 0.0 {
                (-excess / bandwidth).exp() as f32
            } else {
                1.0
            };
        }
    });
    let union = |ours: f32, theirs: f32| ours + theirs - ours * theirs;
    let mut rows = SparseRows::symmetric(neighbors, k, &directed, union);
    let strongest = rows
        .entries_mut()
        .iter()
        .fold(0f32, |strongest, entry| strongest.max(entry.1));
    if strongest > 0.0 {
        for (_, strength) in rows.entries_mut() {
            *strength /= strongest;
        }
    }
    rows.retain(|strength| strength >= 1.0 / epochs as f32);
    rows
}

/// σ with `Σ exp(-x / σ) = target`.
fn bandwidth(excess: &[f64], target: f64) -> f64 {
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..STEPS {
        let sum: f64 = (excess.iter())
            .map(|&excess| {
                if excess > 0.0 {
                    (-excess / sigma).exp()
                } else {
                    1.0
                }
            })
            .sum();
        if (sum - target).abs() < TOLERANCE {
            break;
        }
        if sum > target {
            high = sigma;
            sigma = (low + high) / 2.0;
        } else {
            low = sigma;
            sigma = if high.is_finite() {
                (low + high) / 2.0
            } else {
                sigma * 2.0
            };
        }
    }
    sigma
}
