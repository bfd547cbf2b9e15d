//! The contents of a matrix.

/// Maximum number of classes.
pub const MAX_CLASSES: usize = 1000;

/// A matrix with its texts, which may be untrusted: they are escaped and cut to fit.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// Names of rows from the top and columns from the left; at most [`MAX_CLASSES`].
    pub names: &'a [String],
    /// The name of a separate last column for all other classes.
    pub other: Option<&'a str>,
    /// In any order; missing cells are empty.
    pub cells: &'a [Cell],
    /// Names of the row and column axes.
    pub axes: [&'a str; 2],
    /// What the fractions refer to: `of the label's images`.
    pub of: &'a str,
    pub figures: Figures,
    /// A list beside the matrix: its heading and lines.
    pub list: (&'a str, &'a [Entry]),
}

/// The numbers in cells that are large enough.
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
    /// Fraction of the row, in 0..=1, shown by the colour.
    pub share: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub text: String,
    pub figure: String,
}
