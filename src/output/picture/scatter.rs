//! Maps: every image a point, coloured by what is known of it.

mod colours;
mod layout;
mod points;
#[cfg(test)]
mod tests;

use plotters::backend::DrawingBackend;

use self::layout::{Layout, Mark};
use super::{
    PictureError,
    chart::{self, Canvas, Chart, GROUND, PAPER, Rect, mixed},
    png,
};

/// Points in an SVG document at most: a browser still turns its pages.
pub const SVG_POINTS: usize = 20_000;

/// What the colours say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colouring {
    /// Each group's own; with more groups than colours, groups of one colour lie apart.
    Groups,
    /// Group 0 is right and recedes, group 1 is wrong and lies on top.
    Correctness,
}

/// A map and what is said about it. Texts may be anything: they are cut to their room, control characters made visible.
#[derive(Debug, Clone, Copy)]
pub struct Scatter<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// x to the right, y upwards, both on the same scale. A point that is no number is left out.
    pub points: &'a [[f32; 2]],
    /// Each point's group, an index of `names`; `None`: grey, beneath the others.
    pub groups: &'a [Option<u32>],
    /// In the order of the legend. With at most 20 names the colour is that of the place in this list, so that pictures with one
    /// list have one scheme.
    pub names: &'a [String],
    /// What the groups are, above the legend: `label`.
    pub by: &'a str,
    /// What a grey point is: `no label`.
    pub unknown: &'a str,
    /// Names of the axes; `None` where they mean nothing.
    pub axes: Option<[&'a str; 2]>,
    pub colouring: Colouring,
}

/// The map as a PNG file, 1600 pixels wide.
pub fn scatter_png(scatter: &Scatter) -> Result<Vec<u8>, PictureError> {
    png(&chart::picture(&Layout::new(scatter, usize::MAX)?)?)
}

/// The map as an SVG document. Of more than [`SVG_POINTS`] points a seeded sample is drawn, and the subtitle says so.
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

/// A name on the map.
#[derive(Debug, Clone)]
struct Name {
    words: chart::Words,
    /// How much its light ground hides of the points beneath.
    ground: f64,
}

impl Name {
    fn covers(&self) -> Rect {
        self.words.bounds().grown(5.0, 0.0)
    }
}
