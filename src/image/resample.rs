//! Pillow's resampling of 8-bit RGB, bit for bit (`libImaging/Resample.c`): a network trained behind torchvision's
//! `Resize` sees the very pixels it was trained on.
//!
//! Coefficients are 22-bit fixed point, the horizontal pass goes first, and what lies between the passes is rounded to 8 bits.

use std::{f64::consts::PI, ops::Range};

use super::Interpolation;

/// Bits behind the point of a coefficient: 32 less 8 for the result and 2 for overflow.
const PRECISION_BITS: u32 = 22;

/// One target pixel's source window on one axis.
struct Window {
    /// The first source pixel.
    first: usize,
    /// Where its coefficients lie in [`Axis::coefficients`].
    coefficients: Range<usize>,
}

/// The windows of the target pixels `part` of one axis.
struct Axis {
    windows: Vec<Window>,
    coefficients: Vec<i32>,
}

/// The filter's weight at a distance, and where it ends.
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
    /// Scaling `source` pixels to `target` pixels, of which only `part` is wanted.
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

    /// The source pixels that the windows touch.
    fn reach(&self) -> Range<usize> {
        let first = self.windows.first().map_or(0, |w| w.first);
        let end = self.windows.last();
        first..end.map_or(0, |w| w.first + w.coefficients.len())
    }
}

/// Source size, RGB pixels, and the part of the resized image that is wanted.
pub(super) struct Job<'a> {
    pub source: (u32, u32),
    pub pixels: &'a [u8],
    pub resized: (u32, u32),
    /// Wanted columns and rows of the resized image.
    pub columns: Range<u32>,
    pub rows: Range<u32>,
    pub interpolation: Interpolation,
}

/// The wanted part as interleaved RGB. Both sizes and the part must not be empty.
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
    let reach = if job.resized.1 == job.source.1 {
        job.rows.start as usize..job.rows.end as usize
    } else {
        down.reach()
    };
    let rows = &job.pixels[reach.start * row_bytes..reach.end * row_bytes];

    // A pass that would not change the size is left out, as in Pillow.
    let squeezed = if job.resized.0 == job.source.0 {
        let wanted = job.columns.start as usize * 3..job.columns.end as usize * 3;
        let mut cut = Vec::with_capacity(reach.len() * out_bytes);
        rows.chunks_exact(row_bytes)
            .for_each(|row| cut.extend_from_slice(&row[wanted.clone()]));
        cut
    } else {
        let mut out = vec![0; reach.len() * out_bytes];
        // A spare byte lets every pixel be read as four.
        let mut spare = vec![0; row_bytes + 1];
        for (row, line) in rows
            .chunks_exact(row_bytes)
            .zip(out.chunks_exact_mut(out_bytes))
        {
            spare[..row_bytes].copy_from_slice(row);
            horizontal(&spare, &across, line);
        }
        out
    };
    if job.resized.1 == job.source.1 {
        return squeezed;
    }
    let mut out = vec![0; job.rows.len() * out_bytes];
    let mut sums = vec![0; out_bytes];
    for (window, line) in down.windows.iter().zip(out.chunks_exact_mut(out_bytes)) {
        let first = (window.first - reach.start) * out_bytes;
        vertical(
            &squeezed[first..],
            &down.coefficients[window.coefficients.clone()],
            &mut sums,
            line,
        );
    }
    out
}

const HALF: i32 = 1 << (PRECISION_BITS - 1);

fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// One row of pixels, and a byte behind it, through the windows of `axis`.
#[inline(always)]
fn horizontal_portable(row: &[u8], axis: &Axis, out: &mut [u8]) {
    for (window, pixel) in axis.windows.iter().zip(out.as_chunks_mut::<3>().0) {
        let coefficients = &axis.coefficients[window.coefficients.clone()];
        let source = &row[window.first * 3..][..coefficients.len() * 3 + 1];
        // The fourth sum is never looked at: four lanes are one vector.
        let mut sums = [HALF; 4];
        for (at, &coefficient) in coefficients.iter().enumerate() {
            if let Some(four) = source[at * 3..].first_chunk::<4>() {
                for (sum, &value) in sums.iter_mut().zip(four) {
                    *sum += i32::from(value) * coefficient;
                }
            }
        }
        *pixel = [to_u8(sums[0]), to_u8(sums[1]), to_u8(sums[2])];
    }
}

/// One target row: the weighted sum of the source rows at the start of `rows`.
#[inline(always)]
fn vertical_portable(rows: &[u8], coefficients: &[i32], sums: &mut [i32], out: &mut [u8]) {
    sums.fill(HALF);
    for (row, &coefficient) in rows.chunks_exact(out.len()).zip(coefficients) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += i32::from(value) * coefficient;
        }
    }
    for (out, &sum) in out.iter_mut().zip(sums.iter()) {
        *out = to_u8(sum);
    }
}

/// Defines `$name`, which runs `$portable` compiled for AVX2 where the processor has it.
macro_rules! dispatch {
    ($name:ident, $portable:ident, ($($argument:ident: $kind:ty),*)) => {
        fn $name($($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($argument: $kind),*) {
                    $portable($($argument),*)
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    return unsafe { with_avx2($($argument),*) };
                }
            }
            $portable($($argument),*)
        }
    };
}

dispatch!(horizontal, horizontal_portable, (row: &[u8], axis: &Axis, out: &mut [u8]));
dispatch!(vertical, vertical_portable, (rows: &[u8], coefficients: &[i32], sums: &mut [i32], out: &mut [u8]));

/// Pillow's nearest neighbour, whose position is summed up step by step.
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
