//! The orientation in EXIF and XMP, wherever the formats keep them, as Pillow's `exif_transpose` reads it.
//!
//! EXIF goes before XMP; of several values of a tag, the first counts. Any numeric type but a byte is read (the standard says
//! SHORT; cameras and editors also write LONG, SSHORT and others). Damaged metadata has no orientation: no reason to refuse the
//! pixels.

use std::io::Read;

use super::ifd::Directory;

const ORIENTATION: u16 = 274;
const XMP: u16 = 700;
/// Compressed text chunks are expanded up to here, as in Pillow.
const MAX_TEXT: u64 = 1 << 20;
const XMP_MARKER: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// A file's metadata blocks.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    exif: Vec<u8>,
    xmp: Vec<u8>,
}

impl Metadata {
    /// 1..=8, or 1 where nothing valid is said.
    pub(super) fn orientation(&self) -> u8 {
        let mut exif = self.exif.as_slice();
        for _ in 0..2 {
            exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        }
        let value = Directory::first(exif).and_then(|directory| directory.number(ORIENTATION));
        let value = value.or_else(|| xmp_orientation(&self.xmp));
        value.filter(|value| (1..=8).contains(value)).unwrap_or(1) as u8
    }
}

/// Finds `tiff:Orientation="6"` or `<tiff:Orientation>6<`: the first in the text, in any encoding that keeps ASCII.
fn xmp_orientation(text: &[u8]) -> Option<i64> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut rest = text;
    while let Some(at) = rest.windows(NAME.len()).position(|window| window == NAME) {
        rest = &rest[at + NAME.len()..];
        let digit = rest.strip_prefix(b"=\"").or(rest.strip_prefix(b">"));
        if let Some(&digit) = digit.and_then(<[u8]>::first)
            && digit.is_ascii_digit()
        {
            return Some(i64::from(digit - b'0'));
        }
    }
    None
}

/// The APP1 segments before the first scan. Several EXIF segments are one block.
pub(super) fn of_jpeg(bytes: &[u8]) -> Metadata {
    let mut found = Metadata::default();
    let mut at = 2;
    loop {
        // Bytes before a marker, and fill bytes, are skipped.
        let Some(start) = bytes
            .get(at..)
            .and_then(|b| b.iter().position(|&b| b == 0xFF))
        else {
            return found;
        };
        at += start;
        let Some(fill) = bytes[at..].iter().position(|&b| b != 0xFF) else {
            return found;
        };
        let marker = bytes[at + fill];
        at += fill + 1;
        if matches!(marker, 0 | 0x01 | 0xD0..=0xD8) {
            continue;
        }
        if matches!(marker, 0xD9 | 0xDA) {
            return found;
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else {
            return found;
        };
        let end = at + usize::from(u16::from_be_bytes([high, low]));
        let Some(payload) = bytes.get(at + 2..end) else {
            return found;
        };
        if marker == 0xE1 {
            if let Some(exif) = payload.strip_prefix(b"Exif\0\0") {
                found.exif.extend_from_slice(exif);
            } else if let Some(xmp) = payload.strip_prefix(XMP_MARKER) {
                found.xmp = xmp.to_vec();
            }
        }
        at = end;
    }
}

/// The chunks `eXIf`, `iTXt` with XMP, and ImageMagick's raw profiles, before or after the pixels.
pub(super) fn of_png(bytes: &[u8]) -> Metadata {
    let mut found = Metadata::default();
    let mut raw_profile = Vec::new();
    let mut at = 8;
    while let Some(&[a, b, c, d, k0, k1, k2, k3]) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(data) = bytes.get(at + 8..at + 8 + length) else {
            break;
        };
        match &[k0, k1, k2, k3] {
            b"IEND" => break,
            b"eXIf" => found.exif = data.to_vec(),
            kind @ (b"tEXt" | b"zTXt" | b"iTXt") => match text_chunk(kind, data) {
                Some((b"XML:com.adobe.xmp", text)) => found.xmp = text,
                Some((b"Raw profile type exif", text)) => raw_profile = text,
                _ => {}
            },
            _ => {}
        }
        at += 12 + length;
    }
    if found.exif.is_empty() {
        found.exif = from_raw_profile(&raw_profile).unwrap_or_default();
    }
    found
}

/// Keyword and text of a PNG text chunk.
fn text_chunk<'a>(kind: &[u8; 4], data: &'a [u8]) -> Option<(&'a [u8], Vec<u8>)> {
    let expand = |data: &[u8]| {
        let mut text = Vec::new();
        let decoder = flate2::read::ZlibDecoder::new(data);
        // A damaged stream has no text.
        decoder.take(MAX_TEXT).read_to_end(&mut text).ok()?;
        Some(text)
    };
    let (keyword, rest) = split_at_zero(data)?;
    let text = match kind {
        b"zTXt" => expand(rest.strip_prefix(&[0])?)?,
        b"iTXt" => {
            let (&[compressed, method], rest) = rest.split_first_chunk::<2>()?;
            let (_language, rest) = split_at_zero(rest)?;
            let (_translated, text) = split_at_zero(rest)?;
            match (compressed, method) {
                (0, _) => text.to_vec(),
                (_, 0) => expand(text)?,
                _ => return None,
            }
        }
        _ => rest.to_vec(),
    };
    Some((keyword, text))
}

fn split_at_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = data.iter().position(|&b| b == 0)?;
    Some((&data[..zero], &data[zero + 1..]))
}

/// ImageMagick's text form: an empty line, the profile's name, its length, then lines of hexadecimal digits.
fn from_raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&b| b == b'\n').skip(3);
    let digits: Vec<u8> = lines.flatten().copied().collect();
    let digits = std::str::from_utf8(&digits).ok()?;
    let value = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(value).collect()
}

/// The chunks `EXIF` and `XMP ` that the extended header announces.
pub(super) fn of_webp(bytes: &[u8]) -> Metadata {
    let mut found = Metadata::default();
    if bytes.get(12..16) != Some(b"VP8X") {
        return found;
    }
    let flags = bytes.get(20).copied().unwrap_or(0);
    let mut at = 12;
    while let Some(&[k0, k1, k2, k3, a, b, c, d]) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some(data) = bytes.get(at + 8..at + 8 + length) else {
            break;
        };
        match &[k0, k1, k2, k3] {
            b"EXIF" if flags & 8 != 0 && found.exif.is_empty() => found.exif = data.to_vec(),
            b"XMP " if flags & 4 != 0 && found.xmp.is_empty() => found.xmp = data.to_vec(),
            _ => {}
        }
        at += 8 + length + length % 2;
    }
    found
}

/// A TIFF is its own EXIF block.
pub(super) fn of_tiff(bytes: &[u8]) -> u8 {
    let Some(directory) = Directory::first(bytes) else {
        return 1;
    };
    let value = directory.number(ORIENTATION).or_else(|| {
        let xmp = directory.bytes(XMP)?;
        xmp_orientation(xmp)
    });
    value.filter(|value| (1..=8).contains(value)).unwrap_or(1) as u8
}
