//! The first directory of a TIFF structure: of a TIFF file, or of an EXIF block.
//!
//! Every offset and count is checked against the bytes. Of several entries of a tag, the first counts, as in Pillow and libtiff.

/// The first directory of a TIFF structure, classic or BigTIFF.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    pub big_endian: bool,
    big: bool,
    /// Offset of the first entry.
    entries: usize,
    n_entries: usize,
}

/// The values of an entry: those that lie within the file.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    /// One value after the other.
    bytes: &'a [u8],
    kind: u64,
    width: usize,
    big_endian: bool,
}

impl<'a> Directory<'a> {
    pub fn first(bytes: &'a [u8]) -> Option<Directory<'a>> {
        let big_endian = match bytes.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut directory = Directory {
            bytes,
            big_endian,
            big: false,
            entries: 0,
            n_entries: 0,
        };
        // Some writers swap the bytes of the version; Pillow reads those too.
        directory.big = match directory.unsigned(2, 2)? {
            42 | 0x2A00 => false,
            43 => true,
            _ => return None,
        };
        let (at, width) = if directory.big { (8, 8) } else { (4, 4) };
        let start = usize::try_from(directory.unsigned(at, width)?).ok()?;
        let width = if directory.big { 8 } else { 2 };
        directory.n_entries = usize::try_from(directory.unsigned(start, width)?).ok()?;
        directory.entries = start + width;
        Some(directory)
    }

    fn unsigned(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        Some(join(bytes, self.big_endian))
    }

    /// The values of the tag's first entry.
    pub fn values(&self, tag: u16) -> Option<Values<'a>> {
        let size = if self.big { 20 } else { 12 };
        let room = self.bytes.len().saturating_sub(self.entries) / size;
        let at = (0..self.n_entries.min(room))
            .map(|i| self.entries + i * size)
            .find(|&at| self.unsigned(at, 2) == Some(u64::from(tag)))?;
        let kind = self.unsigned(at + 2, 2)?;
        let value_width = width_of(kind)?;
        let width = if self.big { 8 } else { 4 };
        let count = usize::try_from(self.unsigned(at + 4, width)?).ok()?;
        let length = count.checked_mul(value_width)?;
        let mut start = at + 4 + width;
        if length > width {
            start = usize::try_from(self.unsigned(start, width)?).ok()?;
        }
        let bytes = self.bytes.get(start..)?;
        Some(Values {
            bytes: &bytes[..length.min(bytes.len())],
            kind,
            width: value_width,
            big_endian: self.big_endian,
        })
    }

    /// The tag's first value where it is a whole number of a type that Pillow reads as one: no byte, no signed fraction.
    pub fn number(&self, tag: u16) -> Option<i64> {
        let values = self.values(tag)?;
        match values.kind {
            1 | 2 | 7 | 10 | 17 | 18 => None,
            _ => values.number(0),
        }
    }

    pub fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        Some(self.values(tag)?.bytes)
    }
}

impl<'a> Values<'a> {
    /// The values that lie within the file.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// A value that is a whole number. A fraction counts if whole.
    pub fn number(&self, i: usize) -> Option<i64> {
        let value = join(self.raw(i)?, self.big_endian);
        match self.kind {
            1 | 2 | 3 | 4 | 7 | 13 => Some(value as i64),
            16 | 18 => i64::try_from(value).ok(),
            6 => Some(i64::from(value as i8)),
            8 => Some(i64::from(value as i16)),
            9 => Some(i64::from(value as i32)),
            17 => Some(value as i64),
            _ => {
                let value = self.float(i)?;
                (value.fract() == 0.0).then_some(value as i64)
            }
        }
    }

    /// A value that is a number from 0.
    pub fn unsigned(&self, i: usize) -> Option<u64> {
        u64::try_from(self.number(i)?).ok()
    }

    /// Any number.
    pub fn float(&self, i: usize) -> Option<f64> {
        let raw = self.raw(i)?;
        let value = join(raw, self.big_endian);
        let half = |at: usize| join(&raw[at..at + 4], self.big_endian);
        match self.kind {
            5 => Some(half(0) as f64 / half(4) as f64),
            10 => Some(f64::from(half(0) as i32) / f64::from(half(4) as i32)),
            11 => Some(f64::from(f32::from_bits(value as u32))),
            12 => Some(f64::from_bits(value)),
            _ => self.number(i).map(|value| value as f64),
        }
    }

    fn raw(&self, i: usize) -> Option<&'a [u8]> {
        let start = i.checked_mul(self.width)?;
        self.bytes.get(start..start.checked_add(self.width)?)
    }
}

fn join(bytes: &[u8], big_endian: bool) -> u64 {
    let join = |value, &byte: &u8| value << 8 | u64::from(byte);
    if big_endian {
        bytes.iter().fold(0, join)
    } else {
        bytes.iter().rev().fold(0, join)
    }
}

/// Bytes of one value of a TIFF type.
fn width_of(kind: u64) -> Option<usize> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => return None,
    })
}
