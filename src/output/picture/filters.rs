//! Pictures of weights and signed maps.

use super::{
    MAX_SIZE, Picture, PictureError, check_shape,
    palette::{Rgb, chart::PAPER, diverging},
};

/// Filters are enlarged by an integer factor to about this size, as long as the grid stays below [`MAX_ENLARGED_GRID`].
const FILTER_SIZE: usize = 42;
const MAX_ENLARGED_GRID: usize = 2_048;
/// Pixels between the filters of a grid.
const FILTER_GAP: usize = 2;
/// Draws a signed map `[height, width]` on the diverging scale from -`limit` to `limit` (all white if `limit` is 0).
pub fn signed_map(
    values: &[f32],
    height: usize,
    width: usize,
    limit: f32,
) -> Result<Picture, PictureError> {
    check_shape(values.len(), &[height, width])?;
    let mut picture = Picture::filled(width as u32, height as u32, [0; 3]);
    for (pixel, &value) in picture.pixels.chunks_exact_mut(3).zip(values) {
        let share = if limit > 0.0 { value / limit } else { 0.0 };
        pixel.copy_from_slice(&diverging(share));
    }
    Ok(picture)
}

/// Draws the filters of a convolution as a grid. `weights` is `[out, in, h, w]`, row-major, as in PyTorch.
///
/// Unsigned: `(w - min) / (max - min)` with the filter's own min and max over all its channels, scaled to 0..255; a constant
/// filter is mid-grey (128). With three input channels, each filter is an RGB tile; with one, a grey tile, both in a near-square
/// grid. Otherwise each filter is a row of grey tiles, one per input channel.
///
/// Signed: the diverging scale, white at zero, up to the filter's largest magnitude over all its channels. As colour means sign,
/// each filter is a row of tiles, one per input channel (one channel: near-square grid).
///
/// Filters are enlarged by repeating pixels. Non-finite weights are drawn like zero (signed) or mid-grey.
pub fn filter_grid(
    weights: &[f32],
    shape: [usize; 4],
    signed: bool,
) -> Result<Picture, PictureError> {
    check_shape(weights.len(), &shape)?;
    let [n_out, n_in, h, w] = shape;
    let rgb = n_in == 3 && !signed;
    let one_tile = rgb || n_in == 1;
    let n_tiles = if one_tile { n_out } else { n_out * n_in };
    let columns = if one_tile {
        (1..).find(|c| c * c >= n_out).unwrap_or(1)
    } else {
        n_in
    };
    let rows = n_tiles.div_ceil(columns);
    let extent = |places: usize, length: usize, scale: usize| {
        places * length * scale + (places - 1) * FILTER_GAP
    };
    let fits = |scale: &usize| {
        extent(columns, w, *scale) <= MAX_ENLARGED_GRID
            && extent(rows, h, *scale) <= MAX_ENLARGED_GRID
    };
    let wanted = (FILTER_SIZE / h.max(w)).max(1);
    let scale = (1..=wanted).rev().find(fits).unwrap_or(1);
    let (width, height) = (extent(columns, w, scale), extent(rows, h, scale));
    if width > MAX_SIZE || height > MAX_SIZE {
        return Err(PictureError::Size { width, height });
    }
    // The gaps have a colour at neither end of a scale.
    let mut grid = Picture::filled(width as u32, height as u32, PAPER);
    for (out, filter) in weights.chunks_exact(n_in * h * w).enumerate() {
        let colour = FilterScale::of(filter, signed);
        for channel in 0..if one_tile { 1 } else { n_in } {
            let place = if one_tile { out } else { out * n_in + channel };
            let left = (place % columns) * (w * scale + FILTER_GAP);
            let top = (place / columns) * (h * scale + FILTER_GAP);
            for y in 0..h * scale {
                for x in 0..w * scale {
                    let cell = (y / scale) * w + x / scale;
                    let weight = |c: usize| filter[c * h * w + cell];
                    let pixel = if rgb {
                        [0, 1, 2].map(|c| colour.grey(weight(c)))
                    } else {
                        colour.pixel(weight(channel))
                    };
                    let at = ((top + y) * width + left + x) * 3;
                    grid.pixels[at..at + 3].copy_from_slice(&pixel);
                }
            }
        }
    }
    Ok(grid)
}

/// Maps a filter's weights to colours.
enum FilterScale {
    MinMax { min: f32, max: f32 },
    Signed { limit: f32 },
}

impl FilterScale {
    fn of(filter: &[f32], signed: bool) -> FilterScale {
        let finite = filter.iter().copied().filter(|v| v.is_finite());
        if signed {
            let limit = finite.fold(0.0_f32, |m, v| m.max(v.abs()));
            FilterScale::Signed { limit }
        } else {
            let (min, max) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| {
                (lo.min(v), hi.max(v))
            });
            FilterScale::MinMax { min, max }
        }
    }

    /// A weight on the min-max scale as 0..255; mid-grey if min equals max.
    fn grey(&self, weight: f32) -> u8 {
        match *self {
            // Halved first, so that the difference of the largest floats stays finite.
            FilterScale::MinMax { min, max } if max > min && weight.is_finite() => {
                (255.0 * (weight / 2.0 - min / 2.0) / (max / 2.0 - min / 2.0)).round() as u8
            }
            _ => 128,
        }
    }

    fn pixel(&self, weight: f32) -> Rgb {
        match *self {
            FilterScale::Signed { limit } if limit > 0.0 && weight.is_finite() => {
                diverging(weight / limit)
            }
            FilterScale::Signed { .. } => diverging(0.0),
            FilterScale::MinMax { .. } => [self.grey(weight); 3],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_maps_are_white_at_zero() {
        let map = signed_map(&[-2.0, 0.0, 1.0, 2.0], 2, 2, 2.0).unwrap();
        assert_eq!(map.at(0, 0), Some(diverging(-1.0)));
        assert_eq!(map.at(1, 0), Some([255; 3]));
        assert_eq!(map.at(0, 1), Some([217, 140, 149]));
        assert_eq!(map.at(1, 1), Some(diverging(1.0)));
    }

    #[test]
    fn rgb_filters_are_scaled_over_all_channels() {
        // Two filters [3, 1, 2]: the first spans -1..3, the second is constant.
        let weights = [-1.0, 0.0, 1.0, 3.0, 2.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0];
        let grid = filter_grid(&weights, [2, 3, 1, 2], false).unwrap();
        let scale = (FILTER_SIZE / 2) as u32;
        assert_eq!(grid.width, 2 * 2 * scale + FILTER_GAP as u32);
        assert_eq!(grid.height, scale);
        // (w + 1) / 4 * 255 of R = -1, G = 1, B = 2 in the left cell; of 0, 3, 1 in the right.
        assert_eq!(grid.at(0, 0), Some([0, 128, 191]));
        assert_eq!(grid.at(scale - 1, scale - 1), Some([0, 128, 191]));
        assert_eq!(grid.at(scale, 0), Some([64, 255, 128]));
        assert_eq!(grid.at(2 * scale, 0), Some(PAPER));
        assert_eq!(grid.at(2 * scale + FILTER_GAP as u32, 0), Some([128; 3]));
    }

    #[test]
    fn signed_filters_are_rows_of_channels() {
        let weights = [-2.0, 0.0, 1.0, 0.5, 0.0, 0.0];
        let grid = filter_grid(&weights, [2, 3, 1, 1], true).unwrap();
        let step = (FILTER_SIZE + FILTER_GAP) as u32;
        assert_eq!(grid.at(0, 0), Some(diverging(-1.0)));
        assert_eq!(grid.at(step, 0), Some([255; 3]));
        assert_eq!(grid.at(2 * step, 0), Some(diverging(0.5)));
        assert_eq!(
            grid.at(0, step),
            Some(diverging(1.0)),
            "own limit per filter"
        );
    }

    #[test]
    fn invalid_shapes_are_errors_and_non_finite_weights_are_drawn() {
        assert!(filter_grid(&[1.0], [1, 1, 1, 2], false).is_err());
        assert!(filter_grid(&[], [0, 3, 1, 1], false).is_err());
        assert!(filter_grid(&[1.0], [usize::MAX, 2, 1, 1], true).is_err());
        let odd = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN];
        let grid = filter_grid(&odd, [1, 1, 1, 4], false).unwrap();
        assert_eq!(grid.at(0, 0), Some([128; 3]));
        assert_eq!(grid.at(grid.width / 2, 0), Some([255; 3]));
        assert_eq!(grid.at(grid.width - 1, 0), Some([0; 3]));
        assert!(filter_grid(&odd, [1, 1, 1, 4], true).is_ok());
        assert!(filter_grid(&[f32::NAN], [1, 1, 1, 1], true).is_ok());
    }
}
