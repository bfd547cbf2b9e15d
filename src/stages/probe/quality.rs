//! Quality of probabilities: accuracy, log-loss, Brier score and calibration.

use prospect_analysis::audit::calibration::{CrossCalibration, Outcome};

/// Number of equally wide confidence bins.
pub const BINS: usize = 15;

/// Sums over labelled images.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub images: u64,
    right: u64,
    log_loss: f64,
    brier: f64,
    pub bins: [Bin; BINS],
    /// Predictions of images in a fold.
    outcomes: Vec<Outcome>,
}

/// Images whose confidence, the highest probability, is in one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    pub images: u64,
    right: u64,
    confidence: f64,
}

impl Bin {
    /// Mean confidence and accuracy; None without images.
    pub fn means(&self) -> Option<(f64, f64)> {
        let n = self.images as f64;
        (self.images > 0).then(|| (self.confidence / n, self.right as f64 / n))
    }
}

/// Means over labelled images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    pub log_loss: f64,
    pub accuracy: f64,
    /// Expected calibration error (Guo 2017): mean gap between confidence and accuracy, bins weighted by images.
    pub ece: f64,
    /// Brier score over all classes: 0 to 2.
    pub brier: f64,
    /// `ece` of the calibrated confidence; None without folds.
    pub ece_calibrated: Option<f64>,
}

impl Tally {
    /// Adds the probabilities of an image of class `label` in `fold`, if in one.
    pub fn add(&mut self, probabilities: &[f32], label: usize, fold: Option<u16>) {
        let best = best(probabilities);
        let (right, confidence) = (best == label, f64::from(probabilities[best]));
        let errors = probabilities.iter().enumerate().map(|(class, p)| {
            let target = if class == label { 1.0 } else { 0.0 };
            (f64::from(*p) - target).powi(2)
        });
        // A probability that underflowed counts as the smallest normal float32.
        let of_label = f64::from(probabilities[label].max(f32::MIN_POSITIVE));
        self.images += 1;
        self.right += u64::from(right);
        self.log_loss -= of_label.ln();
        self.brier += errors.sum::<f64>();
        add_to(&mut self.bins, confidence, right);
        self.outcomes.extend(fold.map(|fold| Outcome {
            fold,
            confidence: probabilities[best],
            right,
        }));
    }

    /// Calibration of the confidence by fold.
    pub fn calibration(&self) -> CrossCalibration {
        CrossCalibration::fit(&self.outcomes)
    }

    /// The means; None without images.
    pub fn quality(&self, calibration: &CrossCalibration) -> Option<Quality> {
        let n = self.images as f64;
        let mut calibrated = [Bin::default(); BINS];
        for one in &self.outcomes {
            if let Some(share) = calibration.share(Some(one.fold), one.confidence) {
                add_to(&mut calibrated, share.into(), one.right);
            }
        }
        (self.images > 0).then(|| Quality {
            log_loss: self.log_loss / n,
            accuracy: self.right as f64 / n,
            ece: calibration_error(&self.bins),
            brier: self.brier / n,
            ece_calibrated: (!self.outcomes.is_empty()).then(|| calibration_error(&calibrated)),
        })
    }
}

fn add_to(bins: &mut [Bin; BINS], confidence: f64, right: bool) {
    let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
    bin.images += 1;
    bin.right += u64::from(right);
    bin.confidence += confidence;
}

fn calibration_error(bins: &[Bin; BINS]) -> f64 {
    let images: u64 = bins.iter().map(|bin| bin.images).sum();
    let gap = |bin: &Bin| (bin.confidence - bin.right as f64).abs();
    bins.iter().map(gap).sum::<f64>() / images as f64
}

/// The most probable class; the first one of ties.
pub fn best(probabilities: &[f32]) -> usize {
    let all = probabilities.iter().enumerate();
    let better = |best: (usize, f32), (class, p): (usize, &f32)| match *p > best.1 {
        true => (class, *p),
        false => best,
    };
    all.fold((0, f32::NEG_INFINITY), better).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_matches_hand_computed_values() {
        let mut tally = Tally::default();
        assert_eq!(tally.quality(&tally.calibration()), None);
        tally.add(&[0.75, 0.25], 0, Some(0));
        tally.add(&[0.5, 0.5], 1, Some(1));
        tally.add(&[0.0, 1.0], 1, None);
        let quality = tally.quality(&tally.calibration()).unwrap();
        let log_loss = -(0.75f64.ln() + 0.5f64.ln()) / 3.0;
        assert!((quality.log_loss - log_loss).abs() < 1e-12);
        // Ties go to the first class.
        assert!((quality.accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert!((quality.ece - (0.25 + 0.5) / 3.0).abs() < 1e-12);
        assert!((quality.brier - (0.125 + 0.5) / 3.0).abs() < 1e-12);
        // Each fold's only prediction is calibrated by the other's, which is the opposite; the third is in none.
        assert_eq!(quality.ece_calibrated, Some(1.0));
        let filled = tally
            .bins
            .iter()
            .map(|bin| bin.images)
            .collect::<Vec<u64>>();
        assert_eq!(filled, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1]);
        assert_eq!(tally.bins[11].means(), Some((0.75, 1.0)));
        assert_eq!(tally.bins[0].means(), None);
    }

    #[test]
    fn a_zero_probability_of_the_label_has_a_large_finite_loss() {
        let mut tally = Tally::default();
        tally.add(&[0.0, 1.0], 0, None);
        let quality = tally.quality(&tally.calibration()).unwrap();
        assert!(quality.log_loss > 80.0 && quality.log_loss.is_finite());
        assert_eq!(quality.ece_calibrated, None);
    }
}
