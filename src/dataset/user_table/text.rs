//! Text of the user's tables: compression, encodings.

use std::{io::Read, path::Path};

use flate2::read::MultiGzDecoder;
use prospect_common::{Error, Result, text};

/// Maximum bytes of a decompressed table: this, or so many for each byte of the file. Tables of paths and labels shrink to a third or
/// a tenth.
const SMALL_BYTES: u64 = 64 << 20;
const MAX_RATIO: u64 = 10;

/// The characters of Windows-1252 from 0x80 to 0x9f. The others are those of Latin-1.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The file's bytes, decompressed if it is a gzip file, and the BLAKE3 of the file.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, String)> {
    let bytes = std::fs::read(path).map_err(Error::io(path, "reading the table"))?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    if !bytes.starts_with(b"\x1f\x8b") {
        return Ok((bytes, digest));
    }
    let mut plain = Vec::new();
    let most = SMALL_BYTES.max(bytes.len() as u64 * MAX_RATIO);
    let mut decoder = MultiGzDecoder::new(&bytes[..]).take(most + 1);
    decoder
        .read_to_end(&mut plain)
        .map_err(Error::io(path, "decompressing the table"))?;
    if plain.len() as u64 > most {
        return Err(Error::invalid(
            path,
            format!("a gzip file of at most {} of text", text::bytes(most)),
            "more",
            "decompress it with gunzip if you trust it",
        ));
    }
    Ok((plain, digest))
}

/// The text, and its encoding if that is not UTF-8: UTF-16 by its byte order mark or its zeros, otherwise Windows-1252, of which Latin-1
/// is a part.
pub(super) fn decode(bytes: Vec<u8>) -> (String, Option<&'static str>) {
    let is_zero = |at: usize| bytes.get(at) == Some(&0);
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        (text.collect(), Some("UTF-16"))
    };
    match &bytes[..] {
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        all if is_zero(1) && is_zero(3) => return utf16(all, u16::from_le_bytes),
        all if is_zero(0) && is_zero(2) => return utf16(all, u16::from_be_bytes),
        _ => {}
    }
    match String::from_utf8(bytes) {
        Ok(text) => match text.strip_prefix('\u{feff}') {
            Some(text) => (text.to_string(), None),
            None => (text, None),
        },
        Err(error) => {
            let character = |byte: &u8| match byte {
                0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                byte => char::from(*byte),
            };
            (
                error.as_bytes().iter().map(character).collect(),
                Some("Latin-1"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart() {
        let text = "Größe,é\n";
        let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect();
        let little: Vec<u8> = utf16(u16::to_le_bytes);
        let big: Vec<u8> = utf16(u16::to_be_bytes);
        for bytes in [
            [&b"\xff\xfe"[..], &little].concat(),
            [&b"\xfe\xff"[..], &big].concat(),
            little,
            big,
        ] {
            assert_eq!(decode(bytes), (text.to_string(), Some("UTF-16")));
        }
        let latin = b"Gr\xf6\xdfe,\xe9\n\x80".to_vec();
        assert_eq!(decode(latin), (format!("{text}€"), Some("Latin-1")));
        let marked = [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat();
        assert_eq!(decode(marked), (text.to_string(), None));
        assert_eq!(decode(Vec::new()), (String::new(), None));
    }
}
