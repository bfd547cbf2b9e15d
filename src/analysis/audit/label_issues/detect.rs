//! The detector: how likely each label is right, from the classifier, the neighbours and the habits of who labelled.
//!
//! 1. The confident joint says how often each class is labelled as each other: the first [`Channel`].
//! 2. What a row's class is before its label is looked at: the classifier's probabilities, times what its neighbours are, each
//!    neighbour by its own class and label. After it: by the channel.
//! 3. The classifier learns anew, each row as the class that it most likely is, weighted by how likely that is; so wrong labels
//!    no longer teach it. The channel is counted again from what it says, and so on.
//!
//! The score of a label is its probability at the end.

use prospect_common::Result;
use rayon::prelude::*;

use super::{
    NeighborRows, Probabilities, UNLABELLED, channel::Channel, confident::ConfidentJoint,
    most_probable,
};

/// How often the classifier learns anew. With 10,000 photos of ten classes a third round changes no more than the third digit.
pub const ROUNDS: usize = 2;
/// What the neighbours' word counts beside the classifier's, which has seen the same vectors: an exponent. From 0.3 to 1 the
/// average precision differs by less than 0.01.
const NEIGHBORS: f64 = 0.6;
/// Neighbours that everybody is taken to have in advance, labelled as all images are.
const PRIOR: f64 = 5.0;

/// What is known of a dataset's labels.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    pub classes: usize,
    /// The class of each row, or [`UNLABELLED`].
    pub given: &'a [u32],
    pub neighbors: &'a NeighborRows,
}

/// Trains the classifier on the class of each row (or [`UNLABELLED`]) with the weight of each row, and gives the probabilities
/// `[rows, classes]` of rows that it was not trained on.
pub type Refit<'r> = dyn FnMut(&[u32], &[f32]) -> Result<Vec<f32>> + 'r;

/// What a row is, its label considered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Probability that the label is right.
    pub right: f32,
    /// The most likely class and its probability.
    pub class: u32,
    pub p_class: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    /// Of each row; none where it has no label.
    pub verdicts: Vec<Option<Verdict>>,
    /// How labels come from classes.
    pub channel: Channel,
    /// How many images of each label are expected to be of each class, `[label, true class]`.
    pub joint: Vec<f64>,
}

impl Detected {
    /// How many labels are expected to be wrong.
    pub fn errors(&self) -> f64 {
        let verdicts = self.verdicts.iter().flatten();
        verdicts.map(|verdict| 1.0 - f64::from(verdict.right)).sum()
    }
}

/// Judges all labels. `first`: the classifier's probabilities of rows that it was not trained on, trained on the labels as given.
///
/// # Errors
/// Those of `refit`.
pub fn detect(labels: &Labels, first: &Probabilities, refit: &mut Refit) -> Result<Detected> {
    let joint = ConfidentJoint::count(labels.given, first).estimated;
    let mut channel = Channel::from_joint(labels.classes, &joint);
    let mut before = labels.with_neighbors(&channel, first);
    for _ in 0..ROUNDS {
        let now = Probabilities {
            classes: labels.classes,
            values: &before,
        };
        let believed = labels.verdicts(&channel, &now);
        let classes: Vec<u32> = (believed.iter())
            .map(|verdict| verdict.map_or(UNLABELLED, |verdict| verdict.class))
            .collect();
        let weights: Vec<f32> = (believed.iter())
            .map(|verdict| verdict.map_or(0.0, |verdict| verdict.p_class))
            .collect();
        channel = Channel::from_joint(labels.classes, &channel.joint(labels.given, &now));
        let fitted = refit(&classes, &weights)?;
        let fitted = Probabilities {
            classes: labels.classes,
            values: &fitted,
        };
        channel = Channel::from_joint(labels.classes, &channel.joint(labels.given, &fitted));
        before = labels.with_neighbors(&channel, &fitted);
    }
    let before = Probabilities {
        classes: labels.classes,
        values: &before,
    };
    Ok(Detected {
        verdicts: labels.verdicts(&channel, &before),
        joint: channel.joint(labels.given, &before),
        channel,
    })
}

impl Labels<'_> {
    /// The classifier's probabilities times what the neighbours are, `[rows, classes]`.
    fn with_neighbors(&self, channel: &Channel, classifier: &Probabilities) -> Vec<f32> {
        let k = self.classes;
        let mut known = vec![0f32; self.given.len() * k];
        (known.par_chunks_mut(k.max(1)).enumerate()).for_each_init(
            || vec![0.0; k],
            |posterior, (row, out)| {
                if self.given[row] != UNLABELLED {
                    channel.posterior(classifier.row(row), self.given[row], posterior);
                    out.iter_mut()
                        .zip(posterior)
                        .for_each(|(out, p)| *out = *p as f32);
                }
            },
        );
        let prior = self.prior();
        let mut out = vec![0f32; known.len()];
        (out.par_chunks_mut(k.max(1)).enumerate()).for_each_init(
            || vec![0.0; k],
            |votes, (row, out)| {
                votes.copy_from_slice(&prior);
                for &neighbor in self.neighbors.of(row) {
                    let of = &known[neighbor as usize * k..][..k];
                    votes
                        .iter_mut()
                        .zip(of)
                        .for_each(|(vote, p)| *vote += f64::from(*p));
                }
                let own = votes.iter_mut().zip(classifier.row(row));
                own.for_each(|(vote, p)| *vote = f64::from(*p) * vote.powf(NEIGHBORS));
                let sum: f64 = votes.iter().sum();
                let scaled = out.iter_mut().zip(votes.iter()).zip(classifier.row(row));
                scaled.for_each(|((out, p), alone)| {
                    *out = if sum > 0.0 { (p / sum) as f32 } else { *alone };
                });
            },
        );
        out
    }

    /// Neighbours of each class in advance.
    fn prior(&self) -> Vec<f64> {
        let mut counts = vec![0.0; self.classes];
        let labelled = self.given.iter().filter(|label| **label != UNLABELLED);
        labelled.for_each(|label| counts[*label as usize] += 1.0);
        let all: f64 = counts.iter().sum();
        counts.iter().map(|n| PRIOR * n / all.max(1.0)).collect()
    }

    fn verdicts(&self, channel: &Channel, before: &Probabilities) -> Vec<Option<Verdict>> {
        let verdict = |posterior: &mut Vec<f64>, row: usize| {
            let label = self.given[row];
            if label == UNLABELLED {
                return None;
            }
            channel.posterior(before.row(row), label, posterior);
            let single: Vec<f32> = posterior.iter().map(|p| *p as f32).collect();
            let class = most_probable(&single)?;
            Some(Verdict {
                right: single[label as usize],
                class: class as u32,
                p_class: single[class],
            })
        };
        (0..self.given.len())
            .into_par_iter()
            .map_init(|| vec![0.0; self.classes], verdict)
            .collect()
    }
}
