//! L-BFGS (Nocedal & Wright 2006, algorithm 7.5) of several folds in lock step: each pass tries a point of every fold that is
//! not done.

use std::collections::VecDeque;

use prospect_common::Result;
use tch::{Device, Kind, TchError, Tensor};

use super::{
    features::{Features, in_turn_or_parallel, torch},
    pass::{Evaluation, Held},
};

/// Steps that are remembered.
const HISTORY: usize = 8;
/// Tensors of a model's size that a fold has at a time.
pub const TENSORS: usize = 2 * HISTORY + 8;
/// Steps of one minimisation, and halvings of one step.
const MAX_STEPS: usize = 300;
const MAX_HALVINGS: usize = 20;
/// Of the slope, that a step must come to (Armijo).
const SUFFICIENT: f64 = 1e-4;
/// Of the loss, that float32 may hide.
const NOISE: f64 = 1e-7;
/// Least penalty that the preconditioner sees, relative to the curvature of all features: float32 hides less.
const LEAST: f64 = 1e-7;
/// Rows of a product that one thread makes at a time.
const STRIP: i64 = 128;

/// The coordinates `u = U θ` with `UᵀU = curvature·Cov + l2·I`, the intercept being a feature of variance 1 without penalty.
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
            let least = (l2 / curvature).max(LEAST * features.variance());
            let _ = corner.f_diagonal(0, 0, 1)?.f_add_scalar_(least)?;
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

    /// Gradients, `[dimension + 1, n]`, in these coordinates.
    fn gradient(&self, of_theta: &Tensor) -> Result<Tensor> {
        product(&self.transposed, of_theta)
    }

    /// Directions of `theta`.
    fn direction(&self, of_u: &Tensor) -> Result<Tensor> {
        product(&self.inverse, of_u)
    }
}

/// The same whatever the number of threads.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let make = || -> Result<(Tensor, Vec<(i64, Tensor)>), TchError> {
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
    let (out, strips) = make().map_err(|error| torch(&error))?;
    let tasks = strips.into_iter();
    let tasks: Vec<_> = (tasks.map(|s| (s, a.shallow_clone(), b.shallow_clone()))).collect();
    in_turn_or_parallel(a.device(), tasks, |((start, strip), a, b)| {
        let rows = a.f_narrow(0, start, strip.size()[0]);
        let made = rows.and_then(|rows| rows.f_mm_out(&strip, &b));
        made.map(|_| ()).map_err(|error| torch(&error))
    })?;
    Ok(out)
}

/// Several folds on their way down.
pub struct Minimiser<'a> {
    preconditioner: &'a Preconditioner,
    l2: f64,
    tolerance: f64,
    folds: Vec<Descent>,
    /// Those that the trial at hand is of.
    tried: Vec<usize>,
}

/// One fold. Tensors are `[dimension + 1, classes]`.
struct Descent {
    fold: usize,
    theta: Tensor,
    loss: f64,
    /// Of `u`.
    gradient: Tensor,
    /// None before the first evaluation.
    direction: Option<Direction>,
    /// Differences of `u` and of gradients, and one over their product.
    history: VecDeque<(Tensor, Tensor, f64)>,
    steps: usize,
    held: Held,
    end: Option<End>,
}

struct Direction {
    of_theta: Tensor,
    of_u: Tensor,
    /// Of the loss along it.
    slope: f64,
    length: f64,
    halvings: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Converged,
    Limit,
}

/// Where a fold has come to.
pub struct Found {
    pub theta: Tensor,
    pub held: Held,
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
            held: Held::default(),
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

    pub fn finish(self) -> impl Iterator<Item = Found> {
        self.folds.into_iter().map(|fold| Found {
            theta: fold.theta,
            held: fold.held,
            converged: fold.end == Some(End::Converged),
        })
    }

    /// Points to be evaluated, side by side, and the folds that they are of.
    pub fn trial(&mut self) -> Result<(Vec<usize>, Tensor)> {
        let places = 0..self.folds.len();
        self.tried = places.filter(|at| self.folds[*at].end.is_none()).collect();
        let tried = self.tried.iter().map(|at| &self.folds[*at]);
        let points: Result<Vec<Tensor>, TchError> = tried.clone().map(Descent::point).collect();
        let points = points.and_then(|points| Tensor::f_cat(&points, 1));
        let points = points.map_err(|error| torch(&error))?;
        Ok((tried.map(|fold| fold.fold).collect(), points))
    }

    /// Goes on with what was found at the trial.
    pub fn take(&mut self, found: Evaluation) -> Result<()> {
        let mut moved = Vec::new();
        let classes = found.gradient.size()[1] / self.tried.len().max(1) as i64;
        let mut gradients = Vec::new();
        for (at, place) in self.tried.iter().enumerate() {
            let fold = &mut self.folds[*place];
            let mut accept = || -> Result<Option<Tensor>, TchError> {
                let gradient = found.gradient.f_narrow(1, at as i64 * classes, classes)?;
                fold.accept(self.l2, found.losses[at], &found.held[at], &gradient)
            };
            if let Some(gradient) = accept().map_err(|error| torch(&error))? {
                gradients.push(gradient);
                moved.push(*place);
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let gradients = Tensor::f_cat(&gradients, 1).map_err(|error| torch(&error))?;
        let gradients = self.preconditioner.gradient(&gradients)?;
        let mut directions = Vec::new();
        for (at, place) in moved.iter().enumerate() {
            let fold = &mut self.folds[*place];
            let mut turn = || -> Result<Tensor, TchError> {
                let gradient = gradients.f_narrow(1, at as i64 * classes, classes)?;
                fold.turn(gradient.f_contiguous()?)
            };
            directions.push(turn().map_err(|error| torch(&error))?);
        }
        let wide = Tensor::f_cat(&directions, 1).map_err(|error| torch(&error))?;
        let wide = self.preconditioner.direction(&wide)?;
        for ((at, place), of_u) in moved.into_iter().enumerate().zip(directions) {
            let fold = &mut self.folds[place];
            let of_theta = wide.f_narrow(1, at as i64 * classes, classes);
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

    /// Moves to the point tried if that is good enough, and gives its gradient, of `theta`; else shortens the step.
    fn accept(
        &mut self,
        l2: f64,
        loss: f64,
        held: &Held,
        gradient: &Tensor,
    ) -> Result<Option<Tensor>, TchError> {
        let point = self.point()?;
        let rows = point.size()[0] - 1;
        let weights = point.f_narrow(0, 0, rows)?;
        let loss = loss + l2 / 2.0 * product_of(&weights, &weights)?;
        if let Some(direction) = &mut self.direction {
            let enough = SUFFICIENT * direction.length * direction.slope + NOISE * self.loss;
            if loss.is_nan() || loss > self.loss + enough {
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
        (self.theta, self.loss, self.held) = (point, loss, *held);
        Ok(Some(gradient))
    }

    /// Remembers the step that led here; gives the direction of `u` to go on in.
    fn turn(&mut self, gradient: Tensor) -> Result<Tensor, TchError> {
        if let Some(direction) = self.direction.take() {
            let step = direction.of_u.f_mul_scalar(direction.length)?;
            let change = gradient.f_sub(&self.gradient)?;
            let product = product_of(&step, &change)?;
            // Positive on a convex function, but for rounding.
            if product > 0.0 {
                if self.history.len() == HISTORY {
                    self.history.pop_front();
                }
                self.history.push_back((step, change, 1.0 / product));
            }
        }
        let mut q = gradient.f_neg()?;
        self.gradient = gradient;
        let mut shares = Vec::with_capacity(self.history.len());
        for (step, change, inverse) in self.history.iter().rev() {
            let share = inverse * product_of(step, &q)?;
            let _ = q.f_sub_(&change.f_mul_scalar(share)?)?;
            shares.push(share);
        }
        if let Some((_, change, inverse)) = self.history.back() {
            let _ = q.f_mul_scalar_(1.0 / (inverse * product_of(change, change)?))?;
        }
        for ((step, change, inverse), share) in self.history.iter().zip(shares.iter().rev()) {
            let share = share - inverse * product_of(change, &q)?;
            let _ = q.f_add_(&step.f_mul_scalar(share)?)?;
        }
        Ok(q)
    }
}

/// Sum of the products of two contiguous tensors' numbers.
fn product_of(a: &Tensor, b: &Tensor) -> Result<f64, TchError> {
    f64::try_from(a.f_view([-1])?.f_dot(&b.f_view([-1])?)?)
}
