//! Error injection: changes labels that are probably right, to measure how many of these errors the detector finds.
//!
//! The share found depends on how the errors arise, and nobody knows how the real ones did. So errors are injected by several
//! [`Noise`] models, and the results are a range.

use prospect_common::names;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Probabilities, UNLABELLED, channel::Channel};

/// Minimum number of images of a class that keep its label.
const MIN_KEPT: usize = 2;

names! {
    /// How label errors arise.
    pub enum Noise {
        /// Any other label, each as likely.
        Uniform = "uniform",
        /// By the estimated confusion of the classes.
        Confusion = "confusion",
        /// Towards the most probable other class of the image; images between two classes more often. The hardest to find, and
        /// the most like the errors of people (Zhang et al.: Learning with feature-dependent label noise, ICLR 2021).
        Similar = "similar",
    }
}

/// The labels that errors are injected into, one per row.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The class, or [`UNLABELLED`].
    pub labels: &'a [u32],
    /// Probability that the label is right; `None` without one.
    pub right: &'a [Option<f32>],
    /// Out of sample.
    pub probabilities: Probabilities<'a>,
    pub channel: &'a Channel,
    /// Related images, such as copies, share a number: one wrong decision mislabels all those of one class.
    pub groups: &'a [u32],
}

/// Result of [`inject`].
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// All labels, including the injected errors.
    pub labels: Vec<u32>,
    /// Rows with a changed label, ascending.
    pub rows: Vec<usize>,
    /// Number of independent changes: the rows of a group are changed together.
    pub decisions: usize,
}

/// Changes at most `fraction` of the labels, each in proportion to the probability that it is right. Deterministic for a seed.
pub fn inject(subject: &Subject, noise: Noise, fraction: f64, seed: u64) -> Injection {
    let mut random = StdRng::seed_from_u64(seed);
    let labels = subject.labels;
    let mut remaining = vec![0usize; subject.channel.classes];
    for &label in labels.iter().filter(|label| **label != UNLABELLED) {
        remaining[label as usize] += 1;
    }
    let labelled: usize = remaining.iter().sum();
    let target = (fraction * labelled as f64).round() as usize;
    let mut injection = Injection {
        labels: labels.to_vec(),
        rows: Vec::new(),
        decisions: 0,
    };
    // Weighted order without replacement (Efraimidis and Spirakis 2006).
    let mut order: Vec<(f64, usize)> = (0..labels.len())
        .filter_map(|row| {
            let weight = subject.weight(row, noise);
            let exponential = -random.random::<f64>().max(f64::MIN_POSITIVE).ln();
            (weight > 0.0).then(|| (exponential / weight, row))
        })
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut copies: Vec<usize> = (0..labels.len()).collect();
    copies.sort_by_key(|row| (subject.groups[*row], *row));
    for (_, row) in order {
        if injection.rows.len() >= target {
            break;
        }
        let class = labels[row];
        if injection.labels[row] != class {
            continue;
        }
        let first = copies.partition_point(|copy| subject.groups[*copy] < subject.groups[row]);
        let group = copies[first..].iter();
        let same: Vec<usize> = group
            .take_while(|copy| subject.groups[**copy] == subject.groups[row])
            .filter(|copy| labels[**copy] == class)
            .copied()
            .collect();
        let is_too_large = injection.rows.len() + same.len() > target;
        if is_too_large || remaining[class as usize] < MIN_KEPT + same.len() {
            continue;
        }
        let Some(label) = subject.draw(row, noise, &remaining, &mut random) else {
            continue;
        };
        remaining[class as usize] -= same.len();
        remaining[label] += same.len();
        injection.decisions += 1;
        for copy in same {
            injection.labels[copy] = label as u32;
            injection.rows.push(copy);
        }
    }
    injection.rows.sort_unstable();
    injection
}

impl Subject<'_> {
    /// How likely the row's label is changed, relative to others.
    fn weight(&self, row: usize, noise: Noise) -> f64 {
        let Some(right) = self.right[row].filter(|_| self.labels[row] != UNLABELLED) else {
            return 0.0;
        };
        let right = f64::from(right);
        match noise {
            Noise::Uniform | Noise::Confusion => right,
            Noise::Similar => {
                let other = self.most_probable_other(row, |_| true);
                right * other.map_or(0.0, |(_, p)| f64::from(p))
            }
        }
    }

    /// A wrong label for the row, of a class with images.
    fn draw(
        &self,
        row: usize,
        noise: Noise,
        remaining: &[usize],
        random: &mut StdRng,
    ) -> Option<usize> {
        let class = self.labels[row] as usize;
        let used = |label: usize| remaining[label] > 0;
        if noise == Noise::Similar {
            return self.most_probable_other(row, used).map(|(label, _)| label);
        }
        let weight = |label: usize| {
            if label == class || !used(label) {
                0.0
            } else if noise == Noise::Confusion {
                self.channel.given(class, label)
            } else {
                1.0
            }
        };
        let all: f64 = (0..remaining.len()).map(weight).sum();
        let mut at = random.random::<f64>() * all;
        let mut possible = (0..remaining.len()).filter(|label| weight(*label) > 0.0);
        possible.find(|label| {
            at -= weight(*label);
            at < 0.0
        })
    }

    /// The most probable class but the label, and its probability.
    fn most_probable_other(
        &self,
        row: usize,
        used: impl Fn(usize) -> bool,
    ) -> Option<(usize, f32)> {
        let others = self.probabilities.row(row).iter().copied().enumerate();
        others
            .filter(|(class, _)| *class != self.labels[row] as usize && used(*class))
            .reduce(|best, other| if other.1 > best.1 { other } else { best })
    }
}
