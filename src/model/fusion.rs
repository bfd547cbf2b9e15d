//! Operator fusion: folds BatchNorm into convolutions and fuses activations and residual sums with them.

use std::collections::HashMap;

use tch::{Kind as Dtype, Tensor};

use super::{
    graph::{Argument, Int, Node, Output, ValueId},
    operators,
    program::Program,
};

impl Program {
    /// `bn(conv(x, w, b)) = conv(x, w·g, (b − mean)·g + beta)` with `g = gamma / sqrt(var + eps)`, in float64.
    pub(super) fn fold_batch_norm(&mut self) {
        let uses = self.uses();
        let mut by_output: HashMap<ValueId, usize> = HashMap::new();
        let mut removed = vec![false; self.nodes.len()];
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if operators::base_name(node) == "batch_norm"
                && let Some(folded) = self.folded(node, &by_output, &uses)
            {
                let (conv, weight, bias) = folded;
                let output = node.outputs.clone();
                let modules = node.modules.clone();
                let name = self.values[output_id(&output)].name.clone();
                let weight = self.constant(format!("{name}.folded_weight"), weight);
                let bias = self.constant(format!("{name}.folded_bias"), bias);
                let mut fused = self.nodes[conv].clone();
                set(&mut fused, "weight", Argument::Tensor(weight));
                set(&mut fused, "bias", Argument::Tensor(bias));
                fused.outputs = output;
                fused.modules = modules;
                removed[conv] = true;
                self.nodes[index] = fused;
            }
            if self.nodes[index].operator == "aten::conv2d"
                && let Some(id) = self.nodes[index].output()
            {
                by_output.insert(id, index);
            }
        }
        let mut removed = removed.into_iter();
        self.nodes.retain(|_| removed.next() != Some(true));
    }

    fn folded(
        &self,
        norm: &Node,
        convolutions: &HashMap<ValueId, usize>,
        uses: &[usize],
    ) -> Option<(usize, Tensor, Tensor)> {
        let input = norm.tensor("input")?;
        let conv = *convolutions.get(&input)?;
        if uses[input] != 1 || norm.bool("training") != Some(false) {
            return None;
        }
        let weight = self.constants.get(&self.nodes[conv].tensor("weight")?)?;
        let wide = |name: &str| {
            Some(
                self.constants
                    .get(&norm.tensor(name)?)?
                    .to_kind(Dtype::Double),
            )
        };
        let mean = wide("running_mean")?;
        let variance = wide("running_var")?;
        let eps = norm.float("eps").unwrap_or(1e-5);
        let mut scale = (variance + eps).rsqrt();
        if norm.tensor("weight").is_some() {
            scale *= wide("weight")?;
        }
        let bias = match self.nodes[conv].tensor("bias") {
            Some(id) => self.constants.get(&id)?.to_kind(Dtype::Double),
            None => Tensor::zeros_like(&mean),
        };
        let mut shift = (bias - mean) * &scale;
        if norm.tensor("bias").is_some() {
            shift += wide("bias")?;
        }
        let dtype = weight.kind();
        let weight = (weight.to_kind(Dtype::Double) * scale.reshape([-1, 1, 1, 1])).to_kind(dtype);
        Some((conv, weight, shift.to_kind(dtype)))
    }

    /// Replaces convolutions by `mkldnn::_convolution_pointwise` with reordered weights, fused with a following residual sum
    /// and activation, if any.
    pub(super) fn fuse_convolutions(&mut self) {
        let uses = self.uses();
        let mut reader: HashMap<ValueId, usize> = HashMap::new();
        let mut producer: HashMap<ValueId, usize> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for id in node.reads() {
                reader.insert(id, index);
            }
            for id in node.writes() {
                producer.insert(id, index);
            }
        }
        let mut removed = vec![false; self.nodes.len()];
        for index in 0..self.nodes.len() {
            if removed[index] {
                continue;
            }
            let Some(mut fused) = self.pointwise(index) else {
                continue;
            };
            // The only node that reads a value, if it is read once.
            let only_reader = |id: Option<ValueId>| {
                let id = id.filter(|&id| uses[id] == 1)?;
                reader.get(&id).copied()
            };
            let mut end = index;
            let mut sum = None;
            if let Some(next) = only_reader(self.nodes[index].output()) {
                sum = self
                    .residual(next, index, &producer)
                    .map(|other| (next, other));
                if let Some((next, _)) = sum {
                    end = next;
                }
            }
            let unary = only_reader(self.nodes[end].output())
                .and_then(|next| activation(&self.nodes[next]).map(|unary| (next, unary)));
            if let Some((next, _)) = &unary {
                end = *next;
            }
            let (attribute, scalars) = unary.map_or(("none", vec![]), |(_, unary)| unary);
            match sum {
                Some((_, other)) => {
                    fused.overload = "binary".into();
                    fused
                        .arguments
                        .insert(1, ("other".into(), Argument::Tensor(other)));
                    push(&mut fused, "binary_attr", Argument::Text("add".into()));
                    push(&mut fused, "alpha", Argument::Float(1.0));
                    let name = if attribute == "none" {
                        Argument::None
                    } else {
                        Argument::Text(attribute.into())
                    };
                    push(&mut fused, "unary_attr", name);
                    push(&mut fused, "unary_scalars", Argument::Floats(scalars));
                    push(&mut fused, "unary_algorithm", Argument::None);
                }
                None => {
                    push(&mut fused, "attr", Argument::Text(attribute.into()));
                    push(&mut fused, "scalars", Argument::Floats(scalars));
                    push(&mut fused, "algorithm", Argument::None);
                }
            }
            fused.outputs = self.nodes[end].outputs.clone();
            fused.modules = self.nodes[end].modules.clone();
            for (later, gone) in removed.iter_mut().enumerate().take(end + 1).skip(index + 1) {
                let between = Some(later) == sum.map(|(at, _)| at) || later == end;
                *gone = *gone || between;
            }
            self.nodes[index] = fused;
        }
        let mut removed = removed.into_iter();
        self.nodes.retain(|_| removed.next() != Some(true));
    }

    /// The oneDNN form of a convolution with constant weights, before fusion with its successors.
    fn pointwise(&mut self, index: usize) -> Option<Node> {
        let node = &self.nodes[index];
        if node.operator != "aten::conv2d" || !node.overload.is_empty() {
            return None;
        }
        let input = node.tensor("input")?;
        let weight = self.constants.get(&node.tensor("weight")?)?.shallow_clone();
        if let Some(bias) = node.tensor("bias")
            && !self.constants.contains_key(&bias)
        {
            return None;
        }
        let pair = |name: &str, default: i64| match node.ints(name) {
            None => vec![default; 2],
            Some(both) if both.len() == 1 => vec![both[0]; 2],
            Some(values) => values,
        };
        let (padding, stride, dilation) =
            (pair("padding", 0), pair("stride", 1), pair("dilation", 1));
        let groups = node.int("groups").unwrap_or(1);
        let weight =
            super::executor::reorder_weight(&weight, &padding, &stride, &dilation, groups)?;
        let bias = node.argument("bias").cloned().unwrap_or(Argument::None);
        let (outputs, modules) = (node.outputs.clone(), node.modules.clone());
        let name = self.values[output_id(&outputs)].name.clone();
        let weight = self.constant(format!("{name}.reordered_weight"), weight);
        let ints = |values: Vec<i64>| Argument::Ints(values.into_iter().map(Int::Known).collect());
        Some(Node {
            operator: "mkldnn::_convolution_pointwise".into(),
            overload: String::new(),
            arguments: vec![
                ("X".into(), Argument::Tensor(input)),
                ("W".into(), Argument::Tensor(weight)),
                ("B".into(), bias),
                ("padding".into(), ints(padding)),
                ("stride".into(), ints(stride)),
                ("dilation".into(), ints(dilation)),
                ("groups".into(), Argument::Int(Int::Known(groups))),
            ],
            outputs,
            modules,
        })
    }

    /// The other operand, if node `next` adds to the convolution at `conv` a tensor of the same sizes computed before it.
    fn residual(
        &self,
        next: usize,
        conv: usize,
        producer: &HashMap<ValueId, usize>,
    ) -> Option<ValueId> {
        let node = &self.nodes[next];
        let plain = operators::base_name(node) == "add"
            && node.overload == "Tensor"
            && node.float("alpha").unwrap_or(1.0) == 1.0;
        let (a, b) = (node.tensor("self")?, node.tensor("other")?);
        let conv_output = self.nodes[conv].output()?;
        let other = if a == conv_output { b } else { a };
        let same = self.values[conv_output].shape == self.values[other].shape;
        let computed = producer.get(&other).is_some_and(|&at| at < conv);
        (plain && other != conv_output && same && computed).then_some(other)
    }
}

/// oneDNN's name and parameters of a fusible activation.
fn activation(node: &Node) -> Option<(&'static str, Vec<f64>)> {
    Some(match operators::base_name(node) {
        "relu" => ("relu", vec![]),
        "relu6" => ("hardtanh", vec![0.0, 6.0]),
        "hardtanh" => (
            "hardtanh",
            vec![
                node.float("min_val").unwrap_or(-1.0),
                node.float("max_val").unwrap_or(1.0),
            ],
        ),
        "leaky_relu" => (
            "leaky_relu",
            vec![node.float("negative_slope").unwrap_or(0.01)],
        ),
        "sigmoid" => ("sigmoid", vec![]),
        "hardswish" => ("hardswish", vec![]),
        "tanh" => ("tanh", vec![]),
        _ => return None,
    })
}

fn output_id(outputs: &[Output]) -> ValueId {
    match outputs {
        [Output::Value(id), ..] => *id,
        _ => 0,
    }
}

fn push(node: &mut Node, name: &str, value: Argument) {
    node.arguments.push((name.into(), value));
}

fn set(node: &mut Node, name: &str, value: Argument) {
    match node.arguments.iter_mut().find(|(key, _)| key == name) {
        Some((_, slot)) => *slot = value,
        None => push(node, name, value),
    }
}
