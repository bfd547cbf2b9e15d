//! L-BFGS (Nocedal & Wright 2006, algorithm 7.5) for several folds in lock step: each pass evaluates one point of every
//! unfinished fold.

use std::collections::VecDeque;

use prospect_common::Result;
use tch::{Device, Kind, TchError, Tensor};

use super::{
    features::{Features, run_tasks, torch},
    pass::{Evaluation, HeldOut},
};

/// Number of stored steps.
const HISTORY: usize = 8;
/// Tensors of a model's size per fold.
pub const TENSORS: usize = 2 * HISTORY + 8;
/// Maximum steps of a minimisation, and halvings of a step.
const MAX_STEPS: usize = 300;
const MAX_HALVINGS: usize = 20;
/// Sufficient decrease, as a fraction of the slope (Armijo).
const ARMIJO: f64 = 1e-4;
/// Relative rounding error of the loss in float32.
const NOISE: f64 = 1e-7;
/// Minimum penalty of the preconditioner, relative to the total variance; smaller ones vanish in float32.
const MIN_PENALTY: f64 = 1e-7;
/// Rows of a product per task.
const STRIP: i64 = 128;

/// The coordinates `u = U θ` with `UᵀU = curvature·Cov + l2·I`; the intercept is a feature of variance 1 without penalty.
pub struct Preconditioner {
    /// `U⁻¹` and its transpose, `[dimension + 1, dimension + 1]`.
    inverse: Tensor,
    transposed: Tensor,
}

impl Preconditioner {
    pub fn new(features: &Features, curvature: f64, l2: f64) -> Result<Preconditioner> {
        let factor = || -> Result<Preconditioner, TchError> {
            let covariance = features.covariance();
            let (d, of) = (covariance.size()[0], (Kind::Double, covariance.device()));
            let hessian = Tensor::f_eye(d + 1, of)?;
            let mut corner = hessian.f_narrow(0, 0, d)?.f_narrow(1, 0, d)?;
            corner.f_copy_(covariance)?;
            let penalty = (l2 / curvature).max(MIN_PENALTY * features.variance());
            let _ = corner.f_diagonal(0, 0, 1)?.f_add_scalar_(penalty)?;
            let hessian = hessian.f_mul_scalar(curvature)?;
            let upper = hessian.f_linalg_cholesky(true)?;
            let unit = Tensor::f_eye(d + 1, of)?;
            let inverse = upper.f_linalg_solve_triangular(&unit, true, true, false)?;
            let inverse = inverse.f_to_kind(Kind::Float)?;
            Ok(Preconditioner {
                transposed: inverse.f_tr()?.f_contiguous()?,
                inverse: inverse.f_contiguous()?,
            })
        };
        factor().map_err(|error| torch(&error))
    }

    /// Converts gradients `[dimension + 1, n]` to these coordinates.
    fn gradient(&self, of_theta: &Tensor) -> Result<Tensor> {
        product(&self.transposed, of_theta)
    }

    /// Converts directions back to `theta`.
    fn direction(&self, of_u: &Tensor) -> Result<Tensor> {
        product(&self.inverse, of_u)
    }
}

/// Matrix product, bit-identical for any number of threads.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let allocate = || -> Result<(Tensor, Vec<(i64, Tensor)>), TchError> {
        let rows = a.size()[0];
        let out = Tensor::f_empty([rows, b.size()[1]], (Kind::Float, a.device()))?;
        let height = match a.device() {
            Device::Cpu => STRIP,
            _ => rows,
        };
        let starts = (0..rows).step_by(height as usize);
        let strips =
            starts.map(|start| Ok((start, out.f_narrow(0, start, height.min(rows - start))?)));
        let strips: Result<Vec<(i64, Tensor)>, TchError> = strips.collect();
        Ok((out, strips?))
    };
    let (out, strips) = allocate().map_err(|error| torch(&error))?;
    let tasks = strips.into_iter();
    let tasks: Vec<_> = (tasks.map(|s| (s, a.shallow_clone(), b.shallow_clone()))).collect();
    run_tasks(a.device(), tasks, |((start, strip), a, b)| {
        let rows = a.f_narrow(0, start, strip.size()[0]);
        let product = rows.and_then(|rows| rows.f_mm_out(&strip, &b));
        product.map(|_| ()).map_err(|error| torch(&error))
    })?;
    Ok(out)
}

/// Minimisation of several folds.
pub struct Minimiser<'a> {
    preconditioner: &'a Preconditioner,
    l2: f64,
    tolerance: f64,
    folds: Vec<Descent>,
    /// Indices of the folds in the current trial.
    tried: Vec<usize>,
}

/// One fold. Tensors are `[dimension + 1, classes]`.
struct Descent {
    fold: usize,
    theta: Tensor,
    loss: f64,
    /// With respect to `u`.
    gradient: Tensor,
    /// `None` before the first evaluation.
    direction: Option<Direction>,
    /// Differences of `u` and of gradients, and the inverse of their inner product.
    history: VecDeque<(Tensor, Tensor, f64)>,
    steps: usize,
    held_out: HeldOut,
    end: Option<End>,
}

struct Direction {
    of_theta: Tensor,
    of_u: Tensor,
    /// Derivative of the loss along the direction.
    slope: f64,
    length: f64,
    halvings: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Converged,
    Limit,
}

/// Final state of a fold.
pub struct Minimum {
    pub theta: Tensor,
    pub held_out: HeldOut,
    pub converged: bool,
}

impl<'a> Minimiser<'a> {
    pub fn new(
        preconditioner: &'a Preconditioner,
        l2: f64,
        tolerance: f64,
        folds: &[usize],
        start: Vec<Tensor>,
    ) -> Minimiser<'a> {
        let descents = folds.iter().zip(start).map(|(fold, theta)| Descent {
            fold: *fold,
            gradient: theta.shallow_clone(),
            theta,
            loss: f64::INFINITY,
            direction: None,
            history: VecDeque::new(),
            steps: 0,
            held_out: HeldOut::default(),
            end: None,
        });
        Minimiser {
            preconditioner,
            l2,
            tolerance,
            folds: descents.collect(),
            tried: Vec::new(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.n_done() == self.folds.len()
    }

    pub fn n_done(&self) -> usize {
        self.folds.iter().filter(|fold| fold.end.is_some()).count()
    }

    pub fn finish(self) -> impl Iterator<Item = Minimum> {
        self.folds.into_iter().map(|fold| Minimum {
            theta: fold.theta,
            held_out: fold.held_out,
            converged: fold.end == Some(End::Converged),
        })
    }

    /// The folds to evaluate and their concatenated points.
    pub fn trial(&mut self) -> Result<(Vec<usize>, Tensor)> {
        let indices = 0..self.folds.len();
        self.tried = indices.filter(|at| self.folds[*at].end.is_none()).collect();
        let tried = self.tried.iter().map(|at| &self.folds[*at]);
        let points: Result<Vec<Tensor>, TchError> = tried.clone().map(Descent::point).collect();
        let points = points.and_then(|points| Tensor::f_cat(&points, 1));
        let points = points.map_err(|error| torch(&error))?;
        Ok((tried.map(|fold| fold.fold).collect(), points))
    }

    /// Updates the folds with the evaluation of the trial.
    pub fn update(&mut self, evaluation: Evaluation) -> Result<()> {
        let mut moved = Vec::new();
        let classes = evaluation.gradient.size()[1] / self.tried.len().max(1) as i64;
        let mut gradients = Vec::new();
        for (at, index) in self.tried.iter().enumerate() {
            let fold = &mut self.folds[*index];
            let mut accept = || -> Result<Option<Tensor>, TchError> {
                let gradient = evaluation
                    .gradient
                    .f_narrow(1, at as i64 * classes, classes)?;
                fold.accept(
                    self.l2,
                    evaluation.losses[at],
                    &evaluation.held_out[at],
                    &gradient,
                )
            };
            if let Some(gradient) = accept().map_err(|error| torch(&error))? {
                gradients.push(gradient);
                moved.push(*index);
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let gradients = Tensor::f_cat(&gradients, 1).map_err(|error| torch(&error))?;
        let gradients = self.preconditioner.gradient(&gradients)?;
        let mut directions = Vec::new();
        for (at, index) in moved.iter().enumerate() {
            let fold = &mut self.folds[*index];
            let mut next = || -> Result<Tensor, TchError> {
                let gradient = gradients.f_narrow(1, at as i64 * classes, classes)?;
                fold.next_direction(gradient.f_contiguous()?)
            };
            directions.push(next().map_err(|error| torch(&error))?);
        }
        let all = Tensor::f_cat(&directions, 1).map_err(|error| torch(&error))?;
        let all = self.preconditioner.direction(&all)?;
        for ((at, index), of_u) in moved.into_iter().enumerate().zip(directions) {
            let fold = &mut self.folds[index];
            let of_theta = all.f_narrow(1, at as i64 * classes, classes);
            let of_theta = of_theta.and_then(|of_theta| of_theta.f_contiguous());
            let slope = product_of(&fold.gradient, &of_u);
            let both = of_theta.and_then(|of_theta| Ok((of_theta, slope?)));
            let (of_theta, slope) = both.map_err(|error| torch(&error))?;
            if -slope / 2.0 <= self.tolerance * fold.loss {
                fold.end = Some(End::Converged);
            } else if fold.steps == MAX_STEPS {
                fold.end = Some(End::Limit);
            }
            fold.direction = Some(Direction {
                of_theta,
                of_u,
                slope,
                length: 1.0,
                halvings: 0,
            });
        }
        Ok(())
    }
}

impl Descent {
    fn point(&self) -> Result<Tensor, TchError> {
        match &self.direction {
            None => Ok(self.theta.shallow_clone()),
            Some(direction) => {
                let step = direction.of_theta.f_mul_scalar(direction.length)?;
                self.theta.f_add(&step)
            }
        }
    }

    /// Accepts the trial point if the loss decreases enough, and returns its gradient with respect to `theta`; otherwise halves
    /// the step.
    fn accept(
        &mut self,
        l2: f64,
        loss: f64,
        held_out: &HeldOut,
        gradient: &Tensor,
    ) -> Result<Option<Tensor>, TchError> {
        let point = self.point()?;
        let rows = point.size()[0] - 1;
        let weights = point.f_narrow(0, 0, rows)?;
        let loss = loss + l2 / 2.0 * product_of(&weights, &weights)?;
        if let Some(direction) = &mut self.direction {
            let allowed = ARMIJO * direction.length * direction.slope + NOISE * self.loss;
            if loss.is_nan() || loss > self.loss + allowed {
                direction.length /= 2.0;
                direction.halvings += 1;
                if direction.halvings > MAX_HALVINGS {
                    self.end = Some(End::Limit);
                }
                return Ok(None);
            }
            self.steps += 1;
        }
        let gradient = gradient.f_contiguous()?;
        let mut of_weights = gradient.f_narrow(0, 0, rows)?;
        let _ = of_weights.f_add_(&weights.f_mul_scalar(l2)?)?;
        (self.theta, self.loss, self.held_out) = (point, loss, *held_out);
        Ok(Some(gradient))
    }

    /// Stores the last step and returns the next direction of `u` (two-loop recursion).
    fn next_direction(&mut self, gradient: Tensor) -> Result<Tensor, TchError> {
        if let Some(direction) = self.direction.take() {
            let step = direction.of_u.f_mul_scalar(direction.length)?;
            let change = gradient.f_sub(&self.gradient)?;
            let product = product_of(&step, &change)?;
            // Positive for a convex function, except for rounding.
            if product > 0.0 {
                if self.history.len() == HISTORY {
                    self.history.pop_front();
                }
                self.history.push_back((step, change, 1.0 / product));
            }
        }
        let mut q = gradient.f_neg()?;
        self.gradient = gradient;
        let mut alphas = Vec::with_capacity(self.history.len());
        for (step, change, inverse) in self.history.iter().rev() {
            let alpha = inverse * product_of(step, &q)?;
            let _ = q.f_sub_(&change.f_mul_scalar(alpha)?)?;
            alphas.push(alpha);
        }
        if let Some((_, change, inverse)) = self.history.back() {
            let _ = q.f_mul_scalar_(1.0 / (inverse * product_of(change, change)?))?;
        }
        for ((step, change, inverse), alpha) in self.history.iter().zip(alphas.iter().rev()) {
            let alpha = alpha - inverse * product_of(change, &q)?;
            let _ = q.f_add_(&step.f_mul_scalar(alpha)?)?;
        }
        Ok(q)
    }
}

/// Inner product of two contiguous tensors.
fn product_of(a: &Tensor, b: &Tensor) -> Result<f64, TchError> {
    f64::try_from(a.f_view([-1])?.f_dot(&b.f_view([-1])?)?)
}
