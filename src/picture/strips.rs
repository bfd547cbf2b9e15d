//! Sheets of tiles that belong together: a photo and what is shown of it.

use super::{Layout, MAX_GRID_SIDE, Picture, PictureError, contact_sheet};

/// Strips of `n_tiles` tiles each, side by side in reading order; `layout.columns` of them in a row, `apart` pixels between
/// neighbours. A strip of `None` leaves its place empty.
pub fn strips(
    strips: &[Option<Vec<Picture>>],
    n_tiles: usize,
    layout: &Layout,
    apart: u32,
) -> Result<Picture, PictureError> {
    let strip_layout = Layout {
        columns: n_tiles,
        ..*layout
    };
    let (strip_width, strip_height) = strip_layout.size(n_tiles);
    let columns = layout.columns.clamp(1, strips.len().max(1));
    let extent = |length: u32, places: usize, apart: u32| {
        (length as usize + apart as usize)
            .saturating_mul(places)
            .saturating_sub(apart as usize)
    };
    let width = extent(strip_width, columns, apart);
    let height = extent(strip_height, strips.len().div_ceil(columns), layout.gap);
    if width == 0 || height == 0 || width > MAX_GRID_SIDE || height > MAX_GRID_SIDE {
        return Err(PictureError::Size { width, height });
    }
    let mut sheet = Picture::filled(width as u32, height as u32, layout.background);
    for (place, tiles) in strips.iter().enumerate() {
        if let Some(tiles) = tiles {
            let tiles: Vec<Option<Picture>> = tiles.iter().cloned().map(Some).collect();
            let strip = contact_sheet(&tiles, &strip_layout)?;
            let (row, column) = ((place / columns) as u32, (place % columns) as u32);
            let (left, top) = (strip_width + apart, strip_height + layout.gap);
            sheet.paste(&strip, column * left, row * top);
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_stand_side_by_side_and_apart() {
        let layout = Layout {
            columns: 2,
            side: 4,
            gap: 1,
            background: [9; 3],
        };
        let strip = |value: u8| Some(vec![Picture::filled(4, 4, [value; 3]); 2]);
        let all = [strip(50), None, strip(70)];
        let sheet = strips(&all, 2, &layout, 3).unwrap();
        assert_eq!((sheet.width, sheet.height), (9 + 3 + 9, 4 + 1 + 4));
        assert_eq!(sheet.at(0, 0), Some([50; 3]));
        assert_eq!(sheet.at(4, 0), Some([9; 3]), "gap in the strip");
        assert_eq!(sheet.at(8, 3), Some([50; 3]));
        assert_eq!(sheet.at(12, 0), Some([9; 3]), "an empty strip");
        assert_eq!(sheet.at(5, 5), Some([70; 3]));
        let one = strips(&all[..1], 2, &layout, 3).unwrap();
        assert_eq!((one.width, one.height), (9, 4));
        assert!(strips(&[], 2, &layout, 3).is_err());
    }
}
