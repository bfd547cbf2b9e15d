//! How alike two pictures are: small copies of them, aligned and compared pixel by pixel.
//!
//! Compared is the detail of the luma, from edges to shapes a sixth of the picture wide; brightness, contrast and broad shading are
//! not. One picture is scaled and moved over the other, at half the size first, by Gauss-Newton steps that also fit gain and offset
//! (Lucas and Kanade 1981; Evangelidis and Psarakis, PAMI 2008), so that a copy with its margins cut off is still a copy.

/// Pixels of a side of the small pictures, whatever the originals' shape.
pub const SIDE: usize = 32;
const COARSE: usize = SIDE / 2;
/// Cells of a side in which colours are compared.
const CELLS: usize = 8;
/// Standard deviations in pixels of the blurs that take out what is finer, and what is broader.
const FINE_BLUR: f32 = 0.7;
const BROAD_BLUR: f32 = SIDE as f32 / 6.0;
/// Standard deviation of the detail, in levels, under which there is too little to be compared.
const LEAST_DETAIL: f32 = 2.0;
/// Correlation at half the size, before alignment and after it, under which two pictures are not looked at more closely.
const WORTH_ALIGNING: f32 = 0.2;
const WORTH_REFINING: f32 = 0.7;
const COARSE_STEPS: usize = 6;
const FINE_STEPS: usize = 4;
/// How far a picture may be scaled and, in shares of its side, moved; and how much of it must lie over the other.
const MOST_SCALING: f32 = 0.2;
const MOST_SHIFT: f32 = 0.12;
const LEAST_OVERLAP: f32 = 0.6;

/// A picture made ready to be compared: 5.6 KiB.
#[derive(Debug, Clone, PartialEq)]
pub struct Small {
    /// `[SIDE, SIDE]` detail, and the same at half the size.
    fine: Vec<f32>,
    coarse: Vec<f32>,
    /// `[CELLS, CELLS]` blue, then red difference, in -0.5..=0.5.
    colours: Vec<f32>,
}

impl Small {
    /// `rgb`: `[SIDE, SIDE, 3]`. None where there is too little to be seen.
    pub fn new(rgb: &[u8]) -> Option<Small> {
        let pixels = rgb.as_chunks::<3>().0;
        let luma = |[red, green, blue]: [u8; 3]| {
            0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)
        };
        let levels: Vec<f32> = pixels.iter().map(|pixel| luma(*pixel)).collect();
        let broad = blurred(&levels, BROAD_BLUR);
        let fine: Vec<f32> = (blurred(&levels, FINE_BLUR).iter().zip(&broad))
            .map(|(level, broad)| level - broad)
            .collect();
        let n = fine.len() as f32;
        let variance = fine.iter().map(|x| x * x).sum::<f32>() / n;
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
        let mut colours = shrunk(&blue, SIDE, SIDE / CELLS);
        colours.extend(shrunk(&red, SIDE, SIDE / CELLS));
        Some(Small {
            coarse: shrunk(&fine, SIDE, SIDE / COARSE),
            fine,
            colours,
        })
    }

    /// Left and right exchanged.
    pub fn mirrored(&self) -> Small {
        let flipped = |values: &[f32], side: usize| -> Vec<f32> {
            let rows = values.chunks_exact(side);
            rows.flat_map(|row| row.iter().rev().copied()).collect()
        };
        Small {
            fine: flipped(&self.fine, SIDE),
            coarse: flipped(&self.coarse, COARSE),
            colours: flipped(&self.colours, CELLS),
        }
    }

    /// From 0 to 1 (the same): the correlation of the aligned details, less the mean difference of the colours. Of pictures that are
    /// soon seen to be different, what they reached at half the size.
    pub fn similarity(&self, other: &Small) -> f32 {
        let start = Warp::default();
        let unaligned = overlaid(&self.coarse, &other.coarse, COARSE, &start).correlation;
        if unaligned < WORTH_ALIGNING {
            return unaligned.max(0.0);
        }
        let (warp, coarse) = aligned(&self.coarse, &other.coarse, COARSE, start, COARSE_STEPS);
        if coarse < WORTH_REFINING {
            return coarse.max(0.0);
        }
        let (_, fine) = aligned(&self.fine, &other.fine, SIDE, warp, FINE_STEPS);
        let colours = self.colours.iter().zip(&other.colours);
        let difference = colours.map(|(a, b)| (a - b).abs()).sum::<f32>() / (CELLS * CELLS) as f32;
        (fine - difference).clamp(0.0, 1.0)
    }
}

/// `[side, side]` to cells of `factor` by `factor` pixels.
fn shrunk(values: &[f32], side: usize, factor: usize) -> Vec<f32> {
    let cells = side / factor;
    let mut out = vec![0.0; cells * cells];
    for (row, line) in values.chunks_exact(side).enumerate() {
        for (col, value) in line.iter().enumerate() {
            out[row / factor * cells + col / factor] += value / (factor * factor) as f32;
        }
    }
    out
}

/// Gaussian blur of `[SIDE, SIDE]`; beyond the edges is nothing.
fn blurred(values: &[f32], deviation: f32) -> Vec<f32> {
    let reach = (3.0 * deviation).ceil() as usize;
    let weights: Vec<f32> = (0..=reach)
        .map(|at| (-0.5 * (at as f32 / deviation).powi(2)).exp())
        .collect();
    let along = |values: &[f32]| -> Vec<f32> {
        // Each row comes out as a column: twice makes the picture upright again.
        let mut out = vec![0.0; SIDE * SIDE];
        for (row, line) in values.chunks_exact(SIDE).enumerate() {
            for col in 0..SIDE {
                let (mut sum, mut total) = (0.0, 0.0);
                let from = col.saturating_sub(reach);
                for (at, value) in (from..).zip(&line[from..SIDE.min(col + reach + 1)]) {
                    let weight = weights[at.abs_diff(col)];
                    sum += weight * value;
                    total += weight;
                }
                out[col * SIDE + row] = sum / total;
            }
        }
        out
    };
    along(&along(values))
}

/// Where a pixel of one picture lies in the other: from the centre, scaled and moved. Moves are in shares of the side.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Warp {
    /// Across and down: scale less 1, and shift.
    x: (f32, f32),
    y: (f32, f32),
}

impl Warp {
    fn within_bounds(&self) -> bool {
        [self.x, self.y]
            .iter()
            .all(|(scaling, shift)| scaling.abs() <= MOST_SCALING && shift.abs() <= MOST_SHIFT)
    }
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
    let centre = (side as f32 - 1.0) / 2.0;
    let last = (side - 1) as f32;
    let place = |at: usize, (scaling, shift): (f32, f32)| {
        let from_centre = at as f32 - centre;
        let to = centre + (1.0 + scaling) * from_centre + shift * side as f32;
        // A place on the last pixel lies between it and the one before.
        let first = (to as usize).min(side - 2);
        (0.0..=last)
            .contains(&to)
            .then_some((from_centre, first, to - first as f32))
    };
    let columns: Vec<_> = (0..side)
        .filter_map(|col| place(col, warp.x).map(|place| (col, place)))
        .collect();
    let (mut sums, mut right, mut squares) = ([[0f32; 6]; 6], [0f32; 6], 0f32);
    for row in 0..side {
        let Some((down, top, v)) = place(row, warp.y) else {
            continue;
        };
        let (upper, lower) = (
            &moving[top * side..][..side],
            &moving[(top + 1) * side..][..side],
        );
        let line = &still[row * side..][..side];
        for &(col, (across, left, u)) in &columns {
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
        warp.x.0 += scaling_x;
        warp.x.1 += shift_x / side as f32;
        warp.y.0 += scaling_y;
        warp.y.1 += shift_y / side as f32;
        if !warp.within_bounds() {
            break;
        }
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
