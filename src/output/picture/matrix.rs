//! Which class is taken for which, as a matrix of colours.

mod content;
mod layout;
#[cfg(test)]
mod tests;

use plotters::backend::DrawingBackend;

use self::layout::Layout;
use super::{
    Picture, PictureError,
    chart::{self, Canvas, Chart},
};

pub use self::content::{Cell, Entry, Figures, MOST_CLASSES, Matrix};

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
