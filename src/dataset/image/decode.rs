//! Decodes files to upright RGB pixels.
//!
//! The format is detected from the content. Colours follow Pillow's `convert("RGB")`: grey is replicated, palettes
//! are expanded, alpha is dropped (not blended), CMYK becomes `c * k / 255`. 16-bit colours keep their high byte, as in Pillow;
//! 16-bit greys go by [`Depth`](super::Depth) (Pillow clips them at 255, which turns most of them white). Floating-point images
//! are refused. Of an animation, the first frame is decoded.
//!
//! What a viewer shows is read: a file that is cut, or whose checksums are wrong, is read as far as it goes, and what is lost in it
//! is said. A file without a single row of pixels is refused, and so is a cut WebP, whose pixels depend on all of the data.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    DecodeOptions, Header, ImageError, RgbImage, bmp, budget, exif, format::Format, gif, jpeg,
    orientation, png, tiff, webp,
};

/// Bytes that a decoder may allocate per pixel: two buffers of 16-bit RGBA, plus a margin.
const BYTES_PER_PIXEL: u64 = 32;
/// Bytes that it may allocate for any file; for a large one, so many for each byte of it; for an image of more pixels, so many besides
/// its RGB.
const BYTES_PER_FILE: u64 = 800 << 20;
const BYTES_PER_BYTE: u64 = 64;
const BYTES_BESIDES: u64 = 256 << 20;
/// Bytes per pixel that decoding takes as a rule: the RGB, and its like as stored or before turning.
const TYPICAL_BYTES_PER_PIXEL: u64 = 6;
/// Largest width or height. Whatever goes row by row would take minutes for millions of rows.
const MAX_SIDE: u32 = 1 << 20;
/// Bytes that a decoder may allocate for any image, for palettes, text chunks and windows.
const EXTRA_BYTES: u64 = 16 << 20;

/// Size, format and orientation from the file's metadata. Allocates no pixels.
pub fn read_header(bytes: &[u8], options: &DecodeOptions) -> Result<Header, ImageError> {
    guarded(bytes, || {
        let format = Format::of(bytes)?;
        let (width, height) = match format {
            Format::Jpeg => jpeg::size(bytes)?,
            Format::Png => png::size(bytes)?,
            Format::WebP => webp::size(bytes)?,
            Format::Gif => gif::size(bytes)?,
            Format::Bmp => bmp::size(bytes)?,
            Format::Tiff => tiff::size(bytes)?,
        };
        let orientation = match format {
            _ if !options.exif_orientation => 1,
            Format::Jpeg => exif::of_jpeg(bytes).orientation(),
            Format::Png => exif::of_png(bytes).orientation(),
            Format::WebP => exif::of_webp(bytes).orientation(),
            Format::Tiff => exif::of_tiff(bytes),
            Format::Gif | Format::Bmp => 1,
        };
        let header = Header {
            format: format.name(),
            width,
            height,
            orientation,
        };
        check_size(&header, options)?;
        Ok(header)
    })
}

/// Decodes an image and turns it upright. Checks the header's size against `max_pixels` before allocating pixels. A damaged file
/// is read as far as it goes; what is missing is the image's `loss`.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    let header = read_header(bytes, options)?;
    let n_pixels = u64::from(header.width) * u64::from(header.height);
    let by_file = BYTES_PER_FILE
        .max(bytes.len() as u64 * BYTES_PER_BYTE)
        .max(n_pixels * 3 + BYTES_BESIDES);
    let max_bytes = by_file.min(n_pixels * BYTES_PER_PIXEL + EXTRA_BYTES);
    // Held until the image is upright.
    let _share = budget::reserve(n_pixels * TYPICAL_BYTES_PER_PIXEL);
    let stored = guarded(bytes, || {
        let stored = match Format::of(bytes)? {
            Format::Jpeg => jpeg::decode(bytes, (header.width, header.height), max_bytes)?,
            Format::Png => png::decode(bytes, options.depth, max_bytes)?,
            Format::WebP => webp::decode(bytes, max_bytes)?,
            Format::Gif => gif::decode(bytes, max_bytes)?,
            Format::Bmp => bmp::decode(bytes)?,
            Format::Tiff => tiff::decode(bytes, options.depth, max_bytes)?,
        };
        if stored.pixels.len() as u64 != n_pixels * 3 {
            let reason = format!(
                "{} bytes of pixels for {}x{}",
                stored.pixels.len(),
                header.width,
                header.height
            );
            return Err(ImageError::Corrupt {
                format: header.format,
                reason,
            });
        }
        Ok(stored)
    })?;
    let (pixels, width, height) = orientation::upright(
        stored.pixels,
        header.width,
        header.height,
        header.orientation,
    );
    Ok(RgbImage {
        width,
        height,
        pixels,
        header,
        loss: stored.loss,
    })
}

/// Turns a decoder's panic on a hostile file into an error of that file.
fn guarded<T>(bytes: &[u8], work: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ImageError::Corrupt {
            format: Format::of(bytes).map_or("image", Format::name),
            reason: "the decoder gave up".into(),
        })
    })
}

fn check_size(header: &Header, options: &DecodeOptions) -> Result<(), ImageError> {
    let (width, height) = (header.width, header.height);
    if width == 0 || height == 0 {
        return Err(ImageError::Corrupt {
            format: header.format,
            reason: format!("the header says {width}x{height}"),
        });
    }
    if width.max(height) > MAX_SIDE {
        return Err(ImageError::Unsupported {
            format: header.format,
            reason: format!("{width}x{height} pixels: a side has at most {MAX_SIDE}"),
        });
    }
    if u64::from(width) * u64::from(height) > options.max_pixels {
        return Err(ImageError::TooLarge {
            width,
            height,
            max_pixels: options.max_pixels,
        });
    }
    Ok(())
}
