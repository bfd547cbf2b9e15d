//! The image's samples, put together from chunks.

use super::{
    chunks::Chunk,
    colour::{Colours, unmultiplied},
    layout::{Layout, Photometric},
};
use crate::image::{Depth, samples};

/// The samples that matter, interleaved, of the whole image.
pub(super) enum Canvas {
    /// 8 bits; palette indices as they are. The second value is the number of samples in a pixel.
    Bytes(Vec<u8>, usize),
    /// Greys of more bits, of two or four bytes, the high one first.
    Wide(Vec<u8>),
}

impl Canvas {
    pub fn new(layout: &Layout) -> Canvas {
        let n_pixels = layout.n_pixels();
        if layout.is_wide() {
            Canvas::Wide(vec![0; n_pixels * layout.bytes_per_grey()])
        } else {
            let n_kept = layout.n_kept();
            Canvas::Bytes(vec![0; n_pixels * n_kept], n_kept)
        }
    }

    /// Puts the first `n_rows` rows of a chunk in their place. (Of subsampled YCbCr, they are rows of blocks.)
    pub fn put(
        &mut self,
        layout: &Layout,
        chunk: &Chunk,
        plane: usize,
        bytes: &[u8],
        n_rows: usize,
    ) {
        let rows = bytes.chunks_exact(chunk.row_bytes.max(1)).take(n_rows);
        let n = chunk.right - chunk.left;
        match self {
            Canvas::Wide(greys) => {
                let size = layout.bytes_per_grey();
                let targets = greys.chunks_exact_mut(layout.width * size);
                for (target, row) in targets.skip(chunk.top).zip(rows) {
                    let target = &mut target[chunk.left * size..chunk.right * size];
                    match size {
                        2 => read_wide(row, layout, target.as_chunks_mut().0),
                        _ => read_widest(row, layout, target.as_chunks_mut().0),
                    }
                }
            }
            Canvas::Bytes(samples, n_kept) => {
                let n_kept = *n_kept;
                let stride = layout.width * n_kept;
                let (x, y) = layout.subsampling;
                if (x, y) != (1, 1) {
                    let part = &mut samples[chunk.top * stride..chunk.bottom * stride];
                    let targets = part.chunks_mut(stride * y);
                    for (target, row) in targets.zip(rows) {
                        for (i, line) in target.chunks_exact_mut(stride).enumerate() {
                            let line = &mut line[chunk.left * 3..chunk.right * 3];
                            read_blocks(row, layout.subsampling, i, line);
                        }
                    }
                    return;
                }
                let n_interleaved = layout.n_interleaved();
                let mut wanted = Vec::new();
                let targets = samples.chunks_exact_mut(stride).skip(chunk.top);
                for (target, row) in targets.zip(rows) {
                    let target = &mut target[chunk.left * n_kept..chunk.right * n_kept];
                    let row = match layout.bits {
                        8 => &row[..n * n_interleaved],
                        _ => {
                            read_narrow(row, layout, n * n_interleaved, &mut wanted);
                            &wanted
                        }
                    };
                    if n_interleaved == n_kept {
                        target.copy_from_slice(row);
                        continue;
                    }
                    let pixels = target.chunks_exact_mut(n_kept);
                    for (pixel, stored) in pixels.zip(row.chunks_exact(n_interleaved)) {
                        if layout.planar {
                            pixel[plane] = stored[0];
                        } else {
                            pixel.copy_from_slice(&stored[..n_kept]);
                        }
                    }
                }
            }
        }
    }

    pub fn into_rgb(self, layout: &Layout, colours: &Colours, depth: Depth) -> Vec<u8> {
        let (mut samples, n_kept) = match self {
            Canvas::Wide(greys) if layout.bytes_per_grey() == 2 => {
                let (pairs, _) = greys.as_chunks();
                let largest = pairs.iter().map(|&pair| u16::from_be_bytes(pair)).max();
                let level = level(largest.unwrap_or(0).into(), layout.bits, depth);
                return samples::convert(greys, |&pair: &[u8; 2]| {
                    [level(u16::from_be_bytes(pair).into()); 3]
                });
            }
            Canvas::Wide(greys) => {
                let (quads, _) = greys.as_chunks();
                let largest = quads.iter().map(|&quad| u32::from_be_bytes(quad)).max();
                let level = level(largest.unwrap_or(0), layout.bits, depth);
                return samples::convert(greys, |&quad: &[u8; 4]| {
                    [level(u32::from_be_bytes(quad)); 3]
                });
            }
            Canvas::Bytes(samples, n_kept) => (samples, n_kept),
        };
        match (layout.photometric, n_kept) {
            (Photometric::Grey { inverted }, 1) => {
                samples::stretch(&mut samples, layout.bits as u8);
                if inverted {
                    samples.iter_mut().for_each(|sample| *sample = !*sample);
                }
                samples::grey(samples)
            }
            (Photometric::Grey { inverted }, _) => {
                samples::convert(samples, |&[grey, alpha]: &[u8; 2]| {
                    let grey = if inverted { !grey } else { grey };
                    unmultiplied([grey; 3], alpha)
                })
            }
            (Photometric::Palette, _) => samples::palette(samples, &colours.palette),
            (Photometric::Rgb, 3) => samples,
            (Photometric::Rgb, _) => samples::convert(samples, |&[r, g, b, a]: &[u8; 4]| {
                unmultiplied([r, g, b], a)
            }),
            (Photometric::Cmyk, _) => samples::cmyk(samples),
            (Photometric::YCbCr, _) => {
                samples::convert(samples, |pixel: &[u8; 3]| colours.ycbcr.rgb(pixel))
            }
        }
    }
}

/// Samples of 1, 2, 4 or 16 bits (of which the high byte counts).
fn read_narrow(row: &[u8], layout: &Layout, n: usize, out: &mut Vec<u8>) {
    if layout.bits != 16 {
        *out = samples::unpack(row, layout.bits as u8, n);
        return;
    }
    let (pairs, _) = row.as_chunks::<2>();
    let high = usize::from(!layout.big_endian);
    out.clear();
    out.extend(pairs.iter().take(n).map(|pair| pair[high]));
}

/// Greys of 10 to 16 bits. What is negative is black, as in Pillow.
fn read_wide(row: &[u8], layout: &Layout, out: &mut [[u8; 2]]) {
    // Extra samples are skipped.
    let step = layout.n_interleaved();
    if layout.bits == 16 {
        let (pairs, _) = row.as_chunks::<2>();
        for (out, &pair) in out.iter_mut().zip(pairs.iter().step_by(step)) {
            let value = match layout.big_endian {
                true => u16::from_be_bytes(pair),
                false => u16::from_le_bytes(pair),
            };
            let negative = layout.signed && (value as i16) < 0;
            *out = if negative {
                [0; 2]
            } else {
                value.to_be_bytes()
            };
        }
        return;
    }
    // Fewer are packed from the high bits, whatever the byte order.
    let bits = layout.bits;
    for (i, out) in out.iter_mut().enumerate() {
        let at = i * step * bits;
        let bytes = row[at / 8..].iter().chain(&[0; 3]).take(3);
        let word = bytes.fold(0, |word, &byte| word << 8 | u32::from(byte));
        let value = word >> (24 - at % 8 - bits) & ((1 << bits) - 1);
        let negative = layout.signed && value >> (bits - 1) == 1;
        *out = if negative {
            [0; 2]
        } else {
            (value as u16).to_be_bytes()
        };
    }
}

/// Greys of 32 bits.
fn read_widest(row: &[u8], layout: &Layout, out: &mut [[u8; 4]]) {
    let (quads, _) = row.as_chunks::<4>();
    for (out, &quad) in out
        .iter_mut()
        .zip(quads.iter().step_by(layout.n_interleaved()))
    {
        let value = match layout.big_endian {
            true => u32::from_be_bytes(quad),
            false => u32::from_le_bytes(quad),
        };
        let negative = layout.signed && (value as i32) < 0;
        *out = if negative {
            [0; 4]
        } else {
            value.to_be_bytes()
        };
    }
}

/// One line of blocks of YCbCr: each has its luminances, then one Cb and one Cr.
fn read_blocks(row: &[u8], (x, y): (usize, usize), line: usize, out: &mut [u8]) {
    let blocks = row.chunks_exact(x * y + 2);
    for (pixels, block) in out.chunks_mut(3 * x).zip(blocks) {
        for (pixel, &luminance) in pixels.chunks_exact_mut(3).zip(&block[line * x..]) {
            pixel.copy_from_slice(&[luminance, block[x * y], block[x * y + 1]]);
        }
    }
}

/// Greys of `bits`, at most `largest`, to 8 bits: first to 16, for [`Depth::Scale`] by the largest and for [`Depth::HighByte`] from the
/// highest bit, then as any of 16 bits.
fn level(largest: u32, bits: usize, depth: Depth) -> impl Fn(u32) -> u8 {
    let (up, down) = match depth {
        Depth::Scale => {
            let needed = 32 - largest.leading_zeros();
            (0, needed.next_multiple_of(2).saturating_sub(16))
        }
        Depth::HighByte => (
            16_usize.saturating_sub(bits),
            bits.saturating_sub(16) as u32,
        ),
        Depth::Clip => (0, 0),
    };
    let narrow = move |grey: u32| (grey << up >> down).min(0xFFFF) as u16;
    let level = samples::level(narrow(largest), depth);
    move |grey| level(narrow(grey))
}
