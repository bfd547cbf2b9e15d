//! Errors made on purpose: labels of images that are believed right are changed to what the estimated confusion would make of
//! them, so that what the detector finds of them is known.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{UNLABELLED, channel::Channel};

/// Images of a class that keep its label.
const KEPT: usize = 2;

#[derive(Debug, Clone, PartialEq)]
pub struct Planted {
    /// All labels, with the planted errors.
    pub labels: Vec<u32>,
    /// Rows with another label than before, ascending.
    pub rows: Vec<usize>,
}

/// Changes about `share` of the labels that are more likely right than not. `right`: how likely each is, none without a label.
/// Which ones and to what is the same for the same seed.
pub fn plant(
    labels: &[u32],
    right: &[Option<f32>],
    channel: &Channel,
    share: f64,
    seed: u64,
) -> Planted {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows: Vec<usize> = (0..labels.len())
        .filter(|row| right[*row].is_some_and(|right| right >= 0.5))
        .collect();
    let wanted = (share * rows.len() as f64).round() as usize;
    rows.shuffle(&mut random);
    let mut left = vec![0usize; channel.classes];
    for &label in labels.iter().filter(|label| **label != UNLABELLED) {
        left[label as usize] += 1;
    }
    let mut planted = Planted {
        labels: labels.to_vec(),
        rows: Vec::new(),
    };
    for row in rows {
        let class = labels[row] as usize;
        // A class nobody has is none that an image could be taken for.
        let weight = |label: usize| {
            if label == class || left[label] == 0 {
                0.0
            } else {
                channel.given(class, label)
            }
        };
        let all: f64 = (0..channel.classes).map(weight).sum();
        if planted.rows.len() == wanted || all <= 0.0 || left[class] <= KEPT {
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
            left[class] -= 1;
            left[label] += 1;
            planted.labels[row] = label as u32;
            planted.rows.push(row);
        }
    }
    planted.rows.sort_unstable();
    planted
}
