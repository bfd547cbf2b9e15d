//! Error injection: changes labels that are probably right according to the estimated confusion, to measure how many of these
//! errors the detector finds.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{UNLABELLED, channel::Channel};

/// Minimum number of images of a class that keep its label.
const MIN_KEPT: usize = 2;

/// Result of [`inject`].
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// All labels, including the injected errors.
    pub labels: Vec<u32>,
    /// Rows with a changed label, ascending.
    pub rows: Vec<usize>,
}

/// Changes about `fraction` of the labels that are more probably right than wrong. `right` holds the probability of each label,
/// `None` without one. Deterministic for a seed.
pub fn inject(
    labels: &[u32],
    right: &[Option<f32>],
    channel: &Channel,
    fraction: f64,
    seed: u64,
) -> Injection {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows: Vec<usize> = (0..labels.len())
        .filter(|row| right[*row].is_some_and(|right| right >= 0.5))
        .collect();
    let target = (fraction * rows.len() as f64).round() as usize;
    rows.shuffle(&mut random);
    let mut remaining = vec![0usize; channel.classes];
    for &label in labels.iter().filter(|label| **label != UNLABELLED) {
        remaining[label as usize] += 1;
    }
    let mut injected = Injection {
        labels: labels.to_vec(),
        rows: Vec::new(),
    };
    for row in rows {
        let class = labels[row] as usize;
        // Labels without images are not used.
        let weight = |label: usize| {
            if label == class || remaining[label] == 0 {
                0.0
            } else {
                channel.given(class, label)
            }
        };
        let all: f64 = (0..channel.classes).map(weight).sum();
        if injected.rows.len() == target || all <= 0.0 || remaining[class] <= MIN_KEPT {
            continue;
        }
        let mut at = random.random::<f64>() * all;
        let label = (0..channel.classes)
            .filter(|label| weight(*label) > 0.0)
            .find(|label| {
                at -= weight(*label);
                at < 0.0
            });
        if let Some(label) = label {
            remaining[class] -= 1;
            remaining[label] += 1;
            injected.labels[row] = label as u32;
            injected.rows.push(row);
        }
    }
    injected.rows.sort_unstable();
    injected
}
