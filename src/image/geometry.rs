//! Where a box of the network's input lies in the image file.

use super::{Header, InputSpec, Resize};

/// A box in pixel edges, `x0 <= x1`, `y0 <= y1`, inside the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileBox {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
    /// Part of the asked-for box lay outside the network's input, or in its padding, where there is no image.
    pub clipped: bool,
}

/// The way from input pixels to upright pixels to stored pixels. Built from the header and the spec alone.
///
/// Each step is exact arithmetic on pixel edges: input x becomes `(x + crop_left) * upright_width / resized_width`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Stored width and height.
    stored: (u32, u32),
    orientation: u8,
    /// Upright width and height.
    upright: (u32, u32),
    /// Width and height after resizing.
    pub(super) resized: (u32, u32),
    /// Where the input's first column and row lie in the resized image; negative where padded.
    pub(super) offset: (i64, i64),
    /// Input width and height.
    pub(super) input: (u32, u32),
}

/// torchvision's `Resize(size)`: width and height, the long side rounded down.
fn resized_size(width: u32, height: u32, resize: Resize) -> (u32, u32) {
    let long_side = |long: u32, short: u32, size: u32| {
        // In f64, as Python computes it: int(size * long / short).
        (f64::from(size) * f64::from(long) / f64::from(short)) as u32
    };
    match resize {
        Resize::None => (width, height),
        Resize::Exact { height, width } => (width, height),
        Resize::Short(size) if width <= height => (size, long_side(height, width, size)),
        Resize::Short(size) => (long_side(width, height, size), size),
    }
}

/// torchvision's `CenterCrop` on one axis: where the crop starts in the image; negative for padding.
fn crop_offset(length: u32, crop: u32) -> i64 {
    let (length, crop) = (i64::from(length), i64::from(crop));
    if crop > length {
        return -((crop - length) / 2);
    }
    // Python's round(): halves go to the even neighbour.
    let (half, odd) = ((length - crop) / 2, (length - crop) % 2);
    if odd == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}

impl Geometry {
    /// The geometry of `preprocess` for an image with this header.
    pub fn new(header: &Header, spec: &InputSpec) -> Geometry {
        let upright = header.upright_size();
        let resized = resized_size(upright.0, upright.1, spec.resize);
        let (offset, input) = match spec.crop {
            None => ((0, 0), resized),
            Some((height, width)) => (
                (
                    crop_offset(resized.0, width),
                    crop_offset(resized.1, height),
                ),
                (width, height),
            ),
        };
        Geometry {
            stored: (header.width, header.height),
            orientation: header.orientation,
            upright,
            resized,
            offset,
            input,
        }
    }

    /// Height and width of the input tensor.
    pub fn input_size(&self) -> (u32, u32) {
        (self.input.1, self.input.0)
    }

    /// The part of an input box (`x0, y0, x1, y1` in pixel edges of the input tensor, which it may exceed) that shows the
    /// image, in stored file pixels. What lies outside the input is cut off first: the network did not see it.
    pub fn file_box(&self, input_box: [f64; 4]) -> FileBox {
        let ([x0, y0, x1, y1], clipped) = self.upright_edges(input_box);
        let (a, b) = (self.to_stored(x0, y0), self.to_stored(x1, y1));
        FileBox {
            x0: a.0.min(b.0) as f32,
            y0: a.1.min(b.1) as f32,
            x1: a.0.max(b.0) as f32,
            y1: a.1.max(b.1) as f32,
            clipped,
        }
    }

    /// The same box in upright pixels, those of [`RgbImage`](super::RgbImage): for cutting crops.
    pub fn upright_box(&self, input_box: [f64; 4]) -> FileBox {
        let ([x0, y0, x1, y1], clipped) = self.upright_edges(input_box);
        FileBox {
            x0: x0 as f32,
            y0: y0 as f32,
            x1: x1 as f32,
            y1: y1 as f32,
            clipped,
        }
    }

    fn upright_edges(&self, [x0, y0, x1, y1]: [f64; 4]) -> ([f64; 4], bool) {
        // One axis: cut to the input and to the image inside it, then undo the crop and the resizing.
        let axis = |low: f64, high: f64, input: u32, offset: i64, resized: u32, upright: u32| {
            let offset = offset as f64;
            let first = (-offset).max(0.0);
            let last = (f64::from(resized) - offset).min(f64::from(input));
            let scale = f64::from(upright) / f64::from(resized.max(1));
            let edge = |v: f64| (v.clamp(first, last.max(first)) + offset) * scale;
            (edge(low), edge(high), low < first || high > last)
        };
        let (left, right, cut_x) = axis(
            x0,
            x1,
            self.input.0,
            self.offset.0,
            self.resized.0,
            self.upright.0,
        );
        let (top, bottom, cut_y) = axis(
            y0,
            y1,
            self.input.1,
            self.offset.1,
            self.resized.1,
            self.upright.1,
        );
        ([left, top, right, bottom], cut_x || cut_y)
    }

    /// An upright point in stored pixels. The inverse of what the orientation does to pixels.
    fn to_stored(self, x: f64, y: f64) -> (f64, f64) {
        let (w, h) = (f64::from(self.stored.0), f64::from(self.stored.1));
        match self.orientation {
            2 => (w - x, y),
            3 => (w - x, h - y),
            4 => (x, h - y),
            5 => (y, x),
            6 => (y, h - x),
            7 => (w - y, h - x),
            8 => (w - y, x),
            _ => (x, y),
        }
    }
}
