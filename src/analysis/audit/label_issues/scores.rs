//! Scores of single labels: 0 (worst) to 1 (fine).

use super::{NeighborRows, UNLABELLED};

/// Probability of the label. `row`: `[classes]`.
pub fn self_confidence(label: u32, row: &[f32]) -> f32 {
    row[label as usize]
}

/// Half of what the label is more probable than any other class, and a half: cleanlab's normalised margin.
pub fn normalized_margin(label: u32, row: &[f32]) -> f32 {
    let others = row
        .iter()
        .enumerate()
        .filter(|(class, _)| *class != label as usize);
    let best = others.map(|(_, p)| *p).fold(0.0, f32::max);
    (row[label as usize] - best + 1.0) / 2.0
}

/// What the neighbours of a row are labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// Neighbours that have a label.
    pub labelled: u32,
    /// Of these, with the row's own label.
    pub agree: u32,
    /// The label that most have, the lowest class where several do, and how many have it.
    pub most: Option<(u32, u32)>,
}

impl Votes {
    pub fn of(row: usize, labels: &[u32], neighbors: &NeighborRows) -> Votes {
        let of = neighbors.of(row).iter();
        Votes::count(labels[row], of.map(|neighbor| labels[*neighbor as usize]))
    }

    /// `own`: the row's label; `others`: its neighbours'.
    pub fn count(own: u32, others: impl Iterator<Item = u32>) -> Votes {
        let mut found: Vec<u32> = others.filter(|label| *label != UNLABELLED).collect();
        found.sort_unstable();
        let mut most: Option<(u32, u32)> = None;
        for votes in found.chunk_by(|a, b| a == b) {
            if most.is_none_or(|(_, n)| votes.len() as u32 > n) {
                most = Some((votes[0], votes.len() as u32));
            }
        }
        Votes {
            labelled: found.len() as u32,
            agree: found.iter().filter(|label| **label == own).count() as u32,
            most,
        }
    }

    /// Share of the labelled neighbours that agree; 1 without any, since nobody objects.
    pub fn agreement(&self) -> f32 {
        match self.labelled {
            0 => 1.0,
            n => self.agree as f32 / n as f32,
        }
    }
}
