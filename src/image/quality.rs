//! Cheap figures about an image: how bright, contrasted, sharp and busy it is, and a perceptual hash.
//!
//! All are of the luma, `(299 R + 587 G + 114 B) / 1000` rounded, of the image shrunk by the whole factor
//! that brings its shorter side to 256..=511 pixels (blocks averaged; smaller images stay as they are). That is cheap beside
//! decoding, and photos of different resolutions become comparable.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::RgbImage;

/// The shorter side is brought to this many pixels or a little more.
const SHORT_SIDE: usize = 256;
/// The perceptual hash looks at a picture of this size.
const HASH_SIDE: usize = 32;
/// And keeps this many frequencies on each axis.
const HASH_FREQUENCIES: usize = 8;

/// The quality columns of table `images`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Mean luma, 0 (black) to 1 (white).
    pub brightness: f32,
    /// Standard deviation of luma, 0 (flat) to 0.5 (half black, half white).
    pub contrast: f32,
    /// Variance of the 4-neighbour Laplacian of luma in levels 0..=255, over inner pixels. From 0; under about 50 a photo
    /// looks blurred.
    pub sharpness: f32,
    /// Entropy of the luma histogram of 256 bins, 0 (one level) to 8 bits (all levels alike).
    pub entropy: f32,
    /// Perceptual hash: which of the 8x8 lowest frequencies (two-dimensional DCT-II of the 32x32 averaged luma) lie above
    /// their median. Row-major, first bit highest. Near-duplicates differ in few bits.
    pub phash: u64,
}

/// Luma levels, row-major.
struct Grey {
    width: usize,
    height: usize,
    levels: Vec<u8>,
}

/// The quality figures of an image.
pub fn quality(image: &RgbImage) -> Quality {
    let grey = shrunk_luma(image);
    let mut histogram = [0u32; 256];
    for &level in &grey.levels {
        histogram[usize::from(level)] += 1;
    }
    let n = grey.levels.len().max(1) as f64;
    let (mut sum, mut squares, mut entropy) = (0.0, 0.0, 0.0);
    for (level, &count) in histogram.iter().enumerate() {
        let (level, count) = (level as f64, f64::from(count));
        sum += level * count;
        squares += level * level * count;
        if count > 0.0 {
            entropy -= count / n * (count / n).log2();
        }
    }
    let mean = sum / n;
    Quality {
        brightness: (mean / 255.0) as f32,
        contrast: ((squares / n - mean * mean).max(0.0).sqrt() / 255.0) as f32,
        sharpness: laplacian_variance(&grey),
        entropy: entropy.max(0.0) as f32,
        phash: perceptual_hash(&grey),
    }
}

fn luma([red, green, blue]: [u32; 3]) -> u8 {
    // Pillow's convert("L"): the weights in 16-bit fixed point.
    ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
}

fn shrunk_luma(image: &RgbImage) -> Grey {
    let (width, height) = (image.width as usize, image.height as usize);
    let factor = (width.min(height) / SHORT_SIDE).max(1);
    let rows = image.pixels.chunks_exact(width.max(1) * 3);
    if factor == 1 {
        let levels = image.pixels.as_chunks::<3>().0;
        return Grey {
            width,
            height,
            levels: levels.iter().map(|p| luma(p.map(u32::from))).collect(),
        };
    }
    let (columns, lines) = (width / factor, height / factor);
    let mut levels = Vec::with_capacity(columns * lines);
    let area = (factor * factor) as u32;
    let mut sums = vec![[0u32; 3]; columns];
    for (at, row) in rows.take(lines * factor).enumerate() {
        for (sum, block) in sums.iter_mut().zip(row.chunks_exact(factor * 3)) {
            for pixel in block.as_chunks::<3>().0 {
                for (sum, &value) in sum.iter_mut().zip(pixel) {
                    *sum += u32::from(value);
                }
            }
        }
        if (at + 1) % factor == 0 {
            levels.extend(
                sums.iter()
                    .map(|sum| luma(sum.map(|s| (s + area / 2) / area))),
            );
            sums.fill([0; 3]);
        }
    }
    Grey {
        width: columns,
        height: lines,
        levels,
    }
}

/// 0 for images without inner pixels.
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
        let (mut row_sum, mut row_squares) = (0i32, 0u64);
        for (part, three) in row.windows(3).enumerate() {
            let vertical = i32::from(above[part + 1]) + i32::from(below[part + 1]);
            let horizontal = i32::from(three[0]) + i32::from(three[2]);
            let value = vertical + horizontal - 4 * i32::from(three[1]);
            row_sum += value;
            row_squares += u64::from((value * value) as u32);
        }
        sum += i64::from(row_sum);
        squares += row_squares;
    }
    let n = ((width - 2) * (height - 2)) as f64;
    let mean = sum as f64 / n;
    (squares as f64 / n - mean * mean).max(0.0) as f32
}

fn perceptual_hash(grey: &Grey) -> u64 {
    let small = averaged(grey);
    // cosines[f][x]: the DCT-II basis; scaling does not change which side of the median a value is on, but the
    // zero frequency is weighted as in the orthonormal transform.
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

/// The luma averaged to 32x32, every pixel weighing by how much of the target pixel it covers.
fn averaged(grey: &Grey) -> Vec<f32> {
    let mut across = Vec::with_capacity(grey.height * HASH_SIDE);
    for row in grey.levels.chunks_exact(grey.width) {
        for target in 0..HASH_SIDE {
            across.push(cover(grey.width, target, |at| f32::from(row[at])));
        }
    }
    let mut both = Vec::with_capacity(HASH_SIDE * HASH_SIDE);
    for target in 0..HASH_SIDE {
        for column in 0..HASH_SIDE {
            both.push(cover(grey.height, target, |at| {
                across[at * HASH_SIDE + column]
            }));
        }
    }
    both
}

/// The mean of `value` over the stretch of `0..length` that `target` of 32 equal stretches covers.
fn cover(length: usize, target: usize, value: impl Fn(usize) -> f32) -> f32 {
    let (from, to) = (target * length, (target + 1) * length);
    let (first, last) = (from / HASH_SIDE, (to - 1) / HASH_SIDE);
    // In units of 1/32 pixel: the whole pixels between, and the two at the ends.
    let whole: f32 = (first + 1..last).map(&value).sum();
    let ends = if first == last {
        value(first) * length as f32
    } else {
        value(first) * ((first + 1) * HASH_SIDE - from) as f32
            + value(last) * (to - last * HASH_SIDE) as f32
    };
    (whole * HASH_SIDE as f32 + ends) / length as f32
}
