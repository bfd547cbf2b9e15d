//! Cheap image quality measures (brightness, contrast, sharpness, entropy, saturation, white balance) and a perceptual hash.
//!
//! All but those of colour use the rounded luma, `(299 R + 587 G + 114 B) / 1000`, of the image downsampled by the integer factor
//! that brings its shorter side to 256..=511 pixels (block means; smaller images keep their size). That is cheap compared to
//! decoding, and makes photos of different resolutions comparable.

use std::{
    f32::consts::{FRAC_1_SQRT_2, PI},
    ops::Range,
};

use super::{RgbImage, simd::with_avx2};

/// The shorter side is reduced to at least this many pixels, and less than twice as many.
const SHORT_SIDE: usize = 256;
/// The saturation samples at least this many pixels along the shorter side, and less than twice as many.
const COLOUR_SIDE: usize = 128;
/// The white balance is that of this fraction of the pixels, from this brightness on.
const LEAST_COLOURED: f64 = 0.1;
const MIN_BRIGHTNESS: u8 = 51;
/// Image size for the perceptual hash.
const HASH_SIDE: usize = 32;
/// Frequencies per axis in the perceptual hash.
const HASH_FREQUENCIES: usize = 8;

/// The quality columns of table `images`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Mean luma, 0 (black) to 1 (white).
    pub brightness: f32,
    /// Standard deviation of luma, 0 (flat) to 0.5 (half black, half white).
    pub contrast: f32,
    /// Variance of the 4-neighbour Laplacian of luma in levels 0..=255, over inner pixels. At least 0; below about 50, photos look
    /// blurred.
    pub sharpness: f32,
    /// Entropy of the 256-bin luma histogram, 0 (one level) to 8 bits (uniform).
    pub entropy: f32,
    /// Mean HSV saturation weighted by brightness, as dark pixels are mostly noise: the sum of max(R, G, B) - min(R, G, B),
    /// divided by the sum of max(R, G, B); from 0 (grey) to 1. Over every n-th pixel of every n-th row, with the integer n that
    /// leaves 128..=255 pixels along the shorter side.
    pub saturation: f32,
    /// White balance in powers of two: of the mean colour of the tenth of the pixels with the least HSV saturation, among those
    /// with max(R, G, B) from 51 on and sampled as for the saturation. What is grey in the scene is among them, so the light's
    /// colour shows and the things' hardly (compare Qian et al., On finding gray pixels, CVPR 2019). Red over blue: above 0,
    /// the light is reddish, below bluish.
    pub warmth: f32,
    /// As `warmth`: green over the geometric mean of red and blue. Above 0, the light is greenish, below pinkish.
    pub tint: f32,
    /// Perceptual hash: which of the 8x8 lowest frequencies (two-dimensional DCT-II of the luma averaged to 32x32) are above their
    /// median. Row-major, most significant bit first. Near-duplicates differ in few bits.
    pub phash: u64,
}

/// The absolute Laplacian is at most 4 * 255.
const SQUARES_IN_32_BITS: usize = i32::MAX as usize / (4 * 255 * 4 * 255);

/// Luma levels, row-major.
struct Grey {
    width: usize,
    height: usize,
    levels: Vec<u8>,
}

with_avx2! {
    /// Measures the quality of an image.
    pub fn quality = measure(image: &RgbImage) -> Quality
}

#[inline(always)]
fn measure(image: &RgbImage) -> Quality {
    let grey = shrunk_luma(image);
    // Four tables, so that increments of equal neighbours do not depend on each other.
    let mut histograms = [[0u32; 256]; 4];
    let (fours, rest) = grey.levels.as_chunks::<4>();
    for four in fours {
        for (histogram, &level) in histograms.iter_mut().zip(four) {
            histogram[usize::from(level)] += 1;
        }
    }
    for &level in rest {
        histograms[0][usize::from(level)] += 1;
    }
    let n = grey.levels.len().max(1) as f64;
    let (mut sum, mut squares, mut entropy) = (0.0, 0.0, 0.0);
    for level in 0..256 {
        let count = f64::from(
            histograms
                .iter()
                .map(|histogram| histogram[level])
                .sum::<u32>(),
        );
        let level = level as f64;
        sum += level * count;
        squares += level * level * count;
        if count > 0.0 {
            entropy -= count / n * (count / n).log2();
        }
    }
    let mean = sum / n;
    let (saturation, [warmth, tint]) = colour(image);
    Quality {
        brightness: (mean / 255.0) as f32,
        contrast: ((squares / n - mean * mean).max(0.0).sqrt() / 255.0) as f32,
        sharpness: laplacian_variance(&grey),
        entropy: entropy.max(0.0) as f32,
        saturation,
        warmth,
        tint,
        phash: perceptual_hash(&grey),
    }
}

#[inline(always)]
fn luma([red, green, blue]: [u32; 3]) -> u8 {
    // Pillow's convert("L"): the weights in 16-bit fixed point.
    ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
}

#[inline(always)]
fn shrunk_luma(image: &RgbImage) -> Grey {
    let (width, height) = (image.width as usize, image.height as usize);
    let factor = (width.min(height) / SHORT_SIDE).max(1);
    if factor == 1 {
        let mut levels = vec![0; width * height];
        for (level, pixel) in levels.iter_mut().zip(image.pixels.as_chunks::<3>().0) {
            *level = luma(pixel.map(u32::from));
        }
        return Grey {
            width,
            height,
            levels,
        };
    }
    let (columns, lines) = (width / factor, height / factor);
    let mut levels = vec![0; columns * lines];
    let row_bytes = width * 3;
    let mut sums = vec![0u32; row_bytes];
    for (line, rows) in levels
        .chunks_exact_mut(columns)
        .zip(image.pixels.chunks_exact(row_bytes * factor))
    {
        sums.fill(0);
        for row in rows.chunks_exact(row_bytes) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += u32::from(value);
            }
        }
        for (level, block) in line.iter_mut().zip(sums.chunks_exact(factor * 3)) {
            let mut colour = [0; 3];
            for pixel in block.as_chunks::<3>().0 {
                for (sum, value) in colour.iter_mut().zip(pixel) {
                    *sum += value;
                }
            }
            let [red, green, blue] = colour.map(|sum| sum as f32 / (factor * factor) as f32);
            *level = (0.299 * red + 0.587 * green + 0.114 * blue + 0.5) as u8;
        }
    }
    Grey {
        width: columns,
        height: lines,
        levels,
    }
}

/// Saturation, and warmth and tint; 0 for black images.
#[inline(always)]
fn colour(image: &RgbImage) -> (f32, [f32; 2]) {
    let (width, height) = (image.width as usize, image.height as usize);
    let step = (width.min(height) / COLOUR_SIDE).max(1);
    let (mut chroma, mut brightness) = (0u64, 0u64);
    // By saturation, 0 to 255: number of pixels, and sums of red, green and blue.
    let mut bins = [[0u64; 4]; 256];
    for row in image.pixels.chunks_exact(width * 3).step_by(step) {
        for &[red, green, blue] in row.as_chunks::<3>().0.iter().step_by(step) {
            let (max, min) = (red.max(green).max(blue), red.min(green).min(blue));
            chroma += u64::from(max - min);
            brightness += u64::from(max);
            if max >= MIN_BRIGHTNESS {
                let bin = 255 * u32::from(max - min) / u32::from(max);
                let pixel = [1, red.into(), green.into(), blue.into()];
                let sums = bins[bin as usize].iter_mut().zip(pixel);
                sums.for_each(|(sum, value): (&mut u64, u64)| *sum += value);
            }
        }
    }
    let saturation = chroma as f32 / brightness.max(1) as f32;
    (saturation, white_balance(&bins))
}

fn white_balance(bins: &[[u64; 4]; 256]) -> [f32; 2] {
    let pixels: u64 = bins.iter().map(|bin| bin[0]).sum();
    let mut sums = [0u64; 4];
    for bin in bins {
        if sums[0] as f64 >= LEAST_COLOURED * pixels as f64 {
            break;
        }
        sums.iter_mut()
            .zip(bin)
            .for_each(|(sum, of_bin)| *sum += of_bin);
    }
    if sums[0] == 0 {
        return [0.0; 2];
    }
    // Half a level, so that no channel is 0.
    let level = |sum: u64| ((sum as f64 / sums[0] as f64).max(0.5)).log2();
    let [red, green, blue] = [level(sums[1]), level(sums[2]), level(sums[3])];
    [(red - blue) as f32, (green - (red + blue) / 2.0) as f32]
}

/// 0 for images without inner pixels.
#[inline(always)]
fn laplacian_variance(grey: &Grey) -> f32 {
    let Grey {
        width,
        height,
        levels,
    } = grey;
    if *width < 3 || *height < 3 {
        return 0.0;
    }
    let (mut sum, mut squares) = (0i64, 0u64);
    for three in levels.windows(width * 3).step_by(*width) {
        let (above, rest) = three.split_at(*width);
        let (row, below) = rest.split_at(*width);
        // 32 bits hold the sum of this many squares.
        for first in (1..width - 1).step_by(SQUARES_IN_32_BITS) {
            let n = SQUARES_IN_32_BITS.min(width - 1 - first);
            let (above, below) = (&above[first..][..n], &below[first..][..n]);
            let (left, centre, right) = (
                &row[first - 1..][..n],
                &row[first..][..n],
                &row[first + 1..][..n],
            );
            let (mut part_sum, mut part_squares) = (0i32, 0i32);
            for at in 0..n {
                let vertical = i16::from(above[at]) + i16::from(below[at]);
                let horizontal = i16::from(left[at]) + i16::from(right[at]);
                let value = i32::from(vertical + horizontal - 4 * i16::from(centre[at]));
                part_sum += value;
                part_squares += value * value;
            }
            sum += i64::from(part_sum);
            squares += part_squares as u64;
        }
    }
    let n = ((width - 2) * (height - 2)) as f64;
    let mean = sum as f64 / n;
    (squares as f64 / n - mean * mean).max(0.0) as f32
}

#[inline(always)]
fn perceptual_hash(grey: &Grey) -> u64 {
    let small = averaged(grey);
    // cosines[f][x]: the DCT-II basis, unscaled, as scaling does not change the order of the values; but the zero frequency is
    // weighted as in the orthonormal transform.
    let mut cosines = [[0f32; HASH_SIDE]; HASH_FREQUENCIES];
    for (frequency, row) in cosines.iter_mut().enumerate() {
        let scale = if frequency == 0 { FRAC_1_SQRT_2 } else { 1.0 };
        for (at, value) in row.iter_mut().enumerate() {
            let angle = PI / HASH_SIDE as f32 * (at as f32 + 0.5) * frequency as f32;
            *value = scale * angle.cos();
        }
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let mut found = [0f32; HASH_FREQUENCIES * HASH_FREQUENCIES];
    for (column, across) in cosines.iter().enumerate() {
        let transformed: Vec<f32> = small
            .chunks_exact(HASH_SIDE)
            .map(|row| dot(row, across))
            .collect();
        for (row, down) in cosines.iter().enumerate() {
            found[row * HASH_FREQUENCIES + column] = dot(&transformed, down);
        }
    }
    let mut sorted = found;
    sorted.sort_by(f32::total_cmp);
    let median = (sorted[31] + sorted[32]) / 2.0;
    found
        .iter()
        .fold(0, |hash, &value| hash << 1 | u64::from(value > median))
}

/// The luma averaged to 32x32, each pixel weighted by its overlap with the target pixel.
#[inline(always)]
fn averaged(grey: &Grey) -> Vec<f32> {
    let columns: Vec<Interval> = (0..HASH_SIDE)
        .map(|target| Interval::new(grey.width, target))
        .collect();
    let across = |row: usize, columns: &Interval| {
        let row = &grey.levels[row * grey.width..][..grey.width];
        let whole = row[columns.whole.clone()].iter();
        let whole: u32 = whole.map(|&level| u32::from(level)).sum();
        let ends = (columns.ends.iter()).map(|&(at, weight)| u32::from(row[at]) * weight);
        (whole * HASH_SIDE as u32 + ends.sum::<u32>()) as f32
    };
    let mut both = vec![0f32; HASH_SIDE * HASH_SIDE];
    for (target, line) in both.chunks_exact_mut(HASH_SIDE).enumerate() {
        let interval = Interval::new(grey.height, target);
        let whole = interval.whole.map(|at| (at, HASH_SIDE as u32));
        for (at, weight) in whole.chain(interval.ends) {
            for (sum, columns) in line.iter_mut().zip(&columns) {
                *sum += across(at, columns) * weight as f32;
            }
        }
        line.iter_mut()
            .for_each(|sum| *sum /= (grey.width * grey.height) as f32);
    }
    both
}

/// The pixels covered by one of 32 equal intervals of `0..length`.
struct Interval {
    /// Pixels entirely inside, except the first and the last.
    whole: Range<usize>,
    /// The first and the last, each with its covered part in units of 1/32.
    ends: [(usize, u32); 2],
}

impl Interval {
    fn new(length: usize, target: usize) -> Interval {
        let (from, to) = (target * length, (target + 1) * length);
        let (first, last) = (from / HASH_SIDE, (to - 1) / HASH_SIDE);
        if first == last {
            return Interval {
                whole: first..first,
                ends: [(first, length as u32), (first, 0)],
            };
        }
        Interval {
            whole: first + 1..last,
            ends: [
                (first, ((first + 1) * HASH_SIDE - from) as u32),
                (last, (to - last * HASH_SIDE) as u32),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Header;

    fn image(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> RgbImage {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        RgbImage {
            width,
            height,
            pixels: pixels.flat_map(|(x, y)| colour(x, y)).collect(),
            header: Header {
                format: "png",
                width,
                height,
                orientation: 1,
            },
            loss: None,
        }
    }

    #[test]
    fn a_uniform_image_has_no_contrast_and_no_edges() {
        let flat = quality(&image(20, 10, |_, _| [51; 3]));
        assert_eq!(flat.brightness, 0.2);
        assert_eq!(
            (flat.contrast, flat.sharpness, flat.entropy),
            (0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn a_checkerboard_computed_by_hand() {
        let board = quality(&image(20, 10, |x, y| [255 * ((x + y) % 2) as u8; 3]));
        assert_eq!(
            (board.brightness, board.contrast, board.entropy),
            (0.5, 0.5, 1.0)
        );
        // Every inner pixel has a Laplacian of +4 * 255 or -4 * 255, in equal numbers.
        assert_eq!(board.sharpness, 1020.0 * 1020.0);
    }

    #[test]
    fn luma_equals_pillows() {
        // Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))
        for (colour, level) in [
            ([255, 0, 0], 76),
            ([0, 255, 0], 150),
            ([0, 0, 255], 29),
            ([12, 200, 77], 130),
        ] {
            let one = quality(&image(1, 1, |_, _| colour));
            assert_eq!(one.brightness, level as f32 / 255.0);
            assert_eq!(one.sharpness, 0.0);
        }
    }

    #[test]
    fn saturation_is_weighted_by_brightness() {
        let of =
            |colours: [[u8; 3]; 2]| quality(&image(300, 2, |_, y| colours[y as usize])).saturation;
        assert_eq!(of([[90; 3], [200; 3]]), 0.0);
        assert_eq!(of([[0; 3]; 2]), 0.0);
        assert_eq!(of([[200, 0, 100]; 2]), 1.0);
        // (100 + 1) of (200 + 2).
        assert_eq!(of([[200, 100, 150], [2, 1, 1]]), 0.5);
    }

    #[test]
    fn white_balance_is_that_of_the_least_coloured_tenth() {
        // Half is red, three eighths are a warm grey, an eighth is black.
        let balance = |grey: [u8; 3]| {
            let found = quality(&image(64, 64, |x, _| match x % 8 {
                0..4 => [220, 40, 30],
                4 => [5, 9, 3],
                _ => grey,
            }));
            (found.warmth, found.tint)
        };
        assert_eq!(balance([128; 3]), (0.0, 0.0));
        let (warmth, tint) = balance([200, 160, 100]);
        assert!((warmth - 1.0).abs() < 1e-6);
        assert!((tint - (160f32.log2() - (200f32 * 100.0).log2() / 2.0)).abs() < 1e-6);
        let black = quality(&image(8, 8, |_, _| [0; 3]));
        assert_eq!((black.warmth, black.tint), (0.0, 0.0));
    }

    #[test]
    fn measures_do_not_depend_on_resolution() {
        let scene = |scale: u32| {
            image(300 * scale, 260 * scale, move |x, y| {
                let (x, y) = (x / scale, y / scale);
                [
                    (x % 256) as u8,
                    (y % 200) as u8,
                    ((x / 7 + y / 5) % 2 * 200) as u8,
                ]
            })
        };
        let (small, large) = (quality(&scene(1)), quality(&scene(3)));
        assert!((small.brightness - large.brightness).abs() < 0.005);
        assert!((small.contrast - large.contrast).abs() < 0.005);
        assert!((small.saturation - large.saturation).abs() < 0.01);
        assert!(
            (small.sharpness / large.sharpness - 1.0).abs() < 0.05,
            "{small:?} {large:?}"
        );
        assert_eq!((small.phash ^ large.phash).count_ones(), 0);
    }

    #[test]
    fn the_hash_separates_scenes_and_survives_scaling_and_brightening() {
        let scene = |width: u32, height: u32, add: u8, shift: f32| {
            image(width, height, move |x, y| {
                let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
                let wave = ((x * 9.0 + shift).sin() * (y * 7.0 - shift * x).cos()
                    + (x * y * 5.0 * shift).sin())
                    * 50.0;
                [(110.0 + wave) as u8 + add; 3]
            })
        };
        let hash = |image: RgbImage| quality(&image).phash;
        let one = hash(scene(200, 150, 0, 1.0));
        let distance = |other: u64| (one ^ other).count_ones();
        assert!(distance(hash(scene(131, 97, 0, 1.0))) <= 4);
        assert!(distance(hash(scene(200, 150, 30, 1.0))) <= 4);
        assert!(distance(hash(scene(200, 150, 0, 2.5))) >= 16);
    }

    #[test]
    fn tiny_images_are_measured() {
        for (width, height) in [(1, 1), (2, 5), (31, 1), (1, 300)] {
            let found = quality(&image(width, height, |x, y| [(x * 7 + y * 3) as u8; 3]));
            assert!(found.brightness.is_finite() && found.sharpness.is_finite());
        }
    }
}
