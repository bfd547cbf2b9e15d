//! Predictions of fitted models.

use prospect_common::{Error, Result};
use tch::{Device, Kind, TchError, Tensor};

use super::features::{Block, Features, Visit, run_tasks, split, torch};
use crate::space::linalg::products::one_thread_each;

/// Fold of rows that are predicted by the mean over all models.
pub const NO_FOLD: u16 = u16::MAX;

/// Linear model with logits `W x + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// `[classes, dimension]`, row-major, for uncentred features.
    pub weights: Vec<f32>,
    /// `[classes]`
    pub bias: Vec<f32>,
}

/// Linear map from features to logits, of several models.
pub(super) struct Scores {
    /// `[dimension, models * classes]` and `[1, models * classes]`.
    weights: Tensor,
    bias: Tensor,
    models: i64,
}

impl Scores {
    pub fn new(theta: &Tensor, models: usize) -> Result<Scores, TchError> {
        let dimension = theta.size()[0] - 1;
        Ok(Scores {
            weights: theta.f_narrow(0, 0, dimension)?,
            bias: theta.f_narrow(0, dimension, 1)?,
            models: models as i64,
        })
    }

    pub fn share(&self) -> Scores {
        Scores {
            weights: self.weights.shallow_clone(),
            bias: self.bias.shallow_clone(),
            models: self.models,
        }
    }

    /// `[rows, models, classes]`
    pub fn of(&self, values: &Tensor) -> Result<Tensor, TchError> {
        let scores = self.bias.f_addmm(values, &self.weights)?;
        scores.f_view([values.size()[0], self.models, -1])
    }
}

/// Concatenated models for prediction.
pub struct Predictor {
    scores: Scores,
    classes: usize,
    dimension: usize,
    device: Device,
}

impl Predictor {
    /// For rows of length `dimension`.
    ///
    /// # Errors
    /// No models, or of different shapes; libtorch's message.
    pub fn new(models: &[Model], dimension: usize, device: Device) -> Result<Predictor> {
        Predictor::centred(models, &vec![0.0; dimension], device)
    }

    /// For rows centred by `mean`.
    fn centred(models: &[Model], mean: &[f64], device: Device) -> Result<Predictor> {
        let (d, k) = (
            mean.len(),
            models.first().map_or(0, |model| model.bias.len()),
        );
        let shape = |model: &Model| (model.weights.len(), model.bias.len());
        if k == 0 || models.iter().any(|model| shape(model) != (k * d, k)) {
            return Err(Error::invalid(
                "a classifier's models",
                format!("{d} weights for each class"),
                "other shapes",
                "run `prospect verify`, then `prospect run probe` again",
            ));
        }
        let width = models.len() * k;
        let mut theta = vec![0f32; (d + 1) * width];
        for (at, model) in models.iter().enumerate() {
            for class in 0..k {
                let weights = &model.weights[class * d..(class + 1) * d];
                let column = theta[at * k + class..].iter_mut().step_by(width);
                column.zip(weights).for_each(|(to, from)| *to = *from);
                let bias = f64::from(model.bias[class]) + dot(weights, mean);
                theta[d * width + at * k + class] = bias as f32;
            }
        }
        let upload = || {
            let theta = Tensor::f_from_slice(&theta)?.f_reshape([d as i64 + 1, width as i64])?;
            Scores::new(&theta.f_to_device(device)?, models.len())
        };
        Ok(Predictor {
            scores: upload().map_err(|error| torch(&error))?,
            classes: k,
            dimension: d,
            device,
        })
    }

    /// Probabilities `[rows, classes]` for `values` `[rows, dimension]`: each row by the model of its fold, or for
    /// [`NO_FOLD`] the mean over all models. Bit-identical for any number of threads.
    ///
    /// # Errors
    /// Folds that do not match the rows or the models; libtorch's message.
    pub fn probabilities(&self, values: &[f32], folds: &[u16]) -> Result<Vec<f32>> {
        self.check(values.len().checked_div(self.dimension).unwrap_or(0), folds)?;
        let _guard = tch::no_grad_guard();
        one_thread_each(|| {
            let blocks = split(self.device, self.dimension, 0, values)?;
            Ok(self.blocks(blocks, folds)?.concat())
        })
    }

    fn check(&self, rows: usize, folds: &[u16]) -> Result<()> {
        let models = self.scores.models;
        let known = |fold: &u16| *fold == NO_FOLD || i64::from(*fold) < models;
        if folds.len() == rows && folds.iter().all(known) {
            return Ok(());
        }
        let why = format!(
            "expected folds below {models} of {rows} rows, found {} folds",
            folds.len()
        );
        Err(Error::internal("a classifier's rows", why))
    }

    /// `folds` are those of all rows.
    fn blocks(&self, blocks: Vec<Block>, folds: &[u16]) -> Result<Vec<Vec<f32>>> {
        let mut found: Vec<Vec<f32>> = blocks.iter().map(|_| Vec::new()).collect();
        let tasks = blocks.into_iter().zip(&mut found);
        let tasks: Vec<_> = tasks.map(|(b, to)| (b, to, self.scores.share())).collect();
        run_tasks(self.device, tasks, |(block, to, scores)| {
            *to = probabilities(&block, folds, &scores).map_err(|error| torch(&error))?;
            Ok(())
        })?;
        Ok(found)
    }
}

/// Passes the probabilities `[rows, classes]` of each block to `take`, in row order; see [`Predictor::probabilities`].
///
/// # Errors
/// As there, and those of `take`.
pub fn predict(
    features: &Features,
    models: &[Model],
    folds: &[u16],
    take: &mut Visit,
) -> Result<()> {
    let predictor = Predictor::centred(models, &features.mean()?, features.device())?;
    predictor.check(features.rows(), folds)?;
    let _guard = tch::no_grad_guard();
    one_thread_each(|| {
        features.each(&mut |blocks| {
            // Limits the blocks in memory.
            let mut blocks = blocks.into_iter().peekable();
            while let Some(first) = blocks.peek().map(|block| block.first) {
                let some = blocks.by_ref().take(features.lanes()).collect();
                let mut first = first;
                for found in predictor.blocks(some, folds)? {
                    take(first, &found)?;
                    first += found.len() / predictor.classes;
                }
            }
            Ok(())
        })
    })
}

/// `[rows, classes]`
fn probabilities(block: &Block, folds: &[u16], scores: &Scores) -> Result<Vec<f32>, TchError> {
    let p = scores.of(&block.values)?.f_softmax(-1, Kind::Float)?;
    let [n, models, classes] = [0, 1, 2].map(|axis| p.size()[axis]);
    let folds = &folds[block.first..block.first + n as usize];
    let share = 1.0 / models as f32;
    let weights = folds.iter().flat_map(|fold| {
        (0..models).map(move |model| match *fold {
            NO_FOLD => share,
            fold if i64::from(fold) == model => 1.0,
            _ => 0.0,
        })
    });
    let weights: Vec<f32> = weights.collect();
    let weights = Tensor::f_from_slice(&weights)?.f_to_device(p.device())?;
    let p = weights.f_view([n, 1, models])?.f_bmm(&p)?;
    let mut out = vec![0f32; (n * classes) as usize];
    let length = out.len();
    let p = p.f_to_device(Device::Cpu)?.f_reshape([-1])?;
    p.f_copy_data(&mut out, length)?;
    Ok(out)
}

pub(super) fn dot(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum()
}
