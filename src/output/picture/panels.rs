//! Pictures side by side, with colour bars and captions.

use prospect_common::text;

use super::{
    MAX_SIZE, Picture, PictureError,
    caption::{draw_text, fitted, line_height, text_width},
    palette::{
        heat,
        sheet::{BACKGROUND, INK},
    },
};

/// Default number of panels per row.
pub const COLUMNS: usize = 5;
/// Between and around panels.
const MARGIN: u32 = 10;
/// Minimum width of a panel, for its caption.
const MIN_WIDTH: u32 = 300;
/// Font size of captions in pixels.
const FONT_SIZE: f32 = 15.0;
/// Height of the colour bar.
const BAR: u32 = 12;
/// Between picture, bar and caption, and between the bar and its numbers.
const GAP: u32 = 5;

/// A picture with its caption.
#[derive(Debug, Clone)]
pub struct Panel {
    pub picture: Picture,
    /// For a heat map, the maximum raw value, shown by the last colour; the first is 0.
    pub(super) max: Option<f32>,
    /// The caption; lines are shortened to fit.
    pub lines: Vec<String>,
}

impl Panel {
    pub fn new(picture: Picture, lines: Vec<String>) -> Panel {
        Panel {
            picture,
            max: None,
            lines,
        }
    }

    /// An empty panel.
    pub fn empty() -> Panel {
        Panel::new(Picture::filled(0, 0, BACKGROUND), Vec::new())
    }
}

/// Draws panels in reading order, `columns` per row, on a dark background. Colour bars and captions are aligned within a row.
pub fn side_by_side(panels: &[Panel], columns: usize) -> Result<Picture, PictureError> {
    let columns = columns.min(panels.len()).max(1);
    let widest = panels.iter().map(|panel| panel.picture.width).max();
    let width = widest.unwrap_or(0).max(MIN_WIDTH);
    let rows: Vec<Row> = panels.chunks(columns).map(Row::of).collect();
    let across = columns as u64 * u64::from(width + MARGIN) + u64::from(MARGIN);
    let down = rows
        .iter()
        .map(|row| u64::from(row.height() + MARGIN))
        .sum::<u64>()
        + u64::from(MARGIN);
    let limit = MAX_SIZE as u64;
    if panels.is_empty() || across > limit || down > limit {
        return Err(PictureError::Size {
            width: across as usize,
            height: down as usize,
        });
    }
    let mut page = Picture::filled(across as u32, down as u32, BACKGROUND);
    let mut top = MARGIN;
    for (row, panels) in rows.iter().zip(panels.chunks(columns)) {
        let mut left = MARGIN;
        for panel in panels {
            let picture = &panel.picture;
            page.paste(picture, left + (width - picture.width) / 2, top);
            let mut below = top + row.picture;
            if row.bar {
                below += GAP;
                if let Some(max) = panel.max {
                    draw_scale(&mut page, left, below, width, max);
                }
                below += line_height(FONT_SIZE);
            }
            for line in &panel.lines {
                below += GAP;
                let line = fitted(FONT_SIZE, line, width);
                draw_text(&mut page, left as i32, below as i32, FONT_SIZE, INK, &line);
                below += line_height(FONT_SIZE);
            }
            left += width + MARGIN;
        }
        top += row.height() + MARGIN;
    }
    Ok(page)
}

/// The heights needed by the panels of a row.
struct Row {
    picture: u32,
    bar: bool,
    lines: u32,
}

impl Row {
    fn of(panels: &[Panel]) -> Row {
        let max = |of: fn(&Panel) -> u32| panels.iter().map(of).max().unwrap_or(0);
        Row {
            picture: max(|panel| panel.picture.height),
            bar: panels.iter().any(|panel| panel.max.is_some()),
            lines: max(|panel| panel.lines.len() as u32),
        }
    }

    fn height(&self) -> u32 {
        self.picture + (self.lines + u32::from(self.bar)) * (GAP + line_height(FONT_SIZE))
    }
}

/// Draws the colour bar, `0 ▒▒▓▓██ 14.2`, or a note if there are no positive values.
fn draw_scale(page: &mut Picture, left: u32, top: u32, width: u32, max: f32) {
    let write = |page: &mut Picture, x: u32, text: &str| {
        draw_text(page, x as i32, top as i32, FONT_SIZE, INK, text);
    };
    let figure = text::figure(max.into());
    if max == 0.0 {
        return write(page, left, "no positive values");
    }
    if max < 0.0 {
        return write(page, left, &format!("no positive values: at most {figure}"));
    }
    let right = left + width.saturating_sub(text_width(FONT_SIZE, &figure));
    write(page, left, "0");
    write(page, right, &figure);
    let first = left + text_width(FONT_SIZE, "0") + GAP;
    let end = right.saturating_sub(GAP);
    let down = (line_height(FONT_SIZE).saturating_sub(BAR)) / 2;
    for x in first..end {
        let share = (x - first) as f32 / (end - first - 1).max(1) as f32;
        page.paste(&Picture::filled(1, BAR, heat(share)), x, top + down);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::palette::luma;

    const RED: [u8; 3] = [200, 0, 0];

    fn panel(width: u32, height: u32, max: Option<f32>, lines: &[&str]) -> Panel {
        Panel {
            max,
            ..Panel::new(
                Picture::filled(width, height, RED),
                lines.iter().map(|line| line.to_string()).collect(),
            )
        }
    }

    #[test]
    fn panels_are_in_rows_with_aligned_captions() {
        let mut panels = vec![
            panel(300, 100, None, &["a", "b"]),
            panel(100, 50, Some(2.0), &["c"]),
        ];
        let page = side_by_side(&panels, COLUMNS).unwrap();
        let line = GAP + line_height(FONT_SIZE);
        assert_eq!(page.width, 2 * 300 + 3 * MARGIN);
        assert_eq!(page.height, 100 + 3 * line + 2 * MARGIN);
        assert_eq!(page.at(MARGIN, MARGIN), Some(RED));
        assert_eq!(page.at(MARGIN + 299, MARGIN + 99), Some(RED));
        // The narrow picture is centred in its panel.
        let left = 300 + 2 * MARGIN + 100;
        assert_eq!(page.at(left - 1, MARGIN), Some(BACKGROUND));
        assert_eq!(page.at(left, MARGIN), Some(RED));
        // The second panel's bar goes from black to yellow below the higher picture.
        let middle = MARGIN + 100 + GAP + line_height(FONT_SIZE) / 2;
        let bar: Vec<[u8; 3]> = (0..page.width)
            .map(|x| page.at(x, middle).unwrap())
            .collect();
        let find = |share| bar.iter().position(|&pixel| pixel == heat(share)).unwrap();
        let (dark, light) = (find(0.0), find(1.0));
        assert!(
            dark > 300 + 2 * MARGIN as usize && light > dark + 200,
            "{dark} {light}"
        );
        assert!(bar[dark..=light].is_sorted_by_key(|pixel| (luma(pixel) + 500) / 1000));

        panels.extend((0..4).map(|_| panel(10, 10, None, &[])));
        let page = side_by_side(&panels, COLUMNS).unwrap();
        assert_eq!(page.width, 5 * 300 + 6 * MARGIN);
        assert_eq!(page.height, 100 + 3 * line + 10 + 3 * MARGIN);
    }

    #[test]
    fn maps_without_positive_values_have_a_note() {
        let inked = |max| {
            let page = side_by_side(&[panel(100, 50, Some(max), &[])], COLUMNS).unwrap();
            let row = (0..page.width)
                .rfind(|&x| (60..page.height).any(|y| page.at(x, y) != Some(BACKGROUND)));
            row.unwrap()
        };
        assert!(inked(0.0) < inked(-0.5) && inked(-0.5) < MIN_WIDTH + MARGIN);
        assert!(inked(0.0) > 100);
    }

    #[test]
    fn too_large_pages_are_errors() {
        assert!(side_by_side(&[], COLUMNS).is_err());
        assert!(side_by_side(&[panel(1, 17_000, None, &[])], COLUMNS).is_err());
        let wide = [5_000, 1, 1, 1].map(|width| panel(width, 1, None, &[]));
        assert!(side_by_side(&wide, COLUMNS).is_err());
        assert_eq!(
            side_by_side(&wide, 3).unwrap().width,
            3 * 5_000 + 4 * MARGIN
        );
    }
}
