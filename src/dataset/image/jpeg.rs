//! JPEG by libjpeg-turbo, the decoder of Pillow, torchvision and OpenCV: `islow` DCT, fancy upsampling, every pixel as theirs.
//!
//! Colours follow Pillow's `convert("RGB")`: four components are Adobe's inverted CMYK. What libjpeg-turbo reads with a warning
//! (a file that ends early, lost restart markers) is read, and the warning is the image's loss.
//!
//! Every call has its own decompressor: one that is used again keeps the tables of the last file, and would decode a
//! file without tables with them.

use std::{
    ffi::{CStr, c_int, c_ulong},
    ptr::NonNull,
};

use turbojpeg_sys as tj;

use super::{ImageError, format::Format, samples, samples::Stored};

const FORMAT: Format = Format::Jpeg;
/// Scans that a progressive file may have. Encoders write about ten; each scan of a hostile file costs a pass over the whole image.
const MAX_SCANS: c_int = 64;
/// Memory of libjpeg-turbo. A progressive file's coefficients take 6 bytes a pixel, 3 with halved chroma: 89 or 179 megapixels.
const MAX_MEBIBYTES: c_int = 512;
/// What libjpeg-turbo writes where the data is missing: all coefficients zero.
const MISSING: u8 = 128;

/// Size and colour model.
struct Frame {
    width: u32,
    height: u32,
    four_components: bool,
    grey: bool,
    warning: Option<String>,
}

/// libjpeg-turbo's decompressor.
struct Decompressor(NonNull<std::ffi::c_void>);

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the handle is from `tj3Init`, and nothing uses it afterwards.
        unsafe { tj::tj3Destroy(self.0.as_ptr()) }
    }
}

impl Decompressor {
    fn new() -> Result<Decompressor, ImageError> {
        // SAFETY: no arguments to get wrong; null is handled.
        let handle = unsafe { tj::tj3Init(tj::TJINIT_TJINIT_DECOMPRESS as c_int) };
        let handle =
            NonNull::new(handle).ok_or_else(|| FORMAT.corrupt("libjpeg-turbo has no memory"))?;
        let new = Decompressor(handle);
        new.set(tj::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS);
        // Nothing needs the colour profile.
        new.set(tj::TJPARAM_TJPARAM_SAVEMARKERS, 0);
        Ok(new)
    }

    fn set(&self, parameter: tj::TJPARAM, value: c_int) {
        // SAFETY: a valid handle; an unknown parameter or value is refused.
        unsafe { tj::tj3Set(self.0.as_ptr(), parameter as c_int, value) };
    }

    fn get(&self, parameter: tj::TJPARAM) -> c_int {
        // SAFETY: a valid handle.
        unsafe { tj::tj3Get(self.0.as_ptr(), parameter as c_int) }
    }

    /// `Ok` with the first warning, if there was one. libjpeg-turbo returns -1 for both.
    fn outcome(&self, status: c_int) -> Result<Option<String>, ImageError> {
        if status == 0 {
            return Ok(None);
        }
        // SAFETY: a valid handle; the text is the handle's own, ends with zero, and is copied before the next call.
        let (text, code) = unsafe {
            let text = CStr::from_ptr(tj::tj3GetErrorStr(self.0.as_ptr()));
            let text = text.to_string_lossy().trim().to_string();
            (text, tj::tj3GetErrorCode(self.0.as_ptr()))
        };
        if code == tj::TJERR_TJERR_WARNING as c_int {
            return Ok(Some(text));
        }
        Err(refused(text))
    }

    fn header(&self, bytes: &[u8]) -> Result<Frame, ImageError> {
        // SAFETY: a valid handle, and the length of `bytes`.
        let status = unsafe {
            tj::tj3DecompressHeader(self.0.as_ptr(), bytes.as_ptr(), bytes.len() as tj::size_t)
        };
        let warning = self.outcome(status)?;
        let length = |parameter| u32::try_from(self.get(parameter)).unwrap_or(0);
        let precision = self.get(tj::TJPARAM_TJPARAM_PRECISION);
        let (width, height) = (
            length(tj::TJPARAM_TJPARAM_JPEGWIDTH),
            length(tj::TJPARAM_TJPARAM_JPEGHEIGHT),
        );
        if width == 0 || height == 0 {
            return Err(FORMAT.truncated("the file ends before the image data starts"));
        }
        if precision != 8 {
            return Err(FORMAT.unsupported(format!("{precision} bits a sample")));
        }
        let colours = self.get(tj::TJPARAM_TJPARAM_COLORSPACE);
        Ok(Frame {
            width,
            height,
            four_components: [tj::TJCS_TJCS_CMYK, tj::TJCS_TJCS_YCCK]
                .iter()
                .any(|&four| colours == four as c_int),
            grey: colours == tj::TJCS_TJCS_GRAY as c_int,
            warning,
        })
    }
}

/// The error for libjpeg-turbo's message.
fn refused(text: String) -> ImageError {
    if text.contains("Memory limit") || text.contains("Backing store") {
        FORMAT.unsupported(
            "a progressive image that needs more memory than a file of its size should",
        )
    } else if text.contains("Unsupported")
        || text.contains("not implemented")
        || text.contains("Sorry")
    {
        FORMAT.unsupported(text)
    } else {
        FORMAT.corrupt(text)
    }
}

/// Width and height, from the markers up to the first scan.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let frame = Decompressor::new()?.header(bytes)?;
    Ok((frame.width, frame.height))
}

/// Decodes to interleaved RGB, in stored order (the orientation is not applied). The caller has checked the size.
pub(super) fn decode(bytes: &[u8], size: (u32, u32), max_bytes: u64) -> Result<Stored, ImageError> {
    let right_size = |frame: &Frame| match (frame.width, frame.height) == size {
        true => Ok(()),
        false => Err(FORMAT.corrupt("two frame headers that differ")),
    };
    let Samples {
        mut samples,
        width,
        channels,
        warning,
    } = samples_of(bytes, true, max_bytes, right_size)?;
    let loss = match warning {
        Some(text) => Some(loss(text, &samples, width * channels)?),
        None => None,
    };
    let pixels = match channels {
        1 => samples::grey(samples),
        // Adobe's CMYK is inverted: 255 is no ink.
        4 => {
            samples.iter_mut().for_each(|sample| *sample = !*sample);
            samples::cmyk(samples)
        }
        _ => samples,
    };
    Ok(Stored { pixels, loss })
}

/// Interleaved samples of one component (grey), three (RGB) or four (as stored).
pub(super) struct Samples {
    pub samples: Vec<u8>,
    pub width: usize,
    pub channels: usize,
    pub warning: Option<String>,
}

/// Decodes a picture within a file of another format. Its colours are upsampled smoothly, or else repeated.
pub(super) fn decode_samples(
    bytes: &[u8],
    max_pixels: u64,
    max_bytes: u64,
    smooth: bool,
) -> Result<Samples, ImageError> {
    samples_of(
        bytes,
        smooth,
        max_bytes,
        |&Frame { width, height, .. }| {
            if u64::from(width) * u64::from(height) > max_pixels {
                return Err(FORMAT.corrupt(format!("a picture of {width}x{height} is too large")));
            }
            Ok(())
        },
    )
}

/// Decodes if the header passes the check.
fn samples_of(
    bytes: &[u8],
    smooth: bool,
    max_bytes: u64,
    check: impl FnOnce(&Frame) -> Result<(), ImageError>,
) -> Result<Samples, ImageError> {
    let decompressor = Decompressor::new()?;
    let frame = decompressor.header(bytes)?;
    check(&frame)?;
    let (format, channels) = match &frame {
        Frame {
            four_components: true,
            ..
        } => (tj::TJPF_TJPF_CMYK, 4),
        Frame { grey: true, .. } => (tj::TJPF_TJPF_GRAY, 1),
        _ => (tj::TJPF_TJPF_RGB, 3),
    };
    decompressor.set(tj::TJPARAM_TJPARAM_FASTUPSAMPLE, c_int::from(!smooth));
    let pitch = frame.width as usize * channels;
    let n_bytes = pitch * frame.height as usize;
    let room = max_bytes.saturating_sub(n_bytes as u64) >> 20;
    let room = c_int::try_from(room).unwrap_or(c_int::MAX);
    // Without a limit at 0.
    decompressor.set(tj::TJPARAM_TJPARAM_MAXMEMORY, room.clamp(1, MAX_MEBIBYTES));
    let mut samples = vec![0; n_bytes];
    // SAFETY: `samples` has `height` rows of `pitch` bytes in the pixel format's layout; libjpeg-turbo reads the same header from
    // the same bytes again.
    let status = unsafe {
        tj::tj3Decompress8(
            decompressor.0.as_ptr(),
            bytes.as_ptr(),
            bytes.len() as c_ulong,
            samples.as_mut_ptr(),
            pitch as c_int,
            format,
        )
    };
    let warning = decompressor.outcome(status)?;
    Ok(Samples {
        samples,
        width: frame.width as usize,
        channels,
        warning: warning.or(frame.warning),
    })
}

/// What is lost, from libjpeg-turbo's first warning and from the rows at the bottom that it left empty.
fn loss(warning: String, samples: &[u8], pitch: usize) -> Result<String, ImageError> {
    let rows = || samples.chunks(pitch);
    let empty = |row: &[u8]| row.iter().all(|&sample| sample == MISSING);
    let n_empty = rows().rev().take_while(|row| empty(row)).count();
    let n_rows = rows().count();
    let warning = warning.replace("Corrupt JPEG data: ", "damaged data: ");
    let warning = warning.replace("Premature end of JPEG file", "the file ends early");
    match n_empty {
        0 => Ok(warning),
        n if n == n_rows => Err(FORMAT.truncated(warning)),
        n => Ok(format!(
            "{warning}: grey from row {} of {n_rows}",
            n_rows - n
        )),
    }
}
