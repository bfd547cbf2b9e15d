//! Label errors: scores of all labels, from out-of-sample predictions.
//!
//! [`confident`] is confident learning as in cleanlab, [`scores`] has simple scores, [`channel`] models the confusion of
//! labels, [`detect`] combines them with the neighbours and refits of the classifier, [`rare`] scores rare classes, [`inject`]
//! changes known labels, and [`calibration`] measures on these the yield of a review.

use std::collections::HashSet;

pub mod calibration;
pub mod channel;
pub mod confident;
pub mod detect;
pub mod inject;
pub mod precision;
pub mod rare;
pub mod scores;
#[cfg(test)]
mod tests;

/// Marks a row without a label.
pub const UNLABELLED: u32 = u32::MAX;

/// Class probabilities, `[rows, classes]`.
#[derive(Debug, Clone, Copy)]
pub struct Probabilities<'a> {
    pub classes: usize,
    pub values: &'a [f32],
}

impl<'a> Probabilities<'a> {
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.classes..(row + 1) * self.classes]
    }
}

/// The nearest neighbours of each row, nearest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NeighborRows {
    /// Start of each row's list in `rows`, and the end of the last: `[rows + 1]`.
    starts: Vec<usize>,
    rows: Vec<u32>,
}

impl NeighborRows {
    /// From one list per row, in order.
    pub fn new(lists: impl IntoIterator<Item = impl AsRef<[u32]>>) -> NeighborRows {
        let (mut starts, mut rows) = (vec![0], Vec::new());
        for list in lists {
            rows.extend_from_slice(list.as_ref());
            starts.push(rows.len());
        }
        NeighborRows { starts, rows }
    }

    pub fn of(&self, row: usize) -> &[u32] {
        &self.rows[self.starts[row]..self.starts[row + 1]]
    }
}

/// The neighbours that vote, from the group and row of each, nearest first: the nearest of each group but the `own`. Related
/// images share their errors.
pub fn voters(own: u32, neighbors: impl IntoIterator<Item = (u32, u32)>) -> Vec<u32> {
    let mut seen = HashSet::from([own]);
    let voters = neighbors.into_iter();
    let voters = voters.filter(|(group, _)| seen.insert(*group));
    voters.map(|(_, row)| row).collect()
}

/// The first most probable class; `None` without classes.
pub fn most_probable(row: &[f32]) -> Option<usize> {
    let classes = 0..row.len();
    classes.reduce(|best, class| if row[class] > row[best] { class } else { best })
}
