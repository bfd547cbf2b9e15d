//! The detector: the probability that each label is right, from the classifier, the neighbours and the confusion of the labels.
//!
//! 1. The confident joint gives the first [`Channel`].
//! 2. The prior of a row's class is the classifier's probabilities times the classes of its neighbours, which are estimated from
//!    classifier and label. The channel turns it into the posterior given the row's label.
//! 3. The classifier is refitted with each row's most probable class, weighted by its probability, so that wrong labels lose their
//!    influence. The channel is estimated again from its predictions, and so on.
//!
//! A label's score is its final posterior. A low score alone does not say that the label is wrong: the image may be between two
//! classes. So [`Agreement`] asks whether classifier and neighbours, as two judges, name the same class.

use std::collections::HashMap;

use prospect_common::Result;
use rayon::prelude::*;

use super::{
    NeighborRows, Probabilities, UNLABELLED, channel::Channel, confident::ConfidentJoint,
    most_probable,
};

/// Number of refits. With 10,000 photos of ten classes, a third one changes only the third digit.
pub const ROUNDS: usize = 2;
/// Exponent of the neighbours' votes, below 1 because the classifier has seen the same vectors. Between 0.3 and 1 the average
/// precision varies by less than 0.01.
const NEIGHBOR_EXPONENT: f64 = 0.6;
/// Number of pseudo-neighbours of each row, with the class frequencies of all images.
const PRIOR: f64 = 5.0;

/// Labels of a dataset and its neighbours.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    pub classes: usize,
    /// The class of each row, or [`UNLABELLED`].
    pub given: &'a [u32],
    pub neighbors: &'a NeighborRows,
    /// Rows whose right class a person has decided: [`UNLABELLED`] if it is only known to be another than the label. These classes
    /// replace the labels in training and in the neighbours' votes. The row's own score is still that of its label.
    pub decided: &'a HashMap<usize, u32>,
}

/// Trains the classifier on the class (or [`UNLABELLED`]) and weight of each row, and returns out-of-sample probabilities
/// `[rows, classes]`.
pub type Refit<'r> = dyn FnMut(&[u32], &[f32]) -> Result<Vec<f32>> + 'r;

/// Posterior of a row's class given its label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// Probability that the label is right.
    pub p_label: f32,
    /// The most probable class and its probability.
    pub class: u32,
    pub p_class: f32,
    pub agreement: Agreement,
}

/// Agreement of two judges that do not see the label: the classifier, with probabilities `p`, and the neighbours, with votes `v`
/// that are relative to the frequency of each class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Probability that the two, each drawing a class, draw different ones: `1 - sum of p v`. 0 for a clear image.
    pub ambiguity: f32,
    /// The other class that both draw most often, and the probability that both do.
    pub other: u32,
    pub support: f32,
}

impl Agreement {
    /// `p` and `v` are `[classes]` and sum to 1.
    pub fn of(label: u32, p: impl Iterator<Item = f64> + Clone, v: &[f64]) -> Agreement {
        let both = p.zip(v).map(|(p, v)| p * v);
        let others = (both.clone().enumerate()).filter(|(class, _)| *class != label as usize);
        let (other, support) = others
            .reduce(|best, other| if other.1 > best.1 { other } else { best })
            .unwrap_or((label as usize, 0.0));
        Agreement {
            ambiguity: (1.0 - both.sum::<f64>()).clamp(0.0, 1.0) as f32,
            other: other as u32,
            support: support as f32,
        }
    }
}

/// Result of [`detect`].
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// One per row; `None` without a label.
    pub posteriors: Vec<Option<Posterior>>,
    /// The estimated confusion of the labels.
    pub channel: Channel,
    /// Expected counts of images, `[label, true class]`.
    pub joint: Vec<f64>,
}

impl Detection {
    /// Expected number of wrong labels.
    pub fn errors(&self) -> f64 {
        let posteriors = self.posteriors.iter().flatten();
        posteriors
            .map(|posterior| 1.0 - f64::from(posterior.p_label))
            .sum()
    }
}

/// Scores all labels. `first` are the classifier's out-of-sample probabilities, trained on the given labels.
///
/// # Errors
/// Those of `refit`.
pub fn detect(labels: &Labels, first: &Probabilities, refit: &mut Refit) -> Result<Detection> {
    let joint = ConfidentJoint::count(labels.given, first).estimated;
    let mut channel = Channel::from_joint(labels.classes, &joint);
    let (mut prior, mut agreements) = labels.with_neighbors(&channel, first);
    for _ in 0..ROUNDS {
        let now = Probabilities {
            classes: labels.classes,
            values: &prior,
        };
        let estimated = labels.posteriors(&channel, &now, &agreements);
        let mut classes: Vec<u32> = (estimated.iter())
            .map(|posterior| posterior.map_or(UNLABELLED, |posterior| posterior.class))
            .collect();
        let mut weights: Vec<f32> = (estimated.iter())
            .map(|posterior| posterior.map_or(0.0, |posterior| posterior.p_class))
            .collect();
        for (&row, &class) in labels.decided {
            (classes[row], weights[row]) = (class, 1.0);
        }
        labels.keep_frequencies(&classes, &mut weights);
        channel = Channel::from_joint(labels.classes, &channel.joint(labels.given, &now));
        let fitted = refit(&classes, &weights)?;
        let fitted = Probabilities {
            classes: labels.classes,
            values: &fitted,
        };
        channel = Channel::from_joint(labels.classes, &channel.joint(labels.given, &fitted));
        (prior, agreements) = labels.with_neighbors(&channel, &fitted);
    }
    let prior = Probabilities {
        classes: labels.classes,
        values: &prior,
    };
    Ok(Detection {
        posteriors: labels.posteriors(&channel, &prior, &agreements),
        joint: channel.joint(labels.given, &prior),
        channel,
    })
}

/// Scores all labels by the classifier's out-of-sample probabilities alone, for one too weak to estimate the confusion of the labels from.
/// Fraction `wrong` of the labels is assumed to be wrong; the order of the scores does not depend on it.
pub fn detect_uniform(labels: &Labels, classifier: &Probabilities, wrong: f64) -> Detection {
    let channel = Channel::uniform(labels.classes, wrong);
    let (prior, agreements) = labels.with_neighbors(&channel, classifier);
    let prior = Probabilities {
        classes: labels.classes,
        values: &prior,
    };
    Detection {
        posteriors: labels.posteriors(&channel, &prior, &agreements),
        joint: channel.joint(labels.given, &prior),
        channel,
    }
}

impl Labels<'_> {
    /// The classifier's probabilities times the neighbours' votes, `[rows, classes]`, and the agreement of the two. The votes are
    /// relative to the frequency of each class: the probabilities contain it already, and a rare class must not pay for it twice.
    fn with_neighbors(
        &self,
        channel: &Channel,
        classifier: &Probabilities,
    ) -> (Vec<f32>, Vec<Agreement>) {
        let k = self.classes;
        let mut known = vec![0f32; self.given.len() * k];
        (known.par_chunks_mut(k.max(1)).enumerate()).for_each_init(
            || vec![0.0; k],
            |posterior, (row, out)| {
                if let Some(&class) = self.decided.get(&row) {
                    if class != UNLABELLED {
                        out[class as usize] = 1.0;
                    }
                } else if self.given[row] != UNLABELLED {
                    channel.posterior(classifier.row(row), self.given[row], posterior);
                    out.iter_mut()
                        .zip(posterior)
                        .for_each(|(out, p)| *out = *p as f32);
                }
            },
        );
        let frequencies = self.frequencies();
        let mut out = vec![0f32; known.len()];
        let rows = out.par_chunks_mut(k.max(1)).enumerate();
        let agreements = rows.map_init(
            || (vec![0.0; k], vec![0.0; k]),
            |(votes, both), (row, out)| {
                self.votes(row, &known, &frequencies, votes);
                let p = classifier.row(row).iter().map(|p| f64::from(*p));
                let products = (p.clone()).zip(votes.iter());
                let products = products.map(|(p, vote)| p * vote.powf(NEIGHBOR_EXPONENT));
                both.iter_mut()
                    .zip(products)
                    .for_each(|(both, product)| *both = product);
                let sum: f64 = both.iter().sum();
                let scaled = out.iter_mut().zip(both.iter()).zip(classifier.row(row));
                scaled.for_each(|((out, p), alone)| {
                    *out = if sum > 0.0 { (p / sum) as f32 } else { *alone };
                });
                // For its agreement, the pseudo-neighbours vote as the classifier does: a judge with few neighbours has no opinion.
                let pseudo = PRIOR * k as f64;
                (votes.iter_mut().zip(p.clone()))
                    .for_each(|(vote, p)| *vote = (*vote - PRIOR).max(0.0) + pseudo * p);
                let all = votes.iter().sum::<f64>().max(f64::MIN_POSITIVE);
                votes.iter_mut().for_each(|vote| *vote /= all);
                Agreement::of(self.given[row], p, votes)
            },
        );
        let agreements = agreements.collect();
        (out, agreements)
    }

    /// The votes of a row's neighbours for each class, over the frequency of the class. `known` are the posteriors of all rows,
    /// `[rows, classes]`.
    fn votes(&self, row: usize, known: &[f32], frequencies: &[f64], votes: &mut [f64]) {
        let k = self.classes;
        (votes.iter_mut().zip(frequencies)).for_each(|(vote, share)| *vote = PRIOR * share);
        for &neighbor in self.neighbors.of(row) {
            let of = &known[neighbor as usize * k..][..k];
            (votes.iter_mut().zip(of)).for_each(|(vote, p)| *vote += f64::from(*p));
        }
        for (vote, frequency) in votes.iter_mut().zip(frequencies) {
            *vote = if *frequency > 0.0 {
                *vote / frequency
            } else {
                0.0
            };
        }
    }

    /// Scales the weights so that each class weighs as much as it has labels. Otherwise a rare class that loses images to a frequent
    /// one becomes less probable, and loses more in the next round.
    fn keep_frequencies(&self, classes: &[u32], weights: &mut [f32]) {
        let (mut counts, mut sums) = (vec![0f32; self.classes], vec![0f32; self.classes]);
        for (row, class) in classes.iter().enumerate() {
            if *class != UNLABELLED {
                let label = self.decided.get(&row).unwrap_or(&self.given[row]);
                counts[*label as usize] += 1.0;
                sums[*class as usize] += weights[row];
            }
        }
        for (class, weight) in classes.iter().zip(weights) {
            if *class != UNLABELLED && sums[*class as usize] > 0.0 {
                *weight *= counts[*class as usize] / sums[*class as usize];
            }
        }
    }

    /// Fraction of the labels of each class.
    fn frequencies(&self) -> Vec<f64> {
        let mut counts = vec![0.0; self.classes];
        let labelled = self.given.iter().filter(|label| **label != UNLABELLED);
        labelled.for_each(|label| counts[*label as usize] += 1.0);
        let all: f64 = counts.iter().sum();
        counts.iter().map(|n| n / all.max(1.0)).collect()
    }

    fn posteriors(
        &self,
        channel: &Channel,
        prior: &Probabilities,
        agreements: &[Agreement],
    ) -> Vec<Option<Posterior>> {
        let row_posterior = |posterior: &mut Vec<f64>, row: usize| {
            let label = self.given[row];
            if label == UNLABELLED {
                return None;
            }
            channel.posterior(prior.row(row), label, posterior);
            let single: Vec<f32> = posterior.iter().map(|p| *p as f32).collect();
            let class = most_probable(&single)?;
            Some(Posterior {
                p_label: single[label as usize],
                class: class as u32,
                p_class: single[class],
                agreement: agreements[row],
            })
        };
        (0..self.given.len())
            .into_par_iter()
            .map_init(|| vec![0.0; self.classes], row_posterior)
            .collect()
    }
}
