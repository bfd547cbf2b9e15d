//! Sheets of images and their neighbours: the query on the left, its neighbours on the right, nearest first.

use prospect_common::text;

use super::{
    MAX_SIZE, Picture, PictureError,
    caption::{draw_cell, draw_text, fitted, line_height, text_width},
    palette::{
        Rgb,
        sheet::{BACKGROUND, INK, OTHER, QUERY, RULE, SAME, UNKNOWN},
    },
};

/// Maximum width and height of an image on a sheet.
pub const PICTURE_SIZE: u32 = 160;
/// Neighbours per line; further ones continue below.
const COLUMNS: usize = 10;
/// Maximum neighbours drawn per query.
pub const MAX_NEIGHBORS: usize = 500;
/// Maximum height of a sheet; a higher query has its own sheet.
const MAX_HEIGHT: u32 = 8192;
/// Around an image.
const FRAME: u32 = 4;
/// An image's cell with its frame.
const CELL: u32 = PICTURE_SIZE + 2 * FRAME;
/// Between cells, and between a cell and its caption.
const GAP: u32 = 6;
/// Around the sheet and between queries.
const MARGIN: u32 = 14;
/// Between the query and its neighbours, with a line in the middle.
const GUTTER: u32 = 28;
const FONT_SIZE: f32 = 12.0;
const TITLE_SIZE: f32 = 15.0;
/// Lines of a caption.
const LINES: u32 = 3;

/// The meaning of the frame around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The query.
    Query,
    /// Has the query's label.
    Same,
    /// Has another label.
    Other,
    /// The image or the query has no label.
    Unknown,
}

impl Frame {
    fn colour(self) -> Rgb {
        match self {
            Frame::Query => QUERY,
            Frame::Same => SAME,
            Frame::Other => OTHER,
            Frame::Unknown => UNKNOWN,
        }
    }
}

/// An image with its caption.
#[derive(Debug, Clone)]
pub struct Tile {
    /// At most [`PICTURE_SIZE`] wide and high; `None` if unavailable.
    pub picture: Option<Picture>,
    pub frame: Frame,
    /// The caption: three lines, shortened to fit.
    pub lines: Vec<String>,
}

/// A query and its neighbours, nearest first; at most [`MAX_NEIGHBORS`] are drawn.
#[derive(Debug, Clone)]
pub struct Row {
    pub query: Tile,
    pub neighbors: Vec<Tile>,
}

/// Distributes queries with these numbers of neighbours over sheets; returns the number of queries per sheet, in order.
pub fn pages(neighbors: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut pages = Vec::new();
    let mut height = u32::MAX;
    for n in neighbors {
        let more = row_height(n);
        match pages.last_mut() {
            Some(last) if height.saturating_add(more) <= MAX_HEIGHT => {
                *last += 1;
                height += more;
            }
            _ => {
                pages.push(1);
                height = head_height() + more;
            }
        }
    }
    pages
}

/// Draws one sheet of queries. `title` describes how the neighbours were found.
pub fn neighbor_sheet(title: &str, rows: &[Row]) -> Result<Picture, PictureError> {
    let max_neighbors = rows.iter().map(|row| row.neighbors.len()).max();
    let columns = max_neighbors.unwrap_or(0).clamp(1, COLUMNS) as u32;
    let width = 2 * MARGIN + CELL + GUTTER + columns * (CELL + GAP) - GAP;
    let height = rows.iter().fold(head_height(), |height, row| {
        height.saturating_add(row_height(row.neighbors.len()))
    });
    if rows.is_empty() || height as usize > MAX_SIZE {
        return Err(PictureError::Size {
            width: width as usize,
            height: height as usize,
        });
    }
    let mut sheet = Picture::filled(width, height, BACKGROUND);
    draw_head(&mut sheet, title);
    let mut top = head_height();
    for row in rows {
        let height = row_height(row.neighbors.len());
        sheet.paste(&Picture::filled(width, 1, RULE), 0, top);
        let first = top + MARGIN;
        draw_tile(&mut sheet, &row.query, MARGIN, first);
        let left = MARGIN + CELL + GUTTER;
        let rule = Picture::filled(2, height - 2 * MARGIN, RULE);
        sheet.paste(&rule, left - GUTTER / 2 - 1, first);
        for (at, tile) in (0..).zip(row.neighbors.iter().take(MAX_NEIGHBORS)) {
            let (line, column) = (at / COLUMNS as u32, at % COLUMNS as u32);
            let left = left + column * (CELL + GAP);
            draw_tile(&mut sheet, tile, left, first + line * line_step());
        }
        top += height;
    }
    Ok(sheet)
}

/// Distance between lines of images.
fn line_step() -> u32 {
    CELL + GAP + LINES * line_height(FONT_SIZE) + GAP
}

fn row_height(neighbors: usize) -> u32 {
    let lines = neighbors.clamp(1, MAX_NEIGHBORS).div_ceil(COLUMNS) as u32;
    2 * MARGIN + lines * line_step()
}

fn head_height() -> u32 {
    MARGIN + line_height(TITLE_SIZE) + GAP + line_height(FONT_SIZE) + MARGIN
}

/// The title and the legend of the frames.
fn draw_head(sheet: &mut Picture, title: &str) {
    let room = sheet.width - 2 * MARGIN;
    let title = text::escaped(title);
    let title = fitted(TITLE_SIZE, &title, room);
    draw_text(sheet, MARGIN as i32, MARGIN as i32, TITLE_SIZE, INK, &title);
    let top = MARGIN + line_height(TITLE_SIZE) + GAP;
    let mut left = MARGIN;
    for (frame, meaning) in [
        (Frame::Same, "its label"),
        (Frame::Other, "another label"),
        (Frame::Unknown, "no label"),
    ] {
        let swatch = line_height(FONT_SIZE) - 3;
        sheet.paste(&Picture::filled(swatch, swatch, frame.colour()), left, top);
        left += swatch + GAP;
        draw_text(sheet, left as i32, top as i32, FONT_SIZE, INK, meaning);
        left += text_width(FONT_SIZE, meaning) + 3 * GAP;
    }
}

fn draw_tile(sheet: &mut Picture, tile: &Tile, left: u32, top: u32) {
    sheet.paste(&Picture::filled(CELL, CELL, tile.frame.colour()), left, top);
    let picture = tile.picture.as_ref();
    draw_cell(sheet, picture, left + FRAME, top + FRAME, PICTURE_SIZE);
    let mut below = top + CELL + GAP;
    for line in tile.lines.iter().take(LINES as usize) {
        let line = text::escaped(line);
        let line = fitted(FONT_SIZE, &line, CELL);
        draw_text(sheet, left as i32, below as i32, FONT_SIZE, INK, &line);
        below += line_height(FONT_SIZE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::palette::sheet::GROUND;

    const RED: [u8; 3] = [200, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 200];

    fn tile(width: u32, height: u32, frame: Frame, lines: &[&str]) -> Tile {
        Tile {
            picture: Some(Picture::filled(width, height, RED)),
            frame,
            lines: lines.iter().map(|line| line.to_string()).collect(),
        }
    }

    fn row(neighbors: usize) -> Row {
        Row {
            query: tile(
                PICTURE_SIZE,
                PICTURE_SIZE,
                Frame::Query,
                &["query.jpg", "label a", "pred a"],
            ),
            neighbors: vec![
                tile(PICTURE_SIZE, 80, Frame::Same, &["label a", "pred a", "1.5"]);
                neighbors
            ],
        }
    }

    #[test]
    fn queries_are_on_the_left_and_neighbours_on_the_right() {
        let mut first = row(12);
        first.neighbors[1] = tile(80, PICTURE_SIZE, Frame::Other, &[]);
        first.neighbors[11] = Tile {
            picture: None,
            ..tile(1, 1, Frame::Unknown, &[])
        };
        let sheet = neighbor_sheet("l2", &[first, row(3)]).unwrap();
        let left = MARGIN + CELL + GUTTER;
        assert_eq!(sheet.width, left + 10 * (CELL + GAP) - GAP + MARGIN);
        assert_eq!(sheet.height, head_height() + row_height(12) + row_height(3));
        let top = head_height() + MARGIN;
        assert_eq!(sheet.at(MARGIN, top), Some(Frame::Query.colour()));
        assert_eq!(sheet.at(MARGIN + FRAME, top + FRAME), Some(RED));
        assert_eq!(sheet.at(left, top), Some(Frame::Same.colour()));
        // Half as high as its cell, with the background above and below.
        assert_eq!(sheet.at(left + FRAME, top + FRAME + 39), Some(GROUND));
        assert_eq!(sheet.at(left + FRAME, top + FRAME + 40), Some(RED));
        assert_eq!(sheet.at(left + FRAME, top + FRAME + 120), Some(GROUND));
        let second = left + CELL + GAP;
        assert_eq!(sheet.at(second, top), Some(Frame::Other.colour()));
        assert_eq!(sheet.at(second + FRAME + 39, top + FRAME), Some(GROUND));
        assert_eq!(sheet.at(second + FRAME + 40, top + FRAME), Some(RED));
        // The eleventh starts a new line; the twelfth has no picture.
        let below = top + line_step();
        assert_eq!(sheet.at(left, below), Some(Frame::Same.colour()));
        assert_eq!(sheet.at(second, below), Some(Frame::Unknown.colour()));
        assert_eq!(sheet.at(second + FRAME, below + FRAME), Some(GROUND));
        assert_eq!(sheet.at(second + CELL + GAP, below), Some(BACKGROUND));
        let next = head_height() + row_height(12) + MARGIN;
        assert_eq!(sheet.at(MARGIN, next), Some(Frame::Query.colour()));
        assert_eq!(sheet.at(MARGIN, below), Some(BACKGROUND));
    }

    #[test]
    fn captions_stay_below_their_image() {
        let long = "European fire salamander ".repeat(200);
        let hostile = [
            "\u{1b}[2J\u{202e}gpj.exe\n",
            long.as_str(),
            "日本語 \u{0}",
            "a fourth",
        ];
        let mut one = row(2);
        one.neighbors[0] = tile(8, 8, Frame::Unknown, &hostile);
        one.neighbors[1].lines.clear();
        let sheet = neighbor_sheet(&long, &[one]).unwrap();
        let left = MARGIN + CELL + GUTTER;
        let top = head_height() + MARGIN + CELL + GAP;
        let inked = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
            y.flat_map(|y| x.clone().map(move |x| (x, y)))
                .filter(|&(x, y)| sheet.at(x, y) != Some(BACKGROUND))
                .count()
        };
        let end = top + LINES * line_height(FONT_SIZE);
        assert!(inked(left..left + CELL, top..end) > 200);
        assert_eq!(inked(left + CELL..sheet.width, top..end + GAP), 0);
        assert_eq!(
            inked(left..sheet.width, end + 1..end + GAP),
            0,
            "no fourth line"
        );
        assert_eq!(
            inked(sheet.width - MARGIN..sheet.width, 0..head_height()),
            0
        );
    }

    #[test]
    fn large_pictures_are_clipped_to_their_cell() {
        let mut one = row(1);
        one.neighbors[0].picture = Some(Picture::filled(3 * PICTURE_SIZE, 2, BLUE));
        one.query.picture = Some(Picture::filled(0, 0, BLUE));
        let sheet = neighbor_sheet("", &[one]).unwrap();
        let left = MARGIN + CELL + GUTTER;
        let middle = head_height() + MARGIN + CELL / 2;
        assert_eq!(
            sheet.at(left + FRAME + PICTURE_SIZE - 1, middle),
            Some(BLUE)
        );
        assert_eq!(
            sheet.at(left + FRAME + PICTURE_SIZE, middle),
            Some(Frame::Same.colour())
        );
    }

    #[test]
    fn queries_fill_pages_in_order() {
        assert!(pages([]).is_empty());
        assert_eq!(pages([0]), [1]);
        let spread = pages([10; 100]);
        assert_eq!(spread.iter().sum::<usize>(), 100);
        let high = |n: usize| head_height() + n as u32 * row_height(10);
        assert!(high(spread[0]) <= MAX_HEIGHT && high(spread[0] + 1) > MAX_HEIGHT);
        assert!(spread.len() > 2 && spread[0] == spread[1]);
        // A query higher than a sheet has its own.
        assert_eq!(pages([10, 1000, 10]), [1, 1, 1]);
        let sheet = neighbor_sheet("", &[row(1000)]).unwrap();
        assert_eq!(sheet.height, head_height() + row_height(MAX_NEIGHBORS));
        assert!(neighbor_sheet("", &[]).is_err());
        assert!(neighbor_sheet("", &vec![row(500); 2]).is_err());
        assert_eq!(neighbor_sheet("", &[row(0)]).unwrap().height, high(1));
    }
}
