//! t-SNE (van der Maaten & Hinton 2008) with a Barnes-Hut tree (van der Maaten 2014).
//!
//! The gradient descent follows openTSNE with its defaults: 250 epochs with twelvefold exaggeration, 500 without; learning rate n
//! divided by the exaggeration (Belkina et al. 2019); momentum 0.8; gains; steps of at most 5; initialised with the first two
//! principal components (Kobak & Berens 2019). The tree is from the crate `barnes-hut-tree`.
//!
//! The map is bit-identical for the same neighbours, start and seed, on any number of threads.

mod affinities;
#[cfg(test)]
mod tests;

use barnes_hut_tree::{Dim, Morton};
use prospect_common::Result;
use rayon::prelude::*;

use self::affinities::{Affinities, Tree, position, repulsion, squared_distance};
use super::layout::{self, Epoch, Layout};
use crate::space::neighbors::Graph;

/// Epochs with exaggeration, and in total.
const EXAGGERATED_EPOCHS: usize = 250;
const EPOCHS: usize = 750;
/// Factor of the affinities in the first epochs.
const EXAGGERATION: f32 = 12.0;
const MOMENTUM: f32 = 0.8;
/// Increment and decay of the gains, and the minimum added after decay.
const GAIN_UP: f32 = 0.2;
const GAIN_DOWN: f32 = 0.8;
const MIN_GAIN: f32 = 0.01;
/// Maximum step of a point per epoch.
const MAX_STEP: f32 = 5.0;
/// Opening angle by half widths; 0.5 by full widths.
const THETA: f32 = 0.25;
/// Initial standard deviation of the first coordinate, and that of the noise relative to it.
const START: f64 = 1e-4;
const NOISE: f64 = 0.01;

/// Parameters of t-SNE.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TsneSettings {
    /// Perplexity.
    pub perplexity: f64,
    /// Seed of the initial noise.
    pub seed: u64,
}

/// Neighbours required per point: three times the perplexity, at most n - 1.
pub fn neighbors_needed(n: usize, perplexity: f64) -> usize {
    ((3.0 * perplexity) as usize)
        .max(1)
        .min(n.saturating_sub(1))
}

/// Computes a t-SNE layout.
///
/// `start` holds the points' first two principal components, `[n, 2]`, of any scale. With fewer neighbours than
/// [`neighbors_needed`], the perplexity is lowered to a third of their number, as in openTSNE. A single point, or points with
/// equal first coordinates in `start`, stay at the origin.
pub fn tsne(
    neighbors: &Graph,
    start: &[f32],
    settings: &TsneSettings,
    epoch: Epoch,
) -> Result<Layout> {
    let n = layout::check(neighbors, start)?;
    let spread = first_deviation(start);
    if n < 2 || spread == 0.0 {
        return Ok(Layout::degenerate(n));
    }
    let (k, perplexity) = effective(neighbors, n, settings.perplexity);
    let affinities = Affinities::new(neighbors, k, perplexity);
    let mut descent = Descent::new(layout::initial_positions(
        start,
        START / spread,
        START * NOISE,
        settings.seed,
    ));
    for done in 0..EPOCHS {
        descent.step(
            &affinities,
            if done < EXAGGERATED_EPOCHS {
                EXAGGERATION
            } else {
                1.0
            },
        );
        epoch(done + 1, EPOCHS)?;
    }
    Ok(Layout {
        kl: Some(affinities.divergence(&descent.xy)),
        xy: descent.xy,
        perplexity: Some(perplexity),
        epochs: EPOCHS,
    })
}

/// The objective of t-SNE for any map `xy`, `[n, 2]`, of points with these neighbours; `None` for fewer than two points.
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

/// Neighbours to use, and the perplexity that they allow.
fn effective(neighbors: &Graph, n: usize, perplexity: f64) -> (usize, f64) {
    let required = (3.0 * perplexity) as usize;
    let k = neighbors_needed(n, perplexity).min(neighbors.k);
    let perplexity = if k < required {
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

/// State of the gradient descent.
struct Descent {
    /// `[n, 2]`, like the next two.
    xy: Vec<f32>,
    velocity: Vec<f32>,
    gains: Vec<f32>,
    /// Positions before the current step.
    before: Vec<f32>,
    /// Result of [`repulsion`] for each point.
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

    /// One step of gradient descent with openTSNE's gradient `Σ_j (exaggeration P_ij - q_ij / Z) q_ij (y_i - y_j)`, which
    /// leaves the factor 4 to the learning rate.
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
        // 0 if all positions coincide.
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
            .for_each(|(i, (((own, velocity), gains), repulsion))| {
                let mut gradient = attraction(affinities, before, i);
                for axis in 0..2 {
                    gradient[axis] = exaggeration * gradient[axis] - repulsion[axis] * per_pair;
                    gains[axis] = if (velocity[axis] > 0.0) != (gradient[axis] > 0.0) {
                        gains[axis] + GAIN_UP
                    } else {
                        gains[axis] * GAIN_DOWN + MIN_GAIN
                    };
                    velocity[axis] =
                        MOMENTUM * velocity[axis] - learning_rate * gains[axis] * gradient[axis];
                }
                let length = velocity[0].hypot(velocity[1]);
                for axis in 0..2 {
                    if length > MAX_STEP {
                        velocity[axis] *= MAX_STEP / length;
                    }
                    own[axis] += velocity[axis];
                }
            });
        centre(&mut self.xy);
    }
}

/// `Σ_j P_ij q_ij (y_i - y_j)`.
fn attraction(affinities: &Affinities, xy: &[f32], i: usize) -> [f32; 2] {
    let own = position(xy, i);
    let mut sum = [0.0; 2];
    for &(j, p) in affinities.rows.row(i) {
        let other = position(xy, j as usize);
        let weight = p / (1.0 + squared_distance(own, other));
        sum[0] += weight * (own[0] - other[0]);
        sum[1] += weight * (own[1] - other[1]);
    }
    sum
}

/// Moves the points' mean to the origin.
fn centre(xy: &mut [f32]) {
    let n = (xy.len() / 2) as f64;
    let sum = (xy.chunks_exact(2)).fold([0f64; 2], |sum, position| {
        [
            sum[0] + f64::from(position[0]),
            sum[1] + f64::from(position[1]),
        ]
    });
    let mean = sum.map(|sum| (sum / n) as f32);
    xy.par_chunks_mut(2).for_each(|position| {
        position[0] -= mean[0];
        position[1] -= mean[1];
    });
}
