//! TIFF: the first image, as Pillow with libtiff shows it.
//!
//! Read: classic and BigTIFF, both byte orders, strips and tiles, interleaved and separate planes; bilevel, grey, palette, RGB,
//! CMYK and YCbCr of whole numbers, with any extra samples; uncompressed, PackBits, LZW, Deflate, Zstandard, CCITT (RLE, group 3
//! and 4), JPEG and WebP, with horizontal prediction. Everything else is refused by its name.
//!
//! Two departures from Pillow: 16-bit greys go by [`Depth`], and a damaged file is read as far as it goes.
//!
//! Strips and tiles are both *chunks* here. A hostile file may declare many that share their bytes, or any number of bytes: what is
//! read and decoded is bounded by the size of the image and of the file.

mod canvas;
mod chunks;
mod codec;
mod colour;
mod fault;
mod fax;
mod layout;
#[cfg(test)]
mod tests;

use canvas::Canvas;
use chunks::Grid;
use fault::{FORMAT, Fault, Outcome};
use layout::Layout;

use super::{Depth, ImageError, ifd::Directory, samples::Stored};

/// Stored width and height of the first image.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    layout::size(&first_directory(bytes)?)
}

/// Decodes the first image to interleaved RGB in stored order. The caller has checked the size.
pub(super) fn decode(bytes: &[u8], depth: Depth, max_bytes: u64) -> Result<Stored, ImageError> {
    let directory = first_directory(bytes)?;
    let layout = Layout::read(&directory)?;
    let grid = Grid::read(&directory, &layout)?;
    grid.check_memory(&layout, max_bytes)?;
    let codec = codec::Codec::read(&directory, &layout, max_bytes)?;
    let mut canvas = Canvas::new(&layout);
    let mut inputs = grid.inputs(bytes, &layout);
    let mut losses = Losses::new(&grid);
    let mut buffer = Vec::new();
    for plane in 0..layout.n_planes() {
        for at in 0..grid.n_chunks() {
            let input = match inputs.get(plane * grid.n_chunks() + at) {
                Some(input) => input,
                None => {
                    losses.add_rest(at);
                    break;
                }
            };
            let chunk = grid.chunk(&layout, at);
            buffer.clear();
            buffer.resize(chunk.row_bytes * chunk.n_rows, 0);
            let outcome = match input {
                Ok(input) => codec.decode(input, &layout, &chunk, &mut buffer)?,
                Err(fault) => Outcome::nothing(fault),
            };
            let n_rows = outcome.n_bytes / chunk.row_bytes.max(1);
            canvas.put(&layout, &chunk, plane, &buffer, n_rows);
            losses.add(at, outcome.fault, n_rows);
        }
    }
    let missing = losses.missing(&grid, &layout);
    if let Some(fault) = &losses.first
        && missing.n_pixels == layout.n_pixels()
    {
        return Err(fault.clone().into_error());
    }
    let colours = colour::Colours::read(&directory, &layout)?;
    let mut pixels = canvas.into_rgb(&layout, &colours, depth);
    let n_incomplete = if missing.n_pixels > 0 {
        grid.n_chunks()
    } else {
        0
    };
    for at in 0..n_incomplete {
        let chunk = grid.chunk(&layout, at);
        let top = losses.top_of_missing(at, &chunk, &layout);
        let rows = pixels.chunks_mut(layout.width * 3);
        for row in rows.take(chunk.bottom).skip(top) {
            row[chunk.left * 3..chunk.right * 3].fill(0);
        }
    }
    let loss = losses
        .first
        .map(|fault| missing.describe(fault.reason, &layout));
    Ok(Stored { pixels, loss })
}

fn first_directory(bytes: &[u8]) -> Result<Directory<'_>, ImageError> {
    Directory::first(bytes).ok_or_else(|| FORMAT.truncated("the file ends before its directory"))
}

/// What the faults of all chunks cost.
struct Losses {
    first: Option<Fault>,
    /// Rows of each chunk that are there: of separate planes, in the worst. (Of subsampled YCbCr, rows of blocks.)
    n_rows: Vec<u32>,
}

impl Losses {
    fn new(grid: &Grid) -> Losses {
        Losses {
            first: None,
            n_rows: vec![u32::MAX; grid.n_chunks()],
        }
    }

    fn add(&mut self, at: usize, fault: Option<Fault>, n_rows: usize) {
        if let Some(fault) = fault {
            self.first.get_or_insert(fault);
            let n_rows = u32::try_from(n_rows).unwrap_or(u32::MAX);
            self.n_rows[at] = self.n_rows[at].min(n_rows);
        }
    }

    /// The chunks from here on are not in the file.
    fn add_rest(&mut self, at: usize) {
        let fault = Fault::damaged("the list of strips or tiles ends early");
        self.first.get_or_insert(fault);
        self.n_rows[at..].fill(0);
    }

    /// The first row that a chunk lacks, or its end.
    fn top_of_missing(&self, at: usize, chunk: &chunks::Chunk, layout: &Layout) -> usize {
        let n_rows = self.n_rows[at] as usize * layout.subsampling.1;
        (chunk.top + n_rows).min(chunk.bottom)
    }

    fn missing(&self, grid: &Grid, layout: &Layout) -> Missing {
        let mut missing = Missing {
            n_pixels: 0,
            first_row: layout.height,
        };
        if self.first.is_none() {
            return missing;
        }
        for at in 0..grid.n_chunks() {
            let chunk = grid.chunk(layout, at);
            let top = self.top_of_missing(at, &chunk, layout);
            if top < chunk.bottom {
                missing.n_pixels += (chunk.bottom - top) * (chunk.right - chunk.left);
                missing.first_row = missing.first_row.min(top);
            }
        }
        missing
    }
}

/// The pixels that nothing is known of.
struct Missing {
    n_pixels: usize,
    first_row: usize,
}

impl Missing {
    fn describe(&self, reason: String, layout: &Layout) -> String {
        let height = layout.height;
        let first = self.first_row;
        if self.n_pixels == 0 {
            reason
        } else if self.n_pixels == (height - first) * layout.width {
            format!("{reason}: black from row {first} of {height}")
        } else {
            let percent = 100.0 * self.n_pixels as f64 / layout.n_pixels() as f64;
            format!("{reason}: {percent:.1} % of the image is black")
        }
    }
}
