//! Pictures of input gradients.

use super::{Picture, PictureError, PixelBox, check_shape, scaled};

/// The quantile of magnitudes at the ends of the scale; larger ones are clipped.
const SPAN: f64 = 0.99;

/// The level of zero.
const ZERO: f32 = 127.5;

/// Draws part of a gradient `[3, height, width]` (red, green and blue planes, row-major) at `size` (width, height) in pixels: zero
/// is mid-grey, positive values are brighter, negative ones darker, as in Springenberg et al. 2015, "Striving for simplicity". The
/// scale is the picture's own: the 99th percentile of the part's magnitudes is full brightness (or their maximum, if fewer than 1 %
/// are non-zero). Non-finite values are drawn as zero.
///
/// Downsampled with an antialiasing triangle filter, or enlarged by repeating pixels, like [`tile`](super::tile).
pub fn gradient_picture(
    gradient: &[f32],
    (height, width): (usize, usize),
    part: PixelBox,
    size: (u32, u32),
) -> Result<Picture, PictureError> {
    check_shape(gradient.len(), &[3, height, width])?;
    let (columns, rows) = (
        part.x0 as usize..part.x1 as usize,
        part.y0 as usize..part.y1 as usize,
    );
    if columns.is_empty() || rows.is_empty() || columns.end > width || rows.end > height {
        return Err(PictureError::Size {
            width: columns.len(),
            height: rows.len(),
        });
    }
    let mut values = Vec::with_capacity(rows.len() * columns.len() * 3);
    for y in rows.clone() {
        for x in columns.clone() {
            for channel in 0..3 {
                let value = gradient[(channel * height + y) * width + x];
                values.push(if value.is_finite() { value } else { 0.0 });
            }
        }
    }
    let limit = limit(&values);
    let pixels: Vec<u8> = values.iter().map(|&value| level(value, limit)).collect();
    let (w, h) = (part.x1 - part.x0, part.y1 - part.y0);
    let whole = PixelBox::whole(w, h);
    scaled(&pixels, w, h, whole, size)
}

/// The magnitude of full brightness; 0 if all values are zero.
fn limit(values: &[f32]) -> f32 {
    let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    let last = magnitudes.len() - 1;
    let at = (last as f64 * SPAN).round() as usize;
    let (_, &mut quantile, above) = magnitudes.select_nth_unstable_by(at, f32::total_cmp);
    if quantile > 0.0 {
        return quantile;
    }
    above.iter().copied().fold(0.0, f32::max)
}

fn level(value: f32, limit: f32) -> u8 {
    let share = if limit > 0.0 {
        (value / limit).clamp(-1.0, 1.0)
    } else {
        0.0
    };
    (ZERO + ZERO * share).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: u8 = 128;

    fn all(width: u32, height: u32) -> PixelBox {
        PixelBox::whole(width, height)
    }

    #[test]
    fn zero_is_mid_grey_and_signs_are_darker_or_brighter() {
        // 1 x 3: red +2, green -2, blue +1 in the three pixels.
        let gradient = [2.0, 0.0, 0.0, 0.0, -2.0, 0.0, 0.0, 0.0, 1.0];
        let picture = gradient_picture(&gradient, (1, 3), all(3, 1), (3, 1)).unwrap();
        assert_eq!(picture.at(0, 0), Some([255, GREY, GREY]));
        assert_eq!(picture.at(1, 0), Some([GREY, 0, GREY]));
        assert_eq!(picture.at(2, 0), Some([GREY, GREY, 191]));
    }

    #[test]
    fn zero_and_non_finite_values_are_grey() {
        for value in [0.0, f32::NAN, f32::INFINITY] {
            let picture = gradient_picture(&[value; 12], (2, 2), all(2, 2), (4, 4)).unwrap();
            assert_eq!(picture, Picture::filled(4, 4, [GREY; 3]));
        }
    }

    #[test]
    fn an_outlier_does_not_hide_other_values() {
        let mut gradient = vec![1.0; 3 * 100];
        gradient[7] = 1e6;
        let picture = gradient_picture(&gradient, (10, 10), all(10, 10), (10, 10)).unwrap();
        assert_eq!(picture, Picture::filled(10, 10, [255; 3]));
        // Fewer than 1 %: the maximum is the scale.
        let mut gradient = vec![0.0; 3 * 100];
        gradient[0] = 4.0;
        gradient[1] = -2.0;
        let picture = gradient_picture(&gradient, (10, 10), all(10, 10), (10, 10)).unwrap();
        assert_eq!(picture.at(0, 0), Some([255, GREY, GREY]));
        assert_eq!(picture.at(1, 0), Some([64, GREY, GREY]));
    }

    #[test]
    fn parts_have_their_own_scale_and_are_enlarged() {
        let mut gradient = vec![0.0; 3 * 16];
        gradient[0] = 100.0;
        gradient[15] = -1.0;
        let corner = PixelBox {
            x0: 3,
            y0: 2,
            x1: 4,
            y1: 4,
        };
        let picture = gradient_picture(&gradient, (4, 4), corner, (4, 8)).unwrap();
        assert_eq!((picture.width, picture.height), (4, 8));
        assert_eq!(picture.at(0, 0), Some([GREY; 3]));
        assert_eq!(picture.at(3, 7), Some([0, GREY, GREY]));
        for part in [all(5, 4), all(4, 5), all(0, 4)] {
            assert!(gradient_picture(&gradient, (4, 4), part, (4, 4)).is_err());
        }
        assert!(gradient_picture(&gradient, (4, 3), corner, (4, 4)).is_err());
        assert!(gradient_picture(&gradient, (4, 4), corner, (0, 4)).is_err());
    }
}
