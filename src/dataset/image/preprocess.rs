//! Preprocesses an upright image to the network's input, like torchvision on Pillow images.

use super::{
    Geometry, ImageError, InputSpec, RgbImage,
    resample::{Job, resample},
};

/// torchvision's `Resize` (antialiased, on 8-bit Pillow images) and `CenterCrop`: `height * width * 3` bytes of row-major RGB, not
/// normalised, and the mapping back to file pixels.
///
/// Computes only the crop. Bit-identical to torchvision on Pillow images, given the same decoded pixels.
pub fn preprocess(image: &RgbImage, spec: &InputSpec) -> Result<(Vec<u8>, Geometry), ImageError> {
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
    // The part of the resized image inside the crop, and its position in the input.
    let axis = |offset: i64, input: u32, resized: u32| {
        let first = offset.max(0) as u32;
        let into = (-offset).max(0) as u32;
        (first, into, (input - into).min(resized - first))
    };
    let (left, into_x, width) = axis(geometry.offset.0, input_w, resized_w);
    let (top, into_y, height) = axis(geometry.offset.1, input_h, resized_h);
    let kept = resample(&Job {
        source: (image.width, image.height),
        pixels: &image.pixels,
        resized: geometry.resized,
        columns: left..left + width,
        rows: top..top + height,
        interpolation: spec.interpolation,
    });
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
