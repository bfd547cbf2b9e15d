//! Blocks of rows and their distances.

use std::ops::Range;

use prospect_common::Result;
use prospect_model::device::Device;
use rayon::prelude::*;

use crate::space::{linalg::products::Rows, neighbors::Metric};

/// Rows and columns of a tile: its products (1 MiB) fit into a core's cache.
pub(super) const TILE: usize = 512;
/// Number of parallel sums, added in a fixed order.
pub(super) const LANES: usize = 16;

/// Rows of finite numbers with their ids.
pub struct Block {
    pub(super) ids: Vec<u32>,
    pub(super) rows: Rows,
    /// Half the squared norms (1/2 for the cosine), minus a bound on the rounding error of products.
    pub(super) half_norms: Vec<f32>,
    /// Zero vectors, for the cosine.
    zero: Vec<bool>,
    metric: Metric,
    /// Bound on the relative rounding error of a distance.
    slack: f32,
}

impl Block {
    /// From `values` `[ids.len(), dimension]`, row-major, all finite with finite squared norms. For the cosine, rows are
    /// normalised: then half the squared distance is 1 - cos, without cancellation for near rows.
    pub fn new(
        ids: Vec<u32>,
        values: &[f32],
        dimension: usize,
        metric: Metric,
        device: Device,
    ) -> Result<Block> {
        let epsilon = f32::EPSILON;
        // Twice Higham's bound, for the rounding of the norm and of the comparison.
        let error = (dimension as f32 + 16.0) * epsilon;
        let slack = (dimension as f32 / LANES as f32 + 16.0) * epsilon;
        let mut zero = Vec::new();
        let (rows, half_norms) = match metric {
            Metric::L2 => {
                let lengths = values.par_chunks_exact(dimension.max(1)).map(|row| {
                    let squared: f32 = lanes(row, |lane, x| lane + x * x);
                    (1.0 - error) * squared / 2.0
                });
                (Rows::new(values, dimension, device)?, lengths.collect())
            }
            Metric::Cosine => {
                let mut values = values.to_vec();
                zero = (values.par_chunks_exact_mut(dimension.max(1)))
                    .map(normalise)
                    .collect();
                let rows = Rows::new(&values, dimension, device)?;
                (rows, vec![(1.0 - error) / 2.0; ids.len()])
            }
        };
        Ok(Block {
            ids,
            rows,
            half_norms,
            zero,
            metric,
            slack,
        })
    }

    /// A block of some of the rows.
    pub fn pick(&self, rows: &[usize]) -> Result<Block> {
        let values: Vec<f32> = (rows.iter())
            .flat_map(|row| self.rows.row(*row).iter().copied())
            .collect();
        Ok(Block {
            ids: rows.iter().map(|row| self.ids[*row]).collect(),
            rows: Rows::new(&values, self.rows.dimension(), self.rows.device())?,
            half_norms: rows.iter().map(|row| self.half_norms[*row]).collect(),
            zero: match self.metric {
                Metric::L2 => Vec::new(),
                Metric::Cosine => rows.iter().map(|row| self.zero[*row]).collect(),
            },
            metric: self.metric,
            slack: self.slack,
        })
    }

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Row `i`; normalised for the cosine.
    pub fn row(&self, i: usize) -> &[f32] {
        self.rows.row(i)
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The distance between row `i` and row `j` of `other`, from the differences of their values.
    pub fn distance(&self, i: usize, other: &Block, j: usize) -> f32 {
        match self.metric {
            Metric::L2 => squared_distance(self.rows.row(i), other.rows.row(j)).sqrt(),
            Metric::Cosine if self.zero[i] || other.zero[j] => 1.0,
            Metric::Cosine => squared_distance(self.rows.row(i), other.rows.row(j)) / 2.0,
        }
    }

    /// Minimum of product minus the other's half norm for pairs within `radius`.
    pub(super) fn min_product(&self, i: usize, radius: f32) -> f32 {
        if radius == f32::NEG_INFINITY {
            return f32::INFINITY;
        }
        let squared = match self.metric {
            Metric::L2 => radius * radius,
            Metric::Cosine => 2.0 * radius,
        };
        self.half_norms[i] - squared * (1.0 + 2.0 * self.slack) / 2.0 - f32::MIN_POSITIVE
    }

    pub(super) fn on_cpu(&self) -> bool {
        self.rows.device() == Device::Cpu
    }

    pub(super) fn strips(&self) -> usize {
        self.len().div_ceil(TILE)
    }

    pub(super) fn strip(&self, at: usize) -> Range<usize> {
        at * TILE..((at + 1) * TILE).min(self.len())
    }
}

/// Sums over a row in [`LANES`] parallel sums, then adds these in order.
#[inline(always)]
fn lanes(row: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum = add(*sum, *x);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum = add(*sum, *x);
    }
    sums.iter().sum()
}

/// The squared Euclidean distance, exactly symmetric.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (chunks_a, chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = chunks_a.remainder().iter().zip(chunks_b.remainder());
    for (a, b) in chunks_a.zip(chunks_b) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            let difference = x - y;
            *sum += difference * difference;
        }
    }
    for (sum, (x, y)) in sums.iter_mut().zip(rest) {
        let difference = x - y;
        *sum += difference * difference;
    }
    sums.iter().sum()
}

/// Normalises a row to unit length, in float64; returns whether it is zero.
fn normalise(row: &mut [f32]) -> bool {
    let squared: f64 = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    if squared == 0.0 {
        return true;
    }
    let length = squared.sqrt();
    for x in row {
        *x = (f64::from(*x) / length) as f32;
    }
    false
}
