//! Which class is taken for which, as a matrix of colours.

mod layout;
#[cfg(test)]
mod tests;

use plotters::backend::DrawingBackend;

use self::layout::Layout;
use super::{
    Picture, PictureError,
    chart::{self, Canvas, Chart, Rgb},
};

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

/// The matrix, coloured by the square root of the share, so that one image in a hundred can be seen beside ninety-nine.
pub fn matrix_picture(matrix: &Matrix) -> Result<Picture, PictureError> {
    chart::picture(&Layout::new(matrix)?)
}

impl Chart for Layout {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<(), PictureError> {
        for (rect, colour) in &self.fills {
            canvas.rect(rect, *colour, 1.0)?;
        }
        for words in &self.words {
            canvas.words(words)?;
        }
        Ok(())
    }
}

/// From pale yellow over red to dark violet (van der Walt & Smith's magma, perceptually uniform, backwards, without its ends).
fn colour(share: f64) -> Rgb {
    let along = share.clamp(0.0, 1.0).sqrt();
    colorous::MAGMA
        .eval_continuous(0.97 - 0.79 * along)
        .into_array()
}
