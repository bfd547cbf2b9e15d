//! Confusion matrices.

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

pub use self::content::{Cell, Entry, Figures, MAX_CLASSES, Matrix};

/// Draws a matrix. Colours follow the square root of the fraction, so that one image in a hundred is visible.
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
