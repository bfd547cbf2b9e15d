//! Fixed patterns: fine structure at one place of many pictures of a class, such as a logo, a date stamp or a frame.
//!
//! Objects differ in position by more than a few pixels, so over many pictures the fine structure of a class averages out; what is
//! pasted into pictures does not. Each picture becomes a band-passed [`Residual`]. For every class, the residuals are compared with
//! those of all other classes, cell by cell, and the largest mean of the squared z-scores in a small window is the statistic. Its null
//! distribution is that of the same maximum after permutations of the labels. A filter matched to the difference, learned on one
//! half of the pictures and applied to the other, then tells which pictures have the pattern.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;

use super::places::Window;

#[cfg(test)]
mod tests;

/// Maximum height and width in pixels; larger pictures are averaged by blocks.
const MAX_SIDE: usize = 112;
/// Sides of the squares whose means are subtracted, and of that which gives the local contrast, in pixels.
const FINE: usize = 3;
const COARSE: usize = 5;
const CONTRAST: usize = 15;
/// Contrast of flat regions, in grey levels, and the largest residual, in contrasts.
const MIN_CONTRAST: f32 = 4.0;
const MAX_RESIDUAL: f32 = 2.0;
/// Luminance, and red minus blue.
const CHANNELS: usize = 2;
/// Rows and columns of a window, in cells.
const WINDOW: usize = 5;
/// Minimum pictures of a class.
pub const MIN_IMAGES: usize = 10;
/// Permutations whose maxima give the null distribution.
const PERMUTATIONS: usize = 100;
/// Standard errors subtracted from the differences that the filter consists of.
const MIN_WEIGHT: f64 = 1.5;
/// Standard deviations, estimated from the median absolute deviation of the other classes, from which a picture has the pattern.
const MIN_MATCH: f64 = 3.0;

/// Rows and columns of the residuals' cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    pub rows: usize,
    pub columns: usize,
    /// Rows and columns of the block-averaged picture.
    pixels: (usize, usize),
    /// Pixels between cells, and left out at each side.
    step: usize,
}

/// The fine structure of a picture: `[channels, rows, columns]`, in units of the local contrast.
pub type Residual = Vec<i8>;

/// What distinguishes the pictures of one class.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    pub class: u32,
    /// Whether the structure is the class's own, rather than one of the others that it lacks.
    pub is_own: bool,
    /// Extent in cells.
    pub window: Window,
    /// Of the statistic, by a Gumbel distribution fitted to the permutations' maxima.
    pub p_value: f64,
    /// Fraction of the class's pictures with the pattern.
    pub of_class: f64,
    /// The same fraction of all others.
    pub of_others: f64,
    /// How well each given picture matches, in standard deviations of the other classes; ordered as the pictures.
    pub matches: Vec<f64>,
}

impl Pattern {
    /// Whether a match is close enough.
    pub fn is_match(score: f64) -> bool {
        score > MIN_MATCH
    }
}

impl Cells {
    /// Cells of pictures of the given height and width; `None` if they are too small.
    pub fn of(height: usize, width: usize) -> Option<Cells> {
        let block = height.max(width).div_ceil(MAX_SIDE).max(1);
        let pixels = (height / block, width / block);
        let step = if pixels.0.max(pixels.1) > MAX_SIDE / 2 {
            2
        } else {
            1
        };
        let along = |length: usize| (length / step).saturating_sub(4);
        let (rows, columns) = (along(pixels.0), along(pixels.1));
        (rows.min(columns) >= WINDOW).then_some(Cells {
            rows,
            columns,
            pixels,
            step,
        })
    }

    fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// `x0, y0, x1, y1` of a window, in 0..=1 of the picture.
    pub fn edges(&self, window: &Window) -> [f64; 4] {
        let at = |cell: usize, pixels: usize| ((cell + 2) * self.step) as f64 / pixels as f64;
        let (height, width) = self.pixels;
        [
            at(window.columns.0, width),
            at(window.rows.0, height),
            at(window.columns.1, width).min(1.0),
            at(window.rows.1, height).min(1.0),
        ]
    }

    /// The residual of a picture of row-major RGB bytes with the height and width that the cells were made for.
    ///
    /// # Panics
    /// If `rgb` is too short.
    pub fn residual(&self, rgb: &[u8], height: usize, width: usize) -> Residual {
        let block = height / self.pixels.0;
        let (rows, columns) = self.pixels;
        let mut planes = [vec![0.0_f32; rows * columns], vec![0.0; rows * columns]];
        let scale = 1.0 / (block * block) as f32;
        for row in 0..rows * block {
            for column in 0..columns * block {
                let pixel = &rgb[3 * (row * width + column)..][..3];
                let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
                let at = row / block * columns + column / block;
                planes[0][at] += (r + g + b) / 3.0 * scale;
                planes[1][at] += (r - b) * scale;
            }
        }
        let mut residual = Vec::with_capacity(CHANNELS * self.count());
        for plane in planes {
            let fine = mean(&plane, self.pixels, FINE);
            let coarse = mean(&plane, self.pixels, COARSE);
            let band: Vec<f32> = fine.iter().zip(&coarse).map(|(a, b)| a - b).collect();
            let squares: Vec<f32> = band.iter().map(|value| value * value).collect();
            let variance = mean(&squares, self.pixels, CONTRAST);
            for row in 0..self.rows {
                for column in 0..self.columns {
                    let at = (row + 2) * self.step * columns + (column + 2) * self.step;
                    let value = band[at] / (variance[at].max(0.0).sqrt() + MIN_CONTRAST);
                    let scaled = value.clamp(-MAX_RESIDUAL, MAX_RESIDUAL) / MAX_RESIDUAL * 127.0;
                    residual.push(scaled.round() as i8);
                }
            }
        }
        residual
    }
}

/// Means over squares around each pixel, cut off at the border.
fn mean(plane: &[f32], (rows, columns): (usize, usize), side: usize) -> Vec<f32> {
    let reach = side / 2;
    let along = |values: &dyn Fn(usize) -> f32, length: usize, out: &mut dyn FnMut(usize, f32)| {
        let mut sum: f64 = (0..reach.min(length)).map(|at| f64::from(values(at))).sum();
        for at in 0..length {
            if at + reach < length {
                sum += f64::from(values(at + reach));
            }
            if at > reach {
                sum -= f64::from(values(at - reach - 1));
            }
            let n = (at + reach + 1).min(length) - at.saturating_sub(reach);
            out(at, (sum / n as f64) as f32);
        }
    };
    let mut horizontal = vec![0.0; plane.len()];
    for row in 0..rows {
        along(
            &|at| plane[row * columns + at],
            columns,
            &mut |at, value| {
                horizontal[row * columns + at] = value;
            },
        );
    }
    let mut both = vec![0.0; plane.len()];
    for column in 0..columns {
        along(
            &|at| horizontal[at * columns + column],
            rows,
            &mut |at, value| {
                both[at * columns + column] = value;
            },
        );
    }
    both
}

/// The pattern of each class with at least [`MIN_IMAGES`] pictures, significant or not. Pictures are (class, residual).
pub fn patterns(
    cells: Cells,
    pictures: &[(u32, Residual)],
    classes: usize,
    seed: u64,
) -> Vec<Pattern> {
    let labels: Vec<u32> = pictures.iter().map(|(class, _)| *class).collect();
    let mut images = vec![0_usize; classes];
    for &label in &labels {
        images[label as usize] += 1;
    }
    let tested: Vec<usize> = (0..classes)
        .filter(|&class| images[class] >= MIN_IMAGES && labels.len() - images[class] >= MIN_IMAGES)
        .collect();
    if tested.is_empty() {
        return Vec::new();
    }
    let study = Study::new(cells, pictures, images);
    let maxima: Vec<Vec<f64>> = (0..PERMUTATIONS as u64)
        .into_par_iter()
        .map(|index| {
            let own = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut permuted = labels.clone();
            permuted.shuffle(&mut StdRng::seed_from_u64(own));
            let sums = study.sums(&permuted, |_| true);
            let largest = |&class: &usize| study.windows(&study.z_scores(&sums, class)).0;
            tested.iter().map(largest).collect()
        })
        .collect();
    let sums = study.sums(&labels, |_| true);
    let mut random = StdRng::seed_from_u64(seed);
    let half_of: Vec<usize> = labels.iter().map(|_| random.random_range(0..2)).collect();
    let halves = [0, 1].map(|half| study.sums(&labels, |at| half_of[at] == half));
    (tested.par_iter().enumerate())
        .map(|(at, &class)| {
            let null: Vec<f64> = maxima.iter().map(|maxima| maxima[at]).collect();
            let mean = null.iter().sum::<f64>() / null.len() as f64;
            let squares: f64 = null.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = (squares / (null.len() - 1) as f64).sqrt().max(f64::EPSILON);
            let (statistic, peak, means) = study.windows(&study.z_scores(&sums, class));
            let (window, inside) = extent(cells, &means, peak, mean + 3.0 * deviation);
            let matches = study.matches(&labels, &half_of, &halves, class, &inside);
            let share = |of_class: bool| {
                let all = labels.iter().zip(&matches);
                let scores = all.filter(|(label, _)| (**label as usize == class) == of_class);
                let hits = scores
                    .clone()
                    .filter(|(_, score)| Pattern::is_match(**score));
                hits.count() as f64 / scores.count().max(1) as f64
            };
            Pattern {
                class: class as u32,
                is_own: study.is_own(&sums, class, &inside),
                window,
                p_value: gumbel_tail((statistic - mean) / deviation),
                of_class: share(true),
                of_others: share(false),
                matches,
            }
        })
        .collect()
}

/// Probability that a Gumbel variable is at least `z` standard deviations above its mean.
fn gumbel_tail(z: f64) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    let reduced = std::f64::consts::PI / 6.0_f64.sqrt() * z + EULER;
    -(-(-reduced).exp()).exp_m1()
}

/// The residuals of all pictures.
struct Study<'p> {
    cells: Cells,
    pictures: &'p [(u32, Residual)],
    images: Vec<usize>,
    /// Of each value over all pictures.
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// Pictures and sums of their values, by class.
struct Sums {
    images: Vec<usize>,
    /// `[classes, values]`
    values: Vec<i32>,
}

impl Study<'_> {
    fn new(cells: Cells, pictures: &[(u32, Residual)], images: Vec<usize>) -> Study<'_> {
        let n = pictures.len() as f64;
        let of_value = |value: usize| {
            let all = pictures.iter().map(|(_, values)| f64::from(values[value]));
            let (sum, squares) = all.fold((0.0, 0.0), |(sum, squares), value| {
                (sum + value, squares + value * value)
            });
            let mean = sum / n;
            (mean, (squares / n - mean * mean).max(0.0).sqrt().max(1.0))
        };
        let (mean, deviation) = (0..CHANNELS * cells.count())
            .into_par_iter()
            .map(of_value)
            .unzip();
        Study {
            cells,
            pictures,
            images,
            mean,
            deviation,
        }
    }

    fn sums(&self, labels: &[u32], keep: impl Fn(usize) -> bool) -> Sums {
        let length = self.mean.len();
        let mut sums = Sums {
            images: vec![0; self.images.len()],
            values: vec![0; length * self.images.len()],
        };
        for (at, ((_, values), &label)) in self.pictures.iter().zip(labels).enumerate() {
            if keep(at) {
                sums.images[label as usize] += 1;
                let of_class = &mut sums.values[label as usize * length..][..length];
                for (sum, &value) in of_class.iter_mut().zip(values) {
                    *sum += i32::from(value);
                }
            }
        }
        sums
    }

    /// Difference of the class to all others, in standard errors.
    fn z_scores(&self, sums: &Sums, class: usize) -> Vec<f64> {
        let length = self.mean.len();
        let n = sums.images[class] as f64;
        let rest = sums.images.iter().sum::<usize>() as f64 - n;
        let error = (1.0 / n.max(1.0) + 1.0 / rest.max(1.0)).sqrt();
        (0..length)
            .map(|value| {
                let all = sums.values.iter().skip(value).step_by(length);
                let own = f64::from(sums.values[class * length + value]);
                let others = all.map(|&sum| f64::from(sum)).sum::<f64>() - own;
                (own / n.max(1.0) - others / rest.max(1.0)) / (self.deviation[value] * error)
            })
            .collect()
    }

    /// Whether the class's mean is farther from 0, the mean of natural pictures, than that of all others.
    fn is_own(&self, sums: &Sums, class: usize, inside: &[bool]) -> bool {
        let length = self.mean.len();
        let n = sums.images[class].max(1) as f64;
        let rest = (self.pictures.len() as f64 - n).max(1.0);
        let excess = |value: usize| {
            let own = f64::from(sums.values[class * length + value]);
            let others = self.mean[value] * self.pictures.len() as f64 - own;
            ((own / n).powi(2) - (others / rest).powi(2)) / self.deviation[value].powi(2)
        };
        let values = (0..length).filter(|value| inside[value % inside.len()]);
        values.map(excess).sum::<f64>() > 0.0
    }

    /// The largest mean square over a window, its cell, and all of them by the windows' first cells.
    fn windows(&self, z_scores: &[f64]) -> (f64, usize, Vec<f64>) {
        let (rows, columns) = (self.cells.rows, self.cells.columns);
        let square = |at: usize| -> f64 {
            let channels = z_scores.iter().skip(at).step_by(rows * columns);
            channels.map(|z| z * z).sum()
        };
        let mut sums = vec![0.0; (rows + 1) * (columns + 1)];
        for row in 0..rows {
            let mut of_row = 0.0;
            for column in 0..columns {
                of_row += square(row * columns + column);
                sums[(row + 1) * (columns + 1) + column + 1] =
                    sums[row * (columns + 1) + column + 1] + of_row;
            }
        }
        let at = |row: usize, column: usize| sums[row * (columns + 1) + column];
        let mut means = vec![0.0; rows * columns];
        let mut best = (0.0, 0);
        for row in 0..=rows - WINDOW {
            for column in 0..=columns - WINDOW {
                let sum = at(row + WINDOW, column + WINDOW) + at(row, column)
                    - at(row, column + WINDOW)
                    - at(row + WINDOW, column);
                let mean = sum / (WINDOW * WINDOW) as f64;
                means[row * columns + column] = mean;
                if mean > best.0 {
                    best = (mean, row * columns + column);
                }
            }
        }
        (best.0, best.1, means)
    }

    /// Each picture's agreement with the class's difference inside the pattern, learned from the other half of the pictures.
    fn matches(
        &self,
        labels: &[u32],
        half_of: &[usize],
        halves: &[Sums; 2],
        class: usize,
        inside: &[bool],
    ) -> Vec<f64> {
        let mut matches = vec![0.0; labels.len()];
        for half in [0, 1] {
            let weights: Vec<f64> = (self.z_scores(&halves[1 - half], class).iter().enumerate())
                .map(|(value, z)| match inside[value % inside.len()] {
                    // Small differences are noise, and many.
                    true => z.signum() * (z.abs() - MIN_WEIGHT).max(0.0) / self.deviation[value],
                    false => 0.0,
                })
                .collect();
            let own: Vec<usize> = (0..labels.len())
                .filter(|&at| half_of[at] == half)
                .collect();
            let score = |&at: &usize| -> f64 {
                let values = self.pictures[at].1.iter().zip(&self.mean).zip(&weights);
                values
                    .map(|((&value, mean), weight)| weight * (f64::from(value) - mean))
                    .sum()
            };
            let scores: Vec<f64> = own.iter().map(score).collect();
            let others: Vec<f64> = (own.iter().zip(&scores))
                .filter(|(at, _)| labels[**at] as usize != class)
                .map(|(_, score)| *score)
                .collect();
            let center = median(others.clone());
            let spread = median(others.iter().map(|score| (score - center).abs()).collect());
            let deviation = (1.4826 * spread).max(f64::EPSILON);
            for (at, score) in own.into_iter().zip(scores) {
                matches[at] = (score - center) / deviation;
            }
        }
        matches
    }
}

/// The connected windows around the peak with at least `min`: their bounding box, and whether each cell is in one.
fn extent(cells: Cells, means: &[f64], peak: usize, min: f64) -> (Window, Vec<bool>) {
    let (rows, columns) = (cells.rows, cells.columns);
    let mut reached = vec![false; means.len()];
    let mut inside = vec![false; means.len()];
    let mut open = vec![peak];
    reached[peak] = true;
    let mut window = Window {
        rows: (rows, 0),
        columns: (columns, 0),
    };
    while let Some(at) = open.pop() {
        let (row, column) = (at / columns, at % columns);
        window.rows = (window.rows.0.min(row), window.rows.1.max(row + WINDOW));
        window.columns = (
            window.columns.0.min(column),
            window.columns.1.max(column + WINDOW),
        );
        for line in row..row + WINDOW {
            inside[line * columns + column..][..WINDOW].fill(true);
        }
        let beside = [
            (row > 0).then(|| at - columns),
            (row + 1 < rows).then(|| at + columns),
            (column > 0).then(|| at - 1),
            (column + 1 < columns).then(|| at + 1),
        ];
        for next in beside.into_iter().flatten() {
            if !reached[next] && means[next] >= min {
                reached[next] = true;
                open.push(next);
            }
        }
    }
    (window, inside)
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    match values.is_empty() {
        true => 0.0,
        false => *values.select_nth_unstable_by(middle, f64::total_cmp).1,
    }
}
