//! Maps: scatter plots with one point per image, coloured by group.

mod colours;
mod content;
mod layout;
mod points;
#[cfg(test)]
mod tests;

use plotters::backend::DrawingBackend;

use self::layout::{Layout, Mark};
use super::{
    PictureError,
    chart::{self, Canvas, Chart},
    palette::{
        chart::{GROUND, PAPER},
        mixed,
    },
    png,
};

pub use self::content::{Colouring, Scatter};

/// Maximum points in an SVG document, so that browsers stay responsive.
pub const SVG_POINTS: usize = 20_000;

/// The map as a PNG file, 1600 pixels wide.
pub fn scatter_png(scatter: &Scatter) -> Result<Vec<u8>, PictureError> {
    png(&chart::picture(&Layout::new(scatter, usize::MAX)?)?)
}

/// The map as an SVG document. Of more than [`SVG_POINTS`] points, a reproducible sample is drawn, as noted in the subtitle.
pub fn scatter_svg(scatter: &Scatter) -> Result<String, PictureError> {
    chart::svg(&Layout::new(scatter, SVG_POINTS)?)
}

impl Chart for Layout {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<(), PictureError> {
        canvas.rect(&self.frame, GROUND, 1.0)?;
        for Mark { at, style } in &self.marks {
            let style = &self.styles[*style as usize];
            if style.rim {
                canvas.dot(*at, style.radius + 1.0, PAPER, 1.0)?;
            }
            canvas.dot(*at, style.radius, style.colour, style.alpha)?;
        }
        for name in &self.names {
            canvas.rect(&name.covers(), mixed(PAPER, GROUND, 0.5), name.ground)?;
            canvas.words(&name.words)?;
        }
        for swatch in &self.swatches {
            canvas.dot(swatch.at, swatch.radius, swatch.colour, 1.0)?;
        }
        for words in &self.words {
            canvas.words(words)?;
        }
        Ok(())
    }
}
