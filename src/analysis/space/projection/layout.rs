//! Shared parts of t-SNE and UMAP: input checks, initial positions, progress and results.
//!
//! No result depends on the number of threads: sums over points run in order, and random numbers are functions of the seed and
//! their purpose, not draws from a shared stream.

use prospect_common::{Error, Result};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;

use crate::space::neighbors::Graph;

/// Progress callback, called on the calling thread after every epoch with finished and total epochs; an error stops the
/// optimisation and is returned.
pub type Epoch<'a> = &'a mut dyn FnMut(usize, usize) -> Result<()>;

/// Positions of points in the plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// `[n, 2]`, row-major.
    pub xy: Vec<f32>,
    /// Kullback-Leibler divergence between the affinities of the points and the map, in nats; t-SNE only.
    pub kl: Option<f64>,
    /// Effective perplexity, lowered if there are too few neighbours; t-SNE only.
    pub perplexity: Option<f64>,
    /// Number of epochs run; 0 for degenerate inputs.
    pub epochs: usize,
}

impl Layout {
    /// All points at the origin, for too few points or equal initial positions.
    pub(super) fn degenerate(n: usize) -> Layout {
        Layout {
            xy: vec![0.0; 2 * n],
            kl: None,
            perplexity: None,
            epochs: 0,
        }
    }
}

/// Checks the initial positions `[n, 2]` and the neighbours; returns the number of points.
pub(super) fn check(neighbors: &Graph, start: &[f32]) -> Result<usize> {
    let n = start.len() / 2;
    let hint = "remove the images whose features are not finite";
    if !start.len().is_multiple_of(2) || (n > 1 && neighbors.rows() != n) {
        return Err(Error::invalid(
            "features",
            format!("neighbours of {n} points"),
            format!("those of {}", neighbors.rows()),
            "run `prospect run project` again",
        ));
    }
    if let Some(at) = start.iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(
            "features",
            "finite principal components",
            format!("{} in row {}", start[at], at / 2),
            hint,
        ));
    }
    let invalid = |at: usize| {
        let neighbor = &neighbors.neighbors[at];
        !(neighbor.distance.is_finite() && neighbor.distance >= 0.0 && (neighbor.id as usize) < n)
    };
    if let Some(at) = (0..neighbors.neighbors.len()).find(|&at| invalid(at)) {
        let neighbor = neighbors.neighbors[at];
        return Err(Error::invalid(
            "features",
            "neighbours at finite distances",
            format!("row {} at {}", neighbor.id, neighbor.distance),
            hint,
        ));
    }
    Ok(n)
}

/// Initial positions: `start` times `factor`, plus Gaussian noise with standard deviation `noise` that separates copies.
pub(super) fn initial_positions(start: &[f32], factor: f64, noise: f64, seed: u64) -> Vec<f32> {
    let random = StdRng::seed_from_u64(seed).sample_iter(StandardNormal);
    (start.iter().zip(random))
        .map(|(&value, random): (&f32, f64)| (f64::from(value) * factor + noise * random) as f32)
        .collect()
}

/// Increment of the state of SplitMix64 (Steele et al. 2014).
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Output function of SplitMix64: 64 well-mixed bits of `state`.
#[inline(always)]
pub fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::neighbors::Neighbor;

    #[test]
    fn noise_depends_only_on_the_seed() {
        let start = vec![1.0; 20_000];
        let noisy = initial_positions(&start, 2.0, 0.5, 7);
        let mean = noisy.iter().sum::<f32>() / 2e4;
        let variance = noisy.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 2e4;
        assert!((mean - 2.0).abs() < 0.01 && (variance - 0.25).abs() < 0.01);
        assert_eq!(initial_positions(&start, 2.0, 0.5, 7), noisy);
        assert_ne!(initial_positions(&start, 2.0, 0.5, 8), noisy);
    }

    #[test]
    fn invalid_neighbours_and_positions_are_refused() {
        let graph = |id, distance| Graph {
            k: 1,
            neighbors: vec![
                Neighbor { id, distance },
                Neighbor {
                    id: 0,
                    distance: 1.0,
                },
            ],
        };
        let start = [0.0, 0.0, 1.0, 0.0];
        assert_eq!(check(&graph(1, 1.0), &start).unwrap(), 2);
        for (graph, start) in [
            (graph(2, 1.0), &start[..]),
            (graph(1, f32::NAN), &start[..]),
            (graph(1, -1.0), &start[..]),
            (graph(1, 1.0), &[0.0, 0.0, f32::INFINITY, 0.0][..]),
            (graph(1, 1.0), &[0.0; 6][..]),
            (graph(1, 1.0), &[0.0; 5][..]),
        ] {
            let message = check(&graph, start).unwrap_err().to_string();
            assert!(message.starts_with("features: expected"), "{message}");
        }
    }
}
