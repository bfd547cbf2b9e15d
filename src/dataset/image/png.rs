//! PNG. Read strictly first. A file with a fault is read again without checksums, up to where it is damaged, and the fault is
//! its loss.

use std::io::Cursor;

use png::{ColorType, DecodeOptions, Decoder, DecodingError, Limits, Transformations};

use super::{Depth, ImageError, format::Format, samples, samples::Stored};

const FORMAT: Format = Format::Png;
/// Rows that the decoder and the conversion hold.
const ROWS_HELD: u64 = 4;

/// Width and height.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let mut decoder = decoder(bytes, true, u64::from(u16::MAX));
    let info = decoder.read_header_info().map_err(refused)?;
    Ok((info.width, info.height))
}

/// Decodes to interleaved RGB in stored order. The caller has checked the size.
pub(super) fn decode(bytes: &[u8], depth: Depth, max_bytes: u64) -> Result<Stored, ImageError> {
    let mut raw = Raw::default();
    let fault = match read(bytes, true, max_bytes, &mut raw) {
        Ok(()) => None,
        // No viewer shows an image whose size or palette may be wrong.
        Err(fault)
            if ["IHDR", "PLTE"]
                .iter()
                .any(|chunk| reason(&fault).ends_with(chunk)) =>
        {
            return Err(refused(fault));
        }
        Err(fault) => {
            raw = Raw::default();
            let first = reason(&fault);
            match read(bytes, false, max_bytes, &mut raw) {
                Ok(()) => Some(first),
                Err(error) if raw.n_rows == 0 => return Err(refused(error)),
                // All pixels are there; what follows is damaged.
                Err(_) if raw.n_rows == raw.height => Some(first),
                Err(error) => Some(format!(
                    "{}: black from row {} of {}",
                    reason(&error),
                    raw.n_rows,
                    raw.height
                )),
            }
        }
    };
    if raw.colour == Some(ColorType::Indexed) && raw.palette.is_empty() {
        return Err(FORMAT.corrupt("the palette is missing"));
    }
    Ok(Stored {
        pixels: raw.into_rgb(depth),
        loss: fault,
    })
}

/// An image on its way to RGB.
#[derive(Default)]
struct Raw {
    width: usize,
    height: u32,
    bits: u8,
    colour: Option<ColorType>,
    palette: Vec<u8>,
    /// All but 16-bit greys, as they arrive.
    rgb: Vec<u8>,
    /// 16-bit greys, which are scaled by their range; two bytes each, the high one first.
    greys: Vec<u8>,
    /// Complete rows from the top; of an interlaced image, none before the last pass, then all.
    n_rows: u32,
}

fn decoder(bytes: &[u8], strict: bool, max_bytes: u64) -> Decoder<Cursor<&[u8]>> {
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(!strict);
    options.set_ignore_crc(!strict);
    options.set_skip_ancillary_crc_failures(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits {
        bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
    });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder
}

fn read(bytes: &[u8], strict: bool, max_bytes: u64, raw: &mut Raw) -> Result<(), DecodingError> {
    let mut reader = decoder(bytes, strict, max_bytes).read_info()?;
    let info = reader.info();
    let bits_per_pixel = info.bits_per_pixel() as u8;
    let stride = info.raw_row_length() - 1;
    raw.width = info.width as usize;
    raw.height = info.height;
    raw.bits = info.bit_depth as u8;
    raw.colour = Some(info.color_type);
    raw.palette = info.palette.as_deref().unwrap_or_default().to_vec();
    // In one piece: growing row by row would take up to twice the memory.
    let n_pixels = raw.width * raw.height as usize;
    match (info.color_type, raw.bits) {
        (ColorType::Grayscale | ColorType::GrayscaleAlpha, 16) => {
            raw.greys.reserve_exact(n_pixels * 3)
        }
        _ => raw.rgb.reserve_exact(n_pixels * 3),
    }
    let rgb_bytes = n_pixels as u64 * 3;
    // The decoder holds two rows, and room to grow.
    if stride as u64 * ROWS_HELD + rgb_bytes > max_bytes {
        return Err(DecodingError::LimitsExceeded);
    }
    if info.interlaced {
        let n_bytes = stride as u64 * u64::from(raw.height);
        if n_bytes + rgb_bytes > max_bytes {
            return Err(DecodingError::LimitsExceeded);
        }
        let mut stored = vec![0; n_bytes as usize];
        let mut outcome = Ok(());
        let mut is_begun = false;
        loop {
            match reader.next_interlaced_row() {
                Ok(Some(row)) => {
                    if let png::InterlaceInfo::Adam7(pass) = row.interlace() {
                        png::expand_interlaced_row(
                            &mut stored,
                            stride,
                            row.data(),
                            pass,
                            bits_per_pixel,
                        );
                        is_begun = true;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if is_begun {
            stored.chunks(stride.max(1)).for_each(|row| raw.push(row));
        }
        outcome?;
        return reader.finish();
    }
    while let Some(row) = reader.next_row()? {
        raw.push(&row.data()[..stride]);
    }
    reader.finish()
}

impl Raw {
    /// Adds the next row, as stored.
    fn push(&mut self, row: &[u8]) {
        if self.n_rows == self.height {
            return;
        }
        self.n_rows += 1;
        let colour = self.colour.unwrap_or(ColorType::Rgb);
        let high_bytes = |row: &[u8]| row.iter().copied().step_by(2).collect::<Vec<u8>>();
        let grey_alpha = |row: &[u8]| samples::convert(row.to_vec(), |p: &[u8; 2]| [p[0]; 3]);
        match (colour, self.bits) {
            (ColorType::Grayscale, 16) => {
                self.greys.extend_from_slice(row);
            }
            (ColorType::GrayscaleAlpha, 16) => {
                let (pixels, _) = row.as_chunks::<4>();
                self.greys
                    .extend(pixels.iter().flat_map(|&[a, b, ..]| [a, b]));
            }
            (ColorType::Rgb, 8) => self.rgb.extend_from_slice(row),
            (ColorType::Rgb, _) => self.rgb.extend(high_bytes(row)),
            (ColorType::Rgba, 8) => self.rgb.extend(samples::without_alpha(row.to_vec())),
            (ColorType::Rgba, _) => self.rgb.extend(samples::without_alpha(high_bytes(row))),
            (ColorType::GrayscaleAlpha, _) => self.rgb.extend(grey_alpha(row)),
            (ColorType::Grayscale, bits) => {
                let mut levels = samples::unpack(row, bits, self.width);
                samples::stretch(&mut levels, bits);
                self.rgb.extend(samples::grey(levels));
            }
            (ColorType::Indexed, bits) => {
                let indices = samples::unpack(row, bits, self.width);
                self.rgb.extend(samples::palette(indices, &self.palette));
            }
        }
    }

    /// Missing rows are black.
    fn into_rgb(self, depth: Depth) -> Vec<u8> {
        let mut rgb = match self.greys.is_empty() {
            true => self.rgb,
            false => {
                let (pairs, _) = self.greys.as_chunks::<2>();
                let largest = pairs.iter().map(|&pair| u16::from_be_bytes(pair)).max();
                let level = samples::level(largest.unwrap_or(0), depth);
                samples::convert(self.greys, |&pair: &[u8; 2]| {
                    [level(u16::from_be_bytes(pair)); 3]
                })
            }
        };
        rgb.resize(self.width * self.height as usize * 3, 0);
        rgb
    }
}

/// One line. A chunk's debug text becomes its name.
fn reason(error: &DecodingError) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim();
    let chunk = line
        .split_once("ChunkType { type: ")
        .and_then(|(_, rest)| rest.split_once(','));
    match (chunk, line.starts_with("CRC error")) {
        (Some((chunk, _)), true) => format!("wrong checksum of the chunk {chunk}"),
        (Some((chunk, _)), false) => format!("the chunk {chunk} is out of place"),
        _ => line.to_string(),
    }
}

fn refused(error: DecodingError) -> ImageError {
    let reason = reason(&error);
    let lower = reason.to_lowercase();
    match error {
        DecodingError::LimitsExceeded => FORMAT.too_large(),
        DecodingError::IoError(_) => FORMAT.truncated(reason),
        _ if lower.contains("unexpected end") || lower.contains("unexpected eof") => {
            FORMAT.truncated(reason)
        }
        _ => FORMAT.corrupt(reason),
    }
}
