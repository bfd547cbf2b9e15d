//! The rows that classifiers are fitted to: centred, cut into blocks, kept where memory allows.

use prospect_common::{Error, Result};
use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

use crate::space::linalg::products::one_thread_each;

/// Receives blocks of rows: the first row's number, and values `[rows, width]`, row-major.
pub type Visit<'v> = dyn FnMut(usize, &[f32]) -> Result<()> + 'v;
/// Gives all rows in their order, in the same blocks each time.
pub type Blocks<'a> = dyn Fn(&mut Visit) -> Result<()> + 'a;

/// Rows that one thread multiplies at a time: with 1280 numbers each, 2.5 MiB.
const CPU_ROWS: usize = 512;
const DEVICE_ROWS: usize = 8192;
/// Sums that blocks are added to in turn, and so threads that can be busy.
const CPU_LANES: usize = 16;
/// So many rows per dimension are enough for a covariance that only guides the way.
const ROWS_PER_DIMENSION: usize = 8;
/// Rows of a covariance that one thread makes at a time.
const STRIP: usize = 128;

/// Some rows, centred, where they are multiplied.
pub struct Block {
    pub first: usize,
    /// `[rows, dimension]`
    pub values: Tensor,
}

/// Rows for any number of fits.
pub struct Features<'a> {
    blocks: &'a Blocks<'a>,
    dimension: usize,
    rows: usize,
    device: Device,
    memory: usize,
    /// `[1, dimension]`
    mean: Tensor,
    /// Upper triangle, `[dimension, dimension]` in float64, of some of the rows.
    covariance: Tensor,
    variance: f64,
    /// All blocks, where memory allows.
    kept: Option<Vec<Block>>,
}

impl<'a> Features<'a> {
    /// `memory`: bytes for keeping the rows, of the device's memory where it has its own; where it is too little, they are read anew
    /// for every pass. The results are the same.
    pub fn new(
        blocks: &'a Blocks<'a>,
        dimension: usize,
        device: Device,
        memory: usize,
    ) -> Result<Features<'a>> {
        let _guard = tch::no_grad_guard();
        one_thread_each(|| {
            let nothing = (Kind::Float, device);
            let mut features = Features {
                blocks,
                dimension,
                rows: 0,
                device,
                memory,
                mean: Tensor::zeros([1, dimension as i64], nothing),
                covariance: Tensor::zeros([0, 0], (Kind::Double, device)),
                variance: 1.0,
                kept: Some(Vec::new()),
            };
            features.count()?;
            features.measure()?;
            Ok(features)
        })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether a pass reads them from memory.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    pub(super) fn device(&self) -> Device {
        self.device
    }

    pub(super) fn covariance(&self) -> &Tensor {
        &self.covariance
    }

    /// Sum over the dimensions; 1 where there is none.
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

    /// Rows and mean, and keeps the rows if they fit.
    fn count(&mut self) -> Result<()> {
        let mut kept = Some(Vec::new());
        let (mut rows, mut sums) = (0, vec![0f64; self.dimension]);
        (self.blocks)(&mut |first, values| {
            if self.dimension == 0 || first != rows || values.len() % self.dimension != 0 {
                let why = format!(
                    "expected vectors of {} numbers from row {rows} on, found {} numbers from row {first} on",
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
                    blocks.extend(cut(self.device, self.dimension, first, values)?);
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

    /// Covariance and variance, of blocks spread evenly over the rows.
    fn measure(&mut self) -> Result<()> {
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
        let every = (self.rows / (ROWS_PER_DIMENSION * d).max(1)).max(1);
        let (mut at, mut rows) = (0, 0);
        self.each(&mut |blocks| {
            for block in blocks {
                at += 1;
                if (at - 1) % every != 0 {
                    continue;
                }
                rows += block.values.size()[0];
                let tasks = strips.iter_mut();
                let tasks: Vec<_> = tasks.map(|s| (s, block.values.shallow_clone())).collect();
                let add = |((start, sum), values): (&mut (usize, Tensor), Tensor)| {
                    add_strip(*start, sum, &values).map_err(|error| torch(&error))
                };
                in_turn_or_parallel(self.device, tasks, add)?;
            }
            Ok(())
        })?;
        let together = || -> Result<Tensor, TchError> {
            let side = d as i64;
            let whole = Tensor::f_zeros([side, side], (Kind::Double, self.device))?;
            for (start, sum) in &strips {
                let (start, [height, width]) = (*start as i64, [sum.size()[0], sum.size()[1]]);
                let mut place = whole
                    .f_narrow(0, start, height)?
                    .f_narrow(1, start, width)?;
                place.f_copy_(&sum.f_div_scalar(rows.max(1))?)?;
            }
            Ok(whole)
        };
        self.covariance = together().map_err(|error| torch(&error))?;
        let trace = self.covariance.f_trace().and_then(f64::try_from);
        let trace = trace.map_err(|error| torch(&error))?;
        if !trace.is_finite() {
            return Err(Error::invalid(
                "features",
                "finite numbers whose squares are finite",
                "others",
                "leave out images whose features are not finite",
            ));
        }
        self.variance = if trace > 0.0 { trace } else { 1.0 };
        Ok(())
    }

    /// Gives all blocks, in row order, some at a time.
    pub(super) fn each(&self, take: &mut dyn FnMut(Vec<Block>) -> Result<()>) -> Result<()> {
        if let Some(kept) = &self.kept {
            let share = |block: &Block| Block {
                first: block.first,
                values: block.values.shallow_clone(),
            };
            return take(kept.iter().map(share).collect());
        }
        (self.blocks)(&mut |first, values| {
            let mut blocks = cut(self.device, self.dimension, first, values)?;
            for block in &mut blocks {
                let centred = block.values.f_sub_(&self.mean);
                let _ = centred.map_err(|error| torch(&error))?;
            }
            take(blocks)
        })
    }
}

/// Adds the products of the columns from `start` on, of which `sum` has the first rows.
fn add_strip(start: usize, sum: &mut Tensor, values: &Tensor) -> Result<(), TchError> {
    let width = sum.size()[1];
    let right = values.f_narrow(1, start as i64, width)?;
    let left = right.f_narrow(1, 0, sum.size()[0])?;
    let products = left.f_tr()?.f_mm(&right)?.f_to_kind(Kind::Double)?;
    let _ = sum.f_add_(&products)?;
    Ok(())
}

/// Cuts rows into blocks where they are multiplied; `first` is the number of the first one.
pub(super) fn cut(
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

/// Does all tasks: on the CPU by several threads, each of which libtorch leaves alone.
pub(super) fn in_turn_or_parallel<T: Send>(
    device: Device,
    tasks: Vec<T>,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    if device != Device::Cpu {
        return tasks.into_iter().try_for_each(work);
    }
    tasks.into_par_iter().try_for_each(|task| {
        // Of each thread, whatever it did before.
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
