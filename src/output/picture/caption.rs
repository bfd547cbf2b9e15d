//! Antialiased text on pictures.

use std::{borrow::Cow, sync::OnceLock};

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use prospect_common::text;

use super::{
    Picture,
    palette::{
        Rgb, mix,
        sheet::{FAINT, GROUND},
    },
};

/// Line height relative to the font size.
const LINE: f32 = 1.25;

/// The font Hack: monospaced, legible at 12 pixels. Without it there is no text, which a test rules out.
fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(epaint_default_fonts::HACK_REGULAR).ok())
        .as_ref()
}

/// Pixels from the top of one line to the next.
pub fn line_height(size: f32) -> u32 {
    (size * LINE).ceil() as u32
}

/// The glyphs of `text`, starting at x = 0, and the advance of the line in pixels.
pub(super) fn set(font: &FontRef, size: f32, text: &str) -> (Vec<Glyph>, f32) {
    let font = font.as_scaled(PxScale::from(size));
    let mut glyphs = Vec::new();
    let mut x = 0.0;
    let mut last = None;
    for letter in text.chars() {
        let id = font.glyph_id(letter);
        x += last.map_or(0.0, |last| font.kern(last, id));
        glyphs.push(id.with_scale_and_position(size, point(x, font.ascent())));
        x += font.h_advance(id);
        last = Some(id);
    }
    (glyphs, x)
}

/// Width of `text` in whole pixels.
pub fn text_width(size: f32, text: &str) -> u32 {
    font().map_or(0, |font| set(font, size, text).1.ceil() as u32)
}

/// `text` shortened to `width` pixels, with an ellipsis if it was cut.
pub fn fitted(size: f32, text: &str, width: u32) -> Cow<'_, str> {
    cut(text, |text| text_width(size, text) <= width)
}

/// Escaped text in at most `limit` lines of at most `width` pixels, broken between words; the rest is cut.
pub fn wrapped(size: f32, text: &str, width: u32, limit: usize) -> Vec<String> {
    let text = text::escaped(text);
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let is_last = lines.len() + 1 == limit;
        let fits = |end: usize| text_width(size, rest[..end].trim_end()) <= width;
        let breaks = rest.match_indices(' ').map(|(at, _)| at);
        let end = match is_last || fits(rest.len()) {
            true => rest.len(),
            false => (breaks.take_while(|end| fits(*end)).last()).unwrap_or(rest.len()),
        };
        lines.push(fitted(size, rest[..end].trim_end(), width).into_owned());
        rest = rest[end..].trim_start();
    }
    lines
}

/// The longest prefix of `text` that fits, with an ellipsis if it was cut.
pub(super) fn cut(text: &str, fits: impl Fn(&str) -> bool) -> Cow<'_, str> {
    if fits(text) {
        return Cow::Borrowed(text);
    }
    let cuts = (text.char_indices()).map(|(end, _)| format!("{}…", text[..end].trim_end()));
    let cut = cuts.take_while(|cut| fits(cut)).last();
    Cow::Owned(cut.unwrap_or_default())
}

/// Draws one line of text with its top left corner at (`left`, `top`), clipped to the picture. `size` is the height in pixels from
/// the lowest descent to the highest ascent.
pub fn draw_text(picture: &mut Picture, left: i32, top: i32, size: f32, colour: Rgb, text: &str) {
    let Some(font) = font() else { return };
    let (width, height) = (i64::from(picture.width), i64::from(picture.height));
    for glyph in set(font, size, text).0 {
        let Some(outline) = font.outline_glyph(glyph) else {
            continue;
        };
        let corner = outline.px_bounds().min;
        let (x0, y0) = (
            corner.x as i64 + i64::from(left),
            corner.y as i64 + i64::from(top),
        );
        outline.draw(|dx, dy, coverage| {
            let (x, y) = (x0 + i64::from(dx), y0 + i64::from(dy));
            if (0..width).contains(&x) && (0..height).contains(&y) {
                let at = (y * width + x) as usize * 3;
                for (channel, ink) in picture.pixels[at..at + 3].iter_mut().zip(colour) {
                    *channel = mix(*channel, ink, coverage);
                }
            }
        });
    }
}

/// Draws a square cell of `size` pixels with a centred, clipped picture, or with a note if there is none.
pub(super) fn draw_cell(
    sheet: &mut Picture,
    picture: Option<&Picture>,
    left: u32,
    top: u32,
    size: u32,
) {
    const FONT_SIZE: f32 = 12.0;
    let mut cell = Picture::filled(size, size, GROUND);
    let centred = |length: u32| size.saturating_sub(length) / 2;
    match picture {
        Some(picture) => cell.paste(picture, centred(picture.width), centred(picture.height)),
        None => {
            let note = "not available";
            let x = centred(text_width(FONT_SIZE, note)) as i32;
            let y = centred(line_height(FONT_SIZE)) as i32;
            draw_text(&mut cell, x, y, FONT_SIZE, FAINT, note);
        }
    }
    sheet.paste(&cell, left, top);
}

#[cfg(test)]
mod tests {
    use super::*;

    const INK: Rgb = [255, 200, 100];

    /// Bounds of all pixels that are not black: x0, y0, x1, y1.
    fn inked(picture: &Picture) -> Option<(u32, u32, u32, u32)> {
        let mut found: Option<(u32, u32, u32, u32)> = None;
        for y in 0..picture.height {
            for x in 0..picture.width {
                if picture.at(x, y) != Some([0; 3]) {
                    let (x0, y0, x1, y1) = found.unwrap_or((x, y, x, y));
                    found = Some((x0.min(x), y0.min(y), x1.max(x), y1.max(y)));
                }
            }
        }
        found
    }

    #[test]
    fn text_is_positioned_and_antialiased() {
        let mut picture = Picture::filled(200, 40, [0; 3]);
        draw_text(&mut picture, 10, 5, 20.0, INK, "Hällo p=0.5");
        let (x0, y0, x1, y1) = inked(&picture).unwrap();
        let width = text_width(20.0, "Hällo p=0.5");
        assert!(
            x0 >= 10 && x1 < 10 + width && x1 > 10 + width * 9 / 10,
            "{x0} {x1} {width}"
        );
        assert!(y0 >= 5 && y1 < 25 && y1 - y0 > 12, "{y0} {y1}");
        let reds: std::collections::BTreeSet<u8> = picture
            .pixels
            .chunks_exact(3)
            .map(|pixel| pixel[0])
            .collect();
        assert!(reds.contains(&255) && reds.len() > 8, "{reds:?}");
        let mut again = Picture::filled(200, 40, [0; 3]);
        draw_text(&mut again, 10, 5, 20.0, INK, "Hällo p=0.5");
        assert_eq!(picture, again);
    }

    #[test]
    fn text_is_clipped_to_the_picture() {
        let mut picture = Picture::filled(30, 12, [0; 3]);
        draw_text(&mut picture, -15, -6, 20.0, INK, "MMMMMMMM");
        assert_eq!(
            inked(&picture).map(|bounds| (bounds.0, bounds.1)),
            Some((0, 0))
        );
        let before = picture.clone();
        draw_text(&mut picture, 500, 3, 20.0, INK, "M");
        draw_text(&mut picture, 3, -500, 20.0, INK, "M");
        draw_text(&mut picture, 0, 0, 20.0, INK, " \u{0}");
        draw_text(&mut Picture::filled(0, 0, INK), 0, 0, 20.0, INK, "M");
        assert_eq!(picture.width, before.width);
    }

    #[test]
    fn long_text_is_shortened() {
        let name = "European fire salamander";
        assert_eq!(fitted(12.0, name, 1000), name);
        for width in [0, 5, 40, 100, 130] {
            let short = fitted(12.0, name, width);
            assert!(text_width(12.0, &short) <= width, "{short}");
            if width >= 40 {
                let stem = short.strip_suffix('…').unwrap();
                assert!(name.starts_with(stem) && !stem.ends_with(' '), "{short}");
            }
        }
        assert_eq!(fitted(12.0, "ääääää", text_width(12.0, "äää")), "ää…");
        assert_eq!(text_width(12.0, ""), 0);
    }

    #[test]
    fn long_text_is_wrapped_between_words() {
        let text = "labelled hat; probe says shoes 0.97; 18 of 20 neighbours are shoes; Grad-CAM overlaps 0.1 and more";
        let wrapped = |text: &str| wrapped(12.0, text, 192, 3);
        let lines = wrapped(text);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| text_width(12.0, line) <= 192));
        assert!(text.starts_with(&lines[0]) && lines[2].ends_with('…'));
        assert_eq!(wrapped("short"), ["short"]);
        let word = wrapped(&"x".repeat(200));
        assert!(word.len() == 1 && word[0].ends_with('…'), "{word:?}");
        assert!(wrapped("  ").is_empty());
    }
}
