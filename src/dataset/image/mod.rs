//! Image algorithms: decoding to upright RGB pixels, preprocessing, geometry and quality measures.
//!
//! Nothing here opens a file or prints. Every pixel buffer is row-major, 8-bit, interleaved RGB.
//! There are three coordinate spaces, and every box states its own:
//!
//! * *stored* pixels: as in the file, before the EXIF orientation;
//! * *upright* pixels: after the orientation, as in [`RgbImage`];
//! * *input* pixels: of the network's input tensor, after resizing and cropping.
//!
//! A box is `x0, y0, x1, y1` in pixel edges: the first pixel of a row spans 0 to 1.

mod bmp;
mod budget;
mod decode;
mod exif;
mod format;
mod geometry;
mod gif;
mod ifd;
mod jpeg;
mod orientation;
mod overrides;
mod png;
mod preprocess;
mod quality;
mod resample;
mod samples;
mod simd;
mod tiff;
mod webp;

pub use decode::{decode, read_header};
pub use geometry::{FileBox, Geometry};
pub use overrides::{InputOverrides, Size};
pub use preprocess::preprocess;
pub use quality::{Quality, quality};

use prospect_common::names;
use serde::{Deserialize, Serialize};

/// Options for decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Maximum `width * height`, checked in the header before any pixel is allocated.
    pub max_pixels: u64,
    /// Apply the EXIF orientation, as viewers do. PyTorch's `ImageFolder` does not.
    pub exif_orientation: bool,
    /// How 16-bit greys become 8-bit.
    pub depth: Depth,
}

names! {
    /// How 16-bit greys become 8-bit. (16-bit colours keep their high byte, as in Pillow.)
    #[derive(Default)]
    pub enum Depth {
        /// By the smallest of 8, 10, 12, 14 and 16 bits that holds the image's largest sample.
        #[default]
        Scale = "scale",
        /// 255 where larger, as Pillow does.
        Clip = "clip",
        /// The high byte, whatever the range.
        HighByte = "high-byte",
    }
}

/// The header of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// "jpeg", "png", "webp", "bmp", "gif" or "tiff", by content, not by file name.
    pub format: &'static str,
    /// Stored width in pixels, before the orientation.
    pub width: u32,
    /// Stored height in pixels, before the orientation.
    pub height: u32,
    /// EXIF orientation 1..=8; 1 if missing or ignored.
    pub orientation: u8,
}

impl Header {
    /// From the columns of a table; an unknown width or height is 0.
    pub fn stored(width: Option<i32>, height: Option<i32>, orientation: Option<i16>) -> Header {
        let length = |length: Option<i32>| length.and_then(|length| u32::try_from(length).ok());
        let orientation = orientation.filter(|tag| (1..=8).contains(tag));
        Header {
            format: "",
            width: length(width).unwrap_or(0),
            height: length(height).unwrap_or(0),
            orientation: orientation.unwrap_or(1) as u8,
        }
    }

    /// Width and height after the orientation.
    pub fn upright_size(&self) -> (u32, u32) {
        if self.orientation >= 5 {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        }
    }

    /// Width and height after the orientation, where both are known.
    pub fn known_size(&self) -> Option<(u32, u32)> {
        let size = self.upright_size();
        (size.0 > 0 && size.1 > 0).then_some(size)
    }
}

/// A decoded, upright image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Upright width in pixels.
    pub width: u32,
    /// Upright height in pixels.
    pub height: u32,
    /// `height * width * 3` bytes, row-major, RGB.
    pub pixels: Vec<u8>,
    /// The file's header.
    pub header: Header,
    /// What a damaged file lost: one line, stored in the column `images.warning`. `None` for a sound file.
    pub loss: Option<String>,
}

/// Why an image cannot be used. `Display` is one lowercase line, stored in the column `images.error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No bytes.
    #[error("empty file")]
    Empty,
    /// The first bytes match no supported format.
    #[error("not an image: starts with {start}; jpeg, png, webp, bmp, gif and tiff are read")]
    NotAnImage { start: String },
    /// The header declares more pixels than allowed.
    #[error("{width}x{height} is over max_pixels = {max_pixels}")]
    TooLarge {
        width: u32,
        height: u32,
        max_pixels: u64,
    },
    /// The file ends before the image does.
    #[error("truncated {format}: {reason}")]
    Truncated {
        format: &'static str,
        reason: String,
    },
    /// The bytes violate the format.
    #[error("corrupt {format}: {reason}")]
    Corrupt {
        format: &'static str,
        reason: String,
    },
    /// A valid file with an unsupported feature.
    #[error("unsupported {format}: {reason}")]
    Unsupported {
        format: &'static str,
        reason: String,
    },
    /// The image cannot be resized to the network's input size.
    #[error("cannot resize {width}x{height}: {reason}")]
    Resize {
        width: u32,
        height: u32,
        reason: String,
    },
}

names! {
    /// Resampling filters, named as in Pillow and torchvision; all but `Nearest` antialias when downsampling.
    #[derive(Default)]
    pub enum Interpolation {
        Nearest = "nearest",
        #[default]
        Bilinear = "bilinear",
        Bicubic = "bicubic",
        Lanczos = "lanczos",
        Box = "box",
        Hamming = "hamming",
    }
}

/// The resizing step before the crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Keep the size.
    #[default]
    None,
    /// Scale the shorter side to this many pixels, and the longer one to `floor(size * long / short)`.
    Short(u32),
    /// Exactly this size, ignoring the aspect ratio.
    Exact { height: u32, width: u32 },
}

/// The preprocessing that the network expects: torchvision's `Resize`, `CenterCrop`, `ToTensor`, `Normalize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Applied first.
    pub resize: Resize,
    /// Centre crop (height, width) after resizing; smaller images are padded with zeros.
    pub crop: Option<(u32, u32)>,
    /// Filter used for resizing.
    pub interpolation: Interpolation,
    /// Subtracted from values in 0..=1, per channel, RGB. Applied on the batch, not here.
    pub mean: [f32; 3],
    /// Divisor after the subtraction, per channel, RGB.
    pub std: [f32; 3],
}
