//! UMAP (McInnes et al. 2018).
//!
//! Memberships, forces, rates and epochs are umap-learn's with its defaults, but for two things. It starts from the first
//! two principal components. And where umap-learn draws one pair after the other and moves both ends at once, here the
//! pairs are dealt into sweeps, in each of which every point moves by itself, towards where its partners stood before:
//! so points do not wait for each other, and the same neighbours, start and seed give the same map, bit for bit, on any
//! number of threads. With few sweeps partners overshoot together and clusters are thrown apart; with these the map is as
//! umap-learn's.

mod curve;
mod fuzzy;
#[cfg(test)]
mod tests;

use prospect_common::Result;
use rayon::prelude::*;

use self::curve::{Curve, Force};
use super::layout::{self, Epoch, Fitted, GOLDEN, mix};
use crate::space::neighbors::Graph;

/// Epochs up to and beyond so many points.
const EPOCHS: usize = 500;
const EPOCHS_OF_MANY: usize = 200;
const MANY: usize = 10_000;
/// Sweeps of an epoch: a point draws about half a pair in each.
const SWEEPS: usize = 16;
/// Random points that push a point away each time that one draws it.
const PUSHES: usize = 5;
/// Moves are cut to this in either coordinate.
const MAX_MOVE: f32 = 4.0;
/// Largest coordinate at the start, and standard deviation of the noise.
const START: f64 = 5.0;
const NOISE: f64 = 1e-4;
/// Points that a thread takes at a time, at least.
const TASK: usize = 64;

/// What the map depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UmapSettings {
    /// Neighbours that a point has, itself being one of them, as umap-learn counts.
    pub n_neighbors: usize,
    /// Distance in the map up to which points belong together entirely; the scale is 1.
    pub min_dist: f64,
    /// Of the noise at the start and of the random points.
    pub seed: u64,
}

/// Lays points out so that those which belong together stand together.
///
/// `neighbors`: of each point its `n_neighbors` - 1 nearest at least; more are ignored. `start`: `[n, 2]`, the points' first
/// two principal components, of any scale. A single point, and points whose starting places are all zero, stay at the
/// origin.
pub fn umap(
    neighbors: &Graph,
    start: &[f32],
    settings: &UmapSettings,
    epoch: Epoch,
) -> Result<Fitted> {
    let n = layout::check(neighbors, start)?;
    let largest = start
        .iter()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    if n < 2 || largest == 0.0 {
        return Ok(Fitted::degenerate(n));
    }
    let epochs = if n <= MANY { EPOCHS } else { EPOCHS_OF_MANY };
    let k = neighbors.k.min(settings.n_neighbors.saturating_sub(1));
    let sweeps = fuzzy::memberships(neighbors, k, epochs).dealt(SWEEPS);
    let curve = Curve::fit(settings.min_dist);
    let forces = Forces {
        attraction: curve.attraction(),
        repulsion: curve.repulsion(),
    };
    let start = layout::places(start, START / f64::from(largest), NOISE, settings.seed);
    let mut before: Vec<[f32; 2]> = start.as_chunks().0.to_vec();
    let mut after = before.clone();
    for done in 0..epochs {
        for (pairs, sweep) in sweeps.iter().zip(0..) {
            let time = (done * SWEEPS + sweep + 1) as u64;
            let now = Moment {
                epoch: done as u64,
                rate: 1.0 - done as f32 / epochs as f32,
                seed: mix(settings.seed.wrapping_add(time.wrapping_mul(GOLDEN))),
            };
            (after.par_iter_mut().with_min_len(TASK).enumerate())
                .for_each(|(i, place)| *place = forces.moved(pairs.row(i), &before, i, &now));
            std::mem::swap(&mut before, &mut after);
        }
        epoch(done + 1, epochs)?;
    }
    Ok(Fitted {
        xy: before.into_flattened(),
        kl: None,
        perplexity: None,
        epochs,
    })
}

/// One sweep of one epoch.
struct Moment {
    epoch: u64,
    /// What moves are multiplied by; it falls from 1 to 0.
    rate: f32,
    /// Of this sweep's random points.
    seed: u64,
}

struct Forces {
    attraction: Force,
    repulsion: Force,
}

impl Forces {
    /// Where point `i` goes in one sweep, all others staying. `pairs`: its partners in it.
    fn moved(&self, pairs: &[(u32, f32)], places: &[[f32; 2]], i: usize, now: &Moment) -> [f32; 2] {
        let mut here = places[i];
        let mut random = mix(now.seed ^ i as u64);
        for &(j, strength) in pairs {
            if !is_drawn(strength, now.epoch) {
                continue;
            }
            // Twice: umap-learn draws a pair from either end, and moves both ends each time.
            let pull = self.attraction.between(here, places[j as usize]);
            shift(&mut here, pull, 2.0 * now.rate);
            for _ in 0..PUSHES {
                random = random.wrapping_add(GOLDEN);
                let other = ((u128::from(mix(random)) * places.len() as u128) >> 64) as usize;
                if other != i {
                    let push = self.repulsion.between(here, places[other]);
                    shift(&mut here, push, now.rate);
                }
            }
        }
        here
    }
}

/// Whether the epoch is one of those in which a pair of this strength, up to 1, is drawn: a share `strength` of them, evenly
/// spaced. In whole numbers, as a fraction of 2³¹, rounded up so that the weakest pairs that are kept are drawn once.
#[inline(always)]
fn is_drawn(strength: f32, epoch: u64) -> bool {
    let part = (strength * (1u32 << 31) as f32) as u64 + 1;
    let rest = (epoch * part) & ((1 << 31) - 1);
    rest + part >= 1 << 31
}

#[inline(always)]
fn shift(place: &mut [f32; 2], by: [f32; 2], times: f32) {
    place[0] += times * by[0];
    place[1] += times * by[1];
}

impl Force {
    /// On a point `here` from one `there`; none where the places agree.
    #[inline(always)]
    fn between(&self, here: [f32; 2], there: [f32; 2]) -> [f32; 2] {
        let difference = [here[0] - there[0], here[1] - there[1]];
        let squared = difference[0] * difference[0] + difference[1] * difference[1];
        let factor = self.at(squared);
        difference.map(|difference| (factor * difference).clamp(-MAX_MOVE, MAX_MOVE))
    }
}
