//! Multinomial logistic regression with an L2 penalty, for all folds of a cross-validation at once.
//!
//! Fold `f` minimises `Σ w_i·CE(softmax(W x_i + b), y_i) / Σ w_i + l2/2·|W|²` over the rows of the other folds; the intercept `b`
//! is not penalised. (scikit-learn's C is `1 / (l2·Σ w_i)`.) All folds share each pass over the rows: a block's logits are one
//! product with the concatenated weights of the folds, which also gives each fold's predictions for its held-out rows.
//!
//! L-BFGS runs in the coordinates `u = Uθ`, where `UᵀU = c·Cov(x) + l2·I` is the Hessian at equal class probabilities (Böhning
//! 1992, with class frequencies in place of his bound). On the CPU every product runs on one thread, and the order of sums
//! depends on the rows only, so the result does not depend on the number of threads.

mod features;
mod lbfgs;
mod pass;
mod predict;
mod problem;
#[cfg(test)]
mod tests;

use prospect_common::Result;
use tch::{TchError, Tensor};

use self::{
    features::torch,
    lbfgs::{Minimiser, Preconditioner},
    pass::{HeldOut, Rows},
    predict::dot,
};
use super::products::one_thread_each;

pub use self::{
    features::{Blocks, Features, Visit},
    predict::{Model, NO_FOLD, Predictor, predict},
    problem::{L2, Problem, Settings, UNLABELLED},
};

/// The strongest L2 penalty, relative to the features' total variance, and the maximum number of penalties; each is 10^-0.5 times
/// the previous one.
const STRONGEST_PENALTY: f64 = 1.0;
pub const MAX_PENALTIES: usize = 15;
/// The search ends when the log-loss exceeds the best one by this factor.
const STOP_RATIO: f64 = 1.01;
/// Intercept of a class without training rows in a fold: its probability and gradient are exactly 0 in float32.
const ABSENT_BIAS: f64 = -1e4;

/// Result of [`fit`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The penalty of `models`.
    pub l2: f64,
    /// All penalties tried, the strongest first.
    pub trials: Vec<PenaltyTrial>,
    /// One per fold, trained on the rows of the other folds.
    pub models: Vec<Model>,
}

/// Performance of a penalty on held-out rows, weighted as in training. Rows of a class without training rows in their fold are
/// excluded.
#[derive(Debug, Clone, PartialEq)]
pub struct PenaltyTrial {
    pub l2: f64,
    /// In nats; NaN without held-out rows.
    pub log_loss: f64,
    pub accuracy: f64,
    /// Passes over the rows.
    pub passes: usize,
    /// Whether all folds reached the tolerance before a limit.
    pub converged: bool,
}

/// Progress, reported after every pass over the rows.
pub struct Progress {
    pub l2: f64,
    /// Number of finished penalties.
    pub penalties_done: usize,
    /// Number of passes so far, over all penalties.
    pub passes: usize,
    /// Number of finished folds of the current penalty.
    pub folds_done: usize,
}

/// Fits a model per fold. An error of `tick` stops it.
///
/// # Errors
/// Labels, weights or folds that do not match the rows or are out of range; failures of libtorch, such as lack of memory.
pub fn fit(
    features: &Features,
    problem: &Problem,
    settings: &Settings,
    tick: &dyn Fn(&Progress) -> Result<()>,
) -> Result<Fit> {
    problem.check(features, settings)?;
    let _guard = tch::no_grad_guard();
    one_thread_each(|| Run::new(features, problem, settings, tick)?.all())
}

/// One call of [`fit`].
struct Run<'a> {
    features: &'a Features<'a>,
    settings: &'a Settings<'a>,
    tick: &'a dyn Fn(&Progress) -> Result<()>,
    rows: Rows<'a>,
    classes: usize,
    /// One per fold: weights, then the intercepts of the centred features, `[dimension + 1, classes]`.
    theta: Vec<Tensor>,
    /// Mean of `p (1 - p)` over images, with the class frequencies `p`.
    curvature: f64,
    passes: usize,
    trials: Vec<PenaltyTrial>,
}

impl<'a> Run<'a> {
    fn new(
        features: &'a Features<'a>,
        problem: &'a Problem<'a>,
        settings: &'a Settings<'a>,
        tick: &'a dyn Fn(&Progress) -> Result<()>,
    ) -> Result<Run<'a>> {
        let rows = Rows::new(problem);
        let (d, k) = (features.dimension(), problem.classes);
        let mean = features.mean()?;
        let mut theta = Vec::new();
        let mut curvature: f64 = 0.0;
        for (fold, frequencies) in rows.class_frequencies().iter().enumerate() {
            let mut values = vec![0f32; (d + 1) * k];
            let start = settings.start.map(|models| &models[fold]);
            for (class, frequency) in frequencies.iter().enumerate() {
                curvature += frequency * frequency * (1.0 - frequency) / f64::from(problem.n_folds);
                let at = d * k + class;
                if *frequency == 0.0 {
                    values[at] = ABSENT_BIAS as f32;
                    continue;
                }
                values[at] = frequency.ln() as f32;
                let Some(model) = start.filter(|m| f64::from(m.bias[class]) > ABSENT_BIAS / 2.0)
                else {
                    continue;
                };
                let weights = &model.weights[class * d..(class + 1) * d];
                values[at] = (f64::from(model.bias[class]) + dot(weights, &mean)) as f32;
                let column = values[class..].iter_mut().step_by(k);
                column.zip(weights).for_each(|(to, from)| *to = *from);
            }
            let upload = |values: &[f32]| {
                Tensor::f_from_slice(values)?
                    .f_reshape([d as i64 + 1, k as i64])?
                    .f_to_device(features.device())
            };
            theta.push(upload(&values).map_err(|error| torch(&error))?);
        }
        Ok(Run {
            features,
            settings,
            tick,
            rows,
            classes: k,
            theta,
            curvature: curvature.max(1e-6),
            passes: 0,
            trials: Vec::new(),
        })
    }

    fn all(mut self) -> Result<Fit> {
        let scale = self.features.variance();
        let l2 = match self.settings.l2 {
            L2::Fixed(l2) => {
                self.minimise(l2)?;
                l2
            }
            L2::Search => {
                let mut best: Option<(f64, f64, Vec<Tensor>)> = None;
                for step in 0..MAX_PENALTIES {
                    let l2 = scale * STRONGEST_PENALTY * 10f64.powf(-(step as f64) / 2.0);
                    let log_loss = self.minimise(l2)?;
                    let lowest = best.as_ref().map_or(f64::INFINITY, |best| best.0);
                    if log_loss < lowest || best.is_none() {
                        let theta = self.theta.iter().map(Tensor::copy).collect();
                        best = Some((log_loss, l2, theta));
                    } else if log_loss.is_nan() || log_loss > STOP_RATIO * lowest {
                        break;
                    }
                }
                let (_, l2, theta) = best.unwrap_or((f64::NAN, scale, Vec::new()));
                self.theta = theta;
                l2
            }
        };
        let models: Result<Vec<Model>> = self.theta.iter().map(|theta| self.model(theta)).collect();
        Ok(Fit {
            l2,
            models: models?,
            trials: self.trials,
        })
    }

    /// Minimises all folds for one penalty, warm-started; returns the held-out log-loss.
    fn minimise(&mut self, l2: f64) -> Result<f64> {
        let preconditioner = Preconditioner::new(self.features, self.curvature, l2)?;
        let group_size = self.folds_per_group();
        let (mut held_out, mut converged) = (HeldOut::default(), true);
        let (before, mut done) = (self.passes, 0);
        let folds: Vec<usize> = (0..self.theta.len()).collect();
        for group in folds.chunks(group_size) {
            let start = group.iter().map(|fold| self.theta[*fold].shallow_clone());
            let start = start.collect();
            let mut minimiser =
                Minimiser::new(&preconditioner, l2, self.settings.tolerance, group, start);
            while !minimiser.is_done() {
                let (folds, trial) = minimiser.trial()?;
                let evaluation = pass::evaluate(self.features, &self.rows, &folds, &trial)?;
                self.passes += 1;
                minimiser.update(evaluation)?;
                (self.tick)(&Progress {
                    l2,
                    penalties_done: self.trials.len(),
                    passes: self.passes,
                    folds_done: done + minimiser.n_done(),
                })?;
            }
            done += group.len();
            for (fold, minimum) in group.iter().zip(minimiser.finish()) {
                held_out.add(&minimum.held_out);
                converged &= minimum.converged;
                self.theta[*fold] = minimum.theta;
            }
        }
        let (log_loss, accuracy) = held_out.means();
        self.trials.push(PenaltyTrial {
            l2,
            log_loss,
            accuracy,
            passes: self.passes - before,
            converged,
        });
        Ok(log_loss)
    }

    /// Number of folds whose state fits into memory.
    fn folds_per_group(&self) -> usize {
        let bytes = 4 * (self.features.dimension() + 1) * self.classes;
        let each = bytes.max(1) * (lbfgs::TENSORS + self.features.lanes());
        (self.settings.memory / each).clamp(1, self.theta.len().max(1))
    }

    /// The model for uncentred features.
    fn model(&self, theta: &Tensor) -> Result<Model> {
        let (d, k) = (self.features.dimension(), self.classes);
        let read = || -> Result<Vec<f32>, TchError> {
            let flat = theta.f_tr()?.f_contiguous()?.f_reshape([-1])?;
            let flat = flat.f_to_device(tch::Device::Cpu)?;
            let mut out = vec![0f32; k * (d + 1)];
            let n = out.len();
            flat.f_copy_data(&mut out, n)?;
            Ok(out)
        };
        let values = read().map_err(|error| torch(&error))?;
        let mean = self.features.mean()?;
        let mut model = Model {
            weights: Vec::with_capacity(k * d),
            bias: Vec::with_capacity(k),
        };
        for row in values.chunks_exact(d + 1) {
            let (weights, bias) = (&row[..d], f64::from(row[d]));
            model.bias.push((bias - dot(weights, &mean)) as f32);
            model.weights.extend_from_slice(weights);
        }
        Ok(model)
    }
}
