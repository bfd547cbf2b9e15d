//! What a matrix shows and says.

/// A square has room for so many classes.
pub const MOST_CLASSES: usize = 1000;

/// A matrix and what is said about it. Texts may be anything: they are cut to their room, control characters made visible.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// Rows from the top, columns from the left; at most [`MOST_CLASSES`].
    pub names: &'a [String],
    /// The name of a last column, apart from the others, for what is none of these classes.
    pub other: Option<&'a str>,
    /// In any order; a place without a cell is empty.
    pub cells: &'a [Cell],
    /// What the rows and what the columns are.
    pub axes: [&'a str; 2],
    /// What the colours are shares of: `of the label's images`.
    pub of: &'a str,
    pub figures: Figures,
    /// A heading and the lines under it, beside the matrix.
    pub list: (&'a str, &'a [Entry]),
}

/// What is written into the cells where there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figures {
    Counts,
    Percent,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    pub row: usize,
    /// `names.len()` for the last column.
    pub column: usize,
    pub count: u64,
    /// Of the row, in 0..=1: the colour.
    pub share: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub text: String,
    pub figure: String,
}
