//! Sheets of strips of related tiles, such as a photo and its explanations.

use super::{
    Layout, MAX_SIZE, Picture, PictureError,
    caption::{draw_text, line_height},
    contact_sheet,
    palette::sheet::INK,
};

/// Font size of headings.
const FONT_SIZE: f32 = 13.0;

/// Draws strips of one tile per heading in reading order: `layout.columns` strips per row, `apart` pixels between them. Each column
/// of tiles has its heading at the top. `None` leaves a strip empty.
pub fn strips(
    strips: &[Option<Vec<Picture>>],
    headings: &[&str],
    layout: &Layout,
    apart: u32,
) -> Result<Picture, PictureError> {
    let n_tiles = headings.len();
    let head = line_height(FONT_SIZE) + layout.gap;
    let strip_layout = Layout {
        columns: n_tiles,
        ..*layout
    };
    let (strip_width, strip_height) = strip_layout.size(n_tiles);
    let columns = layout.columns.clamp(1, strips.len().max(1));
    let extent = |length: u32, n: usize, apart: u32| {
        (length as usize + apart as usize)
            .saturating_mul(n)
            .saturating_sub(apart as usize)
    };
    let width = extent(strip_width, columns, apart);
    let strips_height = extent(strip_height, strips.len().div_ceil(columns), layout.gap);
    let height = strips_height + head as usize;
    let empty = strips.is_empty() || strip_width == 0 || strip_height == 0;
    if empty || width > MAX_SIZE || height > MAX_SIZE {
        return Err(PictureError::Size { width, height });
    }
    let mut sheet = Picture::filled(width as u32, height as u32, layout.background);
    for (at, tiles) in strips.iter().enumerate() {
        if let Some(tiles) = tiles {
            let tiles: Vec<Option<Picture>> = tiles.iter().cloned().map(Some).collect();
            let strip = contact_sheet(&tiles, &strip_layout)?;
            let (row, column) = ((at / columns) as u32, (at % columns) as u32);
            let (left, top) = (strip_width + apart, strip_height + layout.gap);
            sheet.paste(&strip, column * left, head + row * top);
        }
    }
    for column in 0..columns as u32 {
        for (tile, heading) in (0..).zip(headings) {
            let left = column * (strip_width + apart) + tile * (layout.tile_size + layout.gap);
            draw_text(&mut sheet, left as i32, 0, FONT_SIZE, INK, heading);
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_side_by_side_with_gaps() {
        let layout = Layout {
            columns: 2,
            tile_size: 4,
            gap: 1,
            background: [9; 3],
        };
        let strip = |value: u8| Some(vec![Picture::filled(4, 4, [value; 3]); 2]);
        let all = [strip(50), None, strip(70)];
        let sheet = strips(&all, &["", ""], &layout, 3).unwrap();
        let head = line_height(FONT_SIZE) + 1;
        assert_eq!((sheet.width, sheet.height), (9 + 3 + 9, head + 4 + 1 + 4));
        let at = |x, y| sheet.at(x, head + y);
        assert_eq!(at(0, 0), Some([50; 3]));
        assert_eq!(at(4, 0), Some([9; 3]), "gap in the strip");
        assert_eq!(at(8, 3), Some([50; 3]));
        assert_eq!(at(12, 0), Some([9; 3]), "an empty strip");
        assert_eq!(at(5, 5), Some([70; 3]));
        let one = strips(&all[..1], &["", ""], &layout, 3).unwrap();
        assert_eq!((one.width, one.height), (9, head + 4));
        assert!(strips(&[], &["", ""], &layout, 3).is_err());
        assert!(strips(&all, &[], &layout, 3).is_err());
    }

    #[test]
    fn every_column_has_its_heading() {
        let layout = Layout {
            columns: 2,
            tile_size: 40,
            gap: 2,
            background: [0; 3],
        };
        let strip = || Some(vec![Picture::filled(40, 40, [0; 3]); 2]);
        let sheet = strips(&[strip(), strip()], &["M", ""], &layout, 4).unwrap();
        let inked = |from: u32| {
            let all =
                (0..line_height(FONT_SIZE)).flat_map(|y| (from..from + 40).map(move |x| (x, y)));
            all.filter(|&(x, y)| sheet.at(x, y) != Some([0; 3])).count()
        };
        assert!(inked(0) > 10 && inked(86) > 10);
        assert_eq!((inked(42), inked(128)), (0, 0));
    }
}
