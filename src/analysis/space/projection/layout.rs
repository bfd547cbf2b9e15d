//! What the layouts by neighbourhoods share: where they start, how they say how far they are, what they return.
//!
//! Nothing here or in them depends on the number of threads: every sum over points is taken in their order, and random
//! numbers are functions of the seed and of what they are for, not of a stream that threads draw from.

use prospect_common::{Error, Result};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;

use crate::space::neighbors::Graph;

/// Called from the calling thread after every epoch with how many are done and how many there will be; its error stops
/// the optimisation and is returned.
pub type Epoch<'a> = &'a mut dyn FnMut(usize, usize) -> Result<()>;

/// A map in the plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// `[n, 2]`, row-major.
    pub xy: Vec<f32>,
    /// Kullback-Leibler divergence of the map's affinities from the points', in nats; t-SNE's alone.
    pub kl: Option<f64>,
    /// The perplexity that was used: less than asked for where there are not enough neighbours; t-SNE's alone.
    pub perplexity: Option<f64>,
    /// Epochs that were run; 0 where there was nothing to lay out.
    pub epochs: usize,
}

impl Fitted {
    /// Everything at the origin: too few points, or no spread to start from.
    pub(super) fn degenerate(n: usize) -> Fitted {
        Fitted {
            xy: vec![0.0; 2 * n],
            kl: None,
            perplexity: None,
            epochs: 0,
        }
    }
}

/// The number of points, once the starting places `[n, 2]` and the neighbours are found to be usable.
pub(super) fn check(neighbors: &Graph, start: &[f32]) -> Result<usize> {
    let n = start.len() / 2;
    let next = "remove the images whose features are not finite";
    if !start.len().is_multiple_of(2) || (n > 1 && neighbors.rows() != n) {
        return Err(Error::invalid(
            "features",
            format!("neighbours of {n} points"),
            format!("those of {}", neighbors.rows()),
            "run the stage project again",
        ));
    }
    if let Some(at) = start.iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(
            "features",
            "finite principal components",
            format!("{} in row {}", start[at], at / 2),
            next,
        ));
    }
    let bad = |at: usize| {
        let neighbor = &neighbors.neighbors[at];
        !(neighbor.distance.is_finite() && neighbor.distance >= 0.0 && (neighbor.id as usize) < n)
    };
    if let Some(at) = (0..neighbors.neighbors.len()).find(|&at| bad(at)) {
        let neighbor = neighbors.neighbors[at];
        return Err(Error::invalid(
            "features",
            "neighbours at finite distances",
            format!("row {} at {}", neighbor.id, neighbor.distance),
            next,
        ));
    }
    Ok(n)
}

/// `start` times `factor` plus Gaussian noise of standard deviation `noise`, which takes copies of one point apart.
pub(super) fn places(start: &[f32], factor: f64, noise: f64, seed: u64) -> Vec<f32> {
    let random = StdRng::seed_from_u64(seed).sample_iter(StandardNormal);
    (start.iter().zip(random))
        .map(|(&value, random): (&f32, f64)| (f64::from(value) * factor + noise * random) as f32)
        .collect()
}

/// Step of Steele et al. 2014's SplitMix64, by which its state advances.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function: 64 well-mixed bits of `state`.
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
    fn noise_depends_on_the_seed_alone() {
        let start = vec![1.0; 20_000];
        let noisy = places(&start, 2.0, 0.5, 7);
        let mean = noisy.iter().sum::<f32>() / 2e4;
        let variance = noisy.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 2e4;
        assert!((mean - 2.0).abs() < 0.01 && (variance - 0.25).abs() < 0.01);
        assert_eq!(places(&start, 2.0, 0.5, 7), noisy);
        assert_ne!(places(&start, 2.0, 0.5, 8), noisy);
    }

    #[test]
    fn what_is_not_finite_or_does_not_fit_is_refused() {
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
