//! Gradients of single activations with respect to the pixels, under three backward rules for ReLUs.

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
    /// Compiles the graph from the image to `target` (a layer's value, or the logits). The rule changes ReLUs only; under every
    /// rule max pooling routes gradients to its maximum (the switches of Zeiler & Fergus).
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

    /// Smooth activations before the target: the rule is undefined for them, and they keep their derivative.
    pub fn smooth(&self) -> &[String] {
        &self.smooth
    }

    /// The gradient of one target element per image with respect to that image's normalised pixels: `[n, 3, height, width]`.
    ///
    /// `pixels` are RGB bytes `[n, height, width, 3]`. `elements` holds one flat index per image into its target values: of a
    /// map `(channel * rows + row) * columns + column`, of the logits the class.
    ///
    /// # Errors
    /// An index outside the target; libtorch's message.
    pub fn run(&self, pixels: &[u8], elements: &[usize]) -> Result<Vec<f32>> {
        let images = self.normaliser.images(pixels, elements.len())?;
        self.run_normalised(&images, elements)
    }

    /// Like [`Backprop::run`], for an already normalised batch `[n, 3, height, width]`.
    pub fn run_normalised(&self, images: &Tensor, elements: &[usize]) -> Result<Vec<f32>> {
        let context = "the gradient with respect to the pixels";
        // One memory layout for all callers: different rounding in a convolution can flip a ReLU near 0.
        let images = images.detach().contiguous().set_requires_grad(true);
        let outputs = self.runner.run(&images)?;
        let [target] = outputs.as_slice() else {
            return Err(torch_message(context, "expected one target"));
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
            _ => Err(torch_message(context, "expected one gradient")),
        }
    }
}
