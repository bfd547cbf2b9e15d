//! Calibration of a classifier's confidence: the share of right predictions as a non-decreasing function of the confidence, by
//! isotonic regression (Zadrozny & Elkan 2002), for the predicted class only (Gupta & Ramdas 2022).
//!
//! Departures: neighbours in confidence are first joined in blocks of 20, since the first and last single predictions
//! would fit themselves; and between the means of two blocks the share is interpolated, so a different confidence keeps a different
//! share (centred isotonic regression, Oron & Flournoy 2017).

/// Predictions per block, at least.
const MIN_BLOCK: usize = 20;

/// A prediction with a known outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Fold of the row, which the model that made the prediction has not seen.
    pub fold: u16,
    /// The highest probability: 0 to 1.
    pub confidence: f32,
    pub right: bool,
}

/// Share of right predictions by confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Mean confidence and share of each block, both increasing; not empty.
    blocks: Vec<(f64, f64)>,
}

impl Calibration {
    /// None without outcomes.
    pub fn fit(outcomes: impl Iterator<Item = Outcome>) -> Option<Calibration> {
        let blocks = pooled(grouped(outcomes.collect(), MIN_BLOCK));
        let means = |block: &Block| (block.confidence / block.images, block.share());
        let blocks: Vec<(f64, f64)> = blocks.iter().map(means).collect();
        (!blocks.is_empty()).then_some(Calibration { blocks })
    }

    /// Expected share of right predictions at this confidence; constant outside the confidences that it was fitted on.
    pub fn share(&self, confidence: f32) -> f32 {
        let x = f64::from(confidence);
        let next = self.blocks.partition_point(|block| block.0 <= x);
        let last = self.blocks.len() - 1;
        let (x0, y0) = self.blocks[next.saturating_sub(1)];
        let (x1, y1) = self.blocks[next.min(last)];
        let share = if x1 > x0 && x > x0 {
            y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        } else {
            y0
        };
        share as f32
    }
}

/// Predictions of similar confidence: their number, and sums.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    images: f64,
    confidence: f64,
    right: f64,
}

/// Blocks of at least `min` outcomes by ascending confidence; equal confidences share one.
fn grouped(mut outcomes: Vec<Outcome>, min: usize) -> Vec<Block> {
    outcomes.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
    let mut blocks: Vec<Block> = Vec::new();
    for equal in outcomes.chunk_by(|a, b| a.confidence == b.confidence) {
        let block = Block {
            images: equal.len() as f64,
            confidence: equal.iter().map(|one| f64::from(one.confidence)).sum(),
            right: equal.iter().filter(|one| one.right).count() as f64,
        };
        match blocks.last_mut() {
            Some(last) if last.images < min as f64 => last.add(&block),
            _ => blocks.push(block),
        }
    }
    // The last one may be too small.
    if let Some(small) = blocks.pop_if(|last| last.images < min as f64) {
        match blocks.last_mut() {
            Some(last) => last.add(&small),
            None => blocks.push(small),
        }
    }
    blocks
}

/// Merges neighbours whose shares do not increase (pool adjacent violators).
fn pooled(blocks: Vec<Block>) -> Vec<Block> {
    let mut pooled: Vec<Block> = Vec::new();
    for mut block in blocks {
        while let Some(last) = pooled.pop_if(|last| last.share() >= block.share()) {
            block.add(&last);
        }
        pooled.push(block);
    }
    pooled
}

impl Block {
    fn add(&mut self, other: &Block) {
        self.images += other.images;
        self.confidence += other.confidence;
        self.right += other.right;
    }

    fn share(&self) -> f64 {
        self.right / self.images
    }
}

/// Calibrations of cross-validated predictions: those of each fold by the outcomes in the other folds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrossCalibration {
    by_fold: Vec<Option<Calibration>>,
    of_all: Option<Calibration>,
}

impl CrossCalibration {
    pub fn fit(outcomes: &[Outcome]) -> CrossCalibration {
        let folds = outcomes.iter().map(|one| one.fold + 1).max().unwrap_or(0);
        let of_others = |fold| {
            let others = outcomes.iter().filter(|one| one.fold != fold);
            Calibration::fit(others.copied())
        };
        CrossCalibration {
            by_fold: (0..folds).map(of_others).collect(),
            of_all: Calibration::fit(outcomes.iter().copied()),
        }
    }

    /// Calibrated confidence of a row of `fold`, or of a row in none, which all models predict. None if nothing was fitted.
    pub fn share(&self, fold: Option<u16>, confidence: f32) -> Option<f32> {
        let calibration = match fold {
            Some(fold) => self.by_fold.get(usize::from(fold))?.as_ref(),
            None => self.of_all.as_ref(),
        };
        Some(calibration?.share(confidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(of: &[(f32, bool)]) -> Vec<Outcome> {
        let of = of.iter().zip((0..2).cycle());
        of.map(|((confidence, right), fold)| Outcome {
            fold,
            confidence: *confidence,
            right: *right,
        })
        .collect()
    }

    /// scikit-learn 1.9.1: `IsotonicRegression().fit_transform([.1, .2, .3, .4, .5, .5, .9], [0, 1, 0, 0, 1, 0, 1])` is
    /// `[0, 1/3, 1/3, 1/3, .5, .5, 1]`.
    #[test]
    fn blocks_are_those_of_scikit_learn() {
        let of = [
            (0.4, false),
            (0.1, false),
            (0.5, true),
            (0.3, false),
            (0.2, true),
            (0.9, true),
            (0.5, false),
        ];
        let blocks = pooled(grouped(outcomes(&of), 1));
        let blocks = blocks
            .iter()
            .map(|block| (block.confidence / block.images, block.share()));
        let fitted = Calibration {
            blocks: blocks.collect(),
        };
        let expected = [(0.1, 0.0), (0.3, 1.0 / 3.0), (0.5, 0.5), (0.9, 1.0)];
        assert_eq!(fitted.blocks.len(), expected.len());
        for (found, expected) in fitted.blocks.iter().zip(expected) {
            assert!((found.0 - expected.0).abs() < 1e-7 && (found.1 - expected.1).abs() < 1e-12);
        }
        // Halfway between two blocks; outside, the nearest.
        assert!((fitted.share(0.4) - (1.0 / 3.0 + 0.5) / 2.0).abs() < 1e-6);
        assert_eq!((fitted.share(0.0), fitted.share(1.0)), (0.0, 1.0));
    }

    #[test]
    fn blocks_have_enough_predictions() {
        let of: Vec<(f32, bool)> = (0..47).map(|at| (at as f32 / 47.0, at % 3 > 0)).collect();
        let sizes = |min| {
            let blocks = grouped(outcomes(&of), min);
            blocks
                .iter()
                .map(|block| block.images)
                .collect::<Vec<f64>>()
        };
        assert_eq!(sizes(20), [20.0, 27.0]);
        assert_eq!(sizes(100), [47.0]);
        assert!(grouped(Vec::new(), 20).is_empty());
    }

    #[test]
    fn no_row_is_calibrated_by_its_own_fold() {
        // Fold 0 is always right, fold 1 never.
        let of = outcomes(&[(0.5, true), (0.5, false), (0.6, true), (0.6, false)]);
        let fitted = CrossCalibration::fit(&of);
        assert_eq!(fitted.share(Some(0), 0.5), Some(0.0));
        assert_eq!(fitted.share(Some(1), 0.5), Some(1.0));
        assert_eq!(fitted.share(None, 0.5), Some(0.5));
        assert_eq!(CrossCalibration::fit(&[]).share(None, 0.5), None);
    }

    /// An overconfident classifier: the share of right predictions is the square of the confidence.
    #[test]
    fn known_shares_are_recovered() {
        let uniform = |at: u32| f64::from(at.wrapping_mul(2_654_435_769)) / f64::from(u32::MAX);
        let of: Vec<Outcome> = (0..20_000u32)
            .map(|at| {
                let confidence = 0.2 + 0.8 * f64::from(at) / 20_000.0;
                let right = uniform(at.wrapping_mul(40_503) ^ 0x9e37) < confidence * confidence;
                Outcome {
                    fold: (at % 5) as u16,
                    confidence: confidence as f32,
                    right,
                }
            })
            .collect();
        let fitted = CrossCalibration::fit(&of);
        for confidence in [0.3, 0.5, 0.7, 0.9] {
            let share = fitted.share(Some(2), confidence).unwrap();
            // Three standard errors of a share among a few hundred.
            assert!(
                (share - confidence * confidence).abs() < 0.08,
                "{confidence}: {share}"
            );
        }
    }
}
