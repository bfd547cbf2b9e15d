//! Wrong labels: how likely each given label is right, from probabilities that were made without it.
//!
//! [`confident`] counts as cleanlab does, [`scores`] has the simple scores, [`channel`] what labels say of classes when some are
//! wrong, [`detect`] puts them together with the neighbours and a second round of the classifier, [`plant`] makes errors of
//! whose detection the truth is known, [`calibration`] says from those what a review finds.

pub mod calibration;
pub mod channel;
pub mod confident;
pub mod detect;
pub mod plant;
pub mod scores;
#[cfg(test)]
mod tests;

/// The label of a row that has none.
pub const UNLABELLED: u32 = u32::MAX;

/// Probabilities of classes, `[rows, classes]`.
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

/// Each row's nearest other rows, nearest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NeighborRows {
    /// Where each row's begin in `rows`, and the end of the last: `[rows + 1]`.
    starts: Vec<usize>,
    rows: Vec<u32>,
}

impl NeighborRows {
    /// Of lists in the order of the rows.
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

/// The most probable class, the first where several are; none without classes.
pub fn most_probable(row: &[f32]) -> Option<usize> {
    let classes = 0..row.len();
    classes.reduce(|best, class| if row[class] > row[best] { class } else { best })
}
