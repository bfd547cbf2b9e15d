//! From an upright image to the network's input, as torchvision does it on Pillow images.

use std::cell::RefCell;

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use super::{Geometry, ImageError, InputSpec, Interpolation, RgbImage};

thread_local! {
    /// Keeps its scratch memory from one image to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// torchvision's `Resize` (antialiased, on 8-bit Pillow images) and `CenterCrop`: `height * width * 3` bytes of RGB,
/// row-major, not normalised, and the way back to file pixels.
///
/// Only what the crop keeps is computed. Against torchvision 0.26 on Pillow 13 a value differs by one level at most.
pub fn preprocess(
    image: &RgbImage,
    spec: &InputSpec,
) -> Result<(Vec<u8>, Geometry), ImageError> {
    let geometry = Geometry::new(&image.header, spec);
    let refuse = |reason: String| ImageError::Resize {
        width: image.width,
        height: image.height,
        reason,
    };
    let (resized_w, resized_h) = geometry.resized;
    let (input_w, input_h) = geometry.input;
    if resized_w == 0 || resized_h == 0 || input_w == 0 || input_h == 0 {
        return Err(refuse(format!(
            "the result would be {resized_w}x{resized_h}, cropped to {input_w}x{input_h}"
        )));
    }
    // The part of the resized image that the crop keeps, and where in the input it goes.
    let axis = |offset: i64, input: u32, resized: u32| {
        let first = offset.max(0) as u32;
        let into = (-offset).max(0) as u32;
        (first, into, (input - into).min(resized - first))
    };
    let (left, into_x, width) = axis(geometry.offset.0, input_w, resized_w);
    let (top, into_y, height) = axis(geometry.offset.1, input_h, resized_h);
    let kept = resize_part(image, geometry.resized, [left, top, width, height], spec)
        .map_err(|error| refuse(error.to_string()))?;
    if (width, height) == (input_w, input_h) {
        return Ok((kept, geometry));
    }
    let row_bytes = width as usize * 3;
    let mut padded = vec![0; input_w as usize * input_h as usize * 3];
    let rows = padded
        .chunks_exact_mut(input_w as usize * 3)
        .skip(into_y as usize);
    for (row, kept_row) in rows.zip(kept.chunks_exact(row_bytes)) {
        row[into_x as usize * 3..][..row_bytes].copy_from_slice(kept_row);
    }
    Ok((padded, geometry))
}

type Failure = Box<dyn std::error::Error>;

/// The part `[left, top, width, height]` of the image as resized to `(width, height)` = `resized`.
///
/// The horizontal pass goes first and is rounded to 8 bits, as in Pillow; the other order differs by more than a level.
fn resize_part(
    image: &RgbImage,
    resized: (u32, u32),
    [left, top, width, height]: [u32; 4],
    spec: &InputSpec,
) -> Result<Vec<u8>, Failure> {
    let algorithm = match spec.interpolation {
        Interpolation::Nearest => ResizeAlg::Nearest,
        Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Interpolation::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Interpolation::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        Interpolation::Box => ResizeAlg::Convolution(FilterType::Box),
        Interpolation::Hamming => ResizeAlg::Convolution(FilterType::Hamming),
    };
    let options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
    let (scale_x, scale_y) = (
        f64::from(image.width) / f64::from(resized.0),
        f64::from(image.height) / f64::from(resized.1),
    );
    let source = ImageRef::new(image.width, image.height, &image.pixels, PixelType::U8x3)?;
    let (left, width_there) = (f64::from(left) * scale_x, f64::from(width) * scale_x);
    let (top, height_there) = (f64::from(top) * scale_y, f64::from(height) * scale_y);
    // Source rows that the vertical pass can reach; the horizontal pass does only these.
    let first_row = (top - reach(spec.interpolation) * scale_y.max(1.0)).floor().max(0.0);
    let end_row = (top + height_there + reach(spec.interpolation) * scale_y.max(1.0))
        .ceil()
        .min(f64::from(image.height));
    let n_rows = end_row - first_row;
    let mut squeezed = Image::new(width, n_rows as u32, PixelType::U8x3);
    let mut out = Image::new(width, height, PixelType::U8x3);
    RESIZER.with_borrow_mut(|resizer| -> Result<(), Failure> {
        let across = options.crop(left, first_row, width_there, n_rows);
        resizer.resize(&source, &mut squeezed, &across)?;
        let down = options.crop(0.0, top - first_row, f64::from(width), height_there);
        resizer.resize(&squeezed, &mut out, &down)?;
        Ok(())
    })?;
    Ok(out.into_vec())
}

/// How far from a target pixel's centre the filter looks, in target pixels when shrinking, else in source pixels.
fn reach(interpolation: Interpolation) -> f64 {
    match interpolation {
        Interpolation::Nearest | Interpolation::Box => 0.5,
        Interpolation::Bilinear | Interpolation::Hamming => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}
