//! The graph of a `torch.export` archive: operator nodes in execution order, in SSA form.

use std::borrow::Cow;

use prospect_common::text::shortened;

/// Index of a value (tensor, list of tensors or symbolic integer) of the graph.
pub type ValueId = usize;

/// An integer: constant, or computed from the batch size at run time.
#[derive(Clone, Debug, PartialEq)]
pub enum Int {
    Known(i64),
    Symbolic(ValueId),
}

/// An argument of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    None,
    Tensor(ValueId),
    Tensors(Vec<Option<ValueId>>),
    Int(Int),
    Ints(Vec<Int>),
    Float(f64),
    Floats(Vec<f64>),
    Bool(bool),
    Bools(Vec<bool>),
    Text(String),
    /// c10's number of a scalar type, layout or memory format.
    Enum(i64),
    Device,
}

/// An output of a node: one value or one list of values.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Value(ValueId),
    List(Vec<ValueId>),
    /// An absent optional result.
    Absent,
}

/// One call of one module, as in `nn_module_stack`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleCall {
    /// Unique per call (`L__self__layer1.0.relu@1`).
    pub key: String,
    /// The user's module path (`layer1.0.relu`); the root is empty.
    pub path: String,
    /// Class name without its package (`ReLU`).
    pub class: String,
}

/// One operator call.
#[derive(Clone, Debug)]
pub struct Node {
    /// `aten::conv2d`, `_operator::mul`, ...
    pub operator: String,
    /// `Tensor`, `int`, ... or empty for the default overload.
    pub overload: String,
    pub arguments: Vec<(String, Argument)>,
    pub outputs: Vec<Output>,
    /// From the root to the innermost module.
    pub modules: Vec<ModuleCall>,
}

impl Node {
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The value of a tensor argument.
    pub fn tensor(&self, name: &str) -> Option<ValueId> {
        match self.argument(name) {
            Some(Argument::Tensor(id)) => Some(*id),
            _ => None,
        }
    }

    /// A list of known integers; a single integer counts as a list of one.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.argument(name) {
            Some(Argument::Ints(ints)) => ints
                .iter()
                .map(|int| match int {
                    Int::Known(value) => Some(*value),
                    Int::Symbolic(_) => None,
                })
                .collect(),
            Some(Argument::Int(Int::Known(value))) => Some(vec![*value]),
            _ => None,
        }
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.argument(name) {
            Some(Argument::Int(Int::Known(value))) => Some(*value),
            _ => None,
        }
    }

    /// An integer or floating-point number.
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.argument(name) {
            Some(Argument::Float(value)) => Some(*value),
            Some(Argument::Int(Int::Known(value))) => Some(*value as f64),
            _ => None,
        }
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.argument(name) {
            Some(Argument::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// Every value that the node reads.
    pub fn reads(&self) -> Vec<ValueId> {
        let mut ids = Vec::new();
        for (_, argument) in &self.arguments {
            match argument {
                Argument::Tensor(id) | Argument::Int(Int::Symbolic(id)) => ids.push(*id),
                Argument::Tensors(list) => ids.extend(list.iter().flatten()),
                Argument::Ints(list) => ids.extend(list.iter().filter_map(|int| match int {
                    Int::Symbolic(id) => Some(*id),
                    Int::Known(_) => None,
                })),
                _ => {}
            }
        }
        ids
    }

    /// Every value that the node produces.
    pub fn writes(&self) -> Vec<ValueId> {
        self.outputs
            .iter()
            .flat_map(|output| match output {
                Output::Value(id) => vec![*id],
                Output::List(ids) => ids.clone(),
                Output::Absent => vec![],
            })
            .collect()
    }

    /// The value that the node produces, if exactly one.
    pub fn output(&self) -> Option<ValueId> {
        match self.outputs.as_slice() {
            [Output::Value(id)] => Some(*id),
            _ => None,
        }
    }

    /// The innermost module's path; empty for the root.
    pub fn module(&self) -> &str {
        self.modules.last().map_or("", |call| &call.path)
    }

    /// The innermost module's path, for messages.
    pub fn place(&self) -> Cow<'_, str> {
        match self.module() {
            "" => "the network itself".into(),
            path => shortened(path, 120),
        }
    }

    /// `aten::conv2d` or `aten::add.Tensor`.
    pub fn full_name(&self) -> String {
        if self.overload.is_empty() {
            self.operator.clone()
        } else {
            format!("{}.{}", self.operator, self.overload)
        }
    }
}

/// Origin of a graph input's data.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Parameter or persistent buffer, by name in the module.
    Weight(String),
    /// Non-persistent buffer or lifted constant.
    Constant(String),
}

/// Static information about a value.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    pub name: String,
    /// Sizes of a tensor; an inner `None` is a size that depends on the batch size.
    pub shape: Option<Vec<Option<i64>>>,
}

/// A whole network: one image batch in, one logits tensor out.
#[derive(Clone, Debug)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub values: Vec<ValueInfo>,
    /// Parameters, buffers and constants.
    pub sources: Vec<(ValueId, Source)>,
    /// The image batch, `[n, channels, height, width]`.
    pub input: ValueId,
    /// The logits, `[n, classes]`.
    pub logits: ValueId,
}

impl Graph {
    /// The sizes of a value, if it is a tensor of known rank.
    pub fn shape(&self, id: ValueId) -> Option<&[Option<i64>]> {
        self.values[id].shape.as_deref()
    }

    /// Height and width of the image batch.
    pub fn input_size(&self) -> (i64, i64) {
        match self.shape(self.input) {
            Some([_, _, Some(height), Some(width)]) => (*height, *width),
            _ => (0, 0),
        }
    }

    /// Number of classes: the logits' second dimension.
    pub fn n_classes(&self) -> i64 {
        match self.shape(self.logits) {
            Some([_, Some(classes)]) => *classes,
            _ => 0,
        }
    }

    /// The node that produces each value (`None` for inputs).
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for id in node.writes() {
                producers[id] = Some(index);
            }
        }
        producers
    }

    /// Which values depend on the image batch.
    pub fn depends_on_input(&self) -> Vec<bool> {
        let mut depends = vec![false; self.values.len()];
        depends[self.input] = true;
        for node in &self.nodes {
            if node.reads().iter().any(|&id| depends[id]) {
                for id in node.writes() {
                    depends[id] = true;
                }
            }
        }
        depends
    }
}

/// `[n, 64, 56, 56]`
pub(super) fn shape_text(shape: Option<&[Option<i64>]>) -> String {
    let Some(shape) = shape else {
        return "?".into();
    };
    let sizes: Vec<String> = shape
        .iter()
        .map(|size| size.map_or("n".into(), |size| size.to_string()))
        .collect();
    format!("[{}]", sizes.join(", "))
}
