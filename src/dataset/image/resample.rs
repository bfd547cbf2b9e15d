//! Pillow 13's resampling of 8-bit RGB, bit for bit (`libImaging/Resample.c`): a network trained with torchvision's `Resize` sees
//! exactly the pixels it was trained on.
//!
//! Coefficients are 22-bit fixed point, and the result of the first pass is rounded to 8 bits.

use std::{f64::consts::PI, ops::Range};

use super::{Interpolation, simd::with_avx2};

/// Fractional bits of a coefficient: 32 minus 8 for the result and 2 for overflow.
const PRECISION_BITS: u32 = 22;

/// The source window of a target pixel on one axis.
struct Window {
    /// The first source pixel.
    first: usize,
    /// The range of its coefficients in [`Axis::coefficients`].
    coefficients: Range<usize>,
}

/// The windows of target pixels along one axis.
struct Axis {
    windows: Vec<Window>,
    coefficients: Vec<i32>,
}

/// The filter's weight function and its support.
fn filter(interpolation: Interpolation) -> (fn(f64) -> f64, f64) {
    fn sinc(x: f64) -> f64 {
        if x == 0.0 {
            1.0
        } else {
            (x * PI).sin() / (x * PI)
        }
    }
    match interpolation {
        Interpolation::Nearest | Interpolation::Box => {
            (|x| f64::from(u8::from(x > -0.5 && x <= 0.5)), 0.5)
        }
        Interpolation::Bilinear => (|x| (1.0 - x.abs()).max(0.0), 1.0),
        Interpolation::Hamming => (
            |x| match x.abs() {
                0.0 => 1.0,
                x if x >= 1.0 => 0.0,
                x => sinc(x) * (f64::from(0.54f32) + f64::from(0.46f32) * (x * PI).cos()),
            },
            1.0,
        ),
        Interpolation::Bicubic => (
            |x| match x.abs() {
                x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
                x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
                _ => 0.0,
            },
            2.0,
        ),
        Interpolation::Lanczos => (
            |x| {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            },
            3.0,
        ),
    }
}

impl Axis {
    /// For scaling `source` pixels to `target` pixels, of which only `part` is needed.
    fn new(source: u32, target: u32, part: Range<u32>, interpolation: Interpolation) -> Axis {
        let (weight, support) = filter(interpolation);
        let scale = f64::from(source) / f64::from(target);
        let filter_scale = scale.max(1.0);
        let support = support * filter_scale;
        let per_pixel = 1.0 / filter_scale;
        let mut windows = Vec::with_capacity(part.len());
        let mut coefficients = Vec::new();
        let mut weights = Vec::new();
        for at in part {
            let centre = (f64::from(at) + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(source as usize);
            weights.clear();
            weights.extend((first..end).map(|x| weight((x as f64 - centre + 0.5) * per_pixel)));
            let sum: f64 = weights.iter().sum();
            let start = coefficients.len();
            coefficients.extend(weights.iter().map(|&w| {
                let w = if sum == 0.0 { w } else { w / sum };
                let fixed = w * f64::from(1 << PRECISION_BITS);
                (fixed + 0.5_f64.copysign(fixed)) as i32
            }));
            windows.push(Window {
                first,
                coefficients: start..coefficients.len(),
            });
        }
        Axis {
            windows,
            coefficients,
        }
    }

    /// The source pixels that the windows cover.
    fn reach(&self) -> Range<usize> {
        let first = self.windows.first().map_or(0, |w| w.first);
        let end = self.windows.last();
        first..end.map_or(0, |w| w.first + w.coefficients.len())
    }
}

/// The source image and the needed part of the resized one.
pub(super) struct Job<'a> {
    pub source: (u32, u32),
    pub pixels: &'a [u8],
    pub resized: (u32, u32),
    /// Needed columns and rows of the resized image.
    pub columns: Range<u32>,
    pub rows: Range<u32>,
    pub interpolation: Interpolation,
}

/// The needed part as interleaved RGB. Sizes and part must not be empty.
pub(super) fn resample(job: &Job) -> Vec<u8> {
    if job.interpolation == Interpolation::Nearest {
        return nearest(job);
    }
    let across = Axis::new(
        job.source.0,
        job.resized.0,
        job.columns.clone(),
        job.interpolation,
    );
    let down = Axis::new(
        job.source.1,
        job.resized.1,
        job.rows.clone(),
        job.interpolation,
    );
    let row_bytes = job.source.0 as usize * 3;
    let out_bytes = job.columns.len() * 3;
    let (same_width, same_height) = (job.resized.0 == job.source.0, job.resized.1 == job.source.1);
    if !same_width && !same_height && vertical_first(job) {
        let flat = vertical_pass(job.pixels, row_bytes, &down, 0);
        let mut out = vec![0; job.rows.len() * out_bytes];
        horizontal(&flat, row_bytes, &across, &mut out);
        return out;
    }
    let reach = if same_height {
        job.rows.start as usize..job.rows.end as usize
    } else {
        down.reach()
    };
    let rows = &job.pixels[reach.start * row_bytes..reach.end * row_bytes];
    // A pass that would not change the size is skipped, as in Pillow.
    let narrowed = if same_width {
        let wanted = job.columns.start as usize * 3..job.columns.end as usize * 3;
        let mut cut = Vec::with_capacity(reach.len() * out_bytes);
        rows.chunks_exact(row_bytes)
            .for_each(|row| cut.extend_from_slice(&row[wanted.clone()]));
        cut
    } else {
        let mut out = vec![0; reach.len() * out_bytes];
        horizontal(rows, row_bytes, &across, &mut out);
        out
    };
    if same_height {
        return narrowed;
    }
    vertical_pass(&narrowed, out_bytes, &down, reach.start)
}

/// Since version 13, Pillow runs the vertical pass first if the height shrinks by more than twice as many pixels as the width.
/// (Earlier versions never do; for such images, levels differ by one.)
fn vertical_first(job: &Job) -> bool {
    let shrinks = |source: u32, resized: u32| i64::from(source) - i64::from(resized);
    let height = shrinks(job.source.1, job.resized.1);
    height > 0 && height > 2 * shrinks(job.source.0, job.resized.0)
}

/// The vertical pass over lines of `line_bytes`, the first of which is row `first_row` of the source.
fn vertical_pass(lines: &[u8], line_bytes: usize, down: &Axis, first_row: usize) -> Vec<u8> {
    let mut out = vec![0; down.windows.len() * line_bytes];
    for (window, line) in down.windows.iter().zip(out.chunks_exact_mut(line_bytes)) {
        let first = (window.first - first_row) * line_bytes;
        let coefficients = &down.coefficients[window.coefficients.clone()];
        vertical(&lines[first..], coefficients, line);
    }
    out
}

const HALF: i32 = 1 << (PRECISION_BITS - 1);

fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Applies the windows of `axis` to every row.
fn horizontal(rows: &[u8], row_bytes: usize, axis: &Axis, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        let packed = avx2::Packed::new(axis);
        // SAFETY: the processor has AVX2.
        return unsafe { packed.horizontal(rows, row_bytes, out) };
    }
    horizontal_portable(rows, row_bytes, axis, out);
}

fn horizontal_portable(rows: &[u8], row_bytes: usize, axis: &Axis, out: &mut [u8]) {
    let lines = out.chunks_exact_mut(axis.windows.len() * 3);
    for (row, line) in rows.chunks_exact(row_bytes).zip(lines) {
        for (window, pixel) in axis.windows.iter().zip(line.as_chunks_mut::<3>().0) {
            let coefficients = &axis.coefficients[window.coefficients.clone()];
            let source = row[window.first * 3..].as_chunks::<3>().0;
            let mut sums = [HALF; 3];
            for (source, &coefficient) in source.iter().zip(coefficients) {
                for (sum, &value) in sums.iter_mut().zip(source) {
                    *sum += i32::from(value) * coefficient;
                }
            }
            *pixel = sums.map(to_u8);
        }
    }
}

/// Number of sums kept in registers.
const LANES: usize = 32;

#[inline(always)]
fn vertical_portable(rows: &[u8], coefficients: &[i32], out: &mut [u8]) {
    let stride = out.len();
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    for (at, out) in chunks.iter_mut().enumerate() {
        let mut sums = [HALF; LANES];
        for (row, &coefficient) in rows.chunks_exact(stride).zip(coefficients) {
            if let Some(values) = row[at * LANES..].first_chunk::<LANES>() {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += i32::from(value) * coefficient;
                }
            }
        }
        *out = sums.map(to_u8);
    }
    let done = stride - rest.len();
    for (at, out) in rest.iter_mut().enumerate() {
        let mut sum = HALF;
        for (row, &coefficient) in rows.chunks_exact(stride).zip(coefficients) {
            sum += i32::from(row[done + at]) * coefficient;
        }
        *out = to_u8(sum);
    }
}

with_avx2! {
    /// One target row: the weighted sum of the source rows at the start of `rows`.
    fn vertical = vertical_portable(rows: &[u8], coefficients: &[i32], out: &mut [u8])
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! The horizontal pass, four taps of three channels at a time. Exact: a coefficient is split into
    //! `high * 2^11 + low`, both of which fit the 16-bit multiply-and-add, and sums wrap.

    use std::arch::x86_64::*;

    use super::{Axis, HALF, PRECISION_BITS};

    const TAPS: usize = 4;
    const GROUP_BYTES: usize = TAPS * 3;
    const LOW_BITS: u32 = 11;

    /// Coefficients in groups of four taps, padded with zeros to the same number of groups per window.
    pub struct Packed {
        /// First source byte of every window.
        first: Vec<usize>,
        groups_per_window: usize,
        /// Low and high halves, four 16-bit numbers each.
        groups: Vec<(i64, i64)>,
    }

    impl Packed {
        pub fn new(axis: &Axis) -> Packed {
            let taps = axis.windows.iter().map(|window| window.coefficients.len());
            let groups_per_window = taps.max().unwrap_or(0).div_ceil(TAPS).max(1);
            let mut groups = Vec::with_capacity(axis.windows.len() * groups_per_window);
            for window in &axis.windows {
                let start = groups.len();
                for taps in axis.coefficients[window.coefficients.clone()].chunks(TAPS) {
                    let pack = |half: fn(i32) -> i32| {
                        let lane =
                            |(at, &tap): (usize, &i32)| i64::from(half(tap) as u16) << (16 * at);
                        taps.iter()
                            .enumerate()
                            .map(lane)
                            .fold(0, |all, one| all | one)
                    };
                    groups.push((
                        pack(|tap| tap & ((1 << LOW_BITS) - 1)),
                        pack(|tap| tap >> LOW_BITS),
                    ));
                }
                groups.resize(start + groups_per_window, (0, 0));
            }
            Packed {
                first: axis.windows.iter().map(|window| window.first * 3).collect(),
                groups_per_window,
                groups,
            }
        }

        #[target_feature(enable = "avx2")]
        pub fn horizontal(&self, rows: &[u8], row_bytes: usize, out: &mut [u8]) {
            // Bytes read beyond a row have weight 0, but must exist: only the last rows need a copy.
            let beyond = self.groups_per_window * GROUP_BYTES + 4;
            let mut padded = vec![0; row_bytes + beyond];
            for (at, line) in out.chunks_exact_mut(self.first.len() * 3).enumerate() {
                let row = rows
                    .get(at * row_bytes..(at + 1) * row_bytes + beyond)
                    .unwrap_or_else(|| {
                        padded[..row_bytes].copy_from_slice(&rows[at * row_bytes..][..row_bytes]);
                        &padded
                    });
                // Loops of constant length are unrolled.
                match self.groups_per_window {
                    1 => self.line::<1>(row, line),
                    2 => self.line::<2>(row, line),
                    3 => self.line::<3>(row, line),
                    4 => self.line::<4>(row, line),
                    _ => self.line::<0>(row, line),
                }
            }
        }

        /// One row; `GROUPS` is the number of groups per window, or 0 for unusual numbers.
        #[target_feature(enable = "avx2")]
        fn line<const GROUPS: usize>(&self, row: &[u8], line: &mut [u8]) {
            // Groups the reds, greens and blues of four pixels; -1 gives 0.
            let order = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
            let half = _mm_set1_epi32(HALF);
            let n_groups = if GROUPS == 0 {
                self.groups_per_window
            } else {
                GROUPS
            };
            let windows = self.first.iter().zip(self.groups.chunks_exact(n_groups));
            for ((&first, groups), pixel) in windows.zip(line.as_chunks_mut::<3>().0) {
                let source = &row[first..first + n_groups * GROUP_BYTES + 4];
                let mut low = _mm256_setzero_si256();
                let mut high = _mm256_setzero_si256();
                for (at, taps) in groups.iter().enumerate() {
                    // SAFETY: `source` reaches 16 bytes beyond the start of its last group; the load needs no alignment.
                    let bytes =
                        unsafe { _mm_loadu_si128(source.as_ptr().add(at * GROUP_BYTES).cast()) };
                    let values = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(bytes, order));
                    low = _mm256_add_epi32(
                        low,
                        _mm256_madd_epi16(values, _mm256_set1_epi64x(taps.0)),
                    );
                    high = _mm256_add_epi32(
                        high,
                        _mm256_madd_epi16(values, _mm256_set1_epi64x(taps.1)),
                    );
                }
                let sums = _mm256_add_epi32(_mm256_slli_epi32::<{ LOW_BITS as i32 }>(high), low);
                let sums = _mm256_hadd_epi32(sums, sums);
                let (red_green, blue) = (
                    _mm256_castsi256_si128(sums),
                    _mm256_extracti128_si256::<1>(sums),
                );
                let sums = _mm_add_epi32(_mm_unpacklo_epi64(red_green, blue), half);
                let levels = _mm_srai_epi32::<{ PRECISION_BITS as i32 }>(sums);
                let words = _mm_packs_epi32(levels, levels);
                let four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words)).to_le_bytes();
                *pixel = [four[0], four[1], four[2]];
            }
        }
    }
}

/// Pillow's nearest neighbour, with positions summed step by step.
fn nearest(job: &Job) -> Vec<u8> {
    let positions = |source: u32, target: u32, part: &Range<u32>| -> Vec<usize> {
        let step = f64::from(source) / f64::from(target);
        let mut at = step * 0.5;
        let mut all = Vec::with_capacity(part.len());
        for target in 0..part.end {
            if target >= part.start {
                all.push((at as usize).min(source as usize - 1));
            }
            at += step;
        }
        all
    };
    let columns = positions(job.source.0, job.resized.0, &job.columns);
    let rows = positions(job.source.1, job.resized.1, &job.rows);
    let row_bytes = job.source.0 as usize * 3;
    let mut out = Vec::with_capacity(columns.len() * rows.len() * 3);
    for row in rows {
        let line = &job.pixels[row * row_bytes..][..row_bytes];
        for &column in &columns {
            out.extend_from_slice(&line[column * 3..][..3]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The AVX2 and portable passes agree.
        #[test]
        fn both_horizontal_passes_agree(
            source in 1u32..400,
            target in 1u32..60,
            interpolation in prop_oneof![
                Just(Interpolation::Bilinear),
                Just(Interpolation::Lanczos),
                Just(Interpolation::Box),
            ],
            seed in any::<u32>(),
        ) {
            let axis = Axis::new(source, target, 0..target, interpolation);
            let row_bytes = source as usize * 3;
            let mut state = seed;
            let rows: Vec<u8> = (0..row_bytes * 2)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Mostly extremes, where sums are largest.
                    if state >> 31 == 0 { (state >> 16) as u8 } else { 255 }
                })
                .collect();
            let mut portable = vec![0; target as usize * 6];
            let mut dispatched = portable.clone();
            horizontal_portable(&rows, row_bytes, &axis, &mut portable);
            horizontal(&rows, row_bytes, &axis, &mut dispatched);
            prop_assert_eq!(portable, dispatched);
        }
    }
}
