//! Alignment of two pictures: the scaling and shift at which they fit best.
//!
//! Gauss-Newton steps on the squared difference, which also fit gain and offset (Lucas and Kanade 1981; Evangelidis and Psarakis,
//! PAMI 2008). They converge from a few pixels away, so pictures are aligned from coarse to fine.

/// Bounds of the warp: scaling, shift as a fraction of the width, and overlap of the pictures.
const MAX_SCALING: f32 = 0.2;
const MAX_SHIFT: f32 = 0.12;
const MIN_OVERLAP: f32 = 0.6;

/// Maps pixels of one picture to the other: scaling about the centre and shift, as a fraction of the width.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Warp {
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

    /// The overlap of two `[side, side]` pictures: its width, the part of the first, and the second resampled to it by cubic
    /// convolution. Linear interpolation would blur the second and not the first.
    pub fn overlap<T: Copy + Into<f32>>(
        &self,
        side: usize,
        fixed: &[T],
        moving: &[T],
    ) -> (usize, [Vec<f32>; 2]) {
        let taps = |axis| -> Vec<(usize, [(usize, f32); 4])> {
            let samples = (0..side).filter_map(|at| Some((at, sample(at, (side, 0), axis)?)));
            samples
                .map(|(at, sample)| (at, sample.cubic(side)))
                .collect()
        };
        let (columns, rows) = (taps(self.x), taps(self.y));
        let (mut own, mut warped) = (Vec::new(), Vec::new());
        for (row, down) in &rows {
            for (col, across) in &columns {
                let line = |y: usize| -> f32 {
                    let taps = across.iter();
                    taps.map(|(x, weight)| weight * moving[y * side + x].into())
                        .sum()
                };
                own.push(fixed[row * side + col].into());
                warped.push(down.iter().map(|(y, weight)| weight * line(*y)).sum());
            }
        }
        (columns.len(), [own, warped])
    }
}

/// Position on one axis of the other picture, for linear interpolation between pixel `first` and the next.
struct Sample {
    from_centre: f32,
    first: usize,
    fraction: f32,
}

impl Sample {
    /// Pixels and weights of cubic convolution (Keys 1981); beyond the edge, its pixel is repeated.
    fn cubic(&self, side: usize) -> [(usize, f32); 4] {
        let t = self.fraction;
        let weights = [
            ((2.0 - t) * t - 1.0) * t / 2.0,
            ((3.0 * t - 5.0) * t * t + 2.0) / 2.0,
            ((4.0 - 3.0 * t) * t + 1.0) * t / 2.0,
            (t - 1.0) * t * t / 2.0,
        ];
        [0, 1, 2, 3].map(|tap| {
            let at = (self.first + tap).saturating_sub(1).min(side - 1);
            (at, weights[tap])
        })
    }
}

/// `None` outside the other picture, or in the margin of either.
fn sample(
    at: usize,
    (side, margin): (usize, usize),
    (scaling, shift): (f32, f32),
) -> Option<Sample> {
    let centre = (side as f32 - 1.0) / 2.0;
    let from_centre = at as f32 - centre;
    let to = centre + (1.0 + scaling) * from_centre + shift * side as f32;
    // The last pixel has no next one.
    let first = (to.max(0.0) as usize).min(side - 2);
    let is_inside = |at: f32| at >= margin as f32 && at <= (side - 1 - margin) as f32;
    (is_inside(at as f32) && is_inside(to)).then_some(Sample {
        from_centre,
        first,
        fraction: to - first as f32,
    })
}

/// Comparison of a picture with another one warped onto it.
struct Overlay {
    /// Over the overlap, -1 to 1.
    correlation: f32,
    /// Overlapping fraction of the pixels within the margins.
    overlap: f32,
    /// Normal equations of gain, offset and the four warp parameters, `[6, 6]`, and their right-hand side.
    equations: [[f64; 6]; 6],
    right: [f64; 6],
}

/// `margin`: pixels at the edges to leave out.
fn overlay([fixed, moving]: [&[f32]; 2], (side, margin): (usize, usize), warp: &Warp) -> Overlay {
    let columns: Vec<(usize, Sample)> = (0..side)
        .filter_map(|col| Some((col, sample(col, (side, margin), warp.x)?)))
        .collect();
    let (mut sums, mut right, mut squares) = ([[0f32; 6]; 6], [0f32; 6], 0f32);
    for row in 0..side {
        let Some(Sample {
            from_centre: down,
            first: top,
            fraction: v,
        }) = sample(row, (side, margin), warp.y)
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
        overlap: n / (side - 2 * margin).pow(2) as f32,
        equations,
        right: right.map(f64::from),
    }
}

/// The best warp found and its correlation.
pub fn align(
    pictures: [&[f32]; 2],
    (side, margin): (usize, usize),
    start: Warp,
    steps: usize,
) -> (Warp, f32) {
    let (mut best, mut warp) = ((start, f32::NEG_INFINITY), start);
    for step in 0..=steps {
        let found = overlay(pictures, (side, margin), &warp);
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
mod tests {
    use super::*;

    const SIDE: usize = 32;

    /// `[SIDE, SIDE]` values of a function of column and row.
    fn plane(of: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        let at = |at: usize| ((at % SIDE) as f32, (at / SIDE) as f32);
        (0..SIDE * SIDE).map(at).map(|(x, y)| of(x, y)).collect()
    }

    /// Where the warp takes a coordinate.
    fn moved(at: f32, (scaling, shift): (f32, f32)) -> f32 {
        let centre = (SIDE as f32 - 1.0) / 2.0;
        centre + (1.0 + scaling) * (at - centre) + shift * SIDE as f32
    }

    fn scene(x: f32, y: f32) -> f32 {
        (0.3 * x).sin() + (0.37 * y + 0.5).cos() + (0.2 * (x + y)).sin()
    }

    const WARP: Warp = Warp {
        x: (0.05, -0.03),
        y: (-0.04, 0.02),
    };

    #[test]
    fn a_known_warp_is_found_whatever_gain_and_offset() {
        let fixed = plane(|x, y| 3.0 * scene(moved(x, WARP.x), moved(y, WARP.y)) - 20.0);
        let moving = plane(scene);
        let (found, correlation) = align([&fixed, &moving], (SIDE, 0), Warp::default(), 8);
        // Linear interpolation within the steps costs a few hundredths of a pixel.
        for (found, expected) in [(found.x, WARP.x), (found.y, WARP.y)] {
            assert!((found.0 - expected.0).abs() < 0.003, "{found:?}");
            assert!((found.1 - expected.1).abs() < 0.003, "{found:?}");
        }
        assert!(correlation > 0.999, "{correlation}");
    }

    #[test]
    fn what_is_in_the_margin_does_not_count() {
        let is_inside = |at: f32| (3.0..SIDE as f32 - 3.0).contains(&at);
        let blotted = plane(|x, y| {
            if is_inside(x) && is_inside(y) {
                scene(x, y)
            } else {
                9.0
            }
        });
        let fixed = plane(|x, y| scene(moved(x, WARP.x), moved(y, WARP.y)));
        let off = |margin| {
            let (found, _) = align([&fixed, &blotted], (SIDE, margin), Warp::default(), 8);
            (found.x.0 - WARP.x.0).abs() + (found.x.1 - WARP.x.1).abs()
        };
        assert!(off(4) < 0.006 && off(0) > 0.02, "{}, {}", off(4), off(0));
    }

    #[test]
    fn cubic_convolution_is_exact_for_quadratics() {
        let of = |x: f32, y: f32| 0.1 * x * x - 0.3 * x * y + 2.0 * y;
        let (width, [own, warped]) = WARP.overlap(SIDE, &plane(|x, _| x), &plane(of));
        let row = |at: usize| {
            (0..SIDE)
                .find(|row| sample(*row, (SIDE, 0), WARP.y).is_some())
                .unwrap_or(0)
                + at / width
        };
        let mut compared = 0;
        for (at, (x, value)) in own.iter().zip(&warped).enumerate() {
            let (to_x, to_y) = (moved(*x, WARP.x), moved(row(at) as f32, WARP.y));
            // Next to the edge, a pixel is missing.
            let is_inside = |to: f32| (1.0..SIDE as f32 - 2.0).contains(&to);
            if is_inside(to_x) && is_inside(to_y) {
                assert!(
                    (value - of(to_x, to_y)).abs() < 1e-3,
                    "{value}, {}",
                    of(to_x, to_y)
                );
                compared += 1;
            }
        }
        assert!(compared > 700, "{compared}");
    }
}
