//! Training problem and settings.

use prospect_common::{Error, Result};

use super::{features::Features, predict::Model};

/// Label of rows without one; they are excluded from everything but [`predict`](super::predict()).
pub const UNLABELLED: u32 = u32::MAX;

/// Classes, labels, weights and folds of the rows.
pub struct Problem<'a> {
    pub classes: usize,
    /// One per row, in `0..classes` or [`UNLABELLED`].
    pub labels: &'a [u32],
    /// One non-negative weight per row, for training and the held-out log-loss; `None` means 1.
    pub weights: Option<&'a [f32]>,
    /// One per row, in `0..n_folds`: the model of that fold is not trained on the row.
    pub folds: &'a [u16],
    pub n_folds: u16,
}

/// The L2 penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum L2 {
    /// The penalty with the lowest held-out log-loss.
    Search,
    Fixed(f64),
}

/// Settings of a fit.
pub struct Settings<'a> {
    pub l2: L2,
    /// Tolerance of a fold's minimisation: expected further decrease (half the squared norm of the preconditioned gradient)
    /// relative to the loss.
    pub tolerance: f64,
    /// Maximum bytes of the optimiser's state in the device's memory; if the folds do not all fit, they are minimised in groups,
    /// which can change the last digits.
    pub memory: usize,
    /// Initial models, one per fold; `None` starts at the class frequencies.
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
        let mismatch = |expected: String, found: String| {
            let why = format!("expected {expected}, found {found}");
            Err(Error::internal("a classifier's rows", why))
        };
        let lengths = [
            self.labels.len(),
            self.folds.len(),
            self.weights.map_or(n, <[f32]>::len),
        ];
        if let Some(found) = lengths.into_iter().find(|length| *length != n) {
            return mismatch(
                format!("a label, a fold and a weight for each of {n} rows"),
                format!("{found}"),
            );
        }
        let is_unknown = |label: &&u32| **label != UNLABELLED && **label as usize >= self.classes;
        if let Some(found) = self.labels.iter().find(is_unknown) {
            return mismatch(format!("labels below {}", self.classes), format!("{found}"));
        }
        if let Some(found) = self.folds.iter().find(|fold| **fold >= self.n_folds) {
            return mismatch(format!("folds below {}", self.n_folds), format!("{found}"));
        }
        let is_invalid = |weight: &&f32| !weight.is_finite() || **weight < 0.0;
        if let Some(found) = self.weights.into_iter().flatten().find(is_invalid) {
            return mismatch("finite, non-negative weights".into(), format!("{found}"));
        }
        let shape = (self.classes * features.dimension(), self.classes);
        let fits = |model: &Model| (model.weights.len(), model.bias.len()) == shape;
        let fits =
            |start: &[Model]| start.len() == usize::from(self.n_folds) && start.iter().all(fits);
        if settings.start.is_some_and(|start| !fits(start)) {
            return mismatch(
                "an initial model of the right shape per fold".into(),
                "other models".into(),
            );
        }
        Ok(())
    }
}
