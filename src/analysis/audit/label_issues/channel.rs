//! A noisy channel from true classes to labels: an image of class t is labelled g with probability `T[t, g]`, independently of
//! its content. With the prior probability `q` of each class, the posterior of class t given label g is
//! `q[t] T[t, g] / sum over s of q[s] T[s, g]`.
//!
//! So an improbable label is no error if that confusion never occurs, and a probable label is doubtful if it is common.

use super::{Probabilities, UNLABELLED};

/// Pseudo-images of each class: mislabelled at the overall rate, in proportion to the frequency of the other labels. They keep
/// the rates of a small class from being 0, or extreme after two or three errors.
pub const PRIOR: f64 = 100.0;

/// Confusion probabilities of the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    pub classes: usize,
    /// P(label | true class), `[true class, label]`; each row sums to 1.
    given: Vec<f64>,
}

impl Channel {
    /// From counts of images, `[label, true class]`.
    pub fn from_joint(classes: usize, joint: &[f64]) -> Channel {
        let all = joint.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let correct: f64 = (0..classes)
            .map(|class| joint[class * classes + class])
            .sum();
        let wrong = (1.0 - correct / all).max(0.0);
        let labelled = joint.chunks_exact(classes.max(1));
        let shares: Vec<f64> = labelled.map(|row| row.iter().sum::<f64>() / all).collect();
        let mut given = vec![0.0; classes * classes];
        for label in 0..classes {
            for class in 0..classes {
                let prior = if class == label {
                    1.0 - wrong
                } else {
                    wrong * shares[label] / (1.0 - shares[class]).max(f64::MIN_POSITIVE)
                };
                given[class * classes + label] = joint[label * classes + class] + PRIOR * prior;
            }
        }
        for row in given.chunks_exact_mut(classes.max(1)) {
            let sum: f64 = row.iter().sum();
            if sum > 0.0 {
                row.iter_mut().for_each(|p| *p /= sum);
            }
        }
        Channel { classes, given }
    }

    /// Fraction `wrong` of each class has another label, each as likely.
    pub fn uniform(classes: usize, wrong: f64) -> Channel {
        let other = wrong / classes.saturating_sub(1).max(1) as f64;
        let mut given = vec![other; classes * classes];
        for class in 0..classes {
            given[class * classes + class] = 1.0 - wrong;
        }
        Channel { classes, given }
    }

    /// P(label | class).
    pub fn given(&self, class: usize, label: usize) -> f64 {
        self.given[class * self.classes + label]
    }

    /// Posterior of each class, `[classes]`, from the `prior` and the label.
    pub fn posterior(&self, prior: &[f32], label: u32, out: &mut [f64]) {
        let mut sum = 0.0;
        for class in 0..self.classes {
            out[class] = f64::from(prior[class]) * self.given(class, label as usize);
            sum += out[class];
        }
        if sum > 0.0 {
            out.iter_mut().for_each(|p| *p /= sum);
        } else {
            // No class is possible: trust the label.
            out.fill(0.0);
            out[label as usize] = 1.0;
        }
    }

    /// Expected counts of images, `[label, true class]`.
    pub fn joint(&self, labels: &[u32], prior: &Probabilities) -> Vec<f64> {
        let mut joint = vec![0.0; self.classes * self.classes];
        let mut posterior = vec![0.0; self.classes];
        for (row, &label) in labels.iter().enumerate() {
            if label != UNLABELLED {
                self.posterior(prior.row(row), label, &mut posterior);
                let of_label = &mut joint[label as usize * self.classes..];
                for (sum, p) in of_label.iter_mut().zip(&posterior) {
                    *sum += p;
                }
            }
        }
        joint
    }
}
