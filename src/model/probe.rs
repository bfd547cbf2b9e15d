//! Runs two pictures of noise through a network, together and apart: what its graph does not show.

use std::path::Path;

use prospect_common::{Error, Result, text};
use tch::{Device, Kind as Dtype, Tensor};

use super::{
    executor::{Network, Precision},
    program::Fusion,
    shim::{MemoryLimit, OVER_LIMIT},
};

/// Bytes that two pictures may take at once: so many, or so many for each byte of the file.
const ROOM: u64 = 640 << 20;
const ROOM_PER_BYTE: u64 = 128;

impl Network {
    /// Runs two pictures of noise as one batch, as exported, and apart, fused; `path` is for messages.
    ///
    /// # Errors
    /// A network that libtorch cannot run or that takes far more memory than its file, one that gives other logits each time or in other company, one whose outputs are
    /// probabilities.
    pub(super) fn probe(&self, path: &Path) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let length = std::fs::metadata(path)
            .map_err(Error::io(path, "opening"))?
            .len();
        let room = ROOM.max(length.saturating_mul(ROOM_PER_BYTE));
        let too_large = || {
            let (height, width) = self.graph().input_size();
            Error::invalid(
                path,
                format!(
                    "a network that takes at most {} for two pictures",
                    text::bytes(room)
                ),
                format!("one that takes more for {height}x{width} pixels"),
                "export it for smaller pictures; the limit is 128 times the size of the file, and at least 640 MiB",
            )
        };
        let (height, width) = self.graph().input_size();
        // As floats, and a copy.
        if (height as u64).saturating_mul(width as u64) > room / (2 * 3 * 4 * 2) {
            return Err(too_large());
        }
        let pictures = self.noise();
        let refused = |found: &str, next: &str| {
            let expected = "a network that gives a picture the same logits in every batch";
            Err(Error::invalid(path, expected, found, next))
        };
        let wanted = [self.graph().logits];
        // As exported first: libtorch checks these operators' arguments, not those of the fused ones.
        let exported = self.compile(&wanted, Fusion::None)?;
        let logits = |run: Result<Vec<Tensor>>| match run {
            Ok(mut outputs) => Ok(outputs
                .remove(0)
                .to_device(Device::Cpu)
                .to_kind(Dtype::Double)),
            Err(Error::Torch { message, .. }) if message.contains(OVER_LIMIT) => Err(too_large()),
            Err(Error::Torch { context, message }) if !message.contains("memory") => {
                Err(Error::invalid(
                    path,
                    "a network that runs in libtorch 2.11",
                    format!("{message} ({context})"),
                    "run the exported program in PyTorch 2.11 for batches of one and two, correct it and export it again",
                ))
            }
            Err(error) => Err(error),
        };
        let limited = MemoryLimit::new(room);
        let outputs = exported.run(&pictures);
        drop(limited);
        let expected = logits(outputs)?;
        if expected.size() != [2, self.graph().n_classes()] {
            return refused(
                &format!("logits of shape {:?} for two pictures", expected.size()),
                super::archive::EXPORT_AGAIN,
            );
        }
        let runner = self.inference(&wanted)?;
        let tolerance = self.tolerance();
        for row in 0..2 {
            let (picture, together) = (pictures.narrow(0, row, 1), expected.narrow(0, row, 1));
            if !differ(&together, &logits(runner.run(&picture))?, tolerance) {
                continue;
            }
            if differ(&expected, &logits(exported.run(&pictures))?, tolerance) {
                return refused(
                    "other logits each time it runs",
                    "call model.eval() before torch.export and remove random numbers from forward()",
                );
            }
            if differ(&together, &logits(exported.run(&picture))?, tolerance) {
                return refused(
                    "logits that depend on the other pictures of the batch",
                    "compute means, norms and thresholds in forward() for each picture, not over dimension 0, and export again",
                );
            }
            return Err(Error::internal(
                path.display(),
                "the fused network's logits differ from the exported network's",
            ));
        }
        if are_probabilities(&expected) {
            return Err(Error::invalid(
                path,
                "logits, one per class, before any softmax",
                "outputs that are probabilities or their logarithms",
                "softmax would be applied twice: export the network without its own",
            ));
        }
        Ok(())
    }

    /// Noise `[2, 3, height, width]`, the same every time: the second picture has less contrast and is brighter.
    fn noise(&self) -> Tensor {
        let (height, width) = self.graph().input_size();
        let n = 3 * height as usize * width as usize;
        // Numerical Recipes' generator; the high bits are the random ones.
        let mut state = 1u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        let mut noise = Vec::with_capacity(2 * n);
        noise.extend((0..n).map(|_| 4.0 * uniform() - 2.0));
        noise.extend((0..n).map(|_| uniform() + 1.0));
        Tensor::from_slice(&noise).reshape([2, 3, height, width])
    }

    /// Rounding allowed between batches, relative to the largest logit.
    fn tolerance(&self) -> f64 {
        match (self.device(), self.precision()) {
            (Device::Cpu, Precision::Float32) => 1e-3,
            // TensorFloat-32 in convolutions.
            (_, Precision::Float32) => 2e-2,
            (_, Precision::BFloat16) => 0.1,
        }
    }
}

/// Whether the finite values differ by more than `tolerance` of the largest one. Values that are not finite count as equal: noise
/// may overflow where pictures do not.
fn differ(a: &Tensor, b: &Tensor, tolerance: f64) -> bool {
    let finite = a.isfinite().logical_and(&b.isfinite());
    let zero = a.zeros_like();
    let largest = a.where_self(&finite, &zero).abs().max();
    let difference = (a - b).where_self(&finite, &zero).abs().max();
    difference.double_value(&[]) > tolerance * largest.double_value(&[])
}

/// Whether every row sums to one, as it is or after the exponential.
fn are_probabilities(logits: &Tensor) -> bool {
    let sum_to_one = |rows: &Tensor| {
        let dims = [1i64];
        let off = rows.sum_dim_intlist(dims.as_slice(), false, Dtype::Double) - 1.0;
        bool::try_from(off.abs().max().lt(1e-3)).unwrap_or(false)
    };
    let is_positive = bool::try_from(logits.min().ge(0.0)).unwrap_or(false);
    (is_positive && sum_to_one(logits)) || sum_to_one(&logits.exp())
}
