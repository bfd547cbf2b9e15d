//! A noisy channel between what images show and how they are labelled: an image of class t is labelled g with probability
//! `T[t, g]`, whatever else it shows. With the probability `q` of each class before the label is known, the class is t with
//! probability `q[t] T[t, g] / sum over s of q[s] T[s, g]` once it is.
//!
//! So a label that a network finds unlikely is no error where nobody makes that error, and a likely one is doubtful where many do.

use super::{Probabilities, UNLABELLED};

/// Images that each class is taken to have in advance: labelled wrongly as often as all images are, and then as any other class, in
/// proportion to how many have that label. So a class of few images is not taken for one about which nobody errs, nor one in which
/// two or three errors stand for another in which everybody does.
const PRIOR: f64 = 100.0;

/// How labels come from classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    pub classes: usize,
    /// `[true class, label]`; each row sums to 1.
    given: Vec<f64>,
}

impl Channel {
    /// From how many images of each label are of each class, `[label, true class]`.
    pub fn from_joint(classes: usize, joint: &[f64]) -> Channel {
        let all = joint.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let right: f64 = (0..classes)
            .map(|class| joint[class * classes + class])
            .sum();
        let wrong = 1.0 - right / all;
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

    /// Probability that an image of the class is labelled so.
    pub fn given(&self, class: usize, label: usize) -> f64 {
        self.given[class * self.classes + label]
    }

    /// Probability of each class, given those without the label, `before`, and the label; `[classes]`.
    pub fn posterior(&self, before: &[f32], label: u32, out: &mut [f64]) {
        let mut sum = 0.0;
        for class in 0..self.classes {
            out[class] = f64::from(before[class]) * self.given(class, label as usize);
            sum += out[class];
        }
        if sum > 0.0 {
            out.iter_mut().for_each(|p| *p /= sum);
        } else {
            // Nothing speaks for any class: the label is all there is.
            out.fill(0.0);
            out[label as usize] = 1.0;
        }
    }

    /// How many images of each label are expected to be of each class, `[label, true class]`.
    pub fn joint(&self, labels: &[u32], before: &Probabilities) -> Vec<f64> {
        let mut joint = vec![0.0; self.classes * self.classes];
        let mut posterior = vec![0.0; self.classes];
        for (row, &label) in labels.iter().enumerate() {
            if label != UNLABELLED {
                self.posterior(before.row(row), label, &mut posterior);
                let of_label = &mut joint[label as usize * self.classes..];
                for (sum, p) in of_label.iter_mut().zip(&posterior) {
                    *sum += p;
                }
            }
        }
        joint
    }
}
