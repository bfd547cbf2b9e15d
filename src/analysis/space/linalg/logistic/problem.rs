//! What classifiers are fitted to, and how.

use prospect_common::{Error, Result};

use super::{features::Features, predict::Model};

/// Among labels: a row without one. It is left out of everything but [`predict`](super::predict()).
pub const UNLABELLED: u32 = u32::MAX;

/// What is to be told apart.
pub struct Problem<'a> {
    pub classes: usize,
    /// Of each row, in `0..classes` or [`UNLABELLED`].
    pub labels: &'a [u32],
    /// Of each row, not negative, in training and in the log-loss that the penalty is chosen by; none: 1.
    pub weights: Option<&'a [f32]>,
    /// Of each row, in `0..n_folds`: the model of that fold has not seen it.
    pub folds: &'a [u16],
    pub n_folds: u16,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum L2 {
    /// The one with the least log-loss out of fold.
    Search,
    Fixed(f64),
}

pub struct Settings<'a> {
    pub l2: L2,
    /// Ends a fold's minimisation: its expected further decrease (half the squared length of the preconditioned gradient),
    /// relative to the loss.
    pub tolerance: f64,
    /// Bytes that the models on their way may take, of the device's memory where it has its own: where it is too little for all
    /// folds at a time, they take turns, which may change the last digits.
    pub memory: usize,
    /// Where to start from, a model per fold; none: at the classes' shares.
    pub start: Option<&'a [Model]>,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings {
            l2: L2::Search,
            tolerance: 3e-4,
            memory: 4 << 30,
            start: None,
        }
    }
}

impl Problem<'_> {
    pub(super) fn check(&self, features: &Features, settings: &Settings) -> Result<()> {
        let n = features.rows();
        let wrong = |expected: String, found: String| {
            let why = format!("expected {expected}, found {found}");
            Err(Error::internal("a classifier's rows", why))
        };
        let lengths = [
            self.labels.len(),
            self.folds.len(),
            self.weights.map_or(n, <[f32]>::len),
        ];
        if let Some(odd) = lengths.into_iter().find(|length| *length != n) {
            return wrong(
                format!("a label, a fold and a weight of {n} rows"),
                format!("{odd}"),
            );
        }
        let is_class = |label: &&u32| **label != UNLABELLED && **label as usize >= self.classes;
        if let Some(odd) = self.labels.iter().find(is_class) {
            return wrong(format!("labels below {}", self.classes), format!("{odd}"));
        }
        if let Some(odd) = self.folds.iter().find(|fold| **fold >= self.n_folds) {
            return wrong(format!("folds below {}", self.n_folds), format!("{odd}"));
        }
        let is_odd = |weight: &&f32| !weight.is_finite() || **weight < 0.0;
        if let Some(odd) = self.weights.into_iter().flatten().find(is_odd) {
            return wrong("weights from 0".into(), format!("{odd}"));
        }
        let shape = (self.classes * features.dimension(), self.classes);
        let fits = |model: &Model| (model.weights.len(), model.bias.len()) == shape;
        let fits =
            |start: &[Model]| start.len() == usize::from(self.n_folds) && start.iter().all(fits);
        if settings.start.is_some_and(|start| !fits(start)) {
            return wrong("a model per fold to start from".into(), "others".into());
        }
        Ok(())
    }
}
