//! JPEG: the header from the markers, the pixels by zune-jpeg.
//!
//! Accepts and refuses the same files as Pillow (libjpeg-turbo), except that arithmetic coding is not supported. In particular, a
//! file without an end marker is refused; one with an end marker but missing data is accepted, and the missing part is grey.
//! Colours follow Pillow's `convert("RGB")`: grey is replicated; four components are Adobe's inverted CMYK, or YCCK according to
//! the Adobe marker; three components are YCbCr unless the Adobe marker (transform 0) or the component names indicate RGB.
//!
//! Levels differ from libjpeg-turbo's by 0.03 on average without chroma subsampling, and by up to 0.4 with it, because zune-jpeg
//! rounds twice when upsampling chroma; single pixels by 4, and by more at the right and lower edges.

use image::metadata::Orientation;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

use super::ImageError;

const FORMAT: &str = "jpeg";
const EXTRA_BYTES: &str = "Extra bytes between headers";

/// The contents of the markers before the first scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JpegHeader {
    pub width: u32,
    pub height: u32,
    /// EXIF orientation; 1 if missing.
    pub orientation: u8,
    components: u8,
    /// Value and byte offset of the Adobe marker's colour transform.
    adobe_transform: Option<(u8, usize)>,
    /// Offset of the first scan's header.
    scan: usize,
}

fn truncated(reason: impl Into<String>) -> ImageError {
    ImageError::Truncated {
        format: FORMAT,
        reason: reason.into(),
    }
}

fn corrupt(reason: impl Into<String>) -> ImageError {
    ImageError::Corrupt {
        format: FORMAT,
        reason: reason.into(),
    }
}

fn unsupported(reason: impl Into<String>) -> ImageError {
    ImageError::Unsupported {
        format: FORMAT,
        reason: reason.into(),
    }
}

/// The next marker at or after `from`, and the offset behind it. Skips bytes before it, as libjpeg does.
fn next_marker(bytes: &[u8], from: usize) -> Option<(u8, usize)> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xFF)?;
        let code = at + bytes[at..].iter().position(|&b| b != 0xFF)?;
        if bytes[code] != 0 {
            return Some((bytes[code], code + 1));
        }
        at = code + 1;
    }
}

/// The payload of the marker segment whose length field is at `at`.
fn segment(bytes: &[u8], at: usize) -> Result<&[u8], ImageError> {
    let length = match bytes.get(at..at + 2) {
        Some(two) => usize::from(u16::from_be_bytes([two[0], two[1]])),
        None => return Err(truncated("the file ends inside a marker")),
    };
    if length < 2 {
        return Err(corrupt(format!("a marker segment of length {length}")));
    }
    bytes
        .get(at + 2..at + length)
        .ok_or_else(|| truncated("the file ends inside a marker segment"))
}

/// Reads the markers up to the first scan. Allocates nothing.
pub(super) fn read_header(bytes: &[u8]) -> Result<JpegHeader, ImageError> {
    let mut at = 2;
    let mut frame = None;
    let mut orientation = None;
    let mut adobe_transform = None;
    loop {
        let (marker, behind) = next_marker(bytes, at)
            .ok_or_else(|| truncated("the file ends before the image data starts"))?;
        match marker {
            0xDA => {
                let (width, height, components) =
                    frame.ok_or_else(|| corrupt("a scan before the frame header"))?;
                return Ok(JpegHeader {
                    width,
                    height,
                    orientation: orientation.unwrap_or(1),
                    components,
                    adobe_transform,
                    scan: behind,
                });
            }
            0xD9 => return Err(corrupt("the end marker comes before any image data")),
            // Markers without a payload: SOI again, restart markers, TEM.
            0x01 | 0xD0..=0xD8 => {
                at = behind;
                continue;
            }
            _ => {}
        }
        let payload = segment(bytes, behind)?;
        match marker {
            0xC0..=0xC2 => {
                let &[bits, h1, h0, w1, w0, components, ..] = payload else {
                    return Err(corrupt("the frame header is too short"));
                };
                let width = u32::from(u16::from_be_bytes([w1, w0]));
                let height = u32::from(u16::from_be_bytes([h1, h0]));
                if bits != 8 {
                    return Err(unsupported(format!("{bits} bits a sample")));
                }
                if width == 0 || height == 0 {
                    return Err(unsupported(format!("the header says {width}x{height}")));
                }
                if !matches!(components, 1 | 3 | 4) {
                    return Err(unsupported(format!("{components} colour components")));
                }
                frame = Some((width, height, components));
            }
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                return Err(unsupported(
                    "lossless, hierarchical or arithmetic-coded data",
                ));
            }
            0xE1 => {
                if let (None, Some(exif)) = (orientation, payload.strip_prefix(b"Exif\0\0")) {
                    orientation = Orientation::from_exif_chunk(exif).map(Orientation::to_exif);
                }
            }
            0xEE if payload.len() >= 12 && payload.starts_with(b"Adobe") => {
                adobe_transform = Some((payload[11], behind + 2 + 11));
            }
            _ => {}
        }
        at = behind + 2 + payload.len();
    }
}

/// Whether the image whose first scan header is at `scan` has its end marker.
fn has_end_marker(bytes: &[u8], scan: usize) -> bool {
    if bytes.ends_with(&[0xFF, 0xD9]) {
        return true;
    }
    // Data follows the image, or the end is missing.
    let mut at = scan;
    let mut marker = 0xDA;
    loop {
        if !matches!(marker, 0x01 | 0xD0..=0xD8) {
            match segment(bytes, at) {
                Ok(payload) => at += 2 + payload.len(),
                Err(_) => return false,
            }
        }
        match next_marker(bytes, at) {
            Some((0xD9, _)) => return true,
            Some((next, behind)) => (marker, at) = (next, behind),
            None => return false,
        }
    }
}

/// Decodes to interleaved RGB, in stored order (the orientation is not applied).
pub(super) fn decode(bytes: &[u8], header: &JpegHeader) -> Result<Vec<u8>, ImageError> {
    if !has_end_marker(bytes, header.scan) {
        return Err(truncated("the end of the image is missing"));
    }
    // zune-jpeg treats transform 0 as CMYK for any number of components. For three it means RGB: declare YCbCr, and do not
    // convert the components.
    if let (3, Some((0, offset))) = (header.components, header.adobe_transform) {
        let mut renamed = bytes.to_vec();
        renamed[offset] = 1;
        return run(&renamed, header, false, true);
    }
    match run(bytes, header, true, true) {
        // libjpeg only warns about stray bytes between headers.
        Err(ImageError::Corrupt { reason, .. }) if reason.contains(EXTRA_BYTES) => {
            run(bytes, header, true, false)
        }
        other => other,
    }
}

fn run(
    bytes: &[u8],
    header: &JpegHeader,
    convert: bool,
    strict: bool,
) -> Result<Vec<u8>, ImageError> {
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .set_strict_mode(strict)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(from_zune)?;
    if let (false, Some(stored)) = (convert, decoder.input_colorspace()) {
        decoder.set_options(options.jpeg_set_out_colorspace(stored));
    }
    if decoder.dimensions() != Some((header.width as usize, header.height as usize)) {
        return Err(corrupt("two frame headers that differ"));
    }
    let pixels = decoder.decode().map_err(from_zune)?;
    if pixels.len() != header.width as usize * header.height as usize * 3 {
        return Err(corrupt(format!(
            "{} bytes of pixels for {}x{}",
            pixels.len(),
            header.width,
            header.height
        )));
    }
    Ok(pixels)
}

fn from_zune(error: DecodeErrors) -> ImageError {
    match error {
        DecodeErrors::ExhaustedData => truncated("the image data ends early"),
        DecodeErrors::Unsupported(scheme) => unsupported(format!("{scheme:?}")),
        other => {
            let text = other.to_string();
            let line = text
                .lines()
                .next()
                .unwrap_or_default()
                .trim()
                .trim_matches('"')
                .to_string();
            if line.contains("No more bytes") || line.contains("Premature end") {
                truncated("the image data ends early")
            } else {
                corrupt(line)
            }
        }
    }
}
