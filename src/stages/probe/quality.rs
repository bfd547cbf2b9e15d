//! Quality of probabilities: accuracy, log-loss, Brier score and calibration.

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
}

impl Tally {
    /// Adds the probabilities of an image of class `label`.
    pub fn add(&mut self, probabilities: &[f32], label: usize) {
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
        let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.images += 1;
        bin.right += u64::from(right);
        bin.confidence += confidence;
    }

    /// The means; None without images.
    pub fn quality(&self) -> Option<Quality> {
        let n = self.images as f64;
        let gap = |bin: &Bin| (bin.confidence - bin.right as f64).abs() / n;
        (self.images > 0).then(|| Quality {
            log_loss: self.log_loss / n,
            accuracy: self.right as f64 / n,
            ece: self.bins.iter().map(gap).sum(),
            brier: self.brier / n,
        })
    }
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
        assert_eq!(tally.quality(), None);
        tally.add(&[0.75, 0.25], 0);
        tally.add(&[0.5, 0.5], 1);
        tally.add(&[0.0, 1.0], 1);
        let quality = tally.quality().unwrap();
        let log_loss = -(0.75f64.ln() + 0.5f64.ln()) / 3.0;
        assert!((quality.log_loss - log_loss).abs() < 1e-12);
        // Ties go to the first class.
        assert!((quality.accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert!((quality.ece - (0.25 + 0.5) / 3.0).abs() < 1e-12);
        assert!((quality.brier - (0.125 + 0.5) / 3.0).abs() < 1e-12);
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
        tally.add(&[0.0, 1.0], 0);
        let quality = tally.quality().unwrap();
        assert!(quality.log_loss > 80.0 && quality.log_loss.is_finite());
    }
}
