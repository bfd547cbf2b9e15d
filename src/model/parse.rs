//! Parses `models/model.json` of a `torch.export` archive into a [`Graph`].

use std::{collections::HashMap, path::Path};

use prospect_common::{Error, Result, text::shortened};
use serde_json::Value as Json;

use super::{
    archive::{EXPORT_AGAIN, ScalarType, Size, TensorMeta},
    graph::{Argument, Graph, Int, ModuleCall, Node, Output, Source, ValueId, ValueInfo},
};

impl Graph {
    /// Parses `models/model.json`; `path` is for messages.
    ///
    /// # Errors
    /// JSON that is not an exported program, or a program that does not map one image batch to one logits tensor.
    pub fn parse(json: &[u8], path: &Path) -> Result<Graph> {
        let document: Json = serde_json::from_slice(json).map_err(|error| {
            Error::invalid(
                path,
                "an exported program in models/model.json",
                error.to_string(),
                EXPORT_AGAIN,
            )
        })?;
        Parser::default()
            .graph(&document)
            .map_err(|problem| match problem {
                Problem::Format(found) => Error::invalid(
                    path,
                    "an exported program of torch 2.11",
                    shortened(&found, MAX_SHOWN),
                    EXPORT_AGAIN,
                ),
                Problem::Interface(found) => Error::invalid(
                    path,
                    "a network from one image batch [n, 3, height, width] to one logits tensor [n, classes]",
                    shortened(&found, MAX_SHOWN),
                    "export a wrapper module whose forward() takes one RGB batch of fixed height and width and returns its logits",
                ),
                Problem::StaticBatch(n) => Error::invalid(
                    path,
                    "a network for any batch size",
                    format!("one for batches of {n}"),
                    "export it with an example of two images and dynamic_shapes=({0: torch.export.Dim(\"batch\")},)",
                ),
                Problem::Precision(found) => Error::invalid(
                    path,
                    "float32 images and activations",
                    shortened(&found, MAX_SHOWN),
                    "call model.float(), remove conversions to other types from forward(), and export it with a float32 example",
                ),
            })
    }
}

/// Characters of a message about the file's contents.
const MAX_SHOWN: usize = 200;
/// Elements of one tensor, for one picture.
const MAX_ELEMENTS: i64 = 1 << 32;

enum Problem {
    Format(String),
    Interface(String),
    StaticBatch(i64),
    Precision(String),
}

type Parsed<T> = Result<T, Problem>;

fn format_problem(found: impl Into<String>) -> Problem {
    Problem::Format(found.into())
}

#[derive(Default)]
struct Parser {
    ids: HashMap<String, ValueId>,
    values: Vec<ValueInfo>,
    /// Element type of every value that is a tensor.
    dtypes: HashMap<ValueId, ScalarType>,
}

impl Parser {
    /// A new value.
    fn define(&mut self, name: &str) -> Parsed<ValueId> {
        let id = self.values.len();
        if self.ids.insert(name.to_string(), id).is_some() {
            return Err(format_problem(format!("value {name:?} is defined twice")));
        }
        self.values.push(ValueInfo {
            name: name.to_string(),
            shape: None,
        });
        Ok(id)
    }

    /// The id of a value that an input or earlier node defines.
    fn known(&self, name: &str) -> Parsed<ValueId> {
        self.ids
            .get(name)
            .copied()
            .ok_or_else(|| format_problem(format!("value {name:?} is used before its definition")))
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
                "{} outputs, or one that is not a tensor",
                outputs.len()
            ))
        })?;
        let logits = self.known(logits)?;
        self.shapes(&graph["tensor_values"])?;
        let dtypes = self.dtypes;
        let graph = Graph {
            nodes,
            values: self.values,
            sources,
            input,
            logits,
        };
        if let Some([Some(n), ..]) = graph.shape(graph.input) {
            return Err(Problem::StaticBatch(*n));
        }
        float32(&graph, &dtypes)?;
        match graph.shape(graph.input) {
            Some([None, Some(3), Some(height), Some(width)]) if *height > 0 && *width > 0 => {}
            other => {
                return Err(Problem::Interface(format!(
                    "an input of shape {}",
                    show(other)
                )));
            }
        }
        match graph.shape(graph.logits) {
            Some([None, Some(classes)]) if *classes > 0 => Ok(graph),
            other => Err(Problem::Interface(format!(
                "an output of shape {}",
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
                    let name = body["arg"]["as_tensor"]["name"].as_str().ok_or_else(|| {
                        Problem::Interface("an input that is not a tensor".into())
                    })?;
                    inputs.push(self.define(name)?);
                }
                "parameter" | "buffer" | "tensor_constant" => {
                    let id = self.define(text(&body["arg"]["name"], "input name")?)?;
                    let name = text(&body[format!("{kind}_name")], "parameter name")?.to_string();
                    // Non-persistent buffers are saved as constants.
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
        let invalid = || format_problem(format!("an invalid argument {argument} of {target}"));
        let list = || body.as_array().ok_or_else(invalid);
        Ok(match kind {
            "as_none" => Argument::None,
            "as_tensor" => {
                Argument::Tensor(self.known(body["name"].as_str().ok_or_else(invalid)?)?)
            }
            "as_tensors" | "as_optional_tensors" => Argument::Tensors(
                list()?
                    .iter()
                    .map(|item| {
                        if item.get("as_none").is_some() {
                            return Ok(None);
                        }
                        let item = item.get("as_tensor").unwrap_or(item);
                        Ok(Some(
                            self.known(item["name"].as_str().ok_or_else(invalid)?)?,
                        ))
                    })
                    .collect::<Parsed<_>>()?,
            ),
            "as_int" => Argument::Int(Int::Known(body.as_i64().ok_or_else(invalid)?)),
            "as_sym_int" => Argument::Int(self.int(body).ok_or_else(invalid)?),
            "as_ints" => Argument::Ints(
                list()?
                    .iter()
                    .map(|item| item.as_i64().map(Int::Known))
                    .collect::<Option<_>>()
                    .ok_or_else(invalid)?,
            ),
            "as_sym_ints" => Argument::Ints(
                list()?
                    .iter()
                    .map(|item| self.int(item))
                    .collect::<Option<_>>()
                    .ok_or_else(invalid)?,
            ),
            "as_float" => Argument::Float(number(body).ok_or_else(invalid)?),
            "as_floats" => Argument::Floats(
                list()?
                    .iter()
                    .map(number)
                    .collect::<Option<_>>()
                    .ok_or_else(invalid)?,
            ),
            "as_bool" => Argument::Bool(body.as_bool().ok_or_else(invalid)?),
            "as_bools" => Argument::Bools(
                list()?
                    .iter()
                    .map(Json::as_bool)
                    .collect::<Option<_>>()
                    .ok_or_else(invalid)?,
            ),
            "as_string" => Argument::Text(body.as_str().ok_or_else(invalid)?.to_string()),
            "as_scalar_type" => Argument::Enum(
                ScalarType(body.as_i64().unwrap_or(0))
                    .c10()
                    .ok_or_else(invalid)?,
            ),
            "as_memory_format" => Argument::Enum(match body.as_i64() {
                Some(1) => 0,
                Some(2) => 2,
                Some(3) => 3,
                Some(4) => 1,
                _ => return Err(invalid()),
            }),
            // The strided layout, number 0 in c10; no other occurs.
            "as_layout" if body.as_i64() == Some(7) => Argument::Enum(0),
            "as_device" => Argument::Device,
            _ => return Err(invalid()),
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
        let invalid = || format_problem(format!("an invalid output {output} of {target}"));
        Ok(match kind {
            "as_tensor" => Output::Value(self.define(body["name"].as_str().ok_or_else(invalid)?)?),
            "as_sym_int" => {
                Output::Value(self.define(body["as_name"].as_str().ok_or_else(invalid)?)?)
            }
            "as_tensors" => Output::List(
                body.as_array()
                    .ok_or_else(invalid)?
                    .iter()
                    .map(|item| self.define(item["name"].as_str().ok_or_else(invalid)?))
                    .collect::<Parsed<_>>()?,
            ),
            "as_none" => Output::Absent,
            _ => return Err(invalid()),
        })
    }

    fn shapes(&mut self, tensor_values: &Json) -> Parsed<()> {
        let entries = tensor_values
            .as_object()
            .ok_or_else(|| format_problem("no object graph.tensor_values"))?;
        for (name, meta) in entries {
            if let Some(&id) = self.ids.get(name) {
                let meta: TensorMeta = serde_json::from_value(meta.clone())
                    .map_err(|error| format_problem(format!("sizes of {name}: {error}")))?;
                let shape: Vec<Option<i64>> = meta.sizes.iter().map(Size::fixed).collect();
                (shape.iter().flatten())
                    .try_fold(1i64, |n, &size| n.checked_mul(size.max(1)))
                    .filter(|&n| n <= MAX_ELEMENTS && shape.iter().flatten().all(|&size| size >= 0))
                    .ok_or_else(|| {
                        format_problem(format!("sizes {} of {name}", show(Some(&shape))))
                    })?;
                self.values[id].shape = Some(shape);
                self.dtypes.insert(id, ScalarType(meta.dtype));
            }
        }
        Ok(())
    }
}

/// Refuses images that are not float32, and values computed from them in another floating-point type.
fn float32(graph: &Graph, dtypes: &HashMap<ValueId, ScalarType>) -> Parsed<()> {
    let name = |id: ValueId| dtypes.get(&id).and_then(|dtype| dtype.name());
    match name(graph.input) {
        Some("float32") => {}
        other => {
            let found = format!("images of type {}", other.unwrap_or("unknown"));
            return Err(Problem::Precision(found));
        }
    }
    let depends = graph.depends_on_input();
    for node in &graph.nodes {
        for id in node.writes().into_iter().filter(|&id| depends[id]) {
            if let Some(name @ ("float16" | "bfloat16" | "float64")) = name(id) {
                return Err(Problem::Precision(format!(
                    "{name} after {} in {}",
                    node.full_name(),
                    node.place()
                )));
            }
        }
    }
    Ok(())
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

fn array<'a>(value: &'a Json, name: &str) -> Parsed<&'a Vec<Json>> {
    value
        .as_array()
        .ok_or_else(|| format_problem(format!("no list {name}")))
}

fn text<'a>(value: &'a Json, name: &str) -> Parsed<&'a str> {
    value
        .as_str()
        .ok_or_else(|| format_problem(format!("no string {name}")))
}

/// Tag and content of a tagged union.
fn single<'a>(value: &'a Json, name: &str) -> Parsed<(&'a str, &'a Json)> {
    value
        .as_object()
        .and_then(|object| object.iter().next())
        .map(|(key, value)| (key.as_str(), value))
        .ok_or_else(|| format_problem(format!("an empty {name}")))
}

/// A float; torch writes infinities and NaN as strings.
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

fn module_stack(stack: &str) -> Vec<ModuleCall> {
    stack
        .split(';')
        .filter_map(|entry| {
            let mut parts = entry.splitn(3, ',');
            let key = parts.next()?;
            let path = parts.next()?;
            let class = parts.next()?;
            // Nodes outside all modules (sizes) have a placeholder.
            (!key.starts_with("_empty_nn_module_stack")).then(|| ModuleCall {
                key: key.to_string(),
                path: path.to_string(),
                class: class.rsplit('.').next().unwrap_or(class).to_string(),
            })
        })
        .collect()
}
