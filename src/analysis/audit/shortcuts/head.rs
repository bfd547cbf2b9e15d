//! Dependence of a linear classifier on its features: ablation of single units, or of the change that goes with a mark.

use crate::space::linalg::softmax;

/// A linear classifier: `logits = weights . features + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `[classes, dimension]`, row-major.
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Linear {
    /// Length of a feature vector.
    pub fn dimension(&self) -> usize {
        self.weights.len() / self.bias.len().max(1)
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.weights.chunks_exact(self.dimension().max(1))
    }

    /// The logits of one image's features.
    pub fn logits(&self, features: &[f32]) -> Vec<f64> {
        let dot = |row: &[f32]| -> f64 {
            row.iter()
                .zip(features)
                .map(|(w, x)| f64::from(w * x))
                .sum()
        };
        let bias = self.bias.iter().map(|&bias| f64::from(bias));
        self.rows()
            .map(dot)
            .zip(bias)
            .map(|(dot, bias)| dot + bias)
            .collect()
    }

    /// Change of the logits when `change` is added to the features.
    pub fn change(&self, change: &[f64]) -> Vec<f64> {
        let dot = |row: &[f32]| row.iter().zip(change).map(|(&w, x)| f64::from(w) * x).sum();
        self.rows().map(dot).collect()
    }

    /// Change of the logits when `change` is added to feature `unit`.
    pub fn change_of_unit(&self, unit: usize, change: f64) -> Vec<f64> {
        self.rows()
            .map(|row| f64::from(row[unit]) * change)
            .collect()
    }

    /// Adds each unit's first-order attribution of the log-probability of `class`: gradient times difference to `reference`.
    pub fn add_attributions(
        &self,
        features: &[f32],
        class: usize,
        reference: &[f64],
        attributions: &mut [f64],
    ) {
        let mut gradient = vec![0.0; features.len()];
        let probabilities = softmax(&self.logits(features));
        for ((at, row), p) in self.rows().enumerate().zip(probabilities) {
            let pull = f64::from(u8::from(at == class)) - p;
            for (sum, &weight) in gradient.iter_mut().zip(row) {
                *sum += pull * f64::from(weight);
            }
        }
        let terms = gradient.iter().zip(features).zip(reference);
        for (attribution, ((slope, &x), other)) in attributions.iter_mut().zip(terms) {
            *attribution += slope * (f64::from(x) - other);
        }
    }
}

/// Recognition of the images of a class before and after an ablation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ablation {
    pub images: u64,
    correct: [u64; 2],
    probability: [f64; 2],
}

impl Ablation {
    /// Adds an image of `class` whose logits change by `change`.
    pub fn add(&mut self, logits: &[f64], change: &[f64], class: usize) {
        self.images += 1;
        let after: Vec<f64> = logits.iter().zip(change).map(|(z, d)| z + d).collect();
        for (at, logits) in [logits, &after].into_iter().enumerate() {
            let best = (0..logits.len())
                .rev()
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            self.correct[at] += u64::from(best == Some(class));
            self.probability[at] += softmax(logits)[class];
        }
    }

    /// Drop of the accuracy; `None` without images.
    pub fn accuracy_drop(&self) -> Option<f64> {
        let drop = self.correct[0] as f64 - self.correct[1] as f64;
        (self.images > 0).then(|| drop / self.images as f64)
    }

    /// Drop of the mean probability of the class; `None` without images.
    pub fn probability_drop(&self) -> Option<f64> {
        let drop = self.probability[0] - self.probability[1];
        (self.images > 0).then(|| drop / self.images as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 0 reads feature 0, class 1 feature 1.
    fn model() -> Linear {
        Linear {
            weights: vec![2.0, 0.0, 0.0, 1.0],
            bias: vec![0.0, 0.5],
        }
    }

    #[test]
    fn logits_and_changes_by_hand() {
        let model = model();
        assert_eq!(model.logits(&[1.0, 3.0]), [2.0, 3.5]);
        assert_eq!(model.change(&[-1.0, 1.0]), [-2.0, 1.0]);
        assert_eq!(model.change_of_unit(0, -0.5), [-1.0, 0.0]);
    }

    #[test]
    fn drops_by_hand() {
        let mut ablation = Ablation::default();
        // Right before, wrong after; then right both times.
        ablation.add(&[1.0, 0.0], &[-2.0, 0.0], 0);
        ablation.add(&[3.0, 0.0], &[-2.0, 0.0], 0);
        assert_eq!(ablation.accuracy_drop(), Some(0.5));
        let p = |z: f64| 1.0 / (1.0 + (-z).exp());
        let expected = (p(1.0) - p(-1.0) + p(3.0) - p(1.0)) / 2.0;
        assert!((ablation.probability_drop().unwrap() - expected).abs() < 1e-12);
        assert_eq!(Ablation::default().accuracy_drop(), None);
    }

    #[test]
    fn attributions_are_gradient_times_difference() {
        let model = model();
        let (features, reference) = ([1.0_f32, 3.0], [0.2, 2.5]);
        let mut attributions = [0.0; 2];
        model.add_attributions(&features, 0, &reference, &mut attributions);
        let log_p = |features: &[f32]| softmax(&model.logits(features))[0].ln();
        let step = 1e-3;
        for unit in 0..2 {
            let mut moved = features;
            moved[unit] += step;
            let slope = (log_p(&moved) - log_p(&features)) / f64::from(step);
            let expected = slope * (f64::from(features[unit]) - reference[unit]);
            assert!(
                (attributions[unit] - expected).abs() < 2e-3,
                "{unit}: {attributions:?} {expected}"
            );
        }
    }
}
