//! Draws contact sheets, filter grids, signed maps, overlays and charts.

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use image::{ExtendedColorType, ImageEncoder, codecs::png};
use prospect_common::Error;

pub mod caption;
pub mod cards;
mod chart;
mod filters;
mod gradient;
pub mod heat;
pub mod matrix;
pub mod neighbors;
pub mod palette;
mod panels;
pub mod scatter;
mod strips;

use self::palette::Rgb;
pub use filters::{filter_grid, signed_map};
pub use gradient::gradient_picture;
pub use panels::{COLUMNS, Panel, side_by_side};
pub use strips::strips;

/// Maximum width and height of a picture.
const MAX_SIZE: usize = 16_384;
/// Why a picture could not be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PictureError {
    /// The number of values does not match the shape.
    #[error("expected {expected} values for shape {shape:?}, got {found}")]
    Shape {
        shape: Vec<usize>,
        expected: usize,
        found: usize,
    },
    /// Nothing to draw, or too large a picture.
    #[error("cannot draw a picture of {width} x {height} pixels")]
    Size { width: usize, height: usize },
    /// The PNG encoder failed.
    #[error("cannot encode the picture: {0}")]
    Encode(String),
}

impl From<PictureError> for Error {
    /// Internal: sizes and shapes are chosen by Prospect.
    fn from(error: PictureError) -> Error {
        Error::internal("drawing a picture", error)
    }
}

/// An RGB picture: row-major, 3 bytes per pixel, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

impl Picture {
    /// A picture of one colour.
    pub fn filled(width: u32, height: u32, colour: Rgb) -> Picture {
        let n = width as usize * height as usize;
        Picture {
            width,
            height,
            pixels: colour.iter().copied().cycle().take(n * 3).collect(),
        }
    }

    /// The colour at column `x`, row `y`; `None` outside.
    pub fn at(&self, x: u32, y: u32) -> Option<Rgb> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let i = (y as usize * self.width as usize + x as usize) * 3;
        Some([self.pixels[i], self.pixels[i + 1], self.pixels[i + 2]])
    }

    /// Copies `other` with its top left corner to (`left`, `top`), clipped to this picture.
    pub fn paste(&mut self, other: &Picture, left: u32, top: u32) {
        let columns = other.width.min(self.width.saturating_sub(left)) as usize;
        let rows = other.height.min(self.height.saturating_sub(top)) as usize;
        for row in 0..rows {
            let from = row * other.width as usize * 3;
            let to = ((top as usize + row) * self.width as usize + left as usize) * 3;
            self.pixels[to..to + columns * 3]
                .copy_from_slice(&other.pixels[from..from + columns * 3]);
        }
    }
}

/// Part of an image in whole pixels: columns `x0..x1`, rows `y0..y1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBox {
    pub x0: u32,
    pub y0: u32,
    pub x1: u32,
    pub y1: u32,
}

impl PixelBox {
    /// The whole `width` x `height` image.
    pub fn whole(width: u32, height: u32) -> PixelBox {
        PixelBox {
            x0: 0,
            y0: 0,
            x1: width,
            y1: height,
        }
    }

    /// Rounds the box `[x0, y0, x1, y1]` (pixel edges) to at least one whole pixel inside a `width` x `height` image. Lengths are
    /// rounded separately, so that a square stays square. `None` for an image without pixels or a box with NaN.
    pub fn nearest(edges: [f32; 4], width: u32, height: u32) -> Option<PixelBox> {
        if width == 0 || height == 0 || edges.iter().any(|e| e.is_nan()) {
            return None;
        }
        let axis = |low: f32, high: f32, size: u32| {
            let low = low.clamp(0.0, size as f32);
            let high = high.clamp(low, size as f32);
            let length = ((high - low).round() as u32).clamp(1, size);
            let start = (low.round() as u32).min(size - length);
            (start, start + length)
        };
        let (x0, x1) = axis(edges[0], edges[2], width);
        let (y0, y1) = axis(edges[1], edges[3], height);
        Some(PixelBox { x0, y0, x1, y1 })
    }
}

/// Crops `part` from an image (RGB, row-major, `width * height * 3` bytes) and scales it to fit a `size` x `size` square, keeping
/// its aspect ratio: downsampled with an antialiasing triangle filter, or enlarged by repeating pixels, which invents no detail.
pub fn tile(
    pixels: &[u8],
    width: u32,
    height: u32,
    part: PixelBox,
    size: u32,
) -> Result<Picture, PictureError> {
    let (w, h) = (
        part.x1.saturating_sub(part.x0),
        part.y1.saturating_sub(part.y0),
    );
    let longest = w.max(h).max(1);
    let fit = |length: u32| {
        let scaled = (u64::from(length) * u64::from(size) * 2 / u64::from(longest)).div_ceil(2);
        (scaled as u32).clamp(size.min(1), size)
    };
    scaled(pixels, width, height, part, (fit(w), fit(h)))
}

/// Like [`tile`], but to an exact width and height.
fn scaled(
    pixels: &[u8],
    width: u32,
    height: u32,
    part: PixelBox,
    (out_w, out_h): (u32, u32),
) -> Result<Picture, PictureError> {
    let expected = width as usize * height as usize * 3;
    if pixels.len() != expected {
        return Err(PictureError::Shape {
            shape: vec![height as usize, width as usize, 3],
            expected,
            found: pixels.len(),
        });
    }
    let (w, h) = (
        part.x1.saturating_sub(part.x0),
        part.y1.saturating_sub(part.y0),
    );
    if w == 0 || h == 0 || out_w == 0 || out_h == 0 || part.x1 > width || part.y1 > height {
        return Err(PictureError::Size {
            width: w as usize,
            height: h as usize,
        });
    }
    let mut out = Picture::filled(out_w, out_h, [0; 3]);
    if w <= out_w && h <= out_h {
        for y in 0..out_h {
            let from_y = part.y0 + (u64::from(y) * u64::from(h) / u64::from(out_h)) as u32;
            for x in 0..out_w {
                let from_x = part.x0 + (u64::from(x) * u64::from(w) / u64::from(out_w)) as u32;
                let from = (from_y as usize * width as usize + from_x as usize) * 3;
                let to = (y as usize * out_w as usize + x as usize) * 3;
                out.pixels[to..to + 3].copy_from_slice(&pixels[from..from + 3]);
            }
        }
        return Ok(out);
    }
    let failed = |e: &dyn std::fmt::Display| PictureError::Encode(e.to_string());
    // Typed, so that the code for all other pixel types is not linked.
    let source =
        TypedImageRef::<U8x3>::from_buffer(width, height, pixels).map_err(|e| failed(&e))?;
    let mut target =
        TypedImage::from_buffer(out_w, out_h, &mut out.pixels).map_err(|e| failed(&e))?;
    let options = ResizeOptions::new()
        .crop(
            f64::from(part.x0),
            f64::from(part.y0),
            f64::from(w),
            f64::from(h),
        )
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .map_err(|e| failed(&e))?;
    Ok(out)
}

/// The layout of a sheet of tiles.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Tiles per row.
    pub columns: usize,
    /// Width and height of each tile's cell.
    pub tile_size: u32,
    /// Pixels between cells (none around the edge).
    pub gap: u32,
    pub background: Rgb,
}

impl Layout {
    /// Width and height of a sheet of `n` tiles.
    pub fn size(&self, n: usize) -> (u32, u32) {
        let columns = self.columns.max(1);
        let extent = |cells: usize| {
            let cells = u32::try_from(cells).unwrap_or(u32::MAX);
            cells
                .saturating_mul(self.tile_size.saturating_add(self.gap))
                .saturating_sub(self.gap)
        };
        (extent(columns.min(n)), extent(n.div_ceil(columns)))
    }
}

/// Tiles in reading order, each centred in its cell; `None` leaves a cell empty.
pub fn contact_sheet(tiles: &[Option<Picture>], layout: &Layout) -> Result<Picture, PictureError> {
    let (width, height) = layout.size(tiles.len());
    if width == 0 || height == 0 || width as usize > MAX_SIZE || height as usize > MAX_SIZE {
        return Err(PictureError::Size {
            width: width as usize,
            height: height as usize,
        });
    }
    let mut sheet = Picture::filled(width, height, layout.background);
    let columns = layout.columns.max(1);
    let step = layout.tile_size + layout.gap;
    for (cell, tile) in tiles.iter().enumerate() {
        if let Some(tile) = tile {
            let centred = |length: u32| layout.tile_size.saturating_sub(length) / 2;
            let left = (cell % columns) as u32 * step + centred(tile.width);
            let top = (cell / columns) as u32 * step + centred(tile.height);
            sheet.paste(tile, left, top);
        }
    }
    Ok(sheet)
}

/// Checks that `found` values match a non-empty `shape`.
fn check_shape(found: usize, shape: &[usize]) -> Result<(), PictureError> {
    let expected = shape
        .iter()
        .try_fold(1_usize, |n, &length| n.checked_mul(length))
        .unwrap_or(usize::MAX);
    if expected == 0 || expected != found {
        return Err(PictureError::Shape {
            shape: shape.to_vec(),
            expected,
            found,
        });
    }
    Ok(())
}

/// The picture as a PNG file (8-bit RGB, no metadata); the same pixels give the same bytes.
pub fn png(picture: &Picture) -> Result<Vec<u8>, PictureError> {
    check_shape(
        picture.pixels.len(),
        &[picture.height as usize, picture.width as usize, 3],
    )?;
    let mut bytes = Vec::new();
    // Slower compression makes photos 3 % smaller but takes forty times as long.
    png::PngEncoder::new_with_quality(
        &mut bytes,
        png::CompressionType::Fast,
        png::FilterType::Adaptive,
    )
    .write_image(
        &picture.pixels,
        picture.width,
        picture.height,
        ExtendedColorType::Rgb8,
    )
    .map_err(|e| PictureError::Encode(e.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 3] = [200, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 200];

    #[test]
    fn sheets_arrange_and_centre_tiles() {
        let layout = Layout {
            columns: 2,
            tile_size: 4,
            gap: 1,
            background: [9; 3],
        };
        let tiles = [
            Some(Picture::filled(4, 4, RED)),
            None,
            Some(Picture::filled(4, 2, BLUE)),
        ];
        let sheet = contact_sheet(&tiles, &layout).unwrap();
        assert_eq!((sheet.width, sheet.height), (9, 9));
        assert_eq!(sheet.at(3, 3), Some(RED));
        assert_eq!(sheet.at(4, 0), Some([9; 3]), "gap");
        assert_eq!(sheet.at(6, 1), Some([9; 3]), "missing tile");
        assert_eq!(sheet.at(0, 5), Some([9; 3]), "letterbox");
        assert_eq!(sheet.at(0, 6), Some(BLUE));
        assert_eq!(sheet.at(3, 7), Some(BLUE));
        assert_eq!(sheet.at(0, 8), Some([9; 3]));
        assert_eq!(sheet.at(9, 0), None);
        assert!(contact_sheet(&[], &layout).is_err());
    }

    #[test]
    fn enlarging_repeats_pixels_and_keeps_the_aspect_ratio() {
        // 3 x 2 image; the right 2 x 2 crop becomes 4 x 4, the top row 6 x 2.
        let pixels: Vec<u8> = (0..6).flat_map(|i| [i * 10; 3]).collect();
        let right = PixelBox {
            x0: 1,
            y0: 0,
            x1: 3,
            y1: 2,
        };
        let picture = tile(&pixels, 3, 2, right, 4).unwrap();
        assert_eq!((picture.width, picture.height), (4, 4));
        assert_eq!(picture.at(0, 0), Some([10; 3]));
        assert_eq!(picture.at(1, 1), Some([10; 3]));
        assert_eq!(picture.at(2, 1), Some([20; 3]));
        assert_eq!(picture.at(3, 3), Some([50; 3]));
        let top = PixelBox::whole(3, 1);
        let picture = tile(&pixels, 3, 2, top, 6).unwrap();
        assert_eq!((picture.width, picture.height), (6, 2));
    }

    #[test]
    fn downsampling_averages() {
        // Columns alternate between 0 and 200: any antialiased downsampling of the interior gives 100.
        let pixels: Vec<u8> = (0..16 * 16)
            .flat_map(|i| [if i % 2 == 0 { 0 } else { 200 }; 3])
            .collect();
        let all = PixelBox::whole(16, 16);
        let picture = tile(&pixels, 16, 16, all, 4).unwrap();
        let [grey, ..] = picture.at(1, 1).unwrap();
        assert!((95..=105).contains(&grey), "{grey}");
        assert!(tile(&pixels, 16, 16, PixelBox { x1: 17, ..all }, 4).is_err());
        assert!(tile(&pixels, 16, 16, PixelBox { x1: 0, ..all }, 4).is_err());
        assert!(tile(&pixels, 15, 16, all, 4).is_err());
    }

    #[test]
    fn thin_crops_keep_a_pixel() {
        let pixels = vec![7; 1000 * 3];
        let all = PixelBox::whole(1000, 1);
        let picture = tile(&pixels, 1000, 1, all, 10).unwrap();
        assert_eq!((picture.width, picture.height), (10, 1));
    }

    #[test]
    fn boxes_are_rounded_to_pixels_inside_the_image() {
        let nearest = |edges| PixelBox::nearest(edges, 10, 8).unwrap();
        let expect = |x0, y0, x1, y1| PixelBox { x0, y0, x1, y1 };
        assert_eq!(nearest([1.2, 2.0, 3.1, 4.0]), expect(1, 2, 3, 4));
        assert_eq!(
            nearest([1.4, 2.6, 3.8, 5.0]),
            expect(1, 3, 3, 5),
            "still square"
        );
        assert_eq!(
            nearest([-5.0, -5.0, f32::INFINITY, 99.0]),
            expect(0, 0, 10, 8)
        );
        assert_eq!(nearest([20.0, 3.0, 30.0, 3.0]), expect(9, 3, 10, 4));
        assert_eq!(nearest([9.6, 0.0, 10.0, 0.2]), expect(9, 0, 10, 1));
        assert_eq!(PixelBox::nearest([f32::NAN, 0.0, 1.0, 1.0], 10, 8), None);
        assert_eq!(PixelBox::nearest([0.0, 0.0, 1.0, 1.0], 0, 8), None);
    }

    #[test]
    fn png_is_lossless_and_reproducible() {
        let mut picture = Picture::filled(5, 3, RED);
        picture.paste(&Picture::filled(3, 3, BLUE), 4, 1);
        let bytes = png(&picture).unwrap();
        assert_eq!(bytes, png(&picture).unwrap());
        let back = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png)
            .unwrap()
            .to_rgb8();
        assert_eq!(back.dimensions(), (5, 3));
        assert_eq!(back.into_raw(), picture.pixels);
        assert!(png(&Picture::filled(0, 3, RED)).is_err());
    }
}
