//! The gradient of one number inside the network at the pixels, with the three rules for ReLUs.

use std::collections::BTreeSet;

use prospect_common::Result;
use tch::{Kind as Dtype, Tensor};

use super::{
    executor::{Network, Runner},
    forward::{Normaliser, floats, torch, torch_message},
    graph::ValueId,
    operators,
};
use crate::ReluRule;

/// A network compiled for backward passes from one value to the image.
pub struct Backprop {
    runner: Runner,
    normaliser: Normaliser,
    smooth: Vec<String>,
}

impl Backprop {
    /// Compiles the way from the image to `target` (a layer's value, or the logits). Max-pooling hands gradients to the place
    /// of its maximum under every rule (Zeiler & Fergus's switches); everything but ReLUs has its own derivative.
    ///
    /// # Errors
    /// Operators that this libtorch does not have.
    pub fn new(
        network: &Network,
        target: ValueId,
        rule: ReluRule,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Result<Backprop> {
        let runner = network.with_relu_rule(target, rule)?;
        let smooth: BTreeSet<&str> = (runner.nodes().iter())
            .filter(|node| rule != ReluRule::Plain && operators::is_smooth_activation(node))
            .map(operators::base_name)
            .collect();
        Ok(Backprop {
            smooth: smooth.into_iter().map(str::to_string).collect(),
            normaliser: Normaliser::new(network, mean, std),
            runner,
        })
    }

    /// Smooth activations on the way, for which the rule is not defined and the derivative was taken.
    pub fn smooth(&self) -> &[String] {
        &self.smooth
    }

    /// The gradient of one element of each image's target at the image's normalised pixels: `[n, 3, height, width]`.
    ///
    /// `pixels` are `n` images of RGB bytes `[n, height, width, 3]`; `elements` say, per image, which element of the target's
    /// values of that image, flat (of a map: `(channel * rows + row) * columns + column`; of the logits: the class).
    ///
    /// # Errors
    /// An element that the target does not have; libtorch's message.
    pub fn run(&self, pixels: &[u8], elements: &[usize]) -> Result<Vec<f32>> {
        let images = self.normaliser.images(pixels, elements.len())?;
        self.run_normalised(&images, elements)
    }

    /// As [`Backprop::run`], of a batch `[n, 3, height, width]` that is already normalised.
    pub fn run_normalised(&self, images: &Tensor, elements: &[usize]) -> Result<Vec<f32>> {
        let context = "the gradient at the pixels";
        // One layout whatever the caller's: a convolution that rounds otherwise can flip a ReLU near 0.
        let images = images.detach().contiguous().set_requires_grad(true);
        let outputs = self.runner.run(&images)?;
        let [target] = outputs.as_slice() else {
            return Err(torch_message(context, "not one target"));
        };
        let target = target.to_kind(Dtype::Float).flatten(1, -1);
        let chosen: Vec<i64> = elements.iter().map(|&element| element as i64).collect();
        let chosen = Tensor::from_slice(&chosen)
            .reshape([-1, 1])
            .to_device(target.device());
        let gradient = target
            .f_gather(1, &chosen, false)
            .and_then(|elements| elements.f_sum(Dtype::Float))
            .and_then(|sum| Tensor::f_run_backward(&[sum], &[&images], false, false))
            .map_err(|error| torch(context, &error))?;
        match gradient.as_slice() {
            [gradient] => floats(gradient),
            _ => Err(torch_message(context, "not one gradient")),
        }
    }
}
