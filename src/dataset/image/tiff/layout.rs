//! What the directory says of the samples.

use super::fault::FORMAT;
use crate::image::{ImageError, ifd::Directory};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const SAMPLES: u16 = 277;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const SUBSAMPLING: u16 = 530;

const ASSOCIATED: u64 = 1;

/// What the samples of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Photometric {
    /// The larger, the lighter; or the darker.
    Grey {
        inverted: bool,
    },
    Palette,
    Rgb,
    Cmyk,
    YCbCr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Rle {
        words: bool,
    },
    Group3,
    Group4,
    Lzw,
    Jpeg,
    /// One JPEG stream with all pixels, from before TIFF 6 was mended.
    OldJpeg,
    Deflate,
    PackBits,
    Zstd,
    WebP,
}

/// How samples are stored.
#[derive(Debug)]
pub(super) struct Layout {
    pub width: usize,
    pub height: usize,
    /// Per pixel, with all extra samples.
    pub n_samples: usize,
    pub bits: usize,
    pub signed: bool,
    pub photometric: Photometric,
    /// The sample after the colours is alpha that the colours are multiplied with.
    pub associated: bool,
    /// Each sample has chunks of its own.
    pub planar: bool,
    pub compression: Compression,
    /// Samples are differences to the pixel on the left.
    pub predicted: bool,
    /// The bits of every byte are in reverse order.
    pub reversed: bool,
    pub big_endian: bool,
    /// Columns and rows of pixels that share their Cb and Cr.
    pub subsampling: (usize, usize),
}

/// Width and height.
pub(super) fn size(directory: &Directory) -> Result<(u32, u32), ImageError> {
    let length = |tag, name| -> Result<u32, ImageError> {
        let value = directory.values(tag).and_then(|values| values.unsigned(0));
        let value = value.ok_or_else(|| FORMAT.corrupt(format!("the directory has no {name}")))?;
        u32::try_from(value).map_err(|_| FORMAT.corrupt(format!("a {name} of {value}")))
    };
    Ok((length(WIDTH, "width")?, length(HEIGHT, "height")?))
}

impl Layout {
    pub fn read(directory: &Directory) -> Result<Layout, ImageError> {
        let number = |tag, default| {
            let values = directory.values(tag);
            values
                .and_then(|values| values.unsigned(0))
                .unwrap_or(default)
        };
        let (width, height) = size(directory)?;
        let compression = compression(number(COMPRESSION, 1))?;
        let old_jpeg = compression == Compression::OldJpeg;
        // As in Pillow: whatever the directory says.
        let mut photometric = match old_jpeg {
            true => Photometric::YCbCr,
            false => photometric(number(PHOTOMETRIC, 0))?,
        };
        let planar = number(PLANAR, 1) == 2;
        let n_samples = match number(SAMPLES, if old_jpeg { 3 } else { 1 }) {
            0 => return Err(FORMAT.corrupt("no samples in a pixel")),
            n => {
                usize::try_from(n).map_err(|_| FORMAT.corrupt(format!("{n} samples in a pixel")))?
            }
        };
        let bits = bits(directory, n_samples)?;
        let signed = match sample_format(directory)? {
            1 | 4 => false,
            2 => true,
            3 => {
                return Err(
                    FORMAT.unsupported("floating-point samples: convert them to 8 or 16 bits")
                );
            }
            5 | 6 => {
                return Err(FORMAT.unsupported("complex samples: save their size as 8 or 16 bits"));
            }
            other => return Err(FORMAT.corrupt(format!("sample format {other}"))),
        };
        let extra = directory.values(EXTRA_SAMPLES);
        let n_extra = extra.map_or(0, |extra| extra.len());
        let mut associated = extra.and_then(|extra| extra.unsigned(0)) == Some(ASSOCIATED);
        if photometric == Photometric::YCbCr && n_samples == 1 {
            photometric = Photometric::Grey { inverted: false };
        }
        let n_colours = photometric.n_colours();
        // A fourth sample of RGB needs no explanation, in Pillow as in libtiff.
        let unexplained = photometric == Photometric::Rgb && n_samples == 4 && n_extra == 0;
        if n_samples < n_colours {
            return Err(FORMAT.corrupt(format!("{n_samples} samples in a pixel, not {n_colours}")));
        }
        if n_samples > n_colours + n_extra && !unexplained {
            return Err(
                FORMAT.unsupported(format!("{n_samples} channels: save three of them as RGB"))
            );
        }
        // Of separate planes, Pillow takes a fourth sample that nothing explains as associated alpha.
        associated |= unexplained && planar && compression != Compression::None;
        associated &= n_samples > n_colours;
        if associated && !matches!(photometric, Photometric::Rgb | Photometric::Grey { .. }) {
            associated = false;
        }
        let mut layout = Layout {
            width: width as usize,
            height: height as usize,
            n_samples,
            bits,
            signed,
            photometric,
            associated,
            planar: planar && n_samples > 1,
            compression,
            predicted: false,
            reversed: number(FILL_ORDER, 1) == 2,
            big_endian: directory.big_endian,
            subsampling: (1, 1),
        };
        layout.predicted = layout.read_predictor(number(PREDICTOR, 1))?;
        layout.check_depth()?;
        if photometric == Photometric::YCbCr {
            layout.read_subsampling(directory)?;
        }
        Ok(layout)
    }

    /// Libtiff knows the predictor of these compressions only, and ignores it elsewhere.
    fn read_predictor(&self, predictor: u64) -> Result<bool, ImageError> {
        use Compression::{Deflate, Lzw, Zstd};
        if !matches!(self.compression, Lzw | Deflate | Zstd) {
            return Ok(false);
        }
        match predictor {
            1 => Ok(false),
            2 if matches!(self.bits, 8 | 16 | 32) => Ok(true),
            2 => Err(FORMAT.unsupported(format!("prediction of {}-bit samples", self.bits))),
            3 => Err(FORMAT.unsupported("floating-point samples: convert them to 8 or 16 bits")),
            other => Err(FORMAT.corrupt(format!("predictor {other}"))),
        }
    }

    fn check_depth(&self) -> Result<(), ImageError> {
        let refused = |what: &str| Err(FORMAT.unsupported(format!("{}-bit {what}", self.bits)));
        let small = matches!(self.bits, 1 | 2 | 4 | 8);
        match self.photometric {
            Photometric::Palette if !small => refused("palette indices"),
            Photometric::YCbCr if self.bits != 8 => refused("YCbCr"),
            Photometric::Rgb | Photometric::Cmyk if self.signed => {
                Err(FORMAT.unsupported("signed colours: convert them to unsigned"))
            }
            Photometric::Rgb | Photometric::Cmyk if !matches!(self.bits, 8 | 16) => {
                refused("colours: convert them to 8 bits")
            }
            Photometric::Grey { .. } if self.associated && self.bits != 8 => {
                refused("grey with associated alpha")
            }
            Photometric::Grey { .. } if !small && !matches!(self.bits, 10 | 12 | 14 | 16 | 32) => {
                refused("grey: convert it to 8 or 16 bits")
            }
            _ => match self.compression {
                Compression::Rle { .. } | Compression::Group3 | Compression::Group4
                    if self.bits != 1 =>
                {
                    Err(FORMAT.corrupt(format!("CCITT compression of {}-bit samples", self.bits)))
                }
                Compression::Jpeg | Compression::OldJpeg | Compression::WebP if self.bits != 8 => {
                    refused("samples in JPEG or WebP")
                }
                _ => Ok(()),
            },
        }
    }

    fn read_subsampling(&mut self, directory: &Directory) -> Result<(), ImageError> {
        if self.compression == Compression::WebP {
            self.photometric = Photometric::Rgb;
            return Ok(());
        }
        if self.compression == Compression::OldJpeg {
            // The JPEG decoder upsamples.
            return Ok(());
        }
        if self.compression == Compression::Jpeg && !self.planar {
            // The JPEG decoder upsamples and converts.
            self.photometric = Photometric::Rgb;
            return Ok(());
        }
        let tag = directory.values(SUBSAMPLING);
        let factor = |i| match tag {
            Some(values) => values.unsigned(i),
            // The default; but Pillow takes uncompressed files without the tag as not subsampled.
            None if self.compression == Compression::None => Some(1),
            None => Some(2),
        };
        match (factor(0), factor(1)) {
            (Some(1), Some(1)) => Ok(()),
            _ if self.planar => Err(FORMAT.unsupported("subsampled YCbCr in separate planes")),
            _ if self.n_samples != 3 => {
                Err(FORMAT.unsupported("subsampled YCbCr with extra samples"))
            }
            _ if self.predicted => Err(FORMAT.unsupported("prediction of subsampled YCbCr")),
            (Some(x @ (1 | 2 | 4)), Some(y @ (1 | 2 | 4))) => {
                self.subsampling = (x as usize, y as usize);
                Ok(())
            }
            _ => Err(FORMAT.corrupt("an impossible YCbCr subsampling")),
        }
    }

    pub fn n_pixels(&self) -> usize {
        self.width.saturating_mul(self.height)
    }

    /// Samples that a pixel of the canvas keeps: colours, and an alpha that matters.
    pub fn n_kept(&self) -> usize {
        self.photometric.n_colours() + usize::from(self.associated)
    }

    /// Planes that are read. (Extra samples have planes too.)
    pub fn n_planes(&self) -> usize {
        if self.planar { self.n_kept() } else { 1 }
    }

    /// Samples of a pixel in one chunk.
    pub fn n_interleaved(&self) -> usize {
        if self.planar { 1 } else { self.n_samples }
    }

    /// Greys of more than 8 bits.
    pub fn is_wide(&self) -> bool {
        matches!(self.photometric, Photometric::Grey { .. }) && self.bits > 8
    }

    /// Bytes that hold a wide grey.
    pub fn bytes_per_grey(&self) -> usize {
        if self.bits <= 16 { 2 } else { 4 }
    }

    /// Bytes of a pixel on its way to RGB.
    pub fn canvas_bytes(&self) -> usize {
        let stored = match self.is_wide() {
            true => self.bytes_per_grey(),
            false => self.n_kept(),
        };
        stored.max(3)
    }
}

impl Photometric {
    pub fn n_colours(self) -> usize {
        match self {
            Photometric::Grey { .. } | Photometric::Palette => 1,
            Photometric::Rgb | Photometric::YCbCr => 3,
            Photometric::Cmyk => 4,
        }
    }
}

fn photometric(value: u64) -> Result<Photometric, ImageError> {
    Ok(match value {
        0 => Photometric::Grey { inverted: true },
        1 => Photometric::Grey { inverted: false },
        2 => Photometric::Rgb,
        3 => Photometric::Palette,
        5 => Photometric::Cmyk,
        6 => Photometric::YCbCr,
        4 => return Err(FORMAT.unsupported("a transparency mask: no image")),
        8..=10 => return Err(FORMAT.unsupported("CIE L*a*b* colours: convert them to RGB")),
        32803 | 34892 => return Err(FORMAT.unsupported("a camera's raw data: develop it to RGB")),
        32844 | 32845 => return Err(FORMAT.unsupported("logarithmic luminance: convert it to RGB")),
        other => return Err(FORMAT.unsupported(format!("photometric interpretation {other}"))),
    })
}

fn compression(value: u64) -> Result<Compression, ImageError> {
    let name = match value {
        1 => return Ok(Compression::None),
        2 => return Ok(Compression::Rle { words: false }),
        3 => return Ok(Compression::Group3),
        4 => return Ok(Compression::Group4),
        5 => return Ok(Compression::Lzw),
        6 => return Ok(Compression::OldJpeg),
        7 => return Ok(Compression::Jpeg),
        8 | 32946 => return Ok(Compression::Deflate),
        32771 => return Ok(Compression::Rle { words: true }),
        32773 => return Ok(Compression::PackBits),
        50000 => return Ok(Compression::Zstd),
        50001 => return Ok(Compression::WebP),
        32766 => "NeXT",
        32809 => "ThunderScan",
        32908 | 32909 => "Pixar",
        34661 => "JBIG",
        34676 | 34677 => "SGI LogLuv",
        34712 | 33003 | 33004 | 33005 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        50002 | 52546 => "JPEG XL",
        other => {
            return Err(
                FORMAT.unsupported(format!("compression {other}: save it with Deflate or LZW"))
            );
        }
    };
    Err(FORMAT.unsupported(format!("{name} compression: save it with Deflate or LZW")))
}

/// Bits of a sample. One value stands for all samples; those that exceed the samples are ignored, as in Pillow.
fn bits(directory: &Directory, n_samples: usize) -> Result<usize, ImageError> {
    let Some(values) = directory.values(BITS) else {
        return Ok(1);
    };
    let first = values.unsigned(0).unwrap_or(1);
    let n = values.len().min(n_samples);
    if n < n_samples && n != 1 {
        return Err(FORMAT.corrupt(format!("bits of {n} samples, not {n_samples}")));
    }
    if (0..n).any(|i| values.unsigned(i) != Some(first)) {
        return Err(FORMAT.unsupported("samples of different numbers of bits"));
    }
    match first {
        1..=64 => Ok(first as usize),
        _ => Err(FORMAT.corrupt(format!("{first} bits in a sample"))),
    }
}

/// The format of all samples.
fn sample_format(directory: &Directory) -> Result<u64, ImageError> {
    let Some(values) = directory.values(SAMPLE_FORMAT) else {
        return Ok(1);
    };
    let first = values.unsigned(0).unwrap_or(1);
    if (0..values.len()).any(|i| values.unsigned(i) != Some(first)) {
        return Err(FORMAT.unsupported("samples of different formats"));
    }
    Ok(first)
}
