//! t-SNE (van der Maaten & Hinton 2008) with a Barnes-Hut tree (van der Maaten 2014).
//!
//! The gradient descent is openTSNE's with its defaults: 250 epochs with the affinities exaggerated twelvefold, 500
//! without; learning rate n over the exaggeration (Belkina et al. 2019); momentum 0.8; gains; steps no longer than 5; from
//! the first two principal components (Kobak & Berens 2019). The tree is the crate `barnes-hut-tree`'s.
//!
//! The same neighbours, start and seed give the same map, bit for bit, on any number of threads.

mod affinities;
#[cfg(test)]
mod tests;

use barnes_hut_tree::{Dim, Morton};
use prospect_common::Result;
use rayon::prelude::*;

use self::affinities::{Affinities, Tree, place, repulsion, squared_distance};
use super::layout::{self, Epoch, Fitted};
use crate::space::neighbors::Graph;

/// Epochs with and without exaggeration.
const EARLY: usize = 250;
const EPOCHS: usize = 750;
/// What the affinities are multiplied by at first.
const EXAGGERATION: f32 = 12.0;
const MOMENTUM: f32 = 0.8;
/// Gains grow by the one and shrink by the other, towards the third.
const GAIN_UP: f32 = 0.2;
const GAIN_DOWN: f32 = 0.8;
const GAIN_LEAST: f32 = 0.01;
/// No point moves farther in one epoch.
const MAX_STEP: f32 = 5.0;
/// Opening angle by half widths, what is 0.5 by whole ones.
const THETA: f32 = 0.25;
/// Standard deviation of the first coordinate at the start, and of the noise as a share of it.
const START: f64 = 1e-4;
const NOISE: f64 = 0.01;

/// What the map depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TsneSettings {
    /// How many neighbours a point has, as it were.
    pub perplexity: f64,
    /// Of the noise at the start.
    pub seed: u64,
}

/// Neighbours that t-SNE wants of each of `n` points: three times the perplexity, as far as there are so many.
pub fn neighbors_needed(n: usize, perplexity: f64) -> usize {
    ((3.0 * perplexity) as usize)
        .max(1)
        .min(n.saturating_sub(1))
}

/// Lays points out so that neighbours stay neighbours.
///
/// `start`: `[n, 2]`, the points' first two principal components, of any scale. With fewer neighbours than the perplexity
/// asks for ([`neighbors_needed`]) it is lowered to a third of their number, as openTSNE does. A single point, and points
/// whose starting places all agree, stay at the origin.
pub fn tsne(
    neighbors: &Graph,
    start: &[f32],
    settings: &TsneSettings,
    epoch: Epoch,
) -> Result<Fitted> {
    let n = layout::check(neighbors, start)?;
    let spread = first_deviation(start);
    if n < 2 || spread == 0.0 {
        return Ok(Fitted::degenerate(n));
    }
    let (k, perplexity) = effective(neighbors, n, settings.perplexity);
    let affinities = Affinities::new(neighbors, k, perplexity);
    let mut descent = Descent::new(layout::places(
        start,
        START / spread,
        START * NOISE,
        settings.seed,
    ));
    for done in 0..EPOCHS {
        descent.step(&affinities, if done < EARLY { EXAGGERATION } else { 1.0 });
        epoch(done + 1, EPOCHS)?;
    }
    Ok(Fitted {
        kl: Some(affinities.divergence(&descent.xy)),
        xy: descent.xy,
        perplexity: Some(perplexity),
        epochs: EPOCHS,
    })
}

/// What t-SNE minimises, of any map `xy`, `[n, 2]`, of points with these neighbours; `None` for fewer than two points.
pub fn kl_divergence(neighbors: &Graph, perplexity: f64, xy: &[f32]) -> Result<Option<f64>> {
    let n = layout::check(neighbors, xy)?;
    if n < 2 {
        return Ok(None);
    }
    let (k, perplexity) = effective(neighbors, n, perplexity);
    Ok(Some(
        Affinities::new(neighbors, k, perplexity).divergence(xy),
    ))
}

/// Neighbours to use and the perplexity that they allow.
fn effective(neighbors: &Graph, n: usize, perplexity: f64) -> (usize, f64) {
    let wanted = (3.0 * perplexity) as usize;
    let k = neighbors_needed(n, perplexity).min(neighbors.k);
    let perplexity = if k < wanted {
        k as f64 / 3.0
    } else {
        perplexity
    };
    (k, perplexity)
}

/// Standard deviation (over n) of the first of two coordinates.
fn first_deviation(start: &[f32]) -> f64 {
    let n = (start.len() / 2) as f64;
    let first = || start.iter().step_by(2).map(|&value| f64::from(value));
    let mean = first().sum::<f64>() / n;
    (first().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// Where the points are and how they move.
struct Descent {
    /// `[n, 2]`, and so are the next two.
    xy: Vec<f32>,
    velocity: Vec<f32>,
    gains: Vec<f32>,
    /// Where they were when the forces were summed.
    before: Vec<f32>,
    /// Of each point: see [`repulsion`].
    repulsion: Vec<[f32; 3]>,
    tree: Tree,
}

impl Descent {
    fn new(xy: Vec<f32>) -> Descent {
        Descent {
            velocity: vec![0.0; xy.len()],
            gains: vec![1.0; xy.len()],
            before: xy.clone(),
            repulsion: vec![[0.0; 3]; xy.len() / 2],
            tree: Tree::empty(),
            xy,
        }
    }

    /// One step of gradient descent: `Σ_j (exaggeration P_ij - q_ij / Z) q_ij (y_i - y_j)`, openTSNE's gradient, which leaves
    /// the factor 4 to the learning rate.
    fn step(&mut self, affinities: &Affinities, exaggeration: f32) {
        let n = self.xy.len() / 2;
        let learning_rate = n as f32 / exaggeration;
        self.before.copy_from_slice(&self.xy);
        let before = &self.before;
        self.tree.rebuild_uniform(before);
        let tree = &self.tree;
        (self.repulsion.par_iter_mut().enumerate())
            .for_each_init(<Dim<2> as Morton<2>>::empty_stack, |stack, (i, out)| {
                *out = repulsion(tree, before, i, THETA, stack.as_mut())
            });
        let normaliser: f64 = (self.repulsion.iter())
            .map(|forces| f64::from(forces[2]))
            .sum();
        // Where all places agree nothing repels.
        let per_pair = if normaliser > 0.0 {
            (1.0 / normaliser) as f32
        } else {
            0.0
        };
        (self.xy.par_chunks_mut(2))
            .zip(self.velocity.par_chunks_mut(2))
            .zip(self.gains.par_chunks_mut(2))
            .zip(&self.repulsion)
            .enumerate()
            .for_each(|(i, (((here, velocity), gains), repulsion))| {
                let mut gradient = attraction(affinities, before, i);
                for axis in 0..2 {
                    gradient[axis] = exaggeration * gradient[axis] - repulsion[axis] * per_pair;
                    gains[axis] = if (velocity[axis] > 0.0) != (gradient[axis] > 0.0) {
                        gains[axis] + GAIN_UP
                    } else {
                        gains[axis] * GAIN_DOWN + GAIN_LEAST
                    };
                    velocity[axis] =
                        MOMENTUM * velocity[axis] - learning_rate * gains[axis] * gradient[axis];
                }
                let length = velocity[0].hypot(velocity[1]);
                for axis in 0..2 {
                    if length > MAX_STEP {
                        velocity[axis] *= MAX_STEP / length;
                    }
                    here[axis] += velocity[axis];
                }
            });
        centre(&mut self.xy);
    }
}

/// `Σ_j P_ij q_ij (y_i - y_j)`.
fn attraction(affinities: &Affinities, xy: &[f32], i: usize) -> [f32; 2] {
    let here = place(xy, i);
    let mut sum = [0.0; 2];
    for &(j, p) in affinities.rows.row(i) {
        let there = place(xy, j as usize);
        let weight = p / (1.0 + squared_distance(here, there));
        sum[0] += weight * (here[0] - there[0]);
        sum[1] += weight * (here[1] - there[1]);
    }
    sum
}

/// Moves the points' mean to the origin.
fn centre(xy: &mut [f32]) {
    let n = (xy.len() / 2) as f64;
    let sum = (xy.chunks_exact(2)).fold([0f64; 2], |sum, place| {
        [sum[0] + f64::from(place[0]), sum[1] + f64::from(place[1])]
    });
    let mean = sum.map(|sum| (sum / n) as f32);
    xy.par_chunks_mut(2).for_each(|place| {
        place[0] -= mean[0];
        place[1] -= mean[1];
    });
}
