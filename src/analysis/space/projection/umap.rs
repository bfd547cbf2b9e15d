//! UMAP (McInnes et al. 2018).
//!
//! Memberships, forces, learning rates and epochs follow umap-learn with its defaults, with two differences. The layout is
//! initialised with the first two principal components. And umap-learn samples pairs sequentially and moves both ends at
//! once, whereas here the pairs are split into sweeps, in each of which all points move independently, towards their
//! partners' previous positions. So points can be processed in parallel, and the map is bit-identical for the same
//! neighbours, start and seed, on any number of threads. With too few sweeps partners overshoot and clusters break up; with
//! these, maps match umap-learn's.

mod curve;
mod fuzzy;
#[cfg(test)]
mod tests;

use prospect_common::Result;
use rayon::prelude::*;

use self::curve::{Curve, Force};
use super::layout::{self, Epoch, GOLDEN, Layout, mix};
use crate::space::neighbors::Graph;

/// Epochs for small and large numbers of points.
const EPOCHS: usize = 500;
const EPOCHS_LARGE: usize = 200;
const LARGE: usize = 10_000;
/// Sweeps per epoch: in each, a point samples about half a pair.
const SWEEPS: usize = 16;
/// Negative samples per sampled pair.
const NEGATIVE_SAMPLES: usize = 5;
/// Limit of a move in either coordinate.
const MAX_MOVE: f32 = 4.0;
/// Largest initial coordinate, and standard deviation of the initial noise.
const START: f64 = 5.0;
const NOISE: f64 = 1e-4;
/// Minimum points per task.
const TASK: usize = 64;

/// Parameters of UMAP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UmapSettings {
    /// Number of neighbours including the point itself, as in umap-learn.
    pub n_neighbors: usize,
    /// Distance in the map up to which the membership is 1; the spread is 1.
    pub min_dist: f64,
    /// Seed of the initial noise and the negative samples.
    pub seed: u64,
}

/// Computes a UMAP layout.
///
/// `neighbors` holds at least the `n_neighbors` - 1 nearest neighbours of each point; more are ignored. `start` holds the
/// points' first two principal components, `[n, 2]`, of any scale. A single point, or points whose `start` is all zero, stay
/// at the origin.
pub fn umap(
    neighbors: &Graph,
    start: &[f32],
    settings: &UmapSettings,
    epoch: Epoch,
) -> Result<Layout> {
    let n = layout::check(neighbors, start)?;
    let largest = start
        .iter()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    if n < 2 || largest == 0.0 {
        return Ok(Layout::degenerate(n));
    }
    let epochs = if n <= LARGE { EPOCHS } else { EPOCHS_LARGE };
    let k = neighbors.k.min(settings.n_neighbors.saturating_sub(1));
    let sweeps = fuzzy::memberships(neighbors, k, epochs).split(SWEEPS);
    let curve = Curve::fit(settings.min_dist);
    let forces = Forces {
        attraction: curve.attraction(),
        repulsion: curve.repulsion(),
    };
    let start = layout::initial_positions(start, START / f64::from(largest), NOISE, settings.seed);
    let mut before: Vec<[f32; 2]> = start.as_chunks().0.to_vec();
    let mut after = before.clone();
    for done in 0..epochs {
        for (pairs, index) in sweeps.iter().zip(0..) {
            let time = (done * SWEEPS + index + 1) as u64;
            let sweep = Sweep {
                epoch: done as u64,
                rate: 1.0 - done as f32 / epochs as f32,
                seed: mix(settings.seed.wrapping_add(time.wrapping_mul(GOLDEN))),
            };
            (after.par_iter_mut().with_min_len(TASK).enumerate()).for_each(|(i, position)| {
                *position = forces.moved(pairs.row(i), &before, i, &sweep)
            });
            std::mem::swap(&mut before, &mut after);
        }
        epoch(done + 1, epochs)?;
    }
    Ok(Layout {
        xy: before.into_flattened(),
        kl: None,
        perplexity: None,
        epochs,
    })
}

/// One sweep of one epoch.
struct Sweep {
    epoch: u64,
    /// Learning rate, which decreases from 1 to 0.
    rate: f32,
    /// Seed of the sweep's negative samples.
    seed: u64,
}

struct Forces {
    attraction: Force,
    repulsion: Force,
}

impl Forces {
    /// The position of point `i` after one sweep with the partners `pairs`, all other points being fixed.
    fn moved(
        &self,
        pairs: &[(u32, f32)],
        positions: &[[f32; 2]],
        i: usize,
        sweep: &Sweep,
    ) -> [f32; 2] {
        let mut own = positions[i];
        let mut random = mix(sweep.seed ^ i as u64);
        for &(j, strength) in pairs {
            if !is_sampled(strength, sweep.epoch) {
                continue;
            }
            // Twice, since umap-learn samples a pair from either end and moves both ends each time.
            let force = self.attraction.between(own, positions[j as usize]);
            shift(&mut own, force, 2.0 * sweep.rate);
            for _ in 0..NEGATIVE_SAMPLES {
                random = random.wrapping_add(GOLDEN);
                let other = ((u128::from(mix(random)) * positions.len() as u128) >> 64) as usize;
                if other != i {
                    let force = self.repulsion.between(own, positions[other]);
                    shift(&mut own, force, sweep.rate);
                }
            }
        }
        own
    }
}

/// Whether a pair of this strength, in 0..=1, is sampled in the epoch: in a fraction `strength` of all epochs, evenly spaced. In
/// integers, as a fraction of 2³¹, rounded up so that the weakest kept pairs are sampled once.
#[inline(always)]
fn is_sampled(strength: f32, epoch: u64) -> bool {
    let part = (strength * (1u32 << 31) as f32) as u64 + 1;
    let rest = (epoch * part) & ((1 << 31) - 1);
    rest + part >= 1 << 31
}

#[inline(always)]
fn shift(position: &mut [f32; 2], by: [f32; 2], factor: f32) {
    position[0] += factor * by[0];
    position[1] += factor * by[1];
}

impl Force {
    /// Force on a point at `own` from one at `other`; zero if they coincide.
    #[inline(always)]
    fn between(&self, own: [f32; 2], other: [f32; 2]) -> [f32; 2] {
        let difference = [own[0] - other[0], own[1] - other[1]];
        let squared = difference[0] * difference[0] + difference[1] * difference[1];
        let factor = self.at(squared);
        difference.map(|difference| (factor * difference).clamp(-MAX_MOVE, MAX_MOVE))
    }
}
