//! Sheets of images in reading order, each with its caption.

use super::{
    MAX_GRID_SIDE, Picture, PictureError,
    caption::{draw_text, fitted, line_height},
    neighbors::{BACKGROUND, GAP, HEADING, INK, MARGIN, PLACE, Tile, draw_tile, line_step},
};
use crate::text;

/// Images side by side.
const COLUMNS: u32 = 8;
/// Most images on a sheet.
pub const MOST: usize = 400;

/// At most [`MOST`] images under a title.
///
/// # Errors
/// There is no image.
pub fn gallery(title: &str, tiles: &[Tile]) -> Result<Picture, PictureError> {
    let shown = tiles.len().min(MOST) as u32;
    let columns = shown.clamp(1, COLUMNS);
    let head = MARGIN + line_height(HEADING) + MARGIN;
    let width = 2 * MARGIN + columns * (PLACE + GAP) - GAP;
    let height = head + shown.div_ceil(COLUMNS) * line_step() + MARGIN;
    if shown == 0 || height as usize > MAX_GRID_SIDE {
        return Err(PictureError::Size {
            width: width as usize,
            height: height as usize,
        });
    }
    let mut sheet = Picture::filled(width, height, BACKGROUND);
    let title = text::escaped(title);
    let title = fitted(HEADING, &title, width - 2 * MARGIN);
    draw_text(
        &mut sheet,
        MARGIN as i32,
        MARGIN as i32,
        HEADING,
        INK,
        &title,
    );
    for (at, tile) in (0..shown).zip(tiles) {
        let left = MARGIN + at % COLUMNS * (PLACE + GAP);
        draw_tile(&mut sheet, tile, left, head + at / COLUMNS * line_step());
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::{
        super::neighbors::{Frame, SIDE},
        *,
    };

    #[test]
    fn images_stand_in_lines_of_eight() {
        let red = [200, 0, 0];
        let tile = Tile {
            picture: Some(Picture::filled(SIDE, SIDE, red)),
            frame: Frame::Query,
            lines: vec!["a \u{1b}[2J".into(), "b".into()],
        };
        let sheet = gallery("worst \u{202e} first", &vec![tile.clone(); 11]).unwrap();
        assert_eq!(sheet.width, 2 * MARGIN + 8 * (PLACE + GAP) - GAP);
        let head = MARGIN + line_height(HEADING) + MARGIN;
        let middle = |at: u32| MARGIN + at * (PLACE + GAP) + PLACE / 2;
        assert_eq!(sheet.at(middle(7), head + PLACE / 2), Some(red));
        assert_eq!(
            sheet.at(middle(2), head + line_step() + PLACE / 2),
            Some(red)
        );
        assert_eq!(
            sheet.at(middle(3), head + line_step() + PLACE / 2),
            Some(BACKGROUND)
        );
        assert!(gallery("", &[]).is_err());
        let many = gallery("", &vec![tile; MOST + 1]).unwrap();
        assert_eq!(many.height, head + (MOST as u32 / 8) * line_step() + MARGIN);
    }
}
