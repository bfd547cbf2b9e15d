//! Multinomial logistic regression with an L2 penalty, for all folds of a cross-validation at a time.
//!
//! Fold `f` minimises `Σ w_i·CE(softmax(W x_i + b), y_i) / Σ w_i + l2/2·|W|²` over the rows of the other folds; the intercept `b`
//! is not penalised. (scikit-learn's C is `1 / (l2·Σ w_i)`.) All folds share each pass over the rows: a block's scores are one
//! product with the folds' weights side by side, and the same product says how well each fold does on the rows that it has
//! not seen.
//!
//! L-BFGS in the coordinates `u = Uθ`, where `UᵀU = c·Cov(x) + l2·I` is the Hessian where all classes are alike: Böhning 1992,
//! with the shares of the classes in place of his bound. On the CPU every product is made by one thread, and sums are added
//! in an order that the rows alone decide: the result is the same whatever the number of threads.

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
    pass::{Held, Rows},
    predict::dot,
};
use super::products::one_thread_each;

pub use self::{
    features::{Blocks, Features, Visit},
    predict::{Model, NO_FOLD, Predictor, predict},
    problem::{L2, Problem, Settings, UNLABELLED},
};

/// The first L2 penalty that is tried, relative to the features' total variance; each of the next is 10^-0.5 of the one before,
/// so many at most.
const STRONGEST: f64 = 1.0;
pub const MOST_TRIED: usize = 15;
/// Penalties are tried until the log-loss is so much worse than the best.
const WORSE: f64 = 1.01;
/// Intercept of a class that no row of a fold has: its probability is exactly 0 in float32, and so is its gradient.
const ABSENT: f64 = -1e4;

#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The penalty of `models`.
    pub l2: f64,
    /// In the order of trying: the strongest first.
    pub tried: Vec<Tried>,
    /// One per fold, trained on the rows of the others.
    pub models: Vec<Model>,
}

/// How a penalty does on the rows that each fold has not seen, weighted as in training. Rows of a class that their fold's model
/// could not know are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    pub l2: f64,
    /// Nats; NaN without any such row.
    pub log_loss: f64,
    pub accuracy: f64,
    /// Over the rows.
    pub passes: usize,
    /// Whether all folds ended by the tolerance, and not by a limit.
    pub converged: bool,
}

/// Told after every pass over the rows.
pub struct Step {
    pub l2: f64,
    /// Penalties that are done.
    pub tried: usize,
    /// Passes so far, over all penalties.
    pub passes: usize,
    /// Folds that this penalty is done for.
    pub converged: usize,
}

/// Fits a model per fold. An error of `tick` stops it.
///
/// # Errors
/// Labels, weights or folds that are not one per row or out of their range; libtorch fails, for want of memory for instance.
pub fn fit(
    features: &Features,
    problem: &Problem,
    settings: &Settings,
    tick: &dyn Fn(&Step) -> Result<()>,
) -> Result<Fit> {
    problem.check(features, settings)?;
    let _guard = tch::no_grad_guard();
    one_thread_each(|| Run::new(features, problem, settings, tick)?.all())
}

/// One call of [`fit`].
struct Run<'a> {
    features: &'a Features<'a>,
    settings: &'a Settings<'a>,
    tick: &'a dyn Fn(&Step) -> Result<()>,
    rows: Rows<'a>,
    classes: usize,
    /// Of each fold: weights, then the intercepts of the centred features, `[dimension + 1, classes]`.
    theta: Vec<Tensor>,
    /// Mean of `p (1 - p)` of the classes, `p` their shares.
    curvature: f64,
    passes: usize,
    tried: Vec<Tried>,
}

impl<'a> Run<'a> {
    fn new(
        features: &'a Features<'a>,
        problem: &'a Problem<'a>,
        settings: &'a Settings<'a>,
        tick: &'a dyn Fn(&Step) -> Result<()>,
    ) -> Result<Run<'a>> {
        let rows = Rows::new(problem);
        let (d, k) = (features.dimension(), problem.classes);
        let mean = features.mean()?;
        let mut theta = Vec::new();
        let mut curvature: f64 = 0.0;
        for (fold, shares) in rows.shares().iter().enumerate() {
            let mut values = vec![0f32; (d + 1) * k];
            let start = settings.start.map(|models| &models[fold]);
            for (class, share) in shares.iter().enumerate() {
                curvature += share * share * (1.0 - share) / f64::from(problem.n_folds);
                let at = d * k + class;
                if *share == 0.0 {
                    values[at] = ABSENT as f32;
                    continue;
                }
                values[at] = share.ln() as f32;
                let Some(model) = start.filter(|m| f64::from(m.bias[class]) > ABSENT / 2.0) else {
                    continue;
                };
                let weights = &model.weights[class * d..(class + 1) * d];
                values[at] = (f64::from(model.bias[class]) + dot(weights, &mean)) as f32;
                let column = values[class..].iter_mut().step_by(k);
                column.zip(weights).for_each(|(to, from)| *to = *from);
            }
            let place = |values: &[f32]| {
                Tensor::f_from_slice(values)?
                    .f_reshape([d as i64 + 1, k as i64])?
                    .f_to_device(features.device())
            };
            theta.push(place(&values).map_err(|error| torch(&error))?);
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
            tried: Vec::new(),
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
                for step in 0..MOST_TRIED {
                    let l2 = scale * STRONGEST * 10f64.powf(-(step as f64) / 2.0);
                    let found = self.minimise(l2)?;
                    let least = best.as_ref().map_or(f64::INFINITY, |best| best.0);
                    if found < least || best.is_none() {
                        let theta = self.theta.iter().map(Tensor::copy).collect();
                        best = Some((found, l2, theta));
                    } else if found.is_nan() || found > WORSE * least {
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
            tried: self.tried,
        })
    }

    /// All folds at one penalty, from where they are; gives the log-loss out of fold.
    fn minimise(&mut self, l2: f64) -> Result<f64> {
        let preconditioner = Preconditioner::new(self.features, self.curvature, l2)?;
        let together = self.folds_together();
        let (mut held, mut converged) = (Held::default(), true);
        let (before, mut done) = (self.passes, 0);
        let folds: Vec<usize> = (0..self.theta.len()).collect();
        for group in folds.chunks(together) {
            let start = group.iter().map(|fold| self.theta[*fold].shallow_clone());
            let start = start.collect();
            let mut minimiser =
                Minimiser::new(&preconditioner, l2, self.settings.tolerance, group, start);
            while !minimiser.is_done() {
                let (folds, trial) = minimiser.trial()?;
                let evaluation = pass::evaluate(self.features, &self.rows, &folds, &trial)?;
                self.passes += 1;
                minimiser.take(evaluation)?;
                (self.tick)(&Step {
                    l2,
                    tried: self.tried.len(),
                    passes: self.passes,
                    converged: done + minimiser.n_done(),
                })?;
            }
            done += group.len();
            for (fold, found) in group.iter().zip(minimiser.finish()) {
                held.add(&found.held);
                converged &= found.converged;
                self.theta[*fold] = found.theta;
            }
        }
        let (log_loss, accuracy) = held.means();
        self.tried.push(Tried {
            l2,
            log_loss,
            accuracy,
            passes: self.passes - before,
            converged,
        });
        Ok(log_loss)
    }

    /// Folds whose state fits into the memory.
    fn folds_together(&self) -> usize {
        let bytes = 4 * (self.features.dimension() + 1) * self.classes;
        let each = bytes.max(1) * (lbfgs::TENSORS + self.features.lanes());
        (self.settings.memory / each).clamp(1, self.theta.len().max(1))
    }

    /// Back from centred features.
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
