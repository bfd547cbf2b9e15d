//! Runs programs on libtorch.

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
};

use prospect_common::{Error, Result, names, text::shortened};
use tch::{Device, Kind as Dtype, Tensor};

use super::{
    archive::{Archive, EXPORT_AGAIN},
    bounds,
    graph::{Argument, Graph, Int, Node, Source, ValueId},
    operators,
    program::{Fusion, Program},
    shim::{Operator, Rectifier, Value},
    weights,
};
use crate::ReluRule;

/// Elements of all weights for each byte of the file: 16 times those of float32 weights stored once.
const MAX_TIED: u64 = 4;

names! {
    /// Element type of weights and activations; results are always float32.
    pub enum Precision {
        Float32 = "float32",
        /// CUDA only: slower than float32 on CPUs without native support.
        BFloat16 = "bfloat16",
    }
}

/// A network with its weights on a device, ready to be compiled into [`Runner`]s.
pub struct Network {
    graph: Graph,
    weights: HashMap<ValueId, Tensor>,
    device: Device,
    precision: Precision,
}

/// A compiled part of a network.
pub struct Runner {
    program: Program,
    steps: Vec<Step>,
    device: Device,
    dtype: Dtype,
}

#[derive(Clone)]
enum Step {
    Call {
        operator: Operator,
        names: Vec<CString>,
    },
    Size,
    Rectify(Rectifier),
}

enum Slot {
    Tensor(Tensor),
    Int(i64),
}

impl Network {
    /// Loads the weights (only those in `needed`, if given) onto the device.
    ///
    /// # Errors
    /// Missing or truncated weight members, sizes and strides beyond their storage.
    pub(super) fn load(
        archive: &mut Archive,
        graph: Graph,
        device: Device,
        precision: Precision,
        needed: Option<&HashSet<ValueId>>,
    ) -> Result<Network> {
        let weights = archive.weights()?;
        let constants = archive.constants()?;
        let mut storages: HashMap<String, Vec<u8>> = HashMap::new();
        let mut total = 0;
        let mut loaded = HashMap::new();
        let is_needed = |id: &ValueId| needed.is_none_or(|needed| needed.contains(id));
        for (id, source) in graph.sources.iter().filter(|(id, _)| is_needed(id)) {
            let (name, entry) = match source {
                Source::Weight(name) => (name, weights.get(name)),
                Source::Constant(name) => (name, constants.get(name).or(weights.get(name))),
            };
            let entry = entry.ok_or_else(|| {
                Error::invalid(
                    archive.path(),
                    format!("the weights of {}", shortened(name, 120)),
                    "none in the archive",
                    EXPORT_AGAIN,
                )
            })?;
            if !storages.contains_key(&entry.member) {
                let bytes = archive.member(&entry.member, u64::MAX)?;
                storages.insert(entry.member.clone(), bytes);
            }
            let tensor = weights::tensor(archive.path(), name, entry, &storages[&entry.member])?;
            // Tied weights are stored once; a hostile file ties thousands.
            total += tensor.numel() as u64;
            if total > archive.length().saturating_mul(MAX_TIED) {
                return Err(Error::invalid(
                    archive.path(),
                    format!("weights within {MAX_TIED} times the file's length"),
                    format!("{total} elements or more"),
                    EXPORT_AGAIN,
                ));
            }
            let tensor = match precision {
                Precision::BFloat16 if tensor.is_floating_point() => {
                    tensor.to_kind(Dtype::BFloat16)
                }
                _ => tensor,
            };
            loaded.insert(*id, tensor.to_device(device));
        }
        Ok(Network {
            graph,
            weights: loaded,
            device,
            precision,
        })
    }

    /// A network from a graph and its weights, one tensor per source of the graph.
    pub fn from_parts(graph: Graph, weights: HashMap<ValueId, Tensor>, device: Device) -> Network {
        Network {
            graph,
            weights,
            device,
            precision: Precision::Float32,
        }
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// Values and sizes of a four-dimensional weight, row-major.
    pub fn weight(&self, id: ValueId) -> Result<(Vec<f32>, [usize; 4])> {
        let unusable = |message: &str| Error::Torch {
            context: format!("weight {}", self.graph.values[id].name),
            message: message.into(),
        };
        let tensor = self
            .weights
            .get(&id)
            .ok_or_else(|| unusable("not loaded"))?;
        let [a, b, c, d] = tensor.size()[..] else {
            return Err(unusable("not four-dimensional"));
        };
        let tensor = tensor
            .to_device(Device::Cpu)
            .to_kind(Dtype::Float)
            .contiguous();
        let mut values = vec![0f32; tensor.numel()];
        tensor
            .f_copy_data(&mut values, tensor.numel())
            .map_err(|error| unusable(&error.to_string()))?;
        Ok((values, [a, b, c, d].map(|size| size as usize)))
    }

    /// Compiles the subgraph that computes `wanted` for the fastest inference on this device.
    pub fn inference(&self, wanted: &[ValueId]) -> Result<Runner> {
        let fusion = match (self.device, self.precision) {
            (Device::Cpu, Precision::Float32) if one_dnn().is_some() => Fusion::OneDnn,
            _ => Fusion::Fold,
        };
        self.compile(wanted, fusion)
    }

    /// Compiles with the given fusion; `Fusion::None` keeps the exported operators, so that autograd works.
    pub fn compile(&self, wanted: &[ValueId], fusion: Fusion) -> Result<Runner> {
        let program = tch::no_grad(|| Program::new(&self.graph, &self.weights, wanted, fusion));
        self.runner(program, step)
    }

    /// Compiles the subgraph from the image batch to `target` with the given backward rule at every ReLU, ReLU6 and
    /// Hardtanh. The forward pass does not change.
    pub(super) fn with_relu_rule(&self, target: ValueId, rule: ReluRule) -> Result<Runner> {
        let program = Program::new(&self.graph, &self.weights, &[target], Fusion::None);
        self.runner(program, |node| match (rule, operators::clamp_range(node)) {
            (ReluRule::Deconv | ReluRule::Guided, Some((low, high))) => {
                Ok(Step::Rectify(Rectifier { low, high, rule }))
            }
            _ => step(node),
        })
    }

    /// Compiles the subgraph from the value `start` to the logits, with autograd; `None` if the logits do not depend on it.
    /// Its [`Runner::inputs`] are the arguments of [`Runner::run_from`].
    pub(super) fn after(&self, start: ValueId) -> Result<Option<Runner>> {
        let program = tch::no_grad(|| {
            let wanted = [self.graph.logits];
            Program::after(&self.graph, &self.weights, start, &wanted, Fusion::Fold)
        });
        let runner = program.map(|program| self.runner(program, step));
        runner.transpose()
    }

    /// A weight on the device.
    pub(super) fn parameter(&self, id: ValueId) -> Option<&Tensor> {
        self.weights.get(&id)
    }

    fn runner(&self, program: Program, step: impl Fn(&Node) -> Result<Step>) -> Result<Runner> {
        let steps = program.nodes.iter().map(step).collect::<Result<Vec<_>>>()?;
        Ok(Runner {
            program,
            steps,
            device: self.device,
            dtype: match self.precision {
                Precision::Float32 => Dtype::Float,
                Precision::BFloat16 => Dtype::BFloat16,
            },
        })
    }
}

impl Runner {
    /// The same, for another thread; the weights are shared.
    pub(super) fn share(&self) -> Runner {
        Runner {
            program: self.program.share(),
            steps: self.steps.clone(),
            device: self.device,
            dtype: self.dtype,
        }
    }

    /// Runs a batch `[n, 3, height, width]` of normalised pixels; returns the wanted values in order.
    ///
    /// # Errors
    /// libtorch's message with the operator and its module.
    pub fn run(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        self.run_from(&[images])
    }

    /// The values that [`Runner::run_from`] takes.
    pub(super) fn inputs(&self) -> &[ValueId] {
        &self.program.inputs
    }

    /// The compiled operators.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.program.nodes
    }

    /// Runs from the values of [`Runner::inputs`], batch first; returns the wanted values in order.
    pub(super) fn run_from(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let convolves = |node: &Node| operators::base_name(node).contains("conv");
        let to_channels_last =
            self.program.fusion != Fusion::None && self.program.nodes.iter().any(convolves);
        let n = (inputs.first()).map_or(1, |input| input.size().first().copied().unwrap_or(1));
        let mut slots: Vec<Option<Slot>> = (0..self.program.values.len()).map(|_| None).collect();
        for (&id, value) in self.program.inputs.iter().zip(inputs) {
            let mut value = value.to_device(self.device).to_kind(self.dtype);
            if self.program.writes_in_place {
                value = value.copy();
            }
            if to_channels_last && value.dim() == 4 {
                value = channels_last(&value)?;
            }
            slots[id] = Some(Slot::Tensor(value));
        }
        for (index, (node, step)) in self.program.nodes.iter().zip(&self.steps).enumerate() {
            self.step(node, step, &mut slots, n)?;
            for &id in &self.program.frees[index] {
                slots[id] = None;
            }
        }
        self.program
            .wanted
            .iter()
            .map(|&id| self.tensor(id, &slots).map(Tensor::shallow_clone))
            .collect()
    }

    fn tensor<'a>(&'a self, id: ValueId, slots: &'a [Option<Slot>]) -> Result<&'a Tensor> {
        match &slots[id] {
            Some(Slot::Tensor(tensor)) => Ok(tensor),
            _ => self.program.constants.get(&id).ok_or_else(|| Error::Torch {
                context: format!("value {}", self.program.values[id].name),
                message: "not computed yet".into(),
            }),
        }
    }

    fn int(&self, int: &Int, slots: &[Option<Slot>]) -> Result<i64> {
        match int {
            Int::Known(value) => Ok(*value),
            Int::Symbolic(id) => match &slots[*id] {
                Some(Slot::Int(value)) => Ok(*value),
                _ => Err(Error::Torch {
                    context: format!("size {}", self.program.values[*id].name),
                    message: "not computed yet".into(),
                }),
            },
        }
    }

    /// Runs one node in a batch of `n` pictures.
    fn step(&self, node: &Node, step: &Step, slots: &mut [Option<Slot>], n: i64) -> Result<()> {
        let results = match step {
            Step::Size => {
                let size = self.size(node, slots)?;
                if let Some(id) = node.output() {
                    slots[id] = Some(Slot::Int(size));
                }
                return Ok(());
            }
            Step::Rectify(rectifier) => {
                let input = node.reads().first().copied();
                let input = input.ok_or_else(|| failure(node, "no tensor argument".into()))?;
                let output = rectifier.apply(self.tensor(input, slots)?);
                vec![output.map_err(|message| failure(node, message))?]
            }
            Step::Call { operator, names } => {
                let mut arguments = Vec::with_capacity(names.len());
                for (name, (_, argument)) in names.iter().zip(&node.arguments) {
                    arguments.push((name.as_c_str(), self.bind(argument, slots)?));
                }
                (bounds::check_arguments(&arguments, n))
                    .and_then(|()| operator.call(&arguments))
                    .map_err(|message| failure(node, message))?
            }
        };
        bounds::check_results(&results, n).map_err(|message| failure(node, message))?;
        let mut results = results.into_iter();
        for id in node.writes() {
            let tensor = results
                .next()
                .ok_or_else(|| failure(node, "fewer results than in the graph".into()))?;
            slots[id] = Some(Slot::Tensor(tensor));
        }
        Ok(())
    }

    fn bind<'a>(&'a self, argument: &'a Argument, slots: &'a [Option<Slot>]) -> Result<Value<'a>> {
        Ok(match argument {
            Argument::None => Value::None,
            Argument::Tensor(id) => match &slots[*id] {
                // A scalar computed from sizes can stand in for a tensor.
                Some(Slot::Int(value)) => Value::Int(*value),
                _ => Value::Tensor(self.tensor(*id, slots)?),
            },
            Argument::Tensors(ids) => Value::Tensors(
                ids.iter()
                    .map(|id| id.map(|id| self.tensor(id, slots)).transpose())
                    .collect::<Result<_>>()?,
            ),
            Argument::Int(int) => Value::Int(self.int(int, slots)?),
            Argument::Ints(ints) => Value::Ints(
                ints.iter()
                    .map(|int| self.int(int, slots))
                    .collect::<Result<_>>()?,
            ),
            Argument::Float(value) => Value::Float(*value),
            Argument::Floats(values) => Value::Floats(values.clone()),
            Argument::Bool(value) => Value::Bool(*value),
            Argument::Bools(values) => Value::Bools(values.clone()),
            Argument::Text(text) => Value::Str(text),
            Argument::Enum(value) => Value::Int(*value),
            Argument::Device => Value::Device(match self.device {
                Device::Cuda(index) => format!("cuda:{index}"),
                _ => "cpu".into(),
            }),
        })
    }

    /// Integer arithmetic on sizes.
    fn size(&self, node: &Node, slots: &[Option<Slot>]) -> Result<i64> {
        if node.operator == "aten::sym_size" {
            let tensor = node.reads().first().copied();
            let tensor = self.tensor(
                tensor.ok_or_else(|| failure(node, "no tensor argument".into()))?,
                slots,
            )?;
            let sizes = tensor.size();
            let dim = node.int("dim").unwrap_or(0);
            let dim = if dim < 0 {
                dim + sizes.len() as i64
            } else {
                dim
            };
            return usize::try_from(dim)
                .ok()
                .and_then(|dim| sizes.get(dim).copied())
                .ok_or_else(|| failure(node, format!("no dimension {dim}")));
        }
        let operands: Vec<i64> = node
            .arguments
            .iter()
            .filter_map(|(_, argument)| match argument {
                Argument::Int(int) => Some(self.int(int, slots)),
                _ => None,
            })
            .collect::<Result<_>>()?;
        let overflow = || failure(node, "size out of range".into());
        match (node.operator.as_str(), operands.as_slice()) {
            ("_operator::add", [a, b]) => a.checked_add(*b),
            ("_operator::sub", [a, b]) => a.checked_sub(*b),
            ("_operator::mul", [a, b]) => a.checked_mul(*b),
            ("_operator::floordiv", [a, b]) if *b > 0 => Some(a.div_euclid(*b)),
            ("_operator::mod", [a, b]) if *b > 0 => Some(a.rem_euclid(*b)),
            ("_operator::neg", [a]) => a.checked_neg(),
            _ => None,
        }
        .ok_or_else(overflow)
    }
}

fn failure(node: &Node, message: String) -> Error {
    Error::Torch {
        context: format!("{} in {}", node.full_name(), node.place()),
        message,
    }
}

fn step(node: &Node) -> Result<Step> {
    if operators::is_size(node) {
        return Ok(Step::Size);
    }
    let operator = Operator::find(&node.operator, &node.overload)
        .ok_or_else(|| failure(node, "this libtorch lacks the operator".into()))?;
    let names = node
        .arguments
        .iter()
        .map(|(name, _)| CString::new(name.as_str()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| failure(node, "an argument name contains a NUL".into()))?;
    Ok(Step::Call { operator, names })
}

/// oneDNN's weight reordering and convolution, if this libtorch has them.
fn one_dnn() -> Option<(Operator, Operator)> {
    let reorder = Operator::find("mkldnn::_reorder_convolution_weight", "")?;
    let convolution = Operator::find("mkldnn::_convolution_pointwise", "")?;
    Some((reorder, convolution))
}

/// A convolution weight in oneDNN's blocked layout; `None` if oneDNN does not support it.
pub(super) fn reorder_weight(
    weight: &Tensor,
    padding: &[i64],
    stride: &[i64],
    dilation: &[i64],
    groups: i64,
) -> Option<Tensor> {
    let (reorder, _) = one_dnn()?;
    if weight.kind() != Dtype::Float || weight.device() != Device::Cpu || weight.dim() != 4 {
        return None;
    }
    let results = reorder.call(&[
        (c"self", Value::Tensor(weight)),
        (c"padding", Value::Ints(padding.to_vec())),
        (c"stride", Value::Ints(stride.to_vec())),
        (c"dilation", Value::Ints(dilation.to_vec())),
        (c"groups", Value::Int(groups)),
        (c"input_size", Value::None),
    ]);
    results.ok()?.into_iter().next()
}

/// The same values in channels-last layout, the fastest one for convolutions.
fn channels_last(images: &Tensor) -> Result<Tensor> {
    const CHANNELS_LAST: i64 = 2;
    let operator = Operator::find("aten::contiguous", "");
    let result = operator.map(|operator| {
        operator.call(&[
            (c"self", Value::Tensor(images)),
            (c"memory_format", Value::Int(CHANNELS_LAST)),
        ])
    });
    match result {
        Some(Ok(mut tensors)) if tensors.len() == 1 => Ok(tensors.remove(0)),
        Some(Err(message)) => Err(Error::Torch {
            context: "converting images to channels last".into(),
            message,
        }),
        _ => Ok(images.shallow_clone()),
    }
}
