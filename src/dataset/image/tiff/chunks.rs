//! Strips and tiles: where their pixels lie in the image, and their bytes in the file.

use super::{
    fault::{FORMAT, Fault, OLD_JPEG_IN_PARTS},
    layout::{Compression, Layout},
};
use crate::image::{
    ImageError,
    ifd::{Directory, Values},
};

const STRIP_OFFSETS: u16 = 273;
const JPEG_STREAM: u16 = 513;
const JPEG_LENGTH: u16 = 514;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_COUNTS: u16 = 279;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_COUNTS: u16 = 325;

/// Padding of tiles beyond the image that is decoded at most, besides what the image justifies.
const MAX_PADDING: u64 = 256 << 20;
/// Compressed bytes for a decoded one. Where a count says more, the rest is no data, as in libtiff.
const MAX_EXPANSION: u64 = 10;
/// The same for all chunks together, where they share their bytes.
const MAX_SHARED: u64 = 2;
/// Bytes that any chunk may have, for its headers.
const MIN_INPUT: u64 = 1 << 20;

/// The chunks of one plane.
pub(super) struct Grid<'a> {
    chunk_width: usize,
    chunk_height: usize,
    n_across: usize,
    n_down: usize,
    offsets: Values<'a>,
    counts: Option<Values<'a>>,
}

/// A chunk's part of the image, and the rows that hold it.
pub(super) struct Chunk {
    pub left: usize,
    pub top: usize,
    /// Within the image.
    pub right: usize,
    /// Within the image.
    pub bottom: usize,
    /// Width with padding.
    pub width: usize,
    /// Height with padding; of the last strip too.
    pub height: usize,
    /// Bytes of a row; of subsampled YCbCr, of a row of blocks.
    pub row_bytes: usize,
    /// Rows within the image; of subsampled YCbCr, rows of blocks.
    pub n_rows: usize,
}

impl<'a> Grid<'a> {
    pub fn read(directory: &Directory<'a>, layout: &Layout) -> Result<Grid<'a>, ImageError> {
        let length = |tag| {
            let value = directory.values(tag)?.unsigned(0)?;
            Some(usize::try_from(value).unwrap_or(usize::MAX))
        };
        let old_jpeg = layout.compression == Compression::OldJpeg;
        let tiled = length(TILE_WIDTH).is_some() && !old_jpeg;
        let either = |first, second| directory.values(first).or(directory.values(second));
        let (offsets, counts, chunk_width, chunk_height) = if tiled {
            (
                either(TILE_OFFSETS, STRIP_OFFSETS),
                either(TILE_COUNTS, STRIP_COUNTS),
                length(TILE_WIDTH),
                length(TILE_HEIGHT),
            )
        } else if old_jpeg {
            // A stream of all pixels.
            (
                either(JPEG_STREAM, STRIP_OFFSETS),
                directory.values(JPEG_LENGTH),
                Some(layout.width),
                Some(layout.height),
            )
        } else {
            let rows = length(ROWS_PER_STRIP).filter(|&rows| rows > 0);
            (
                either(STRIP_OFFSETS, TILE_OFFSETS),
                either(STRIP_COUNTS, TILE_COUNTS),
                Some(layout.width),
                Some(rows.unwrap_or(layout.height).min(layout.height)),
            )
        };
        let offsets = offsets.ok_or_else(|| match old_jpeg {
            true => FORMAT.unsupported(OLD_JPEG_IN_PARTS),
            false => FORMAT.corrupt("the directory has no strips or tiles"),
        })?;
        let (chunk_width, chunk_height) = match (chunk_width, chunk_height) {
            (Some(width @ 1..), Some(height @ 1..)) => (width, height),
            _ => return Err(FORMAT.corrupt("tiles without a size")),
        };
        Ok(Grid {
            chunk_width,
            chunk_height,
            n_across: layout.width.div_ceil(chunk_width),
            n_down: layout.height.div_ceil(chunk_height),
            offsets,
            counts,
        })
    }

    /// Chunks of a plane.
    pub fn n_chunks(&self) -> usize {
        self.n_across * self.n_down
    }

    pub fn chunk(&self, layout: &Layout, at: usize) -> Chunk {
        let left = at % self.n_across * self.chunk_width;
        let top = at / self.n_across * self.chunk_height;
        let bottom = top.saturating_add(self.chunk_height).min(layout.height);
        let (x, y) = layout.subsampling;
        let row_bytes = if layout.subsampling == (1, 1) {
            (self.chunk_width * layout.n_interleaved() * layout.bits).div_ceil(8)
        } else {
            self.chunk_width.div_ceil(x) * (x * y + 2)
        };
        Chunk {
            left,
            top,
            right: left.saturating_add(self.chunk_width).min(layout.width),
            bottom,
            width: self.chunk_width,
            height: self.chunk_height,
            row_bytes,
            n_rows: (bottom - top).div_ceil(y),
        }
    }

    /// Refuses what takes more memory than the image's size justifies, before anything is allocated.
    pub fn check_memory(&self, layout: &Layout, max_bytes: u64) -> Result<(), ImageError> {
        let n_pixels = layout.n_pixels() as u64;
        let pixel_bits = layout.n_interleaved() as u64 * layout.bits as u64;
        let bytes = |width: usize, height: usize| {
            let pixels = (width as u64).checked_mul(height as u64)?;
            Some(pixels.checked_mul(pixel_bits)? / 8)
        };
        // The decoders of other formats have buffers of their own.
        let copies = match layout.compression {
            Compression::Jpeg | Compression::OldJpeg => 2,
            Compression::WebP => 4,
            _ => 1,
        };
        let chunk = bytes(self.chunk_width, self.chunk_height);
        let chunk = chunk.and_then(|bytes| bytes.checked_mul(copies));
        let all = bytes(
            self.n_across.saturating_mul(self.chunk_width),
            self.n_down.saturating_mul(self.chunk_height),
        );
        let room = max_bytes.saturating_sub(n_pixels * layout.canvas_bytes() as u64);
        if chunk.is_none_or(|bytes| bytes > room)
            || all.is_none_or(|bytes| bytes > max_bytes + MAX_PADDING)
        {
            return Err(FORMAT.corrupt(format!(
                "{}x{} chunks of {} samples need more memory than a file of its size should",
                self.chunk_width,
                self.chunk_height,
                layout.n_interleaved()
            )));
        }
        Ok(())
    }

    /// The chunks' bytes.
    pub fn inputs<'b>(&self, bytes: &'b [u8], layout: &Layout) -> Inputs<'a, 'b> {
        let chunk = self.chunk(layout, 0);
        let chunk_bytes = (chunk.row_bytes as u64).saturating_mul(chunk.height as u64);
        let n_chunks = (self.n_chunks() * layout.n_planes()) as u64;
        Inputs {
            bytes,
            offsets: self.offsets,
            counts: self.counts,
            uncompressed: (layout.compression == Compression::None).then_some(chunk_bytes),
            max_input: chunk_bytes.saturating_mul(MAX_EXPANSION).max(MIN_INPUT),
            budget: chunk_bytes
                .saturating_mul(n_chunks)
                .saturating_mul(MAX_SHARED)
                .saturating_add(bytes.len() as u64),
        }
    }
}

/// The bytes of the chunks in the file.
pub(super) struct Inputs<'a, 'b> {
    bytes: &'b [u8],
    offsets: Values<'a>,
    counts: Option<Values<'a>>,
    /// Bytes of an uncompressed chunk.
    uncompressed: Option<u64>,
    /// Bytes that a chunk may have.
    max_input: u64,
    /// Bytes that all may have: those of the file, and more only where the image is large (equal chunks may share their bytes).
    budget: u64,
}

impl<'b> Inputs<'_, 'b> {
    /// `None` where the list of chunks ends.
    pub fn get(&mut self, at: usize) -> Option<Result<Input<'b>, Fault>> {
        let offset = self.offsets.unsigned(at)?;
        Some(self.input(at, offset))
    }

    fn input(&mut self, at: usize, offset: u64) -> Result<Input<'b>, Fault> {
        let count = self.counts.and_then(|counts| counts.unsigned(at));
        if offset == 0 && count.unwrap_or(0) == 0 {
            return Err(Fault::damaged("a strip or tile was never written"));
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let room = rest.len() as u64;
        let wanted = match (self.uncompressed, count) {
            // As in Pillow: the size is known, and the count often wrong.
            (Some(length), _) => length,
            (_, Some(count @ 1..)) => count.min(self.max_input),
            // Without a count, up to the next chunk.
            _ => match self.offsets.unsigned(at + 1) {
                Some(next) if next > offset => (next - offset).min(self.max_input),
                _ => room.min(self.max_input),
            },
        };
        let length = wanted.min(room);
        self.budget = self
            .budget
            .checked_sub(length)
            .ok_or_else(|| Fault::damaged("strips or tiles that share their bytes"))?;
        Ok(Input {
            bytes: &rest[..length as usize],
            cut: wanted > room,
        })
    }
}

/// The bytes of a chunk.
pub(super) struct Input<'b> {
    pub bytes: &'b [u8],
    /// The file ends before the chunk does.
    pub cut: bool,
}
