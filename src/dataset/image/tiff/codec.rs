//! Decompression of a chunk, and prediction.

use std::io::{Cursor, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    chunks::{Chunk, Input},
    fault::{FORMAT, Fault, OLD_JPEG_IN_PARTS, Outcome},
    fax,
    layout::{Compression, Layout, Photometric},
};
use crate::image::{ImageError, ifd::Directory, jpeg};

const GROUP3_OPTIONS: u16 = 292;
const JPEG_TABLES: u16 = 347;
const PHOTOMETRIC: u16 = 262;
const YCBCR: u64 = 6;
/// Window of Zstandard, as a power of two: its own limit for files that ask for no more.
const MAX_WINDOW_LOG: u32 = 27;

/// Bytes of JPEG tables. Eight tables need fewer than 2000; they are copied to every chunk.
const MAX_TABLES: usize = 1 << 16;

/// The decompressor of all chunks.
pub(super) struct Codec<'a> {
    /// Group 3: lines may refer to the line above.
    two_dimensional: bool,
    /// Tables that the chunks' JPEG streams share.
    jpeg_tables: &'a [u8],
    /// JPEG: convert YCbCr to RGB.
    jpeg_ycbcr: bool,
    window_log: u32,
    max_bytes: u64,
}

impl<'a> Codec<'a> {
    pub fn read(
        directory: &Directory<'a>,
        layout: &Layout,
        max_bytes: u64,
    ) -> Result<Codec<'a>, ImageError> {
        let number = |tag| directory.values(tag).and_then(|values| values.unsigned(0));
        let is_jpeg = matches!(layout.compression, Compression::Jpeg | Compression::OldJpeg);
        if is_jpeg && !layout.planar {
            match layout.n_samples {
                1 | 3 | 4 => {}
                n => return Err(FORMAT.unsupported(format!("JPEG of {n} samples a pixel"))),
            }
        }
        let tables = directory.bytes(JPEG_TABLES);
        Ok(Codec {
            two_dimensional: number(GROUP3_OPTIONS).unwrap_or(0) & 1 == 1,
            jpeg_tables: tables
                .filter(|tables| tables.len() <= MAX_TABLES)
                .unwrap_or_default(),
            jpeg_ycbcr: layout.compression == Compression::Jpeg
                && number(PHOTOMETRIC) == Some(YCBCR)
                && !layout.planar,
            window_log: max_bytes.max(1).ilog2().min(MAX_WINDOW_LOG),
            max_bytes,
        })
    }

    /// Decodes to the rows of `out`, which are zero before. An error is a feature that is not supported.
    pub fn decode(
        &self,
        input: Input,
        layout: &Layout,
        chunk: &Chunk,
        out: &mut [u8],
    ) -> Result<Outcome, ImageError> {
        let turned;
        let is_jpeg = matches!(layout.compression, Compression::Jpeg | Compression::OldJpeg);
        let bytes = if layout.reversed && !is_jpeg {
            turned = input
                .bytes
                .iter()
                .map(|byte| byte.reverse_bits())
                .collect::<Vec<_>>();
            &turned
        } else {
            input.bytes
        };
        let group3 = fax::Scheme::Group3 {
            two_dimensional: self.two_dimensional,
        };
        let mut outcome = match layout.compression {
            Compression::None => none(bytes, out),
            Compression::PackBits => pack_bits(bytes, out),
            Compression::Lzw => lzw(bytes, out),
            Compression::Deflate => deflate(bytes, out),
            Compression::Zstd => self.zstd(bytes, out),
            Compression::Rle { words } => {
                fax::decode(bytes, fax::Scheme::Rle { words }, chunk.width, out)
            }
            Compression::Group3 => fax::decode(bytes, group3, chunk.width, out),
            Compression::Group4 => fax::decode(bytes, fax::Scheme::Group4, chunk.width, out),
            Compression::Jpeg | Compression::OldJpeg => self.jpeg(bytes, layout, chunk, out)?,
            Compression::WebP => webp(bytes, layout, chunk, out)?,
        };
        if input.cut
            && let Some(fault) = &mut outcome.fault
        {
            *fault = Fault::early();
        }
        if layout.predicted {
            undo_prediction(out, layout, chunk);
        }
        Ok(outcome)
    }

    fn zstd(&self, bytes: &[u8], out: &mut [u8]) -> Outcome {
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
            decoder.window_log_max(self.window_log)?;
            Ok(decoder)
        });
        match decoder {
            Ok(decoder) => read(decoder, out),
            Err(error) => Outcome::nothing(Fault::damaged(error.to_string())),
        }
    }

    /// A chunk is a JPEG stream of its own, but its tables may be in the directory.
    fn jpeg(
        &self,
        bytes: &[u8],
        layout: &Layout,
        chunk: &Chunk,
        out: &mut [u8],
    ) -> Result<Outcome, ImageError> {
        let old = layout.compression == Compression::OldJpeg;
        // The directory says what the colours are, not the stream.
        let transform = u8::from(self.jpeg_ycbcr);
        let mut stream = b"\xFF\xD8\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0".to_vec();
        stream.push(transform);
        append_stream(&mut stream, self.jpeg_tables, false);
        let has_scan = append_stream(&mut stream, bytes, true);
        if old && !(has_scan && bytes.starts_with(b"\xFF\xD8")) {
            return Err(FORMAT.unsupported(OLD_JPEG_IN_PARTS));
        }
        let max_pixels = (chunk.width as u64).saturating_mul(chunk.height as u64);
        let image = match jpeg::decode_samples(&stream, max_pixels, self.max_bytes, !old) {
            Ok(image) => image,
            Err(ImageError::Unsupported { reason, .. }) => return Err(FORMAT.unsupported(reason)),
            Err(ImageError::Truncated { reason, .. }) => {
                return Ok(Outcome::nothing(Fault {
                    reason,
                    early: true,
                }));
            }
            Err(ImageError::Corrupt { reason, .. }) => {
                return Ok(Outcome::nothing(Fault::damaged(reason)));
            }
            Err(other) => return Err(other),
        };
        let n_samples = layout.n_interleaved();
        if image.channels != n_samples {
            return Err(FORMAT.corrupt(format!(
                "a JPEG of {} components for {n_samples} samples",
                image.channels
            )));
        }
        let warning = image.warning.map(Fault::damaged);
        Ok(place(
            &image.samples,
            image.width * n_samples,
            chunk,
            out,
            warning,
        ))
    }
}

/// Copies the rows of a picture into a chunk's, which may be wider or narrower.
fn place(
    samples: &[u8],
    stride: usize,
    chunk: &Chunk,
    out: &mut [u8],
    warning: Option<Fault>,
) -> Outcome {
    let n = stride.min(chunk.row_bytes);
    let mut n_bytes = 0;
    let rows = samples.chunks_exact(stride.max(1));
    for (target, row) in out.chunks_exact_mut(chunk.row_bytes.max(1)).zip(rows) {
        target[..n].copy_from_slice(&row[..n]);
        n_bytes += chunk.row_bytes;
    }
    let complete = n_bytes == out.len() && n == chunk.row_bytes;
    let small = || Fault::damaged("a picture smaller than its strip or tile");
    Outcome {
        n_bytes,
        fault: warning.or_else(|| (!complete).then(small)),
    }
}

/// Appends a stream without its start, and of the segments before its first scan without those that say what the colours are.
/// Returns whether it has a scan.
fn append_stream(out: &mut Vec<u8>, stream: &[u8], image: bool) -> bool {
    let mut at = 2;
    let mut has_scan = false;
    while let Some(&[0xFF, marker]) = stream.get(at..at + 2) {
        match marker {
            0xFF => {
                at += 1;
                continue;
            }
            0xDA => has_scan = true,
            0xD9 if !image => return false,
            _ => {}
        }
        if has_scan {
            break;
        }
        let Some(&[high, low]) = stream.get(at + 2..at + 4) else {
            break;
        };
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let Some(segment) = stream.get(at..end) else {
            break;
        };
        // Application segments: JFIF and Adobe.
        if !matches!(marker, 0xE0 | 0xEE) {
            out.extend_from_slice(segment);
        }
        at = end;
    }
    if image {
        out.extend_from_slice(stream.get(at..).unwrap_or_default());
    }
    has_scan
}

fn webp(
    bytes: &[u8],
    layout: &Layout,
    chunk: &Chunk,
    out: &mut [u8],
) -> Result<Outcome, ImageError> {
    let n_samples = layout.n_interleaved();
    if layout.planar || !matches!(n_samples, 3 | 4) || layout.photometric != Photometric::Rgb {
        return Err(FORMAT.corrupt(format!("a WebP picture for {n_samples} samples")));
    }
    let damaged =
        |error: image_webp::DecodingError| Outcome::nothing(Fault::damaged(error.to_string()));
    let mut decoder = match image_webp::WebPDecoder::new(Cursor::new(bytes)) {
        Ok(decoder) => decoder,
        Err(error) => return Ok(damaged(error)),
    };
    let (width, height) = decoder.dimensions();
    if width as usize > chunk.width || height as usize > chunk.height {
        return Ok(Outcome::nothing(Fault::damaged(
            "a picture larger than its strip or tile",
        )));
    }
    let n_channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut samples = vec![0; width as usize * height as usize * n_channels];
    if let Err(error) = decoder.read_image(&mut samples) {
        return Ok(damaged(error));
    }
    if n_channels != n_samples {
        let pixels = samples.chunks_exact(n_channels);
        samples = pixels
            .flat_map(|p| [p[0], p[1], p[2], 255].into_iter().take(n_samples))
            .collect();
    }
    Ok(place(
        &samples,
        width as usize * n_samples,
        chunk,
        out,
        None,
    ))
}

/// The outcome of a stream that gave `n_bytes`.
fn filled(n_bytes: usize, out: &[u8], fault: impl FnOnce() -> Fault) -> Outcome {
    Outcome {
        n_bytes,
        fault: (n_bytes < out.len()).then(fault),
    }
}

fn too_short() -> Fault {
    Fault::damaged("a strip or tile has too little data")
}

fn none(bytes: &[u8], out: &mut [u8]) -> Outcome {
    let n = bytes.len().min(out.len());
    out[..n].copy_from_slice(&bytes[..n]);
    filled(n, out, too_short)
}

fn pack_bits(bytes: &[u8], out: &mut [u8]) -> Outcome {
    let mut at = 0;
    let mut rest = bytes;
    while let Some((&header, after)) = rest.split_first()
        && at < out.len()
    {
        let room = out.len() - at;
        rest = after;
        match header as i8 {
            -128 => {}
            run @ ..0 => {
                let Some((&value, after)) = rest.split_first() else {
                    break;
                };
                let n = (1 + usize::from(run.unsigned_abs())).min(room);
                out[at..at + n].fill(value);
                at += n;
                rest = after;
            }
            literal => {
                let n = (1 + literal as usize).min(rest.len());
                let (values, after) = rest.split_at(n);
                let n = n.min(room);
                out[at..at + n].copy_from_slice(&values[..n]);
                at += n;
                rest = after;
            }
        }
    }
    filled(at, out, too_short)
}

fn lzw(bytes: &[u8], out: &mut [u8]) -> Outcome {
    use weezl::{BitOrder, LzwStatus, decode::Decoder};
    // Writers before TIFF 6 stored codes from the low bits, and lengthened them one code later.
    let old = matches!(bytes, [0, second, ..] if second & 1 == 1);
    let mut decoder = match old {
        true => Decoder::new(BitOrder::Lsb, 8),
        false => Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let (mut read, mut written) = (0, 0);
    let mut fault = too_short();
    while written < out.len() {
        let result = decoder.decode_bytes(&bytes[read..], &mut out[written..]);
        read += result.consumed_in;
        written += result.consumed_out;
        match result.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::NoProgress | LzwStatus::Done) => break,
            Err(error) => {
                fault = Fault::damaged(format!("damaged LZW data: {error}"));
                break;
            }
        }
    }
    filled(written, out, || fault)
}

fn deflate(bytes: &[u8], out: &mut [u8]) -> Outcome {
    let mut decoder = Decompress::new(true);
    let mut fault = too_short();
    loop {
        let (read, written) = (decoder.total_in() as usize, decoder.total_out() as usize);
        if written == out.len() {
            break;
        }
        match decoder.decompress(&bytes[read..], &mut out[written..], FlushDecompress::None) {
            Ok(Status::StreamEnd) => break,
            Ok(_) => {
                let moved = (decoder.total_in() as usize, decoder.total_out() as usize);
                if moved == (read, written) {
                    break;
                }
            }
            Err(error) => {
                fault = Fault::damaged(format!("damaged Deflate data: {error}"));
                break;
            }
        }
    }
    filled(decoder.total_out() as usize, out, || fault)
}

/// Fills the buffer from a stream.
fn read(mut stream: impl Read, out: &mut [u8]) -> Outcome {
    let mut n = 0;
    let mut fault = too_short();
    while n < out.len() {
        match stream.read(&mut out[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) => {
                fault = Fault::damaged(format!("damaged Zstandard data: {error}"));
                break;
            }
        }
    }
    filled(n, out, || fault)
}

/// Sums the differences along each row, in the file's byte order.
fn undo_prediction(rows: &mut [u8], layout: &Layout, chunk: &Chunk) {
    let n = layout.n_interleaved();
    for row in rows.chunks_exact_mut(chunk.row_bytes.max(1)) {
        match (layout.bits, layout.big_endian) {
            (8, _) => sum(row, n, |[a], [b]| [a.wrapping_add(b)]),
            (16, false) => sum(row, n, |a, b| {
                u16::from_le_bytes(a)
                    .wrapping_add(u16::from_le_bytes(b))
                    .to_le_bytes()
            }),
            (16, true) => sum(row, n, |a, b| {
                u16::from_be_bytes(a)
                    .wrapping_add(u16::from_be_bytes(b))
                    .to_be_bytes()
            }),
            (_, false) => sum(row, n, |a, b| {
                u32::from_le_bytes(a)
                    .wrapping_add(u32::from_le_bytes(b))
                    .to_le_bytes()
            }),
            (_, true) => sum(row, n, |a, b| {
                u32::from_be_bytes(a)
                    .wrapping_add(u32::from_be_bytes(b))
                    .to_be_bytes()
            }),
        }
    }
}

fn sum<const N: usize>(
    row: &mut [u8],
    n_samples: usize,
    add: impl Fn([u8; N], [u8; N]) -> [u8; N],
) {
    let (samples, _) = row.as_chunks_mut::<N>();
    for i in n_samples..samples.len() {
        samples[i] = add(samples[i], samples[i - n_samples]);
    }
}
