//! BMP, as Pillow reads it: Windows and OS/2 headers, palettes, 16 to 32 bits with any masks, both run-length codes.
//!
//! Levels of fewer than 8 bits become `level * 255 / largest`, without rounding. Pixels that run-length code skips have colour 0.
//! Alpha is dropped. (The `image` crate rounds levels, shows skipped pixels black, and refuses OS/2's second header.)

use super::{ImageError, format::Format, orientation, samples, samples::Stored};

const FORMAT: Format = Format::Bmp;
const FILE_HEADER: usize = 14;

struct Header {
    width: usize,
    height: usize,
    top_down: bool,
    bits: usize,
    coding: Coding,
    /// Red, green and blue bits of a pixel of 16 or more bits.
    masks: [u32; 3],
    /// RGB, three bytes a colour.
    palette: Vec<u8>,
    /// Offset of the pixels.
    pixels: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Coding {
    Plain,
    RunLength4,
    RunLength8,
}

/// Width and height.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let header = header(bytes)?;
    Ok((header.width as u32, header.height as u32))
}

/// Decodes to interleaved RGB. The caller has checked the size.
pub(super) fn decode(bytes: &[u8]) -> Result<Stored, ImageError> {
    let header = header(bytes)?;
    let data = bytes.get(header.pixels..).unwrap_or_default();
    let (mut pixels, n_rows) = match header.coding {
        Coding::Plain => plain(&header, data),
        _ => run_length(&header, data),
    };
    if n_rows == 0 {
        return Err(truncated());
    }
    if !header.top_down {
        orientation::flip(&mut pixels, header.width * 3);
    }
    let height = header.height;
    let loss = (n_rows < height)
        .then(|| format!("the file ends early: {n_rows} of {height} rows read, the others black"));
    Ok(Stored { pixels, loss })
}

fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let word = |at: usize| word(bytes, at).ok_or_else(truncated);
    let half = |at: usize| Ok(word(at)? as u16);
    let size = word(FILE_HEADER)? as usize;
    let old = size == 12;
    if !matches!(size, 12 | 40 | 52 | 56 | 64 | 108 | 124) {
        return Err(FORMAT.unsupported(format!("a header of {size} bytes")));
    }
    let (width, height, bits, compression, colours) = if old {
        let (width, height) = (half(18)?, half(20)?);
        (i64::from(width), i64::from(height), half(24)?, 0, 0)
    } else {
        let (width, height) = (word(18)? as i32, word(22)? as i32);
        let (compression, colours) = (word(30)?, word(46)?);
        (width.into(), height.into(), half(28)?, compression, colours)
    };
    let bits = usize::from(bits);
    let coding = match (compression, bits) {
        (0 | 3 | 6, 1 | 2 | 4 | 8 | 16 | 24 | 32) => Coding::Plain,
        (1, 8) => Coding::RunLength8,
        (2, 4) => Coding::RunLength4,
        (0..=3, _) => return Err(FORMAT.unsupported(format!("{bits} bits a pixel"))),
        _ => return Err(FORMAT.unsupported(format!("compression {compression}"))),
    };
    if width <= 0 || height == 0 {
        return Err(FORMAT.corrupt(format!("the header says {width}x{height}")));
    }
    let masks = match (compression, bits) {
        (3 | 6, 16..) => {
            let masks = [word(54)?, word(58)?, word(62)?];
            // A file of 32 bits with empty masks is plain.
            match masks {
                [0, 0, 0] => [0xFF_0000, 0xFF00, 0xFF],
                masks => masks,
            }
        }
        (_, 16) => [0x7C00, 0x3E0, 0x1F],
        _ => [0xFF_0000, 0xFF00, 0xFF],
    };
    let entry = if old { 3 } else { 4 };
    let n_colours = match (colours as usize, bits) {
        (_, 16..) => 0,
        (0, _) => 1 << bits,
        (n, _) => n,
    };
    let palette_at = FILE_HEADER + size;
    let stored = bytes.get(palette_at..).unwrap_or_default();
    let stored = stored.chunks_exact(entry).take(n_colours.min(256));
    let palette = stored.flat_map(|bgr| [bgr[2], bgr[1], bgr[0]]).collect();
    // Some writers forget the palette when they note where the pixels start.
    let mut pixels = word(10)? as usize;
    if pixels <= palette_at {
        pixels = palette_at + entry * n_colours;
    }
    Ok(Header {
        width: width as usize,
        height: usize::try_from(height.unsigned_abs()).map_err(|_| truncated())?,
        top_down: height < 0,
        bits,
        coding,
        masks,
        palette,
        pixels,
    })
}

/// RGB rows in the order of the file, black where missing, and how many are there.
fn plain(header: &Header, data: &[u8]) -> (Vec<u8>, usize) {
    let stride = (header.width * header.bits).div_ceil(32) * 4;
    // The last row's padding may be missing.
    let used = (header.width * header.bits).div_ceil(8);
    let mut pixels = vec![0; header.width * header.height * 3];
    let rows = pixels.chunks_mut(header.width * 3);
    let mut n_rows = 0;
    for (row, stored) in rows.zip(data.chunks(stride)) {
        if stored.len() < used {
            break;
        }
        n_rows += 1;
        match header.bits {
            1..=8 => {
                let indices = samples::unpack(stored, header.bits as u8, header.width);
                row.copy_from_slice(&samples::palette(indices, &header.palette));
            }
            bits => {
                let stored = stored.chunks_exact(bits / 8);
                for (rgb, pixel) in row.as_chunks_mut::<3>().0.iter_mut().zip(stored) {
                    let join = |value, &byte: &u8| value << 8 | u32::from(byte);
                    let pixel = pixel.iter().rev().fold(0, join);
                    *rgb = header.masks.map(|mask| level(pixel, mask));
                }
            }
        }
    }
    (pixels, n_rows)
}

/// The masked bits as 0..=255.
fn level(pixel: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let shift = mask.trailing_zeros();
    let largest = u64::from(mask >> shift);
    let value = u64::from((pixel & mask) >> shift);
    (value * 255 / largest) as u8
}

/// As `plain`, for run-length code.
fn run_length(header: &Header, data: &[u8]) -> (Vec<u8>, usize) {
    let (width, n) = (header.width, header.width * header.height);
    let two_in_a_byte = header.coding == Coding::RunLength4;
    let nibbles = |byte: u8| match two_in_a_byte {
        true => [byte >> 4, byte & 15],
        false => [byte; 2],
    };
    let mut indices = Vec::with_capacity(n);
    let (mut at, mut x) = (0, 0);
    let mut is_complete = false;
    while indices.len() < n {
        let Some(&[count, value]) = data.get(at..at + 2) else {
            break;
        };
        at += 2;
        let room = n - indices.len();
        match (count, value) {
            (0, 0) => {
                let end_of_row = indices.len().next_multiple_of(width);
                indices.resize(end_of_row, 0);
                x = 0;
            }
            (0, 1) => {
                is_complete = true;
                break;
            }
            (0, 2) => {
                let Some(&[right, up]) = data.get(at..at + 2) else {
                    break;
                };
                at += 2;
                let skipped = usize::from(right) + usize::from(up) * width;
                indices.resize(indices.len() + skipped.min(room), 0);
                x = indices.len() % width;
            }
            (0, count) => {
                let count = usize::from(count);
                let n_bytes = if two_in_a_byte {
                    count.div_ceil(2)
                } else {
                    count
                };
                let Some(literal) = data.get(at..at + n_bytes) else {
                    break;
                };
                let taken = count.min(room);
                match two_in_a_byte {
                    true => {
                        let all = literal.iter().flat_map(|&byte| nibbles(byte));
                        indices.extend(all.take(taken));
                    }
                    false => indices.extend_from_slice(&literal[..taken]),
                }
                x += count;
                // Literals are padded to an even offset in the file.
                at += n_bytes;
                at += (header.pixels + at) % 2;
            }
            (count, value) => {
                // A run does not leave its row.
                let count = usize::from(count).min(width.saturating_sub(x)).min(room);
                let pair = nibbles(value);
                indices.extend((0..count).map(|i| pair[i % 2]));
                x += count;
            }
        }
    }
    is_complete |= indices.len() == n;
    let n_rows = match is_complete {
        true => header.height,
        false => indices.len() / width,
    };
    indices.resize(n, 0);
    (samples::palette(indices, &header.palette), n_rows)
}

/// A little-endian word.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let (four, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_le_bytes(*four))
}

fn truncated() -> ImageError {
    FORMAT.truncated("the file ends before the pixels")
}
