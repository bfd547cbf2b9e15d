//! WebP: the picture, or an animation's first frame. A cut file is refused: its pixels depend on all of the data.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::{
    ImageError,
    format::Format,
    samples::{self, Stored},
};

const FORMAT: Format = Format::WebP;

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, ImageError> {
    WebPDecoder::new(Cursor::new(bytes)).map_err(refused)
}

/// Width and height.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    Ok(open(bytes)?.dimensions())
}

/// Decodes to interleaved RGB. The caller has checked the size.
pub(super) fn decode(bytes: &[u8], max_bytes: u64) -> Result<Stored, ImageError> {
    let mut decoder = open(bytes)?;
    decoder.set_memory_limit(usize::try_from(max_bytes).unwrap_or(usize::MAX));
    let n_bytes = decoder
        .output_buffer_size()
        .ok_or_else(|| FORMAT.too_large())?;
    let (width, height) = decoder.dimensions();
    let n_pixels = u64::from(width) * u64::from(height);
    if n_pixels / 2 * bytes_of_two_pixels(&mut decoder) > max_bytes {
        return Err(FORMAT.too_large());
    }
    let mut pixels = vec![0; n_bytes];
    decoder.read_image(&mut pixels).map_err(refused)?;
    if decoder.has_alpha() {
        pixels = samples::without_alpha(pixels);
    }
    Ok(Stored {
        pixels,
        loss: loss(bytes),
    })
}

/// What the decoder takes, rounded up: its output, and before it luminance and chroma, or the samples of a lossless image.
fn bytes_of_two_pixels(decoder: &mut WebPDecoder<Cursor<&[u8]>>) -> u64 {
    match (
        decoder.is_animated(),
        decoder.is_lossy(),
        decoder.has_alpha(),
    ) {
        (true, ..) => 30,
        (_, true, false) => 9,
        (_, true, true) => 21,
        (_, false, false) => 14,
        (_, false, true) => 8,
    }
}

/// A file that is shorter than its header says.
fn loss(bytes: &[u8]) -> Option<String> {
    let (length, _) = bytes.get(4..)?.split_first_chunk()?;
    let expected = u64::from(u32::from_le_bytes(*length)) + 8;
    let missing = expected.checked_sub(bytes.len() as u64)?;
    (missing > 0).then(|| format!("the file is cut: {missing} of {expected} bytes are missing"))
}

fn refused(error: DecodingError) -> ImageError {
    match error {
        DecodingError::IoError(_) => FORMAT.truncated("the file ends early"),
        DecodingError::MemoryLimitExceeded | DecodingError::ImageTooLarge => FORMAT.too_large(),
        error => FORMAT.corrupt(error.to_string()),
    }
}
