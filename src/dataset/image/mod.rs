//! Images as algorithms see them: bytes in, upright RGB pixels out, network input, boxes and quality figures.
//!
//! Nothing here opens a file or prints. Every pixel buffer is row-major, 8-bit, interleaved RGB.
//! Three coordinate spaces occur and every box says which it is in:
//!
//! * *stored* pixels: as the file holds them, before the EXIF orientation;
//! * *upright* pixels: after the orientation, as [`RgbImage`] holds them;
//! * *input* pixels: of the tensor that the network sees, after resizing and cropping.
//!
//! A box is `x0, y0, x1, y1` in pixel edges: the first pixel of a row reaches from 0 to 1.

mod decode;
mod geometry;
mod jpeg;
mod orientation;
mod overrides;
mod preprocess;
mod quality;
mod resample;
mod simd;

pub use decode::{decode, read_header};
pub use geometry::{FileBox, Geometry};
pub use overrides::{InputOverrides, Size};
pub use preprocess::preprocess;
pub use quality::{Quality, quality};

use prospect_common::names;
use serde::{Deserialize, Serialize};

/// How bytes become pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// The largest `width * height` that is decoded; checked from the header, before any pixel is allocated.
    pub max_pixels: u64,
    /// Turn the image as its EXIF orientation says (as a viewer shows it). PyTorch's `ImageFolder` does not.
    pub exif_orientation: bool,
}

/// What the first bytes of an image file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// "jpeg", "png", "webp", "bmp", "gif" or "tiff", by content, whatever the file's name says.
    pub format: &'static str,
    /// Stored width in pixels, before the orientation.
    pub width: u32,
    /// Stored height in pixels, before the orientation.
    pub height: u32,
    /// EXIF orientation 1..=8; 1 where the file has none or it is not honoured.
    pub orientation: u8,
}

impl Header {
    /// As a table holds it: sides that are not known are 0.
    pub fn stored(width: Option<i32>, height: Option<i32>, orientation: Option<i16>) -> Header {
        let side = |side: Option<i32>| side.and_then(|side| u32::try_from(side).ok());
        let orientation = orientation.filter(|tag| (1..=8).contains(tag));
        Header {
            format: "",
            width: side(width).unwrap_or(0),
            height: side(height).unwrap_or(0),
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

/// A decoded image, upright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Upright width in pixels.
    pub width: u32,
    /// Upright height in pixels.
    pub height: u32,
    /// `height * width * 3` bytes, row-major, RGB.
    pub pixels: Vec<u8>,
    /// What the file's header said.
    pub header: Header,
}

/// Why bytes are not an image that can be used. `Display` is one lowercase line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No bytes at all.
    #[error("empty file")]
    Empty,
    /// The first bytes belong to no format that is read here.
    #[error("not an image: starts with {start}; jpeg, png, webp, bmp, gif and tiff are read")]
    NotAnImage { start: String },
    /// The header promises more pixels than allowed.
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
    /// The bytes break the format's rules.
    #[error("corrupt {format}: {reason}")]
    Corrupt {
        format: &'static str,
        reason: String,
    },
    /// A valid file of a kind that is not read here.
    #[error("unsupported {format}: {reason}")]
    Unsupported {
        format: &'static str,
        reason: String,
    },
    /// The image cannot be brought to the network's input size.
    #[error("cannot resize {width}x{height}: {reason}")]
    Resize {
        width: u32,
        height: u32,
        reason: String,
    },
}

names! {
    /// Resampling filters, named as in Pillow and torchvision; all of them antialias when they shrink, except `Nearest`.
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
    /// Scale so that the shorter side has this many pixels, the longer one `floor(size * long / short)`.
    Short(u32),
    /// Exactly this size, whatever the aspect ratio.
    Exact { height: u32, width: u32 },
}

/// What the network wants to be fed: torchvision's `Resize`, `CenterCrop`, `ToTensor`, `Normalize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// First the resizing.
    pub resize: Resize,
    /// Then the centre crop, (height, width); a smaller image is padded with zeros.
    pub crop: Option<(u32, u32)>,
    /// The filter of the resizing.
    pub interpolation: Interpolation,
    /// Subtracted from values in 0..=1, per channel, RGB. Applied on the batch, not here.
    pub mean: [f32; 3],
    /// Divides after the subtraction, per channel, RGB.
    pub std: [f32; 3],
}
