//! Similarity of two pictures: their thumbnails are aligned and compared pixel by pixel.
//!
//! The comparison uses the detail of the luma, edges and shapes, and ignores brightness, contrast and broad shading. One
//! thumbnail is scaled and shifted over the other at 16, 32 and 64 pixels, by Gauss-Newton steps that also fit gain and offset
//! (Lucas and Kanade 1981; Evangelidis and Psarakis, PAMI 2008), so that a copy with cropped margins still matches; then the
//! overlap is compared at 64 pixels.

/// Width and height of thumbnails, for originals of any shape.
pub const SIDE: usize = 64;
const MIDDLE: usize = SIDE / 2;
const COARSE: usize = SIDE / 4;
/// Width and height of the grid on which colours are compared.
const CELLS: usize = 8;
/// Standard deviations of the band-pass blurs, as fractions of the width.
const FINE_BLUR: f32 = 1.4 / 64.0;
const ALIGNED_BLUR: f32 = 1.0 / 4.0;
const COMPARED_BLUR: f32 = 1.0 / 16.0;
/// Minimum standard deviation of the detail, in levels, for a meaningful comparison.
const MIN_DETAIL: f32 = 2.0;
/// Minimum correlations to continue: at coarse resolution before and after alignment, and at middle resolution.
const MIN_TO_ALIGN: f32 = 0.2;
const MIN_TO_REFINE: f32 = 0.6;
const MIN_TO_COMPARE: f32 = 0.75;
const COARSE_STEPS: usize = 6;
const MIDDLE_STEPS: usize = 4;
const FINE_STEPS: usize = 2;
/// Width and height of the blocks that are compared one by one, and the minimum number of blocks with detail. A block has detail if
/// its mean square is this fraction of the picture's.
const BLOCK: usize = 16;
const MIN_BLOCKS: usize = 3;
const MIN_BLOCK_DETAIL: f32 = 0.1;
/// Bounds of the warp: scaling, shift as a fraction of the width, and overlap of the pictures.
const MAX_SCALING: f32 = 0.2;
const MAX_SHIFT: f32 = 0.12;
const MIN_OVERLAP: f32 = 0.6;

/// A thumbnail prepared for comparison, of 10 KiB.
#[derive(Debug, Clone, PartialEq)]
pub struct Thumbnail {
    /// `[SIDE, SIDE]` levels.
    luma: Vec<u8>,
    /// Detail of the luma, `[MIDDLE, MIDDLE]` and `[COARSE, COARSE]`.
    middle: Vec<f32>,
    coarse: Vec<f32>,
    /// Chroma Cb and Cr, `[CELLS, CELLS]` each, in -0.5..=0.5.
    colours: [Vec<f32>; 2],
}

impl Thumbnail {
    /// From pixels `[SIDE, SIDE, 3]`; `None` if they have too little detail.
    pub fn new(rgb: &[u8]) -> Option<Thumbnail> {
        let pixels = rgb.as_chunks::<3>().0;
        let luma = |[red, green, blue]: [u8; 3]| {
            0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)
        };
        let levels: Vec<f32> = pixels.iter().map(|pixel| luma(*pixel)).collect();
        let detail = Plane {
            width: SIDE,
            levels: levels.clone(),
        }
        .detail(ALIGNED_BLUR);
        let n = detail.len() as f32;
        let variance = detail.iter().map(|x| x * x).sum::<f32>() / n;
        if variance.sqrt() < MIN_DETAIL {
            return None;
        }
        let chroma = pixels.iter().zip(&levels).map(|(pixel, level)| {
            [
                0.564 * (f32::from(pixel[2]) - level) / 255.0,
                0.713 * (f32::from(pixel[0]) - level) / 255.0,
            ]
        });
        let (blue, red): (Vec<f32>, Vec<f32>) = chroma.map(|[blue, red]| (blue, red)).unzip();
        Some(Thumbnail {
            middle: downsample(&detail, SIDE / MIDDLE),
            coarse: downsample(&detail, SIDE / COARSE),
            luma: levels.iter().map(|level| level.round() as u8).collect(),
            colours: [blue, red].map(|colour| downsample(&colour, SIDE / CELLS)),
        })
    }

    /// The mirror image.
    pub fn mirrored(&self) -> Thumbnail {
        fn flip<T: Copy>(values: &[T], side: usize) -> Vec<T> {
            let rows = values.chunks_exact(side);
            rows.flat_map(|row| row.iter().rev().copied()).collect()
        }
        Thumbnail {
            luma: flip(&self.luma, SIDE),
            middle: flip(&self.middle, MIDDLE),
            coarse: flip(&self.coarse, COARSE),
            colours: [0, 1].map(|at| flip(&self.colours[at], CELLS)),
        }
    }

    /// For clearly different pictures, `overall` is the correlation at the resolution that rejected them, and `local` is 0.
    pub fn similarity(&self, other: &Thumbnail) -> Similarity {
        let found = self.one_way_similarity(other);
        if found.overall < MIN_TO_COMPARE {
            let reverse = other.one_way_similarity(self);
            return if reverse.overall > found.overall {
                reverse
            } else {
                found
            };
        }
        found
    }

    fn one_way_similarity(&self, other: &Thumbnail) -> Similarity {
        let different = |correlation: f32| Similarity {
            overall: correlation.max(0.0),
            local: 0.0,
        };
        let start = Warp::default();
        let unaligned = overlay(&self.coarse, &other.coarse, COARSE, &start).correlation;
        if unaligned < MIN_TO_ALIGN {
            return different(unaligned);
        }
        let (warp, coarse) = align(&self.coarse, &other.coarse, COARSE, start, COARSE_STEPS);
        if coarse < MIN_TO_REFINE {
            return different(coarse);
        }
        let (warp, middle) = align(&self.middle, &other.middle, MIDDLE, warp, MIDDLE_STEPS);
        if middle < MIN_TO_COMPARE {
            return different(middle);
        }
        let details = [&self.luma, &other.luma].map(|luma| {
            let levels = luma.iter().map(|level| f32::from(*level)).collect();
            Plane {
                width: SIDE,
                levels,
            }
            .detail(ALIGNED_BLUR)
        });
        let (warp, _) = align(&details[0], &details[1], SIDE, warp, FINE_STEPS);
        let [fixed, moving] = warp.overlap(SIDE, &self.luma, &other.luma);
        let width = fixed.width;
        let details = [fixed, moving].map(|plane| plane.detail(COMPARED_BLUR));
        let fine = correlation(&details[0], &details[1]);
        let differences = self.colours.iter().zip(&other.colours).map(|(own, other)| {
            let [fixed, moving] = warp.overlap(CELLS, own, other);
            let n = fixed.levels.len().max(1) as f32;
            let differences = fixed.levels.iter().zip(&moving.levels);
            differences.map(|(a, b)| (a - b).abs()).sum::<f32>() / n
        });
        Similarity {
            overall: (fine - differences.sum::<f32>()).clamp(0.0, 1.0),
            local: local(&details, width),
        }
    }
}

/// Similarity of two pictures, each from 0 to 1 (identical).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// Correlation of the aligned detail, minus the mean colour difference.
    pub overall: f32,
    /// Correlation of the detail in the least similar quarter of the blocks. Pictures of one kind of thing share its outline;
    /// copies agree everywhere.
    pub local: f32,
}

/// Lower quartile of the correlations of overlapping blocks of the details, `[height, width]`. Blocks without detail are left
/// out; 0 if too few are left.
fn local(details: &[Vec<f32>; 2], width: usize) -> f32 {
    let [fixed, moving] = details;
    let height = fixed.len() / width.max(1);
    let energy =
        |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>() / values.len().max(1) as f32;
    let floor = MIN_BLOCK_DETAIL * energy(fixed).max(energy(moving));
    let mut found = Vec::new();
    for top in (0..=height.saturating_sub(BLOCK)).step_by(BLOCK / 2) {
        for left in (0..=width.saturating_sub(BLOCK)).step_by(BLOCK / 2) {
            let block = |values: &[f32]| -> Vec<f32> {
                let rows = (top..height.min(top + BLOCK)).map(|row| row * width + left);
                rows.flat_map(|at| values[at..at + BLOCK.min(width - left)].iter().copied())
                    .collect()
            };
            let (a, b) = (block(fixed), block(moving));
            if energy(&a).max(energy(&b)) >= floor {
                found.push(correlation(&a, &b).max(0.0));
            }
        }
    }
    if found.len() < MIN_BLOCKS {
        return 0.0;
    }
    found.sort_by(f32::total_cmp);
    found[found.len() / 4]
}

/// Box filter from `[SIDE, SIDE]` pixels to cells of `factor` by `factor`.
fn downsample(values: &[f32], factor: usize) -> Vec<f32> {
    let cells = SIDE / factor;
    let mut out = vec![0.0; cells * cells];
    for (row, line) in values.chunks_exact(SIDE).enumerate() {
        for (col, value) in line.iter().enumerate() {
            out[row / factor * cells + col / factor] += value / (factor * factor) as f32;
        }
    }
    out
}

fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len() as f32;
    let mean = |values: &[f32]| values.iter().sum::<f32>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut of_a, mut of_b, mut of_both) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        of_a += a * a;
        of_b += b * b;
        of_both += a * b;
    }
    let scale = (of_a * of_b).sqrt();
    if scale > 0.0 { of_both / scale } else { 0.0 }
}

/// Part of a thumbnail: rows of `width` levels.
struct Plane {
    width: usize,
    levels: Vec<f32>,
}

impl Plane {
    /// Band-pass filter: the fine blur minus the blur with a standard deviation of `broad` of the width.
    fn detail(&self, broad: f32) -> Vec<f32> {
        let side = SIDE as f32;
        let broad = self.blur(broad * side);
        (self.blur(FINE_BLUR * side).iter().zip(&broad))
            .map(|(level, broad)| level - broad)
            .collect()
    }

    /// Gaussian blur, normalised at the edges.
    fn blur(&self, deviation: f32) -> Vec<f32> {
        let radius = (3.0 * deviation).ceil() as usize;
        let weights: Vec<f32> = (0..=radius)
            .map(|at| (-0.5 * (at as f32 / deviation).powi(2)).exp())
            .collect();
        let height = self.levels.len() / self.width;
        let vertical = blur_columns(&self.levels, self.width, &weights);
        let both = blur_columns(&transpose(&vertical, self.width), height, &weights);
        transpose(&both, height)
    }
}

/// Blurs every column; `weights` are those at distance 0, 1, …
fn blur_columns(values: &[f32], width: usize, weights: &[f32]) -> Vec<f32> {
    let height = values.len() / width;
    let mut out = vec![0.0; values.len()];
    for (row, line) in out.chunks_exact_mut(width).enumerate() {
        let mut total = 0.0;
        for other in row.saturating_sub(weights.len() - 1)..height.min(row + weights.len()) {
            let weight = weights[other.abs_diff(row)];
            total += weight;
            for (sum, value) in line.iter_mut().zip(&values[other * width..]) {
                *sum += weight * value;
            }
        }
        line.iter_mut().for_each(|sum| *sum /= total);
    }
    out
}

fn transpose(values: &[f32], width: usize) -> Vec<f32> {
    let columns = 0..width;
    columns
        .flat_map(|col| values.iter().skip(col).step_by(width).copied())
        .collect()
}

/// Maps pixels of one picture to the other: scaling about the centre and shift, as a fraction of the width.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Warp {
    /// Per axis: scale minus 1, and shift.
    x: (f32, f32),
    y: (f32, f32),
}

impl Warp {
    /// Adds a step, within bounds.
    fn step(&self, x: (f32, f32), y: (f32, f32)) -> Warp {
        let axis = |old: (f32, f32), step: (f32, f32)| {
            (
                (old.0 + step.0).clamp(-MAX_SCALING, MAX_SCALING),
                (old.1 + step.1).clamp(-MAX_SHIFT, MAX_SHIFT),
            )
        };
        Warp {
            x: axis(self.x, x),
            y: axis(self.y, y),
        }
    }

    /// The overlap of two `[side, side]` pictures: the part of the first, and the second resampled to it.
    fn overlap<T: Copy + Into<f32>>(&self, side: usize, fixed: &[T], moving: &[T]) -> [Plane; 2] {
        let samples = |axis| -> Vec<(usize, Sample)> {
            let samples = (0..side).map(|at| (at, sample(at, side, axis)));
            samples
                .filter_map(|(at, sample)| Some((at, sample?)))
                .collect()
        };
        let (columns, rows) = (samples(self.x), samples(self.y));
        let (mut own, mut warped) = (Vec::new(), Vec::new());
        for (row, down) in &rows {
            for (col, across) in &columns {
                let [upper, lower] = [0, 1].map(|next| {
                    let line = &moving[(down.first + next) * side + across.first..];
                    let [left, right] = [line[0].into(), line[1].into()];
                    left + across.fraction * (right - left)
                });
                own.push(fixed[row * side + col].into());
                warped.push(upper + down.fraction * (lower - upper));
            }
        }
        let width = columns.len();
        [own, warped].map(|levels| Plane { width, levels })
    }
}

/// Position on one axis of the other picture, for linear interpolation between pixel `first` and the next.
struct Sample {
    from_centre: f32,
    first: usize,
    fraction: f32,
}

/// `None` outside the other picture.
fn sample(at: usize, side: usize, (scaling, shift): (f32, f32)) -> Option<Sample> {
    let centre = (side as f32 - 1.0) / 2.0;
    let from_centre = at as f32 - centre;
    let to = centre + (1.0 + scaling) * from_centre + shift * side as f32;
    // The last pixel has no next one.
    let first = (to.max(0.0) as usize).min(side - 2);
    (0.0..=(side - 1) as f32).contains(&to).then_some(Sample {
        from_centre,
        first,
        fraction: to - first as f32,
    })
}

/// Comparison of a picture with another one warped onto it.
struct Overlay {
    /// Over the overlap, -1 to 1.
    correlation: f32,
    /// Overlapping fraction of the pixels.
    overlap: f32,
    /// Normal equations of gain, offset and the four warp parameters, `[6, 6]`, and their right-hand side.
    equations: [[f64; 6]; 6],
    right: [f64; 6],
}

fn overlay(fixed: &[f32], moving: &[f32], side: usize, warp: &Warp) -> Overlay {
    let columns: Vec<(usize, Sample)> = (0..side)
        .filter_map(|col| Some((col, sample(col, side, warp.x)?)))
        .collect();
    let (mut sums, mut right, mut squares) = ([[0f32; 6]; 6], [0f32; 6], 0f32);
    for row in 0..side {
        let Some(Sample {
            from_centre: down,
            first: top,
            fraction: v,
        }) = sample(row, side, warp.y)
        else {
            continue;
        };
        let (upper, lower) = (
            &moving[top * side..][..side],
            &moving[(top + 1) * side..][..side],
        );
        let line = &fixed[row * side..][..side];
        for &(
            col,
            Sample {
                from_centre: across,
                first: left,
                fraction: u,
            },
        ) in &columns
        {
            let [a, b, c, d] = [upper[left], upper[left + 1], lower[left], lower[left + 1]];
            let (above, below) = (a + u * (b - a), c + u * (d - c));
            let value = above + v * (below - above);
            let gradient_x = (1.0 - v) * (b - a) + v * (d - c);
            let gradient_y = below - above;
            let terms = [
                value,
                1.0,
                gradient_x * across,
                gradient_x,
                gradient_y * down,
                gradient_y,
            ];
            let target = line[col];
            for i in 0..6 {
                for j in i..6 {
                    sums[i][j] += terms[i] * terms[j];
                }
                right[i] += terms[i] * target;
            }
            squares += target * target;
        }
    }
    let n = sums[1][1].max(1.0);
    let covariance = right[0] - sums[0][1] * right[1] / n;
    let var_fixed = squares - right[1] * right[1] / n;
    let var_moving = sums[0][0] - sums[0][1] * sums[0][1] / n;
    let scale = (var_fixed.max(0.0) * var_moving.max(0.0)).sqrt();
    let mut equations = [[0.0; 6]; 6];
    for i in 0..6 {
        for j in 0..6 {
            equations[i][j] = f64::from(sums[i.min(j)][i.max(j)]);
        }
    }
    Overlay {
        correlation: if scale > 0.0 { covariance / scale } else { 0.0 },
        overlap: n / (side * side) as f32,
        equations,
        right: right.map(f64::from),
    }
}

/// The best warp found and its correlation.
fn align(fixed: &[f32], moving: &[f32], side: usize, start: Warp, steps: usize) -> (Warp, f32) {
    let (mut best, mut warp) = ((start, f32::NEG_INFINITY), start);
    for step in 0..=steps {
        let found = overlay(fixed, moving, side, &warp);
        if found.overlap < MIN_OVERLAP {
            break;
        }
        if found.correlation > best.1 {
            best = (warp, found.correlation);
        }
        let Some(solved) = (step < steps).then(|| solve(found.equations, found.right)) else {
            break;
        };
        let gain = solved[0] as f32;
        // Inverted or no contrast: the pictures are unrelated.
        if gain.is_nan() || gain <= 0.0 {
            break;
        }
        let [scaling_x, shift_x, scaling_y, shift_y] =
            [2, 3, 4, 5].map(|at| solved[at] as f32 / gain);
        warp = warp.step(
            (scaling_x, shift_x / side as f32),
            (scaling_y, shift_y / side as f32),
        );
    }
    best
}

/// Gaussian elimination with partial pivoting; NaN or infinite without a solution.
fn solve(mut equations: [[f64; 6]; 6], mut right: [f64; 6]) -> [f64; 6] {
    for at in 0..6 {
        let pivot =
            (at..6).max_by(|i, j| equations[*i][at].abs().total_cmp(&equations[*j][at].abs()));
        let pivot = pivot.unwrap_or(at);
        equations.swap(at, pivot);
        right.swap(at, pivot);
        let row = equations[at];
        for below in at + 1..6 {
            let factor = equations[below][at] / row[at];
            for (value, above) in equations[below].iter_mut().zip(row) {
                *value -= factor * above;
            }
            right[below] -= factor * right[at];
        }
    }
    for at in (0..6).rev() {
        for above in at + 1..6 {
            right[at] -= equations[at][above] * right[above];
        }
        right[at] /= equations[at][at];
    }
    right
}

#[cfg(test)]
mod tests;
