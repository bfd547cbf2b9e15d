//! Inner products between two sets of vectors.

use std::ops::Range;

use prospect_common::{Error, Result};
use tch::{Device, Kind, TchError, Tensor};

/// Vectors `[n, dimension]` in float32, ready to be multiplied on a device.
pub struct Rows {
    /// Row-major in host memory.
    host: Tensor,
    /// The same on the device of the products.
    on_device: Tensor,
    n: usize,
    dimension: usize,
}

// SAFETY: both tensors are created in `new` and never written again; libtorch counts references atomically, and threads may
// read a tensor concurrently.
unsafe impl Sync for Rows {}

impl Rows {
    /// From `values` `[n, dimension]`, row-major.
    pub fn new(values: &[f32], dimension: usize, device: Device) -> Result<Rows> {
        let n = values.len().checked_div(dimension).unwrap_or(0);
        let host = Tensor::f_from_slice(&values[..n * dimension])
            .and_then(|tensor| tensor.f_reshape([n as i64, dimension as i64]))
            .map_err(|error| torch(&error))?;
        let on_device = host.f_to_device(device).map_err(|error| torch(&error))?;
        Ok(Rows {
            host,
            on_device,
            n,
            dimension,
        })
    }

    pub fn len(&self) -> usize {
        self.n
    }

    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Device of the products.
    pub fn device(&self) -> Device {
        self.on_device.device()
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        if self.n * self.dimension == 0 {
            return &[];
        }
        // SAFETY: created in `new` as a contiguous float32 tensor on the CPU with n * dimension values, which lives as long as
        // `self` and is never written.
        unsafe {
            std::slice::from_raw_parts(self.host.data_ptr().cast::<f32>(), self.n * self.dimension)
        }
    }

    pub fn row(&self, i: usize) -> &[f32] {
        &self.values()[i * self.dimension..(i + 1) * self.dimension]
    }

    /// On the CPU: the products of rows `a` with rows `b` of `other`, `[a.len(), b.len()]` row-major, in the memory of `tile`.
    pub fn products<'t>(
        &self,
        a: Range<usize>,
        other: &Rows,
        b: Range<usize>,
        tile: &'t mut Tile,
    ) -> Result<&'t [f32]> {
        let (rows, columns) = (a.len(), b.len());
        let _guard = tch::no_grad_guard();
        let multiply = || -> std::result::Result<(), TchError> {
            let out = tile.buffer.f_narrow(0, 0, (rows * columns) as i64)?;
            let out = out.f_view([rows as i64, columns as i64])?;
            let left = self.host.f_narrow(0, a.start as i64, rows as i64)?;
            let right = other.host.f_narrow(0, b.start as i64, columns as i64)?;
            let _same = left.f_mm_out(&out, &right.f_tr()?)?;
            Ok(())
        };
        multiply().map_err(|error| torch(&error))?;
        // SAFETY: the buffer is a contiguous float32 tensor on the CPU with at least rows * columns values (checked by narrow),
        // borrowed for as long as the slice.
        Ok(unsafe {
            std::slice::from_raw_parts(tile.buffer.data_ptr().cast::<f32>(), rows * columns)
        })
    }

    /// On any device: for each of the rows `a`, the `k` rows `j` of `other` with the smallest `offsets[j] - 2 * product`, in
    /// ascending order: their indices and these values, `[a.len(), k]` row-major.
    pub fn smallest(
        &self,
        a: Range<usize>,
        other: &Rows,
        offsets: &[f32],
        k: usize,
    ) -> Result<(Vec<i64>, Vec<f32>)> {
        let _guard = tch::no_grad_guard();
        let select = || -> std::result::Result<(Vec<i64>, Vec<f32>), TchError> {
            let offsets = Tensor::f_from_slice(offsets)?.f_to_device(self.on_device.device())?;
            let left = (self.on_device).f_narrow(0, a.start as i64, a.len() as i64)?;
            let products = left.f_mm(&other.on_device.f_tr()?)?;
            let scores = offsets
                .f_unsqueeze(0)?
                .f_sub(&products.f_mul_scalar(2.0)?)?;
            let (values, indices) = scores.f_topk(k as i64, 1, false, true)?;
            let flat = |tensor: Tensor| tensor.f_to_device(Device::Cpu)?.f_reshape([-1]);
            let (values, indices) = (flat(values)?, flat(indices)?);
            let mut out = (vec![0i64; indices.numel()], vec![0f32; values.numel()]);
            let n = out.0.len();
            indices.f_copy_data(&mut out.0, n)?;
            values.to_kind(Kind::Float).f_copy_data(&mut out.1, n)?;
            Ok(out)
        };
        select().map_err(|error| torch(&error))
    }
}

/// Reusable memory for products.
pub struct Tile {
    buffer: Tensor,
}

impl Tile {
    /// For up to `n` products.
    pub fn new(n: usize) -> Tile {
        Tile {
            buffer: Tensor::empty([n as i64], (Kind::Float, Device::Cpu)),
        }
    }
}

/// Runs `work` with one libtorch thread per caller, so that concurrent callers do not oversubscribe the processor.
pub fn one_thread_each<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            tch::set_num_threads(self.0);
        }
    }
    let _restore = Restore(tch::get_num_threads());
    tch::set_num_threads(1);
    work()
}

fn torch(error: &TchError) -> Error {
    Error::Torch {
        context: "products of feature vectors".into(),
        message: error.to_string(),
    }
}
