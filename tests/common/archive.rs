//! Altered copies of the golden network `plain`.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use prospect::model::executor::Precision;
use serde_json::{Value as Json, json};
use tch::Device;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::golden;

/// A copy of a golden archive with its members changed by `change`.
pub fn altered(
    name: &str,
    change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>,
    method: CompressionMethod,
) -> PathBuf {
    let path = std::env::temp_dir().join(format!("prospect-{name}-{}.pt2", std::process::id()));
    let mut source = ZipArchive::new(File::open(golden("plain.pt2")).unwrap()).unwrap();
    let mut target = ZipWriter::new(File::create(&path).unwrap());
    for index in 0..source.len() {
        let mut member = source.by_index(index).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        let name = member.name().unwrap().into_owned();
        if let Some(bytes) = change(&name, bytes) {
            let options = SimpleFileOptions::default().compression_method(method);
            target.start_file(name, options).unwrap();
            target.write_all(&bytes).unwrap();
        }
    }
    target.finish().unwrap();
    path
}

pub fn load_error(path: &Path) -> String {
    let result = prospect::config::open_model(path, None)
        .and_then(|info| info.load(Device::Cpu, Precision::Float32).map(|_| ()));
    let _ = std::fs::remove_file(path);
    match result {
        Ok(()) => panic!("{} was accepted", path.display()),
        Err(error) => error.to_string(),
    }
}

/// Replaces text in the graph.
pub fn with_graph(name: &str, change: impl Fn(String) -> String) -> PathBuf {
    altered(
        name,
        |member, bytes| {
            Some(if member.ends_with("models/model.json") {
                change(String::from_utf8(bytes).unwrap()).into_bytes()
            } else {
                bytes
            })
        },
        CompressionMethod::Stored,
    )
}

/// A graph to change: nodes are appended or replaced by name.
pub struct Edited(pub Json);

impl Edited {
    pub fn nodes(&mut self) -> &mut Vec<Json> {
        self.0["graph_module"]["graph"]["nodes"]
            .as_array_mut()
            .unwrap()
    }

    pub fn node(&mut self, name: &str) -> &mut Json {
        (self.nodes().iter_mut().find(|node| node["name"] == name)).unwrap()
    }

    /// Sets an argument of a node.
    pub fn set(&mut self, node: &str, argument: &str, value: Json) {
        let inputs = self.node(node)["inputs"].as_array_mut().unwrap();
        match inputs.iter_mut().find(|input| input["name"] == argument) {
            Some(input) => input["arg"] = value,
            None => inputs.push(json!({"name": argument, "arg": value, "kind": 1})),
        }
    }

    /// Adds a node after all others; `dtype` 7 is float32.
    pub fn push(&mut self, target: &str, name: &str, inputs: &[(&str, Json)], sizes: &[i64]) {
        let at = self.nodes().len();
        self.insert(at, target, name, inputs, sizes);
    }

    /// Adds a node; a size of -1 is the batch.
    pub fn insert(
        &mut self,
        at: usize,
        target: &str,
        name: &str,
        inputs: &[(&str, Json)],
        sizes: &[i64],
    ) {
        let inputs: Vec<Json> = (inputs.iter())
            .map(|(name, value)| json!({"name": name, "arg": value, "kind": 1}))
            .collect();
        self.nodes().insert(at, json!({
            "target": format!("torch.ops.aten.{target}"), "name": name, "inputs": inputs,
            "outputs": [{"as_tensor": {"name": name}}], "metadata": {"nn_module_stack": "L__self__,,Net"},
        }));
        let batch = self.values()["linear"]["sizes"][0].clone();
        let sizes: Vec<Json> = (sizes.iter())
            .map(|&size| {
                if size < 0 {
                    batch.clone()
                } else {
                    json!({"as_int": size})
                }
            })
            .collect();
        let mut value = self.values()["linear"].clone();
        value["sizes"] = json!(sizes);
        self.values()[name] = value;
    }

    /// Sizes and types by value.
    pub fn values(&mut self) -> &mut Json {
        &mut self.0["graph_module"]["graph"]["tensor_values"]
    }

    /// Makes a value the output.
    pub fn output(&mut self, name: &str) {
        let value = tensor(name);
        self.0["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"] = value;
    }
}

/// A tensor argument.
pub fn tensor(name: &str) -> Json {
    json!({"as_tensor": {"name": name}})
}

/// A copy of `plain` with a changed graph.
pub fn edited(name: &str, change: impl Fn(&mut Edited)) -> PathBuf {
    with_graph(name, |text| {
        let mut graph = Edited(serde_json::from_str(&text).unwrap());
        change(&mut graph);
        graph.0.to_string()
    })
}
