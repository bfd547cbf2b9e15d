//! Similarity of two pictures: their thumbnails are aligned and compared pixel by pixel.
//!
//! The comparison uses the detail of the luma, edges and shapes, and ignores brightness, contrast and broad shading. One
//! thumbnail is scaled and shifted over the other at 16, 32 and 64 pixels (module `alignment`), so that a copy with cropped
//! margins still matches; then the overlap is compared at 64 pixels.

use super::{
    alignment::{Warp, align},
    orientation::Orientation,
};

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
/// Minimum correlation of turned pictures before alignment, at coarse resolution.
const MIN_TURNED: f32 = 0.8;
const COARSE_STEPS: usize = 6;
const MIDDLE_STEPS: usize = 4;
const FINE_STEPS: usize = 8;
/// Pixels at the edges of the blurred picture that depend on what was cut off.
const FINE_MARGIN: usize = SIDE / 16;
/// Width and height of the blocks that are compared one by one, and the minimum number of blocks with detail. A block has detail if
/// its mean square is this fraction of the picture's.
const BLOCK: usize = 16;
const MIN_BLOCKS: usize = 3;
const MIN_BLOCK_DETAIL: f32 = 0.1;

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

    /// Length of [`Thumbnail::to_bytes`].
    pub const BYTES: usize =
        SIDE * SIDE + 4 * (MIDDLE * MIDDLE + COARSE * COARSE + 2 * CELLS * CELLS);

    /// For [`Thumbnail::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let [blue, red] = &self.colours;
        let levels = [&self.middle, &self.coarse, blue, red];
        let levels = levels.into_iter().flatten();
        let levels = levels.flat_map(|level| level.to_le_bytes());
        self.luma.iter().copied().chain(levels).collect()
    }

    /// # Panics
    /// Other than [`Thumbnail::BYTES`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Thumbnail {
        let (luma, levels) = bytes.split_at(SIDE * SIDE);
        let mut levels = levels.as_chunks::<4>().0.iter();
        let mut take = |n: usize| -> Vec<f32> {
            let values = levels.by_ref().take(n);
            values.map(|level| f32::from_le_bytes(*level)).collect()
        };
        Thumbnail {
            luma: luma.to_vec(),
            middle: take(MIDDLE * MIDDLE),
            coarse: take(COARSE * COARSE),
            colours: [(); 2].map(|()| take(CELLS * CELLS)),
        }
    }

    pub fn turned(&self, to: Orientation) -> Thumbnail {
        Thumbnail {
            luma: to.of(&self.luma, SIDE),
            middle: to.of(&self.middle, MIDDLE),
            coarse: to.of(&self.coarse, COARSE),
            colours: [0, 1].map(|at| to.of(&self.colours[at], CELLS)),
        }
    }

    /// Compares this picture, turned to each orientation, with another.
    pub fn compare(&self, other: &Thumbnail) -> Comparison {
        let unaligned = |to: Orientation| correlation(&to.of(&self.coarse, COARSE), &other.coarse);
        // Most pictures are too different already.
        let in_orientation = |to: Orientation, unaligned: f32| match unaligned < MIN_TO_ALIGN {
            true => (to, Similarity::different(unaligned)),
            false => (to, self.turned(to).similarity(other)),
        };
        let upright = [Orientation::Upright, Orientation::Mirrored].map(|to| (to, unaligned(to)));
        let turned = Orientation::TURNED.map(|to| (to, unaligned(to)));
        let mut tried: Vec<_> = (upright.iter())
            .map(|(to, unaligned)| in_orientation(*to, *unaligned))
            .collect();
        let most = turned.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let needed = upright[0].1.max(upright[1].1).max(MIN_TURNED);
        // Few pictures fit better when turned, and only these take the time to align.
        if let Some((to, found)) = most.filter(|(_, found)| *found > needed) {
            let mirrored = to.then_mirrored();
            tried.push(in_orientation(to, found));
            tried.push(in_orientation(mirrored, unaligned(mirrored)));
        }
        let first = tried[0];
        let better = |best: (Orientation, Similarity), one: (Orientation, Similarity)| {
            if one.1.overall > best.1.overall {
                one
            } else {
                best
            }
        };
        let (orientation, similarity) = tried.iter().copied().fold(first, better);
        let mirrored = orientation.then_mirrored();
        let wrong_way = tried.iter().find(|(to, _)| *to == mirrored);
        Comparison {
            orientation,
            similarity,
            wrong_way: wrong_way.map_or(0.0, |(_, found)| found.local),
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
        let unaligned = correlation(&self.coarse, &other.coarse);
        if unaligned < MIN_TO_ALIGN {
            return Similarity::different(unaligned);
        }
        let (warp, coarse) = align(
            [&self.coarse, &other.coarse],
            (COARSE, 0),
            Warp::default(),
            COARSE_STEPS,
        );
        if coarse < MIN_TO_REFINE {
            return Similarity::different(coarse);
        }
        let (warp, middle) = align(
            [&self.middle, &other.middle],
            (MIDDLE, 0),
            warp,
            MIDDLE_STEPS,
        );
        if middle < MIN_TO_COMPARE {
            return Similarity::different(middle);
        }
        // Not the detail, whose broad blur reaches too far from the edges.
        let smooth = [&self.luma, &other.luma].map(|luma| {
            let levels = luma.iter().map(|level| f32::from(*level)).collect();
            let plane = Plane {
                width: SIDE,
                levels,
            };
            plane.blur(FINE_BLUR * SIDE as f32)
        });
        let (warp, _) = align(
            [&smooth[0], &smooth[1]],
            (SIDE, FINE_MARGIN),
            warp,
            FINE_STEPS,
        );
        let (width, overlap) = warp.overlap(SIDE, &self.luma, &other.luma);
        let details = overlap.map(|levels| Plane { width, levels }.detail(COMPARED_BLUR));
        let fine = correlation(&details[0], &details[1]);
        let differences = self.colours.iter().zip(&other.colours).map(|(own, other)| {
            let (_, [fixed, moving]) = warp.overlap(CELLS, own, other);
            let n = fixed.len().max(1) as f32;
            let differences = fixed.iter().zip(&moving);
            differences.map(|(a, b)| (a - b).abs()).sum::<f32>() / n
        });
        Similarity {
            overall: (fine - differences.sum::<f32>()).clamp(0.0, 1.0),
            local: local(&details, width),
        }
    }
}

/// Two pictures in the orientation in which they are most similar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Of the first picture; the other stays upright.
    pub orientation: Orientation,
    pub similarity: Similarity,
    /// Local similarity with one of them mirrored from there: how similar different pictures of this kind are.
    pub wrong_way: f32,
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

impl Similarity {
    /// Of pictures that a coarser comparison rejects.
    fn different(correlation: f32) -> Similarity {
        Similarity {
            overall: correlation.max(0.0),
            local: 0.0,
        }
    }
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

#[cfg(test)]
mod tests;
