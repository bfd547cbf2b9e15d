//! Scores of single labels, from 0 (worst) to 1 (best).

use super::{NeighborRows, UNLABELLED};

/// Probability of the label; `row` is `[classes]`.
pub fn self_confidence(label: u32, row: &[f32]) -> f32 {
    row[label as usize]
}

/// cleanlab's normalised margin: half the difference between the probabilities of the label and the best other class, plus 0.5.
pub fn normalized_margin(label: u32, row: &[f32]) -> f32 {
    let others = row
        .iter()
        .enumerate()
        .filter(|(class, _)| *class != label as usize);
    let best = others.map(|(_, p)| *p).fold(0.0, f32::max);
    (row[label as usize] - best + 1.0) / 2.0
}

/// Labels of a row's neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// Labelled neighbours.
    pub labelled: u32,
    /// Labelled neighbours with the row's own label.
    pub agree: u32,
    /// The most frequent label and its count; ties go to the lowest class.
    pub top: Option<(u32, u32)>,
}

impl Votes {
    /// For the row's label `own`.
    pub fn of(row: usize, own: u32, labels: &[u32], neighbors: &NeighborRows) -> Votes {
        let of = neighbors.of(row).iter();
        Votes::count(own, of.map(|neighbor| labels[*neighbor as usize]))
    }

    /// From the row's label and its neighbours' labels.
    pub fn count(own: u32, others: impl Iterator<Item = u32>) -> Votes {
        let mut found: Vec<u32> = others.filter(|label| *label != UNLABELLED).collect();
        found.sort_unstable();
        let mut top: Option<(u32, u32)> = None;
        for votes in found.chunk_by(|a, b| a == b) {
            if top.is_none_or(|(_, n)| votes.len() as u32 > n) {
                top = Some((votes[0], votes.len() as u32));
            }
        }
        Votes {
            labelled: found.len() as u32,
            agree: found.iter().filter(|label| **label == own).count() as u32,
            top,
        }
    }

    /// Fraction of the labelled neighbours that agree; 1 without any.
    pub fn agreement(&self) -> f32 {
        match self.labelled {
            0 => 1.0,
            n => self.agree as f32 / n as f32,
        }
    }
}
