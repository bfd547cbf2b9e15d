//! The golden networks, and manually built graphs.
#![allow(dead_code)]

pub mod archive;
pub mod project;

use std::{collections::HashMap, path::PathBuf};

use prospect::model::{
    ModelInfo,
    analysis::Analysis,
    executor::{Network, Precision},
    graph::{Argument, Graph, Int, Node, Output, Source, ValueId, ValueInfo},
    sidecar::Sidecar,
};
use tch::{Device, Tensor};

/// Networks of tests/golden/make_models.py.
pub const GOLDEN: [&str; 5] = ["plain", "residual", "mobile", "branches", "transformer"];

pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

pub fn open(name: &str) -> (ModelInfo, Network, HashMap<String, Tensor>) {
    let info = prospect::config::open_model(&golden(&format!("{name}.pt2")), None).unwrap();
    let network = info.load(Device::Cpu, Precision::Float32).unwrap();
    let reference =
        Tensor::read_safetensors(golden(&format!("{name}.reference.safetensors"))).unwrap();
    (info, network, reference.into_iter().collect())
}

/// Largest absolute difference relative to the largest absolute value of `expected`.
pub fn relative_difference(got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(got.size(), expected.size());
    let scale = f64::try_from(expected.abs().max()).unwrap().max(1e-12);
    f64::try_from((got - expected).abs().max()).unwrap() / scale
}

/// Builds a graph node by node, with shapes from the operators' formulas.
pub struct Builder {
    pub graph: Graph,
    pub weights: HashMap<ValueId, Tensor>,
}

impl Builder {
    pub fn new(height: i64, width: i64) -> Builder {
        let input = ValueInfo {
            name: "x".into(),
            shape: Some(vec![None, Some(3), Some(height), Some(width)]),
        };
        Builder {
            graph: Graph {
                nodes: vec![],
                values: vec![input],
                sources: vec![],
                input: 0,
                logits: 0,
            },
            weights: HashMap::new(),
        }
    }

    pub fn shape(&self, id: ValueId) -> [i64; 3] {
        let shape = self.graph.shape(id).unwrap();
        [shape[1].unwrap(), shape[2].unwrap(), shape[3].unwrap()]
    }

    fn value(&mut self, shape: Vec<Option<i64>>) -> ValueId {
        let id = self.graph.values.len();
        self.graph.values.push(ValueInfo {
            name: format!("v{id}"),
            shape: Some(shape),
        });
        id
    }

    fn node(
        &mut self,
        operator: &str,
        overload: &str,
        arguments: Vec<(&str, Argument)>,
        shape: impl IntoIterator<Item = i64>,
    ) -> ValueId {
        let sizes = [None].into_iter().chain(shape.into_iter().map(Some));
        let output = self.value(sizes.collect());
        self.graph.nodes.push(Node {
            operator: format!("aten::{operator}"),
            overload: overload.into(),
            arguments: arguments
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect(),
            outputs: vec![Output::Value(output)],
            modules: vec![],
        });
        self.graph.logits = output;
        output
    }

    fn weight(&mut self, tensor: Tensor) -> ValueId {
        let id = self.value(tensor.size().into_iter().map(Some).collect());
        let source = Source::Weight(format!("w{id}"));
        self.graph.sources.push((id, source));
        self.weights.insert(id, tensor);
        id
    }

    /// A convolution with random positive weights, so that no two paths through the graph cancel.
    pub fn conv(
        &mut self,
        x: ValueId,
        out: i64,
        kernel: [i64; 2],
        stride: i64,
        padding: i64,
        dilation: i64,
    ) -> ValueId {
        let [channels, height, width] = self.shape(x);
        let sizes = [out, channels, kernel[0], kernel[1]];
        let weight = self.weight(Tensor::rand(sizes, (tch::Kind::Float, Device::Cpu)) + 0.1);
        let size = |input: i64, kernel: i64| {
            (input + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
        };
        self.node(
            "conv2d",
            "",
            vec![
                ("input", Argument::Tensor(x)),
                ("weight", Argument::Tensor(weight)),
                ("bias", Argument::None),
                ("stride", ints(&[stride, stride])),
                ("padding", ints(&[padding, padding])),
                ("dilation", ints(&[dilation, dilation])),
            ],
            [out, size(height, kernel[0]), size(width, kernel[1])],
        )
    }

    pub fn pool(
        &mut self,
        x: ValueId,
        max: bool,
        kernel: i64,
        stride: i64,
        padding: i64,
    ) -> ValueId {
        let [channels, height, width] = self.shape(x);
        let size = |input: i64| (input + 2 * padding - kernel) / stride + 1;
        self.node(
            if max { "max_pool2d" } else { "avg_pool2d" },
            "",
            vec![
                ("self", Argument::Tensor(x)),
                ("kernel_size", ints(&[kernel, kernel])),
                ("stride", ints(&[stride, stride])),
                ("padding", ints(&[padding, padding])),
            ],
            [channels, size(height), size(width)],
        )
    }

    pub fn relu(&mut self, x: ValueId) -> ValueId {
        let shape = self.shape(x);
        self.node("relu", "", vec![("self", Argument::Tensor(x))], shape)
    }

    pub fn clamp(&mut self, x: ValueId, low: f64, high: f64) -> ValueId {
        let shape = self.shape(x);
        self.node(
            "hardtanh",
            "",
            vec![
                ("self", Argument::Tensor(x)),
                ("min_val", Argument::Float(low)),
                ("max_val", Argument::Float(high)),
            ],
            shape,
        )
    }

    /// The weighted sum of an image's values, a single cell; the weight is `[1, channels, rows, columns]`.
    pub fn weighted_sum(&mut self, x: ValueId, weight: Tensor) -> ValueId {
        let weight = self.weight(weight);
        let arguments = vec![
            ("input", Argument::Tensor(x)),
            ("weight", Argument::Tensor(weight)),
            ("bias", Argument::None),
        ];
        self.node("conv2d", "", arguments, [1, 1, 1])
    }

    /// Global average pooling and a linear layer with weight `[classes, channels]` and bias `[classes]`.
    pub fn pooled_linear(&mut self, x: ValueId, weight: Tensor, bias: Tensor) -> ValueId {
        let [channels, ..] = self.shape(x);
        let classes = bias.size()[0];
        let arguments = vec![("self", Argument::Tensor(x)), ("dim", ints(&[2, 3]))];
        let mean = self.node("mean", "dim", arguments, [channels]);
        let (weight, bias) = (self.weight(weight), self.weight(bias));
        self.node(
            "linear",
            "",
            vec![
                ("input", Argument::Tensor(mean)),
                ("weight", Argument::Tensor(weight)),
                ("bias", Argument::Tensor(bias)),
            ],
            [classes],
        )
    }

    /// The model, as loaded from a file.
    pub fn model(&self) -> (ModelInfo, Network) {
        let info = ModelInfo {
            path: PathBuf::new(),
            digest: String::new(),
            analysis: Analysis::new(&self.graph),
            graph: self.graph.clone(),
            sidecar: Sidecar::default(),
        };
        let weights = (self.weights.iter())
            .map(|(&id, tensor)| (id, tensor.shallow_clone()))
            .collect();
        let network = Network::from_parts(self.graph.clone(), weights, Device::Cpu);
        (info, network)
    }

    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let shape = self.shape(a);
        assert_eq!(shape, self.shape(b));
        let arguments = vec![
            ("self", Argument::Tensor(a)),
            ("other", Argument::Tensor(b)),
        ];
        self.node("add", "Tensor", arguments, shape)
    }

    pub fn cat(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let [channels, height, width] = self.shape(a);
        let more = self.shape(b)[0];
        let list = Argument::Tensors(vec![Some(a), Some(b)]);
        self.node(
            "cat",
            "",
            vec![("tensors", list), ("dim", Argument::Int(Int::Known(1)))],
            [channels + more, height, width],
        )
    }

    pub fn slice(&mut self, x: ValueId, dim: i64, start: i64, step: i64) -> ValueId {
        let mut shape = self.shape(x);
        let size = &mut shape[dim as usize - 1];
        *size = (*size - start + step - 1) / step;
        let int = |value| Argument::Int(Int::Known(value));
        self.node(
            "slice",
            "Tensor",
            vec![
                ("self", Argument::Tensor(x)),
                ("dim", int(dim)),
                ("start", int(start)),
                ("end", int(i64::MAX)),
                ("step", int(step)),
            ],
            shape,
        )
    }

    pub fn pad(&mut self, x: ValueId, amounts: [i64; 4]) -> ValueId {
        let [channels, height, width] = self.shape(x);
        let [left, right, top, bottom] = amounts;
        self.node(
            "pad",
            "",
            vec![
                ("self", Argument::Tensor(x)),
                ("pad", ints(&amounts)),
                ("mode", Argument::Text("constant".into())),
                ("value", Argument::Float(0.0)),
            ],
            [channels, height + top + bottom, width + left + right],
        )
    }
}

fn ints(values: &[i64]) -> Argument {
    Argument::Ints(values.iter().map(|&value| Int::Known(value)).collect())
}
