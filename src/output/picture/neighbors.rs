//! Sheets of images and their neighbours: the query left, what is near it right, nearest first.

use prospect_common::text;

use super::{
    MAX_GRID_SIDE, Picture, PictureError,
    caption::{draw_place, draw_text, fitted, line_height, text_width},
    palette::{
        Rgb,
        sheet::{BACKGROUND, INK, OTHER, QUERY, RULE, SAME, UNKNOWN},
    },
};

/// Longest side of an image on a sheet.
pub const SIDE: u32 = 160;
/// Neighbours in a line; more go on below.
const COLUMNS: usize = 10;
/// Most neighbours that are drawn of one query.
pub const MOST: usize = 500;
/// Queries stand on one sheet while it is at most so high; a longer one stands alone.
const PAGE: u32 = 8192;
/// Round an image.
const FRAME: u32 = 4;
/// An image's place with its frame.
const PLACE: u32 = SIDE + 2 * FRAME;
/// Between places, and between a place and its caption.
const GAP: u32 = 6;
/// Round the sheet and between queries.
const MARGIN: u32 = 14;
/// Between the query and its neighbours, a line in the middle.
const APART: u32 = 28;
const LETTERS: f32 = 12.0;
const HEADING: f32 = 15.0;
/// Lines of a caption.
const LINES: u32 = 3;

/// What the frame round an image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// It is the query.
    Query,
    /// Its label is the query's.
    Same,
    Other,
    /// One of them has no label.
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

/// An image with what is to be said about it.
#[derive(Debug, Clone)]
pub struct Tile {
    /// At most [`SIDE`] wide and high; `None` where it cannot be shown.
    pub picture: Option<Picture>,
    pub frame: Frame,
    /// The caption; lines are shortened to fit, and those beyond the third left out.
    pub lines: Vec<String>,
}

/// A query and its neighbours, nearest first; those beyond [`MOST`] are left out.
#[derive(Debug, Clone)]
pub struct Row {
    pub query: Tile,
    pub neighbors: Vec<Tile>,
}

/// How queries with so many neighbours each are spread over sheets: how many stand on each, in order.
pub fn pages(neighbors: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut pages = Vec::new();
    let mut height = u32::MAX;
    for n in neighbors {
        let more = row_height(n);
        match pages.last_mut() {
            Some(last) if height.saturating_add(more) <= PAGE => {
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

/// The sheet of the queries of one page. `title` says how the neighbours were found.
pub fn neighbor_sheet(title: &str, rows: &[Row]) -> Result<Picture, PictureError> {
    let most = rows.iter().map(|row| row.neighbors.len()).max();
    let columns = most.unwrap_or(0).clamp(1, COLUMNS) as u32;
    let width = 2 * MARGIN + PLACE + APART + columns * (PLACE + GAP) - GAP;
    let height = rows.iter().fold(head_height(), |height, row| {
        height.saturating_add(row_height(row.neighbors.len()))
    });
    if rows.is_empty() || height as usize > MAX_GRID_SIDE {
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
        let left = MARGIN + PLACE + APART;
        let rule = Picture::filled(2, height - 2 * MARGIN, RULE);
        sheet.paste(&rule, left - APART / 2 - 1, first);
        for (at, tile) in (0..).zip(row.neighbors.iter().take(MOST)) {
            let (line, column) = (at / COLUMNS as u32, at % COLUMNS as u32);
            let left = left + column * (PLACE + GAP);
            draw_tile(&mut sheet, tile, left, first + line * line_step());
        }
        top += height;
    }
    Ok(sheet)
}

/// From one line of images to the next below.
fn line_step() -> u32 {
    PLACE + GAP + LINES * line_height(LETTERS) + GAP
}

fn row_height(neighbors: usize) -> u32 {
    let lines = neighbors.clamp(1, MOST).div_ceil(COLUMNS) as u32;
    2 * MARGIN + lines * line_step()
}

fn head_height() -> u32 {
    MARGIN + line_height(HEADING) + GAP + line_height(LETTERS) + MARGIN
}

/// The title, and what the frames mean.
fn draw_head(sheet: &mut Picture, title: &str) {
    let room = sheet.width - 2 * MARGIN;
    let title = text::escaped(title);
    let title = fitted(HEADING, &title, room);
    draw_text(sheet, MARGIN as i32, MARGIN as i32, HEADING, INK, &title);
    let top = MARGIN + line_height(HEADING) + GAP;
    let mut left = MARGIN;
    for (frame, meaning) in [
        (Frame::Same, "its label"),
        (Frame::Other, "another label"),
        (Frame::Unknown, "no label"),
    ] {
        let side = line_height(LETTERS) - 3;
        sheet.paste(&Picture::filled(side, side, frame.colour()), left, top);
        left += side + GAP;
        draw_text(sheet, left as i32, top as i32, LETTERS, INK, meaning);
        left += text_width(LETTERS, meaning) + 3 * GAP;
    }
}

fn draw_tile(sheet: &mut Picture, tile: &Tile, left: u32, top: u32) {
    sheet.paste(
        &Picture::filled(PLACE, PLACE, tile.frame.colour()),
        left,
        top,
    );
    let picture = tile.picture.as_ref();
    draw_place(sheet, picture, left + FRAME, top + FRAME, SIDE);
    let mut below = top + PLACE + GAP;
    for line in tile.lines.iter().take(LINES as usize) {
        let line = text::escaped(line);
        let line = fitted(LETTERS, &line, PLACE);
        draw_text(sheet, left as i32, below as i32, LETTERS, INK, &line);
        below += line_height(LETTERS);
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
                SIDE,
                SIDE,
                Frame::Query,
                &["query.jpg", "label a", "pred a"],
            ),
            neighbors: vec![tile(SIDE, 80, Frame::Same, &["label a", "pred a", "1.5"]); neighbors],
        }
    }

    #[test]
    fn the_query_stands_left_and_neighbours_right_in_lines() {
        let mut first = row(12);
        first.neighbors[1] = tile(80, SIDE, Frame::Other, &[]);
        first.neighbors[11] = Tile {
            picture: None,
            ..tile(1, 1, Frame::Unknown, &[])
        };
        let sheet = neighbor_sheet("l2", &[first, row(3)]).unwrap();
        let left = MARGIN + PLACE + APART;
        assert_eq!(sheet.width, left + 10 * (PLACE + GAP) - GAP + MARGIN);
        assert_eq!(sheet.height, head_height() + row_height(12) + row_height(3));
        let top = head_height() + MARGIN;
        assert_eq!(sheet.at(MARGIN, top), Some(Frame::Query.colour()));
        assert_eq!(sheet.at(MARGIN + FRAME, top + FRAME), Some(RED));
        assert_eq!(sheet.at(left, top), Some(Frame::Same.colour()));
        // Half as high as its place: above and below it the ground.
        assert_eq!(sheet.at(left + FRAME, top + FRAME + 39), Some(GROUND));
        assert_eq!(sheet.at(left + FRAME, top + FRAME + 40), Some(RED));
        assert_eq!(sheet.at(left + FRAME, top + FRAME + 120), Some(GROUND));
        let second = left + PLACE + GAP;
        assert_eq!(sheet.at(second, top), Some(Frame::Other.colour()));
        assert_eq!(sheet.at(second + FRAME + 39, top + FRAME), Some(GROUND));
        assert_eq!(sheet.at(second + FRAME + 40, top + FRAME), Some(RED));
        // The eleventh begins a line of its own; the twelfth has no picture.
        let below = top + line_step();
        assert_eq!(sheet.at(left, below), Some(Frame::Same.colour()));
        assert_eq!(sheet.at(second, below), Some(Frame::Unknown.colour()));
        assert_eq!(sheet.at(second + FRAME, below + FRAME), Some(GROUND));
        assert_eq!(sheet.at(second + PLACE + GAP, below), Some(BACKGROUND));
        let next = head_height() + row_height(12) + MARGIN;
        assert_eq!(sheet.at(MARGIN, next), Some(Frame::Query.colour()));
        assert_eq!(sheet.at(MARGIN, below), Some(BACKGROUND));
    }

    #[test]
    fn captions_stay_under_their_image() {
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
        let left = MARGIN + PLACE + APART;
        let top = head_height() + MARGIN + PLACE + GAP;
        let inked = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
            y.flat_map(|y| x.clone().map(move |x| (x, y)))
                .filter(|&(x, y)| sheet.at(x, y) != Some(BACKGROUND))
                .count()
        };
        let end = top + LINES * line_height(LETTERS);
        assert!(inked(left..left + PLACE, top..end) > 200);
        assert_eq!(inked(left + PLACE..sheet.width, top..end + GAP), 0);
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
    fn a_picture_too_large_is_cut_to_its_place() {
        let mut one = row(1);
        one.neighbors[0].picture = Some(Picture::filled(3 * SIDE, 2, BLUE));
        one.query.picture = Some(Picture::filled(0, 0, BLUE));
        let sheet = neighbor_sheet("", &[one]).unwrap();
        let left = MARGIN + PLACE + APART;
        let middle = head_height() + MARGIN + PLACE / 2;
        assert_eq!(sheet.at(left + FRAME + SIDE - 1, middle), Some(BLUE));
        assert_eq!(
            sheet.at(left + FRAME + SIDE, middle),
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
        assert!(high(spread[0]) <= PAGE && high(spread[0] + 1) > PAGE);
        assert!(spread.len() > 2 && spread[0] == spread[1]);
        // More than fits on a page still has a sheet of its own.
        assert_eq!(pages([10, 1000, 10]), [1, 1, 1]);
        let sheet = neighbor_sheet("", &[row(1000)]).unwrap();
        assert_eq!(sheet.height, head_height() + row_height(MOST));
        assert!(neighbor_sheet("", &[]).is_err());
        assert!(neighbor_sheet("", &vec![row(500); 2]).is_err());
        assert_eq!(neighbor_sheet("", &[row(0)]).unwrap().height, high(1));
    }
}
