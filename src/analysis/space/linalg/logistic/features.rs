//! Feature rows for fitting: centred, split into blocks, and kept in memory if they fit.

use prospect_common::{Error, Result};
use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

use crate::space::linalg::products::one_thread_each;

/// Receives a block of rows: the index of its first row, and values `[rows, width]`, row-major.
pub type Visit<'v> = dyn FnMut(usize, &[f32]) -> Result<()> + 'v;
/// Visits all rows in order, in the same blocks each time.
pub type Blocks<'a> = dyn Fn(&mut Visit) -> Result<()> + 'a;

/// Rows of a block on the CPU: 2.5 MiB with 1280 dimensions.
const CPU_ROWS: usize = 512;
const DEVICE_ROWS: usize = 8192;
/// Number of partial sums, to which blocks are added round robin; limits the number of busy threads.
const CPU_LANES: usize = 16;
/// Rows per dimension for the covariance, which only preconditions.
const ROWS_PER_DIMENSION: usize = 8;
/// Rows of the covariance per task.
const STRIP: usize = 128;

/// Consecutive rows on the device.
pub struct Block {
    pub first: usize,
    /// `[rows, dimension]`
    pub values: Tensor,
}

/// Feature rows, usable for any number of fits.
pub struct Features<'a> {
    blocks: &'a Blocks<'a>,
    dimension: usize,
    rows: usize,
    device: Device,
    memory: usize,
    /// `[1, dimension]`
    mean: Tensor,
    /// Upper triangle, `[dimension, dimension]` in float64, from a sample of the rows.
    covariance: Tensor,
    variance: f64,
    /// All blocks, if they fit into memory.
    kept: Option<Vec<Block>>,
}

impl<'a> Features<'a> {
    /// Keeps the rows in up to `memory` bytes of the device's memory; if they do not fit, every pass reads them again, with
    /// the same results.
    pub fn new(
        blocks: &'a Blocks<'a>,
        dimension: usize,
        device: Device,
        memory: usize,
    ) -> Result<Features<'a>> {
        let _guard = tch::no_grad_guard();
        one_thread_each(|| {
            let options = (Kind::Float, device);
            let mut features = Features {
                blocks,
                dimension,
                rows: 0,
                device,
                memory,
                mean: Tensor::zeros([1, dimension as i64], options),
                covariance: Tensor::zeros([0, 0], (Kind::Double, device)),
                variance: 1.0,
                kept: Some(Vec::new()),
            };
            features.scan()?;
            features.estimate_covariance()?;
            Ok(features)
        })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether the rows are kept in memory.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    pub(super) fn device(&self) -> Device {
        self.device
    }

    pub(super) fn covariance(&self) -> &Tensor {
        &self.covariance
    }

    /// Total variance over the dimensions; 1 for constant features.
    pub(super) fn variance(&self) -> f64 {
        self.variance
    }

    pub(super) fn mean(&self) -> Result<Vec<f64>> {
        let mut mean = vec![0f64; self.dimension];
        let copy = |mean: &mut [f64]| -> Result<(), TchError> {
            let host = self
                .mean
                .f_to_kind(Kind::Double)?
                .f_to_device(Device::Cpu)?;
            host.f_reshape([-1])?.f_copy_data(mean, self.dimension)
        };
        copy(&mut mean).map_err(|error| torch(&error))?;
        Ok(mean)
    }

    pub(super) fn lanes(&self) -> usize {
        if self.device == Device::Cpu {
            CPU_LANES
        } else {
            1
        }
    }

    /// Counts the rows, computes their mean, and keeps them if they fit.
    fn scan(&mut self) -> Result<()> {
        let mut kept = Some(Vec::new());
        let (mut rows, mut sums) = (0, vec![0f64; self.dimension]);
        (self.blocks)(&mut |first, values| {
            if self.dimension == 0 || first != rows || values.len() % self.dimension != 0 {
                let why = format!(
                    "expected vectors of {} values from row {rows} on, found {} values from row {first} on",
                    self.dimension,
                    values.len()
                );
                return Err(Error::internal("a classifier's rows", why));
            }
            for row in values.chunks_exact(self.dimension) {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(sum, x)| *sum += f64::from(*x));
            }
            rows += values.len() / self.dimension;
            kept = match kept.take() {
                Some(mut blocks) if 4 * rows * self.dimension <= self.memory => {
                    blocks.extend(split(self.device, self.dimension, first, values)?);
                    Some(blocks)
                }
                _ => None,
            };
            Ok(())
        })?;
        self.rows = rows;
        let mean: Vec<f32> = sums
            .iter()
            .map(|sum| (sum / rows.max(1) as f64) as f32)
            .collect();
        let mut centre = || -> Result<Tensor, TchError> {
            let mean = Tensor::f_from_slice(&mean)?
                .f_to_device(self.device)?
                .f_unsqueeze(0)?;
            for block in kept.iter_mut().flatten() {
                let _ = block.values.f_sub_(&mean)?;
            }
            Ok(mean)
        };
        self.mean = centre().map_err(|error| torch(&error))?;
        self.kept = kept;
        Ok(())
    }

    /// Covariance and variance of an evenly spaced sample of blocks.
    fn estimate_covariance(&mut self) -> Result<()> {
        let d = self.dimension;
        let mut strips: Vec<(usize, Tensor)> = (0..d.div_ceil(STRIP))
            .map(|strip| {
                let (start, of) = (strip * STRIP, (Kind::Double, self.device));
                let height = STRIP.min(d - start);
                (
                    start,
                    Tensor::zeros([height as i64, (d - start) as i64], of),
                )
            })
            .collect();
        let stride = (self.rows / (ROWS_PER_DIMENSION * d).max(1)).max(1);
        let (mut at, mut rows) = (0, 0);
        self.each(&mut |blocks| {
            for block in blocks {
                at += 1;
                if (at - 1) % stride != 0 {
                    continue;
                }
                rows += block.values.size()[0];
                let tasks = strips.iter_mut();
                let tasks: Vec<_> = tasks.map(|s| (s, block.values.shallow_clone())).collect();
                let add = |((start, sum), values): (&mut (usize, Tensor), Tensor)| {
                    add_strip(*start, sum, &values).map_err(|error| torch(&error))
                };
                run_tasks(self.device, tasks, add)?;
            }
            Ok(())
        })?;
        let assemble = || -> Result<Tensor, TchError> {
            let side = d as i64;
            let matrix = Tensor::f_zeros([side, side], (Kind::Double, self.device))?;
            for (start, sum) in &strips {
                let (start, [height, width]) = (*start as i64, [sum.size()[0], sum.size()[1]]);
                let mut part = matrix
                    .f_narrow(0, start, height)?
                    .f_narrow(1, start, width)?;
                part.f_copy_(&sum.f_div_scalar(rows.max(1))?)?;
            }
            Ok(matrix)
        };
        self.covariance = assemble().map_err(|error| torch(&error))?;
        let trace = self.covariance.f_trace().and_then(f64::try_from);
        let trace = trace.map_err(|error| torch(&error))?;
        if !trace.is_finite() {
            return Err(Error::invalid(
                "features",
                "finite values with finite squares",
                "values that are not finite",
                "exclude the images with such features",
            ));
        }
        self.variance = if trace > 0.0 { trace } else { 1.0 };
        Ok(())
    }

    /// Visits all blocks in row order, several at a time.
    pub(super) fn each(&self, take: &mut dyn FnMut(Vec<Block>) -> Result<()>) -> Result<()> {
        if let Some(kept) = &self.kept {
            let share = |block: &Block| Block {
                first: block.first,
                values: block.values.shallow_clone(),
            };
            return take(kept.iter().map(share).collect());
        }
        (self.blocks)(&mut |first, values| {
            let mut blocks = split(self.device, self.dimension, first, values)?;
            for block in &mut blocks {
                let centred = block.values.f_sub_(&self.mean);
                let _ = centred.map_err(|error| torch(&error))?;
            }
            take(blocks)
        })
    }
}

/// Adds the products of the columns from `start` on to the strip `sum` of the covariance.
fn add_strip(start: usize, sum: &mut Tensor, values: &Tensor) -> Result<(), TchError> {
    let width = sum.size()[1];
    let right = values.f_narrow(1, start as i64, width)?;
    let left = right.f_narrow(1, 0, sum.size()[0])?;
    let products = left.f_tr()?.f_mm(&right)?.f_to_kind(Kind::Double)?;
    let _ = sum.f_add_(&products)?;
    Ok(())
}

/// Splits rows into blocks on the device; `first` is the index of the first row.
pub(super) fn split(
    device: Device,
    dimension: usize,
    first: usize,
    values: &[f32],
) -> Result<Vec<Block>> {
    let size = match device {
        Device::Cpu => CPU_ROWS,
        _ => DEVICE_ROWS,
    };
    let blocks = values.chunks(size * dimension.max(1)).enumerate();
    let blocks = blocks.map(|(at, values)| -> Result<Block, TchError> {
        let values = Tensor::f_from_slice(values)?
            .f_reshape([-1, dimension as i64])?
            .f_to_device(device)?;
        let first = first + at * size;
        Ok(Block { first, values })
    });
    let blocks: Result<Vec<Block>, TchError> = blocks.collect();
    blocks.map_err(|error| torch(&error))
}

/// Runs all tasks: in parallel on the CPU, with one libtorch thread each, or in turn on other devices.
pub(super) fn run_tasks<T: Send>(
    device: Device,
    tasks: Vec<T>,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    if device != Device::Cpu {
        return tasks.into_iter().try_for_each(work);
    }
    tasks.into_par_iter().try_for_each(|task| {
        // A setting of each thread.
        tch::set_num_threads(1);
        let _guard = tch::no_grad_guard();
        work(task)
    })
}

pub(super) fn torch(error: &TchError) -> Error {
    Error::Torch {
        context: "a linear classifier".into(),
        message: error.to_string(),
    }
}
