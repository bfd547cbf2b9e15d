//! The graph of a `torch.export` archive: operator nodes in execution order, in SSA form.

use std::{collections::HashMap, path::Path};

use serde_json::Value as Json;

use super::archive::TensorMeta;
use crate::error::{Error, Result};

/// Index of a value (tensor, list of tensors or symbolic integer) of the graph.
pub type ValueId = usize;

/// An integer that is known, or computed from the batch size while the graph runs.
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

/// What a node gives: one value each, or one list of values.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Value(ValueId),
    List(Vec<ValueId>),
    /// An optional result that is absent.
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

    /// A list of known integers; a single one counts as a list of one.
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

    /// A number, integer or not.
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

    /// Every value that the node gives.
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

    /// The one value that the node gives, if it gives exactly one.
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

    /// `aten::conv2d` or `aten::add.Tensor`.
    pub fn full_name(&self) -> String {
        if self.overload.is_empty() {
            self.operator.clone()
        } else {
            format!("{}.{}", self.operator, self.overload)
        }
    }
}

/// Where a graph input's data come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Parameter or persistent buffer, by its name in the module.
    Weight(String),
    /// Non-persistent buffer or lifted constant.
    Constant(String),
}

/// What is known of a value before anything runs.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    pub name: String,
    /// Sizes; `None` where one follows the batch size. Absent for what is no tensor.
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
    /// Parses `models/model.json`. `path` is only for messages.
    ///
    /// # Errors
    /// JSON that is no exported program, or a program that is not one image batch in, one logits tensor out.
    pub fn parse(json: &[u8], path: &Path) -> Result<Graph> {
        let document: Json = serde_json::from_slice(json).map_err(|error| {
            Error::invalid(
                path,
                "an exported program in models/model.json",
                error.to_string(),
                "make the file anew with `python jobs/export_model.py`",
            )
        })?;
        Parser::default()
            .graph(&document)
            .map_err(|problem| match problem {
                Problem::Format(found) => Error::invalid(
                    path,
                    "an exported program as torch 2.11 writes it",
                    found,
                    "make the file anew with `python jobs/export_model.py`",
                ),
                Problem::Interface(found) => Error::invalid(
                    path,
                    "a network that takes one image batch [n, 3, height, width] and gives one logits tensor [n, classes]",
                    found,
                    "wrap the network in a module whose forward() takes one image batch and returns its logits, and export that",
                ),
            })
    }

    /// The sizes of a value, where it is a tensor of known rank.
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

    /// Number of classes, the logits' second dimension.
    pub fn n_classes(&self) -> i64 {
        match self.shape(self.logits) {
            Some([_, Some(classes)]) => *classes,
            _ => 0,
        }
    }

    /// The node that gives each value (`None` for inputs).
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

enum Problem {
    Format(String),
    Interface(String),
}

type Parsed<T> = Result<T, Problem>;

fn format_problem(what: impl Into<String>) -> Problem {
    Problem::Format(what.into())
}

#[derive(Default)]
struct Parser {
    ids: HashMap<String, ValueId>,
    values: Vec<ValueInfo>,
}

impl Parser {
    fn id(&mut self, name: &str) -> ValueId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = self.values.len();
        self.ids.insert(name.to_string(), id);
        self.values.push(ValueInfo {
            name: name.to_string(),
            shape: None,
        });
        id
    }

    /// A value that an earlier node or input must have made.
    fn known(&self, name: &str) -> Parsed<ValueId> {
        self.ids
            .get(name)
            .copied()
            .ok_or_else(|| format_problem(format!("value {name:?} is used before it is made")))
    }

    fn graph(mut self, document: &Json) -> Parsed<Graph> {
        let module = &document["graph_module"];
        let graph = &module["graph"];
        let (sources, inputs) = self.inputs(&module["signature"]["input_specs"])?;
        let [input] = inputs.as_slice() else {
            return Err(Problem::Interface(format!("{} inputs", inputs.len())));
        };
        let input = *input;
        let nodes = array(&graph["nodes"], "graph.nodes")?
            .iter()
            .map(|node| self.node(node))
            .collect::<Parsed<Vec<_>>>()?;
        let outputs = array(
            &module["signature"]["output_specs"],
            "signature.output_specs",
        )?;
        let logits = match outputs.as_slice() {
            [spec] => spec["user_output"]["arg"]["as_tensor"]["name"].as_str(),
            _ => None,
        }
        .ok_or_else(|| {
            Problem::Interface(format!(
                "{} outputs (or one that is no tensor)",
                outputs.len()
            ))
        })?;
        let logits = self.known(logits)?;
        self.shapes(&graph["tensor_values"])?;
        let graph = Graph {
            nodes,
            values: self.values,
            sources,
            input,
            logits,
        };
        match graph.shape(graph.input) {
            Some([_, Some(3), Some(height), Some(width)]) if *height > 0 && *width > 0 => {}
            other => {
                return Err(Problem::Interface(format!(
                    "an input of sizes {}",
                    show(other)
                )));
            }
        }
        match graph.shape(graph.logits) {
            Some([_, Some(classes)]) if *classes > 0 => Ok(graph),
            other => Err(Problem::Interface(format!(
                "an output of sizes {}",
                show(other)
            ))),
        }
    }

    #[allow(clippy::type_complexity)]
    fn inputs(&mut self, specs: &Json) -> Parsed<(Vec<(ValueId, Source)>, Vec<ValueId>)> {
        let mut sources = Vec::new();
        let mut inputs = Vec::new();
        for spec in array(specs, "signature.input_specs")? {
            let (kind, body) = single(spec, "input spec")?;
            match kind {
                "user_input" => {
                    let name = body["arg"]["as_tensor"]["name"]
                        .as_str()
                        .ok_or_else(|| Problem::Interface("an input that is no tensor".into()))?;
                    let id = self.id(name);
                    inputs.push(id);
                }
                "parameter" | "buffer" | "tensor_constant" => {
                    let id = self.id(text(&body["arg"]["name"], "input name")?);
                    let name = text(&body[format!("{kind}_name")], "parameter name")?.to_string();
                    // Non-persistent buffers are saved among the constants.
                    let constant =
                        kind == "tensor_constant" || body["persistent"].as_bool() == Some(false);
                    sources.push((
                        id,
                        if constant {
                            Source::Constant(name)
                        } else {
                            Source::Weight(name)
                        },
                    ));
                }
                other => {
                    return Err(Problem::Interface(format!("an input of kind {other:?}")));
                }
            }
        }
        Ok((sources, inputs))
    }

    fn node(&mut self, node: &Json) -> Parsed<Node> {
        let target = text(&node["target"], "node target")?;
        let (operator, overload) = operator_name(target);
        let arguments = array(&node["inputs"], "node inputs")?
            .iter()
            .map(|input| {
                let name = input["name"].as_str().unwrap_or("").to_string();
                Ok((name, self.argument(&input["arg"], target)?))
            })
            .collect::<Parsed<Vec<_>>>()?;
        let outputs = array(&node["outputs"], "node outputs")?
            .iter()
            .map(|output| self.output(output, target))
            .collect::<Parsed<Vec<_>>>()?;
        let stack = node["metadata"]["nn_module_stack"].as_str().unwrap_or("");
        Ok(Node {
            operator,
            overload,
            arguments,
            outputs,
            modules: module_stack(stack),
        })
    }

    fn argument(&self, argument: &Json, target: &str) -> Parsed<Argument> {
        let (kind, body) = single(argument, "argument")?;
        let bad = || format_problem(format!("argument {argument} of {target}"));
        let list = || body.as_array().ok_or_else(bad);
        Ok(match kind {
            "as_none" => Argument::None,
            "as_tensor" => Argument::Tensor(self.known(body["name"].as_str().ok_or_else(bad)?)?),
            "as_tensors" | "as_optional_tensors" => Argument::Tensors(
                list()?
                    .iter()
                    .map(|item| {
                        if item.get("as_none").is_some() {
                            return Ok(None);
                        }
                        let item = item.get("as_tensor").unwrap_or(item);
                        Ok(Some(self.known(item["name"].as_str().ok_or_else(bad)?)?))
                    })
                    .collect::<Parsed<_>>()?,
            ),
            "as_int" => Argument::Int(Int::Known(body.as_i64().ok_or_else(bad)?)),
            "as_sym_int" => Argument::Int(self.int(body).ok_or_else(bad)?),
            "as_ints" => Argument::Ints(
                list()?
                    .iter()
                    .map(|item| item.as_i64().map(Int::Known))
                    .collect::<Option<_>>()
                    .ok_or_else(bad)?,
            ),
            "as_sym_ints" => Argument::Ints(
                list()?
                    .iter()
                    .map(|item| self.int(item))
                    .collect::<Option<_>>()
                    .ok_or_else(bad)?,
            ),
            "as_float" => Argument::Float(number(body).ok_or_else(bad)?),
            "as_floats" => Argument::Floats(
                list()?
                    .iter()
                    .map(number)
                    .collect::<Option<_>>()
                    .ok_or_else(bad)?,
            ),
            "as_bool" => Argument::Bool(body.as_bool().ok_or_else(bad)?),
            "as_bools" => Argument::Bools(
                list()?
                    .iter()
                    .map(Json::as_bool)
                    .collect::<Option<_>>()
                    .ok_or_else(bad)?,
            ),
            "as_string" => Argument::Text(body.as_str().ok_or_else(bad)?.to_string()),
            "as_scalar_type" => {
                Argument::Enum(c10_scalar_type(body.as_i64().unwrap_or(0)).ok_or_else(bad)?)
            }
            "as_memory_format" => Argument::Enum(match body.as_i64() {
                Some(1) => 0,
                Some(2) => 2,
                Some(3) => 3,
                Some(4) => 1,
                _ => return Err(bad()),
            }),
            // Only strided tensors occur; c10 numbers that layout 0.
            "as_layout" if body.as_i64() == Some(7) => Argument::Enum(0),
            "as_device" => Argument::Device,
            _ => return Err(bad()),
        })
    }

    fn int(&self, item: &Json) -> Option<Int> {
        if let Some(value) = item.get("as_int").and_then(Json::as_i64) {
            return Some(Int::Known(value));
        }
        let name = item.get("as_name")?.as_str()?;
        self.ids.get(name).copied().map(Int::Symbolic)
    }

    fn output(&mut self, output: &Json, target: &str) -> Parsed<Output> {
        let (kind, body) = single(output, "output")?;
        let bad = || format_problem(format!("output {output} of {target}"));
        Ok(match kind {
            "as_tensor" => Output::Value(self.id(body["name"].as_str().ok_or_else(bad)?)),
            "as_sym_int" => Output::Value(self.id(body["as_name"].as_str().ok_or_else(bad)?)),
            "as_tensors" => Output::List(
                body.as_array()
                    .ok_or_else(bad)?
                    .iter()
                    .map(|item| item["name"].as_str().map(|name| self.id(name)))
                    .collect::<Option<_>>()
                    .ok_or_else(bad)?,
            ),
            "as_none" => Output::Absent,
            _ => return Err(bad()),
        })
    }

    fn shapes(&mut self, tensor_values: &Json) -> Parsed<()> {
        let entries = tensor_values
            .as_object()
            .ok_or_else(|| format_problem("no graph.tensor_values"))?;
        for (name, meta) in entries {
            if let Some(&id) = self.ids.get(name) {
                let meta: TensorMeta = serde_json::from_value(meta.clone())
                    .map_err(|error| format_problem(format!("sizes of {name}: {error}")))?;
                self.values[id].shape =
                    Some(meta.sizes.iter().map(super::archive::Size::fixed).collect());
            }
        }
        Ok(())
    }
}

fn show(shape: Option<&[Option<i64>]>) -> String {
    shape.map_or("unknown".to_string(), |sizes| {
        let sizes: Vec<String> = sizes
            .iter()
            .map(|size| size.map_or("n".to_string(), |value| value.to_string()))
            .collect();
        format!("[{}]", sizes.join(", "))
    })
}

fn array<'a>(value: &'a Json, what: &str) -> Parsed<&'a Vec<Json>> {
    value
        .as_array()
        .ok_or_else(|| format_problem(format!("no list {what}")))
}

fn text<'a>(value: &'a Json, what: &str) -> Parsed<&'a str> {
    value
        .as_str()
        .ok_or_else(|| format_problem(format!("no text for {what}")))
}

/// The one key and its value of a tagged union.
fn single<'a>(value: &'a Json, what: &str) -> Parsed<(&'a str, &'a Json)> {
    value
        .as_object()
        .and_then(|object| object.iter().next())
        .map(|(key, value)| (key.as_str(), value))
        .ok_or_else(|| format_problem(format!("an empty {what}")))
}

/// A float; torch writes infinities and NaN as text.
fn number(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| match value.as_str()? {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ => None,
    })
}

/// `torch.ops.aten.add.Tensor` → (`aten::add`, `Tensor`); `_operator.mul` → (`_operator::mul`, ``).
fn operator_name(target: &str) -> (String, String) {
    let target = target.strip_prefix("torch.ops.").unwrap_or(target);
    let mut parts = target.splitn(3, '.');
    let namespace = parts.next().unwrap_or("");
    let name = parts.next().unwrap_or("");
    let overload = parts.next().unwrap_or("");
    (
        format!("{namespace}::{name}"),
        if overload == "default" { "" } else { overload }.to_string(),
    )
}

/// `torch._export.serde.schema.ScalarType` → `c10::ScalarType`.
pub fn c10_scalar_type(exported: i64) -> Option<i64> {
    match exported {
        1..=12 => Some(exported - 1),
        13 => Some(15),
        _ => None,
    }
}

fn module_stack(stack: &str) -> Vec<ModuleCall> {
    stack
        .split(';')
        .filter_map(|entry| {
            let mut parts = entry.splitn(3, ',');
            let key = parts.next()?;
            let path = parts.next()?;
            let class = parts.next()?;
            // Nodes that belong to no module (sizes) carry a placeholder.
            (!key.starts_with("_empty_nn_module_stack")).then(|| ModuleCall {
                key: key.to_string(),
                path: path.to_string(),
                class: class.rsplit('.').next().unwrap_or(class).to_string(),
            })
        })
        .collect()
}
