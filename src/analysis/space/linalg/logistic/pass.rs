//! One pass over the rows: losses and gradients of several folds, and their performance on held-out rows.

use prospect_common::{Error, Result};
use tch::{Device, Kind, TchError, Tensor};

use super::{
    features::{Block, Features, run_tasks, torch},
    predict::Scores,
    problem::{Problem, UNLABELLED},
};

/// Labels, weights and folds of the rows, and sums of the weights.
pub struct Rows<'a> {
    problem: &'a Problem<'a>,
    /// Total weight of the training rows by fold, and by fold and class, `[n_folds, classes]`.
    totals: Vec<f64>,
    class_totals: Vec<f64>,
}

impl<'a> Rows<'a> {
    pub fn new(problem: &'a Problem<'a>) -> Rows<'a> {
        let (folds, classes) = (usize::from(problem.n_folds), problem.classes);
        // First the sums of each fold's own rows.
        let mut class_totals = vec![0f64; folds * classes];
        for (row, label) in problem.labels.iter().enumerate() {
            if *label != UNLABELLED {
                let fold = usize::from(problem.folds[row]);
                class_totals[fold * classes + *label as usize] += weight(problem, row);
            }
        }
        for class in 0..classes {
            // Summed again without each fold, since a difference may leave a rounding error instead of 0.
            let own: Vec<f64> = (0..folds)
                .map(|f| class_totals[f * classes + class])
                .collect();
            for fold in 0..folds {
                let others = own.iter().enumerate().filter(|(other, _)| *other != fold);
                class_totals[fold * classes + class] = others.map(|(_, weight)| weight).sum();
            }
        }
        let totals = class_totals
            .chunks(classes.max(1))
            .map(|row| row.iter().sum());
        Rows {
            problem,
            totals: totals.collect(),
            class_totals,
        }
    }

    /// Class frequencies among the training rows of each fold.
    pub fn class_frequencies(&self) -> Vec<Vec<f64>> {
        let folds = 0..usize::from(self.problem.n_folds);
        let classes = self.problem.classes;
        let frequencies = folds.map(|fold| {
            let row = &self.class_totals[fold * classes..(fold + 1) * classes];
            let total = self.totals.get(fold).filter(|total| **total > 0.0);
            row.iter().map(|w| w / total.unwrap_or(&1.0)).collect()
        });
        frequencies.collect()
    }

    /// Weight of a row as a held-out row: 0 if its class has no training rows in its fold.
    fn held_out_weight(&self, row: usize) -> f64 {
        let (label, fold) = (self.problem.labels[row], self.problem.folds[row]);
        if label == UNLABELLED {
            return 0.0;
        }
        let at = usize::from(fold) * self.problem.classes + label as usize;
        match self.class_totals[at] > 0.0 {
            true => weight(self.problem, row),
            false => 0.0,
        }
    }
}

fn weight(problem: &Problem, row: usize) -> f64 {
    problem
        .weights
        .map_or(1.0, |weights| f64::from(weights[row]))
}

/// Sums over held-out rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeldOut {
    log_loss: f64,
    correct: f64,
    weight: f64,
}

impl HeldOut {
    pub fn add(&mut self, other: &HeldOut) {
        self.log_loss += other.log_loss;
        self.correct += other.correct;
        self.weight += other.weight;
    }

    /// Log-loss and accuracy; NaN without rows.
    pub fn means(&self) -> (f64, f64) {
        (self.log_loss / self.weight, self.correct / self.weight)
    }
}

/// Result of a pass for several folds.
pub struct Evaluation {
    /// Mean cross-entropy of the training rows.
    pub losses: Vec<f64>,
    /// `[dimension + 1, folds * classes]`
    pub gradient: Tensor,
    pub held_out: Vec<HeldOut>,
}

/// Partial sums over every n-th block.
struct Lane {
    gradient: Tensor,
    losses: Vec<f64>,
    held_out: Vec<HeldOut>,
}

/// One pass for several folds; `theta` is `[dimension + 1, folds.len() * classes]`.
pub fn evaluate(
    features: &Features,
    rows: &Rows,
    folds: &[usize],
    theta: &Tensor,
) -> Result<Evaluation> {
    let scores = Scores::new(theta, folds.len()).map_err(|error| torch(&error))?;
    let lane = |_| -> Result<Lane, TchError> {
        Ok(Lane {
            gradient: theta.f_zeros_like()?,
            losses: vec![0.0; folds.len()],
            held_out: vec![HeldOut::default(); folds.len()],
        })
    };
    let lanes: Result<Vec<Lane>, TchError> = (0..features.lanes()).map(lane).collect();
    let mut lanes = lanes.map_err(|error| torch(&error))?;
    let mut seen = 0;
    features.each(&mut |blocks| {
        let mut shares: Vec<Vec<Block>> = lanes.iter().map(|_| Vec::new()).collect();
        for block in blocks {
            let at = seen % shares.len();
            shares[at].push(block);
            seen += 1;
        }
        let tasks = lanes.iter_mut().zip(shares);
        let tasks: Vec<_> = tasks.map(|(l, share)| (l, share, scores.share())).collect();
        run_tasks(features.device(), tasks, |(lane, share, scores)| {
            for block in share {
                let added = lane.add(&block, rows, folds, &scores);
                added.map_err(|error| torch(&error))?;
            }
            Ok(())
        })
    })?;
    let mut lanes = lanes.into_iter();
    let Some(mut sum) = lanes.next() else {
        return Err(Error::internal("a pass over the features", "no lanes"));
    };
    for lane in lanes {
        let added = sum.gradient.f_add_(&lane.gradient);
        let _ = added.map_err(|error| torch(&error))?;
        for at in 0..folds.len() {
            sum.losses[at] += lane.losses[at];
            sum.held_out[at].add(&lane.held_out[at]);
        }
    }
    for (loss, fold) in sum.losses.iter_mut().zip(folds) {
        *loss /= positive(rows.totals[*fold]);
    }
    Ok(Evaluation {
        losses: sum.losses,
        gradient: sum.gradient,
        held_out: sum.held_out,
    })
}

/// Avoids a division by 0 without training rows.
fn positive(total: f64) -> f64 {
    if total > 0.0 { total } else { 1.0 }
}

impl Lane {
    fn add(
        &mut self,
        block: &Block,
        rows: &Rows,
        folds: &[usize],
        scores: &Scores,
    ) -> Result<(), TchError> {
        let problem = rows.problem;
        let (n, m) = (block.values.size()[0] as usize, folds.len());
        let of_block = block.first..block.first + n;
        if problem.labels[of_block.clone()]
            .iter()
            .all(|label| *label == UNLABELLED)
        {
            return Ok(());
        }
        // Rows without a label have no weight, so any class will do.
        let label = |row| match problem.labels[row] {
            UNLABELLED => 0,
            label => i64::from(label),
        };
        let labels: Vec<i64> = of_block.clone().map(label).collect();
        // Index of the row's own fold among `folds`.
        let index = |row: usize| {
            let fold = usize::from(problem.folds[row]);
            folds.iter().position(|other| *other == fold)
        };
        let own_folds: Vec<Option<usize>> = of_block.clone().map(index).collect();
        let mut weights = vec![0f32; n * m];
        for (row, weights) in of_block.clone().zip(weights.chunks_exact_mut(m)) {
            if problem.labels[row] == UNLABELLED {
                continue;
            }
            let weight = weight(problem, row);
            for (fold, to) in folds.iter().zip(weights) {
                if usize::from(problem.folds[row]) != *fold {
                    *to = (weight / positive(rows.totals[*fold])) as f32;
                }
            }
        }

        let device = block.values.device();
        let columns = [n as i64, m as i64, 1];
        let labels = Tensor::f_from_slice(&labels)?.f_to_device(device)?;
        let labels = labels.f_view([n as i64, 1, 1])?.f_expand(columns, false)?;
        let mut log_p = scores.of(&block.values)?.f_log_softmax(-1, Kind::Float)?;
        let of_labels = log_p.f_gather(2, &labels, false)?;
        let best = best_classes(&log_p, &own_folds)?;

        let mut of_label = vec![0f32; n * m];
        let flat = of_labels.f_to_device(Device::Cpu)?.f_reshape([-1])?;
        flat.f_copy_data(&mut of_label, n * m)?;
        for (at, row) in of_block.enumerate() {
            let log_p = &of_label[at * m..(at + 1) * m];
            if problem.labels[row] == UNLABELLED {
                continue;
            }
            let weight = weight(problem, row);
            for (index, log_p) in log_p.iter().enumerate() {
                if Some(index) != own_folds[at] {
                    self.losses[index] -= weight * f64::from(*log_p);
                }
            }
            let held_out = rows.held_out_weight(row);
            if let (Some(index), true) = (own_folds[at], held_out > 0.0) {
                let correct = best[at] == i64::from(problem.labels[row]);
                self.held_out[index].add(&HeldOut {
                    log_loss: -held_out * f64::from(log_p[index]),
                    correct: if correct { held_out } else { 0.0 },
                    weight: held_out,
                });
            }
        }

        let mut residuals = log_p.f_exp_()?;
        let ones = of_labels.f_full_like(-1.0)?;
        let _ = residuals.f_scatter_add_(2, &labels, &ones)?;
        let weights = Tensor::f_from_slice(&weights)?.f_to_device(device)?;
        let _ = residuals.f_mul_(&weights.f_view(columns)?)?;
        let residuals = residuals.f_view([n as i64, -1])?;
        let dimension = block.values.size()[1];
        let mut of_weights = self.gradient.f_narrow(0, 0, dimension)?;
        let _ = of_weights.f_addmm_(&block.values.f_tr()?, &residuals)?;
        let mut of_bias = self.gradient.f_narrow(0, dimension, 1)?;
        let _ = of_bias.f_add_(&residuals.f_sum_dim_intlist(
            [0i64].as_slice(),
            true,
            Kind::Float,
        )?)?;
        Ok(())
    }
}

/// The best class of each row by its own fold's model; by the first model if that is not among the folds.
fn best_classes(log_p: &Tensor, own_folds: &[Option<usize>]) -> Result<Vec<i64>, TchError> {
    let own_folds: Vec<i64> = own_folds.iter().map(|p| p.unwrap_or(0) as i64).collect();
    let [n, classes] = [log_p.size()[0], log_p.size()[2]];
    let index = Tensor::f_from_slice(&own_folds)?.f_to_device(log_p.device())?;
    let index = index.f_view([n, 1, 1])?.f_expand([n, 1, classes], false)?;
    let best = log_p.f_gather(1, &index, false)?.f_argmax(-1, false)?;
    let best = best.f_to_device(Device::Cpu)?.f_reshape([-1])?;
    let mut out = vec![0i64; own_folds.len()];
    best.f_copy_data(&mut out, own_folds.len())?;
    Ok(out)
}
