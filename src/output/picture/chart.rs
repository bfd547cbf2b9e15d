//! Shared by charts: a canvas on either plotters backend, text, colours and rectangles.

use std::{fmt::Display, sync::OnceLock};

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use plotters::{
    backend::{BitMapBackend, DrawingBackend, SVGBackend},
    style::{
        Color, FontTransform, IntoFont, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use prospect_common::text::escaped;

use super::{
    Picture, PictureError, PixelBox,
    caption::{cut, set},
    palette::{Rgb, chart::PAPER},
    scaled,
};

/// Pixels per layout unit: bitmaps are downsampled for smooth edges, and SVG coordinates are finer.
const SCALE: f32 = 2.0;

/// The font family in SVG; plotters scales it down so far that fonts wider than ours also fit.
const FAMILY: &str = "sans-serif";

/// Ubuntu Light: narrower than the font of [`caption`](super::caption), so fewer names are cut.
fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok())
        .as_ref()
}

/// Width of a line in units. Letters missing from our font count with their maximum width: an SVG viewer may have them.
pub(super) fn width(size: f32, text: &str) -> f32 {
    let Some(font) = font() else { return 0.0 };
    let missing = text.chars().filter(|&letter| font.glyph_id(letter).0 == 0);
    set(font, size, text).1 + missing.count() as f32 * size * 0.6
}

/// Untrusted text as one line of at most `room` units: control characters are escaped, and characters invalid in XML replaced.
pub(super) fn line(size: f32, text: &str, room: f32) -> String {
    // No line fits more letters, and a name may be megabytes long.
    let head: String = text.chars().take(400).collect();
    let clean = escaped(head.trim()).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    let clean = if clean.is_empty() {
        "(no name)"
    } else {
        &clean
    };
    cut(clean, |text| width(size, text) <= room).into_owned()
}

/// A rectangle in units, y from the top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
}

impl Rect {
    pub fn sized(x0: f32, y0: f32, width: f32, height: f32) -> Rect {
        Rect {
            x0,
            y0,
            x1: x0 + width,
            y1: y0 + height,
        }
    }

    pub fn width(&self) -> f32 {
        self.x1 - self.x0
    }

    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }

    /// Enlarged by x and y in both directions.
    pub fn grown(&self, x: f32, y: f32) -> Rect {
        Rect {
            x0: self.x0 - x,
            y0: self.y0 - y,
            x1: self.x1 + x,
            y1: self.y1 + y,
        }
    }

    pub fn has(&self, [x, y]: [f32; 2]) -> bool {
        (self.x0..=self.x1).contains(&x) && (self.y0..=self.y1).contains(&y)
    }

    pub fn overlaps(&self, other: &Rect) -> bool {
        self.x0 < other.x1 && other.x0 < self.x1 && self.y0 < other.y1 && other.y0 < self.y1
    }

    pub fn holds(&self, other: &Rect) -> bool {
        self.x0 <= other.x0 && other.x1 <= self.x1 && self.y0 <= other.y0 && other.y1 <= self.y1
    }
}

/// Alignment of a line of text relative to its position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

impl Align {
    /// The fraction of a line before its position.
    fn before(self) -> f32 {
        match self {
            Align::Left => 0.0,
            Align::Centre => 0.5,
            Align::Right => 1.0,
        }
    }
}

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextLine {
    pub text: String,
    /// Position, at half the height of capitals.
    pub at: [f32; 2],
    pub align: Align,
    /// Height in units, from the lowest descent to the highest ascent.
    pub size: f32,
    pub colour: Rgb,
    /// Rotated to read upwards.
    pub rotated: bool,
}

impl TextLine {
    pub fn new(text: impl Into<String>, at: [f32; 2], size: f32, colour: Rgb) -> TextLine {
        TextLine {
            text: text.into(),
            at,
            align: Align::Left,
            size,
            colour,
            rotated: false,
        }
    }

    pub fn aligned(self, align: Align) -> TextLine {
        TextLine { align, ..self }
    }

    pub fn rotated(self) -> TextLine {
        TextLine {
            rotated: true,
            ..self
        }
    }

    /// Bounding box.
    pub fn bounds(&self) -> Rect {
        let long = width(self.size, &self.text);
        let before = long * self.align.before();
        let half = self.size / 2.0;
        let [x, y] = self.at;
        if self.rotated {
            return Rect::sized(x - half, y + before - long, self.size, long);
        }
        Rect::sized(x - before, y - half, long, self.size)
    }
}

/// Height of capitals relative to the font size.
const CAPITALS: f32 = 0.62;

/// Offset of the baseline from a text's position in plotters' SVG, relative to the font size.
const BASELINE: f32 = 0.76 / 1.24;

/// How text is put on a canvas.
#[derive(Clone, Copy)]
enum TextMode {
    /// As pixels.
    Glyphs,
    /// As text, in the viewer's font.
    Native,
}

/// Draws on a backend in units.
pub(super) struct Canvas<B: DrawingBackend> {
    backend: B,
    text_mode: TextMode,
}

impl<B: DrawingBackend> Canvas<B> {
    fn pixel([x, y]: [f32; 2]) -> (i32, i32) {
        ((x * SCALE).round() as i32, (y * SCALE).round() as i32)
    }

    pub fn rect(&mut self, rect: &Rect, colour: Rgb, alpha: f64) -> Result<(), PictureError> {
        let (from, to) = (
            Self::pixel([rect.x0, rect.y0]),
            Self::pixel([rect.x1, rect.y1]),
        );
        let style = RGBColor(colour[0], colour[1], colour[2]).mix(alpha);
        let drawn = self.backend.draw_rect(from, to, &style.filled(), true);
        drawn.map_err(failed)
    }

    pub fn dot(
        &mut self,
        at: [f32; 2],
        radius: f32,
        colour: Rgb,
        alpha: f64,
    ) -> Result<(), PictureError> {
        let radius = (radius * SCALE).round().max(1.0) as u32;
        let style = RGBColor(colour[0], colour[1], colour[2]).mix(alpha);
        let drawn = self
            .backend
            .draw_circle(Self::pixel(at), radius, &style, true);
        drawn.map_err(failed)
    }

    pub fn words(&mut self, words: &TextLine) -> Result<(), PictureError> {
        match self.text_mode {
            TextMode::Glyphs => self.draw_glyphs(words),
            TextMode::Native => self.write(words),
        }
    }

    fn write(&mut self, words: &TextLine) -> Result<(), PictureError> {
        let align = match words.align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        let [r, g, b] = words.colour;
        let colour = RGBColor(r, g, b);
        let font = (FAMILY, words.size * SCALE).into_font();
        let font = font.transform(if words.rotated {
            FontTransform::Rotate270
        } else {
            FontTransform::None
        });
        let style = TextStyle::from(font)
            .color(&colour)
            .pos(Pos::new(align, VPos::Top));
        let down = words.size * (CAPITALS / 2.0 - BASELINE);
        let [x, y] = words.at;
        let at = if words.rotated {
            [x + down, y]
        } else {
            [x, y + down]
        };
        let drawn = self.backend.draw_text(&words.text, &style, Self::pixel(at));
        drawn.map_err(failed)
    }

    /// Draws glyph by glyph, as plotters ignores kerning.
    fn draw_glyphs(&mut self, words: &TextLine) -> Result<(), PictureError> {
        let Some(font) = font() else {
            return Ok(());
        };
        let size = words.size * SCALE;
        let (glyphs, long) = set(font, size, &words.text);
        let baseline = font.as_scaled(PxScale::from(size)).ascent();
        let (left, top) = (
            -long * words.align.before(),
            size * CAPITALS / 2.0 - baseline,
        );
        let (left, top) = (left.round() as i32, top.round() as i32);
        let (x0, y0) = Self::pixel(words.at);
        let [r, g, b] = words.colour;
        let (w, h) = self.backend.get_size();
        for outline in glyphs
            .into_iter()
            .filter_map(|glyph| font.outline_glyph(glyph))
        {
            let corner = outline.px_bounds().min;
            let mut result = Ok(());
            outline.draw(|dx, dy, coverage| {
                let across = corner.x as i32 + dx as i32 + left;
                let down = corner.y as i32 + dy as i32 + top;
                let (x, y) = if words.rotated {
                    (x0 + down, y0 - across)
                } else {
                    (x0 + across, y0 + down)
                };
                if (0..w as i32).contains(&x) && (0..h as i32).contains(&y) && result.is_ok() {
                    let ink = RGBColor(r, g, b).mix(coverage.into()).to_backend_color();
                    result = self.backend.draw_pixel((x, y), ink);
                }
            });
            result.map_err(failed)?;
        }
        Ok(())
    }
}

fn failed(error: impl Display) -> PictureError {
    PictureError::Encode(error.to_string())
}

/// A chart that can be drawn on any canvas.
pub(super) trait Chart {
    /// Width and height in units.
    fn size(&self) -> (u32, u32);
    fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<(), PictureError>;
}

/// As a bitmap with one pixel per unit.
pub(super) fn picture(chart: &impl Chart) -> Result<Picture, PictureError> {
    let (width, height) = chart.size();
    let (w, h) = (width * SCALE as u32, height * SCALE as u32);
    let mut large = Picture::filled(w, h, PAPER);
    let mut canvas = Canvas {
        backend: BitMapBackend::with_buffer(&mut large.pixels, (w, h)),
        text_mode: TextMode::Glyphs,
    };
    chart.draw(&mut canvas)?;
    canvas.backend.present().map_err(failed)?;
    drop(canvas);
    let whole = PixelBox::whole(w, h);
    scaled(&large.pixels, w, h, whole, (width, height))
}

/// As an SVG document.
pub(super) fn svg(chart: &impl Chart) -> Result<String, PictureError> {
    let (width, height) = chart.size();
    let (w, h) = (width * SCALE as u32, height * SCALE as u32);
    let mut document = String::new();
    let mut canvas = Canvas {
        backend: SVGBackend::with_string(&mut document, (w, h)),
        text_mode: TextMode::Native,
    };
    let paper = Rect::sized(0.0, 0.0, width as f32, height as f32);
    canvas.rect(&paper, PAPER, 1.0)?;
    chart.draw(&mut canvas)?;
    canvas.backend.present().map_err(failed)?;
    drop(canvas);
    // Set the displayed size. Texts are escaped, so their quotation marks cannot match.
    let size = |w, h| format!("width=\"{w}\" height=\"{h}\"");
    let document = document.replacen(&size(w, h), &size(width, height), 1);
    let defaults = [" stroke=\"none\" stroke-width=\"1\"", " stroke=\"none\""];
    Ok(document.replace(defaults[0], "").replace(defaults[1], ""))
}
