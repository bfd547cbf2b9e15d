//! Runs two pictures of noise through a network, together and apart: what its graph does not show.

use std::path::Path;

use prospect_common::{Error, Result};
use tch::{Device, Kind as Dtype, Tensor};

use super::{
    executor::{Network, Precision},
    program::Fusion,
};

impl Network {
    /// Runs two pictures of noise as one batch, as exported, and apart, fused; `path` is for messages.
    ///
    /// # Errors
    /// A network that libtorch cannot run, one that gives other logits each time or in other company, one whose outputs are
    /// probabilities.
    pub(super) fn probe(&self, path: &Path) -> Result<()> {
        let _guard = tch::no_grad_guard();
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
        let expected = logits(exported.run(&pictures))?;
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

    /// Seeded noise `[2, 3, height, width]`: the second picture has less contrast and is brighter.
    fn noise(&self) -> Tensor {
        let (height, width) = self.graph().input_size();
        let positions = Tensor::arange(2 * 3 * height * width, (Dtype::Double, Device::Cpu));
        let noise = (positions * 12.9898).sin() * 43_758.545_3;
        let noise = (&noise - noise.floor()).reshape([2, 3, height, width]);
        let scales = Tensor::from_slice(&[4.0, 1.0]).reshape([2, 1, 1, 1]);
        let offsets = Tensor::from_slice(&[-2.0, 1.0]).reshape([2, 1, 1, 1]);
        (noise * scales + offsets).to_kind(Dtype::Float)
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
