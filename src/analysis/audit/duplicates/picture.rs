//! How alike two pictures are: small copies of them, aligned and compared pixel by pixel.
//!
//! Compared is the detail of the luma: edges and shapes, not brightness, contrast and broad shading. One picture is scaled and moved
//! over the other, at sides of 16 and 32 pixels, by Gauss-Newton steps that also fit gain and offset (Lucas and Kanade 1981;
//! Evangelidis and Psarakis, PAMI 2008), so that a copy with its margins cut off is still a copy; then what lies over each other is
//! compared at 64 pixels.

/// Pixels of a side of the small pictures, whatever the originals' shape.
pub const SIDE: usize = 64;
const MIDDLE: usize = SIDE / 2;
const COARSE: usize = SIDE / 4;
/// Cells of a side in which colours are compared.
const CELLS: usize = 8;
/// Standard deviations, in shares of the side, of the blurs that take out what is finer, and what is broader.
const FINE_BLUR: f32 = 1.4 / 64.0;
const ALIGNED_BLUR: f32 = 1.0 / 4.0;
const COMPARED_BLUR: f32 = 1.0 / 16.0;
/// Standard deviation of the detail, in levels, under which there is too little to be compared.
const LEAST_DETAIL: f32 = 2.0;
/// Correlation at the lowest size, before alignment and after it, and at the middle one, under which two pictures are not looked
/// at more closely.
const WORTH_ALIGNING: f32 = 0.2;
const WORTH_REFINING: f32 = 0.6;
const WORTH_COMPARING: f32 = 0.75;
const COARSE_STEPS: usize = 6;
const MIDDLE_STEPS: usize = 4;
/// How far a picture may be scaled and, in shares of its side, moved; and how much of it must lie over the other.
const MOST_SCALING: f32 = 0.2;
const MOST_SHIFT: f32 = 0.12;
const LEAST_OVERLAP: f32 = 0.6;

/// A picture made ready to be compared: 10 KiB.
#[derive(Debug, Clone, PartialEq)]
pub struct Small {
    /// `[SIDE, SIDE]` levels.
    luma: Vec<u8>,
    /// Its detail, `[MIDDLE, MIDDLE]` and `[COARSE, COARSE]`.
    middle: Vec<f32>,
    coarse: Vec<f32>,
    /// Blue and red difference, `[CELLS, CELLS]` each, in -0.5..=0.5.
    colours: [Vec<f32>; 2],
}

impl Small {
    /// `rgb`: `[SIDE, SIDE, 3]`. None where there is too little to be seen.
    pub fn new(rgb: &[u8]) -> Option<Small> {
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
        if variance.sqrt() < LEAST_DETAIL {
            return None;
        }
        let differences = pixels.iter().zip(&levels).map(|(pixel, level)| {
            [
                0.564 * (f32::from(pixel[2]) - level) / 255.0,
                0.713 * (f32::from(pixel[0]) - level) / 255.0,
            ]
        });
        let (blue, red): (Vec<f32>, Vec<f32>) = differences.map(|[blue, red]| (blue, red)).unzip();
        Some(Small {
            middle: shrunk(&detail, SIDE / MIDDLE),
            coarse: shrunk(&detail, SIDE / COARSE),
            luma: levels.iter().map(|level| level.round() as u8).collect(),
            colours: [blue, red].map(|colour| shrunk(&colour, SIDE / CELLS)),
        })
    }

    /// Left and right exchanged.
    pub fn mirrored(&self) -> Small {
        fn flipped<T: Copy>(values: &[T], side: usize) -> Vec<T> {
            let rows = values.chunks_exact(side);
            rows.flat_map(|row| row.iter().rev().copied()).collect()
        }
        Small {
            luma: flipped(&self.luma, SIDE),
            middle: flipped(&self.middle, MIDDLE),
            coarse: flipped(&self.coarse, COARSE),
            colours: [0, 1].map(|at| flipped(&self.colours[at], CELLS)),
        }
    }

    /// From 0 to 1 (the same): the correlation of the aligned details, less the mean difference of the colours. Of pictures that are
    /// soon seen to be different, what they reached at a smaller size.
    pub fn similarity(&self, other: &Small) -> f32 {
        let found = self.laid_over(other);
        if found < WORTH_COMPARING {
            found.max(other.laid_over(self))
        } else {
            found
        }
    }

    fn laid_over(&self, other: &Small) -> f32 {
        let start = Warp::default();
        let unaligned = overlaid(&self.coarse, &other.coarse, COARSE, &start).correlation;
        if unaligned < WORTH_ALIGNING {
            return unaligned.max(0.0);
        }
        let (warp, coarse) = aligned(&self.coarse, &other.coarse, COARSE, start, COARSE_STEPS);
        if coarse < WORTH_REFINING {
            return coarse.max(0.0);
        }
        let (warp, middle) = aligned(&self.middle, &other.middle, MIDDLE, warp, MIDDLE_STEPS);
        if middle < WORTH_COMPARING {
            return middle.max(0.0);
        }
        let [still, moving] = warp.overlap(SIDE, &self.luma, &other.luma);
        let fine = correlation(&still.detail(COMPARED_BLUR), &moving.detail(COMPARED_BLUR));
        let differences = self.colours.iter().zip(&other.colours).map(|(own, other)| {
            let [still, moving] = warp.overlap(CELLS, own, other);
            let n = still.levels.len().max(1) as f32;
            let differences = still.levels.iter().zip(&moving.levels);
            differences.map(|(a, b)| (a - b).abs()).sum::<f32>() / n
        });
        (fine - differences.sum::<f32>()).clamp(0.0, 1.0)
    }
}

/// `[SIDE, SIDE]` to cells of `factor` by `factor` pixels.
fn shrunk(values: &[f32], factor: usize) -> Vec<f32> {
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

/// Part of a small picture: rows of `width` levels.
struct Plane {
    width: usize,
    levels: Vec<f32>,
}

impl Plane {
    /// What is neither finer than the blur of one pixel in 64 nor broader than that of `broad` shares of the side.
    fn detail(&self, broad: f32) -> Vec<f32> {
        let side = SIDE as f32;
        let broad = self.blurred(broad * side);
        (self.blurred(FINE_BLUR * side).iter().zip(&broad))
            .map(|(level, broad)| level - broad)
            .collect()
    }

    /// Gaussian blur; beyond the edges is nothing.
    fn blurred(&self, deviation: f32) -> Vec<f32> {
        let reach = (3.0 * deviation).ceil() as usize;
        let weights: Vec<f32> = (0..=reach)
            .map(|at| (-0.5 * (at as f32 / deviation).powi(2)).exp())
            .collect();
        let height = self.levels.len() / self.width;
        let down = blurred_down(&self.levels, self.width, &weights);
        let across = blurred_down(&transposed(&down, self.width), height, &weights);
        transposed(&across, height)
    }
}

/// Every column blurred: `weights` of a pixel itself, of those next to it, and so on.
fn blurred_down(values: &[f32], width: usize, weights: &[f32]) -> Vec<f32> {
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

fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    let columns = 0..width;
    columns
        .flat_map(|col| values.iter().skip(col).step_by(width).copied())
        .collect()
}

/// Where a pixel of one picture lies in the other: from the centre, scaled and moved. Moves are in shares of the side.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Warp {
    /// Across and down: scale less 1, and shift.
    x: (f32, f32),
    y: (f32, f32),
}

impl Warp {
    /// A better warp, within bounds.
    fn moved(&self, x: (f32, f32), y: (f32, f32)) -> Warp {
        let axis = |old: (f32, f32), step: (f32, f32)| {
            (
                (old.0 + step.0).clamp(-MOST_SCALING, MOST_SCALING),
                (old.1 + step.1).clamp(-MOST_SHIFT, MOST_SHIFT),
            )
        };
        Warp {
            x: axis(self.x, x),
            y: axis(self.y, y),
        }
    }

    /// What lies over each other of two `[side, side]` pictures: of the first as it is, of the second warped.
    fn overlap<T: Copy + Into<f32>>(&self, side: usize, still: &[T], moving: &[T]) -> [Plane; 2] {
        let places = |axis| -> Vec<(usize, Place)> {
            let places = (0..side).map(|at| (at, place(at, side, axis)));
            places
                .filter_map(|(at, place)| Some((at, place?)))
                .collect()
        };
        let (columns, rows) = (places(self.x), places(self.y));
        let (mut own, mut warped) = (Vec::new(), Vec::new());
        for (row, down) in &rows {
            for (col, across) in &columns {
                let [upper, lower] = [0, 1].map(|next| {
                    let line = &moving[(down.first + next) * side + across.first..];
                    let [left, right] = [line[0].into(), line[1].into()];
                    left + across.part * (right - left)
                });
                own.push(still[row * side + col].into());
                warped.push(upper + down.part * (lower - upper));
            }
        }
        let width = columns.len();
        [own, warped].map(|levels| Plane { width, levels })
    }
}

/// Where a pixel lies on one axis of the other picture: between pixel `first` and the next, this part of the way.
struct Place {
    from_centre: f32,
    first: usize,
    part: f32,
}

/// None outside of the other picture.
fn place(at: usize, side: usize, (scaling, shift): (f32, f32)) -> Option<Place> {
    let centre = (side as f32 - 1.0) / 2.0;
    let from_centre = at as f32 - centre;
    let to = centre + (1.0 + scaling) * from_centre + shift * side as f32;
    // The last pixel has none after it.
    let first = (to.max(0.0) as usize).min(side - 2);
    (0.0..=(side - 1) as f32).contains(&to).then_some(Place {
        from_centre,
        first,
        part: to - first as f32,
    })
}

/// What laying one picture over another says.
struct Overlaid {
    /// Of what lies over the other, -1 to 1.
    correlation: f32,
    /// Share of the pixels that do.
    overlap: f32,
    /// Normal equations of gain, offset and the four numbers of a better warp: `[6, 6]`, and the right side.
    equations: [[f64; 6]; 6],
    right: [f64; 6],
}

fn overlaid(still: &[f32], moving: &[f32], side: usize, warp: &Warp) -> Overlaid {
    let columns: Vec<(usize, Place)> = (0..side)
        .filter_map(|col| Some((col, place(col, side, warp.x)?)))
        .collect();
    let (mut sums, mut right, mut squares) = ([[0f32; 6]; 6], [0f32; 6], 0f32);
    for row in 0..side {
        let Some(Place {
            from_centre: down,
            first: top,
            part: v,
        }) = place(row, side, warp.y)
        else {
            continue;
        };
        let (upper, lower) = (
            &moving[top * side..][..side],
            &moving[(top + 1) * side..][..side],
        );
        let line = &still[row * side..][..side];
        for &(
            col,
            Place {
                from_centre: across,
                first: left,
                part: u,
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
    let of_still = squares - right[1] * right[1] / n;
    let of_moving = sums[0][0] - sums[0][1] * sums[0][1] / n;
    let scale = (of_still.max(0.0) * of_moving.max(0.0)).sqrt();
    let mut equations = [[0.0; 6]; 6];
    for i in 0..6 {
        for j in 0..6 {
            equations[i][j] = f64::from(sums[i.min(j)][i.max(j)]);
        }
    }
    Overlaid {
        correlation: if scale > 0.0 { covariance / scale } else { 0.0 },
        overlap: n / (side * side) as f32,
        equations,
        right: right.map(f64::from),
    }
}

/// The best warp on the way and its correlation.
fn aligned(still: &[f32], moving: &[f32], side: usize, start: Warp, steps: usize) -> (Warp, f32) {
    let (mut best, mut warp) = ((start, f32::NEG_INFINITY), start);
    for step in 0..=steps {
        let found = overlaid(still, moving, side, &warp);
        if found.overlap < LEAST_OVERLAP {
            break;
        }
        if found.correlation > best.1 {
            best = (warp, found.correlation);
        }
        let Some(solved) = (step < steps).then(|| solve(found.equations, found.right)) else {
            break;
        };
        let gain = solved[0] as f32;
        // Opposite or no contrast: the pictures have nothing to do with each other.
        if gain.is_nan() || gain <= 0.0 {
            break;
        }
        let [scaling_x, shift_x, scaling_y, shift_y] =
            [2, 3, 4, 5].map(|at| solved[at] as f32 / gain);
        warp = warp.moved(
            (scaling_x, shift_x / side as f32),
            (scaling_y, shift_y / side as f32),
        );
    }
    best
}

/// Gaussian elimination with pivots; NaN or infinite where there is no solution.
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
