//! GIF: the first frame on its screen, as Pillow shows it.
//!
//! A frame beyond the screen enlarges it. Around a smaller frame lies its transparent colour, or else colour 0. Without any colour
//! table, indices are greys.

use std::{borrow::Cow, io::Cursor, mem, num::NonZeroU64};

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, MemoryLimit};

use super::{ImageError, format::Format, samples, samples::Stored};

const FORMAT: Format = Format::Gif;

fn open(bytes: &[u8], max_bytes: u64) -> Result<Decoder<Cursor<&[u8]>>, ImageError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(match NonZeroU64::new(max_bytes) {
        Some(limit) => MemoryLimit::Bytes(limit),
        None => MemoryLimit::Unlimited,
    });
    options.allow_unknown_blocks(true);
    options.read_info(Cursor::new(bytes)).map_err(refused)
}

/// Width and height of the screen that the first frame needs.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let bytes = with_colours(bytes);
    let mut decoder = open(&bytes, u64::from(u32::MAX))?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(refused)?;
    let frame = frame.ok_or_else(no_frame)?;
    let right = u32::from(frame.left) + u32::from(frame.width);
    let bottom = u32::from(frame.top) + u32::from(frame.height);
    Ok((width.max(right), height.max(bottom)))
}

/// Decodes the first frame to interleaved RGB. The caller has checked the size.
pub(super) fn decode(bytes: &[u8], max_bytes: u64) -> Result<Stored, ImageError> {
    let bytes = with_colours(bytes);
    let mut decoder = open(&bytes, max_bytes)?;
    let screen = (usize::from(decoder.width()), usize::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(refused)?;
    let frame = frame.ok_or_else(no_frame)?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let around = frame.transparent.unwrap_or(0);
    let (screen_width, screen_height) = (screen.0.max(left + width), screen.1.max(top + height));
    let mut frame = vec![around; width * height];
    let mut loss = None;
    if let Err(error) = decoder.read_into_buffer(&mut frame) {
        let rows = frame.chunks(width.max(1)).rev();
        let n_empty = rows
            .take_while(|row| row.iter().all(|&index| index == around))
            .count();
        if n_empty == height {
            return Err(refused(error));
        }
        let n_rows = height - n_empty;
        let reason = reason(&error);
        loss = Some(match n_empty {
            0 => reason,
            _ => format!("{reason}: empty from row {n_rows} of {height}"),
        });
    }
    let mut indices = frame;
    if (width, height) != (screen_width, screen_height) {
        let frame = mem::replace(&mut indices, vec![around; screen_width * screen_height]);
        for (y, row) in frame.chunks(width.max(1)).enumerate() {
            let start = (top + y) * screen_width + left;
            indices[start..start + width].copy_from_slice(row);
        }
    }
    let colours = decoder.palette().map_err(refused)?;
    Ok(Stored {
        pixels: samples::palette(indices, colours),
        loss,
    })
}

/// A file without a global colour table gets one of 256 greys; a frame's own table goes before it.
fn with_colours(bytes: &[u8]) -> Cow<'_, [u8]> {
    match bytes.get(10) {
        Some(flags) if flags & 0x80 == 0 && bytes.len() >= 13 => {
            let mut with = bytes[..13].to_vec();
            with[10] |= 0x87;
            with.extend((0..=255).flat_map(|grey| [grey; 3]));
            with.extend_from_slice(&bytes[13..]);
            Cow::Owned(with)
        }
        _ => Cow::Borrowed(bytes),
    }
}

fn no_frame() -> ImageError {
    FORMAT.truncated("the file has no frame")
}

fn reason(error: &DecodingError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim().to_string()
}

fn refused(error: DecodingError) -> ImageError {
    let reason = reason(&error);
    match error {
        DecodingError::Io(_) | DecodingError::UnexpectedEof => FORMAT.truncated(reason),
        _ => FORMAT.corrupt(reason),
    }
}
