//! Static analysis of a graph: taps by module path, default layers, exactness of CAM.

use std::collections::BTreeMap;

use super::{
    graph::{Graph, Node, ValueId},
    operators,
    receptive_field::{self, Field},
    units::MAX_CELLS,
};

/// The output of one call of one module, as a PyTorch forward hook sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tap {
    /// Module path; `path#1`, `path#2`, … where the module is called several times.
    pub name: String,
    /// Class name of the module (`Conv2d`).
    pub class: String,
    pub value: ValueId,
}

/// Results of the static analysis.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// In the order in which the module calls finish.
    pub taps: Vec<Tap>,
    /// Receptive field of every value; `None` where it does not depend on the image.
    pub fields: Vec<Option<Field>>,
    /// Input and node of the last layer with weights before the logits.
    pub head_input: Option<ValueId>,
    pub head_node: Option<usize>,
    /// Default explanation layer: the last spatial tap on every path from the image to the head.
    pub explanation: Option<usize>,
    /// Default tapped layers: the last such tap of every resolution, up to the explanation layer.
    pub layers: Vec<usize>,
}

/// Traces a value back through identity nodes (dropout in evaluation mode, identity pooling) to its origin.
pub fn unaliased(graph: &Graph, producers: &[Option<usize>], mut id: ValueId) -> ValueId {
    while let Some(node) = producers[id].map(|index| &graph.nodes[index]) {
        match identity_input(graph, node) {
            Some(input) => id = input,
            None => break,
        }
    }
    id
}

/// The input of an identity node; `None` for other nodes.
pub fn identity_input(graph: &Graph, node: &Node) -> Option<ValueId> {
    let input = *node.reads().first()?;
    let same = match operators::base_name(node) {
        "dropout" | "alpha_dropout" | "feature_dropout" | "feature_alpha_dropout" => {
            node.bool("train") == Some(false)
        }
        "alias" | "detach" | "contiguous" => true,
        "adaptive_avg_pool2d" => {
            let shape = graph.shape(input);
            shape.is_some() && node.output().and_then(|id| graph.shape(id)) == shape
        }
        _ => false,
    };
    same.then_some(input)
}

impl Analysis {
    pub fn new(graph: &Graph) -> Analysis {
        let fields = receptive_field::fields(graph);
        let taps = taps(graph);
        let producers = graph.producers();
        let head_node = head_node(graph, &producers);
        let head_input = head_node.and_then(|index| {
            let node = &graph.nodes[index];
            let input = match operators::base_name(node) {
                "addmm" => node.tensor("mat1"),
                "matmul" | "mm" => node.tensor("self"),
                _ => node.tensor("input"),
            }?;
            Some(unaliased(graph, &producers, input))
        });
        let (explanation, layers) = default_layers(graph, &taps, &fields, &producers, head_input);
        Analysis {
            taps,
            fields,
            head_input,
            head_node,
            explanation,
            layers,
        }
    }

    /// A tap by name. A path without a call number means the last call of the module.
    pub fn tap(&self, name: &str) -> Option<&Tap> {
        let last = format!("{name}#");
        self.taps.iter().find(|tap| tap.name == name).or_else(|| {
            self.taps
                .iter()
                .rev()
                .find(|tap| tap.name.starts_with(&last))
        })
    }

    /// Whether the value is a feature map `[n, channels, rows, columns]` with more than one cell.
    pub fn is_spatial(&self, graph: &Graph, value: ValueId) -> bool {
        let dims = self.fields[value].and_then(|field| field.dims);
        matches!(graph.shape(value), Some([_, Some(_), Some(rows), Some(cols)]) if rows * cols > 1)
            && dims == Some((2, 3))
    }

    /// Whether the value is provably non-negative: ReLU outputs, at most pooled, concatenated or added.
    pub fn is_rectified(&self, graph: &Graph, value: ValueId) -> bool {
        let producers = graph.producers();
        let mut pending = vec![value];
        let mut seen = vec![false; graph.values.len()];
        while let Some(id) = pending.pop() {
            if std::mem::replace(&mut seen[id], true) {
                continue;
            }
            let Some(node) = producers[id].map(|index| &graph.nodes[index]) else {
                return false;
            };
            if operators::clamp_range(node).is_some_and(|(low, _)| low >= 0.0) {
                continue;
            }
            match operators::base_name(node) {
                "max_pool2d"
                | "avg_pool2d"
                | "adaptive_avg_pool2d"
                | "dropout"
                | "alias"
                | "detach"
                | "contiguous"
                | "cat" => pending.extend(node.reads()),
                "add" if node.float("alpha").unwrap_or(1.0) >= 0.0 => pending.extend(node.reads()),
                _ => return false,
            }
        }
        true
    }

    /// The final linear layer's node, if CAM is exact at this value: only global average pooling and that layer follow.
    ///
    /// # Errors
    /// The reason that CAM is not exact, as text.
    pub fn cam_exact<'g>(&self, graph: &'g Graph, value: ValueId) -> Result<&'g Node, String> {
        let mut current = value;
        let mut pooled = false;
        loop {
            let readers: Vec<&'g Node> = graph
                .nodes
                .iter()
                .filter(|node| node.reads().contains(&current))
                .collect();
            let computing: Vec<&'g Node> = readers
                .into_iter()
                .filter(|node| !operators::is_size(node))
                .collect();
            let [node] = computing.as_slice() else {
                return Err(format!("its output is used {} times", computing.len()));
            };
            let Some(output) = node.output() else {
                return Err(format!("{} follows", node.full_name()));
            };
            let name = operators::base_name(node);
            match name {
                "linear" if pooled => {
                    return if output == graph.logits {
                        Ok(node)
                    } else {
                        Err("the linear layer is not the last one".into())
                    };
                }
                "linear" => {
                    return Err("the linear layer has no global average pooling before it".into());
                }
                _ if identity_input(graph, node).is_some() => {}
                "flatten" | "view" | "reshape" | "squeeze" if pooled => {}
                _ if is_global_average(graph, node, current) => pooled = true,
                _ => return Err(format!("{} follows", node.full_name())),
            }
            current = output;
        }
    }
}

fn is_global_average(graph: &Graph, node: &Node, input: ValueId) -> bool {
    let Some([_, _, Some(rows), Some(cols)]) = graph.shape(input) else {
        return false;
    };
    match operators::base_name(node) {
        "adaptive_avg_pool2d" => {
            matches!(node.ints("output_size").as_deref(), Some([1] | [1, 1]))
        }
        "avg_pool2d" => {
            let whole = match node.ints("kernel_size").as_deref() {
                Some([size]) => (size, size) == (rows, cols),
                Some([y, x]) => (y, x) == (rows, cols),
                _ => false,
            };
            let padding = node.ints("padding").unwrap_or_default();
            whole && padding.iter().all(|&cells| cells == 0)
        }
        "mean" => node.ints("dim").is_some_and(|dims| {
            let mut dims: Vec<i64> = dims
                .iter()
                .map(|dim| if *dim < 0 { dim + 4 } else { *dim })
                .collect();
            dims.sort_unstable();
            dims == [2, 3]
        }),
        _ => false,
    }
}

/// One tap per module call: the output of the call's last node.
fn taps(graph: &Graph) -> Vec<Tap> {
    struct Call {
        key: String,
        path: String,
        class: String,
        last: usize,
        value: ValueId,
    }
    let mut calls: Vec<Call> = Vec::new();
    let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let Some(value) = node.output().filter(|&id| graph.shape(id).is_some()) else {
            continue;
        };
        for module in node.modules.iter().filter(|module| !module.path.is_empty()) {
            match by_key.get(module.key.as_str()) {
                Some(&call) => {
                    calls[call].last = index;
                    calls[call].value = value;
                }
                None => {
                    by_key.insert(&module.key, calls.len());
                    calls.push(Call {
                        key: module.key.clone(),
                        path: module.path.clone(),
                        class: module.class.clone(),
                        last: index,
                        value,
                    });
                }
            }
        }
    }
    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    for call in &calls {
        *totals.entry(call.path.clone()).or_default() += 1;
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut named: Vec<(usize, usize, Tap)> = calls
        .into_iter()
        .map(|call| {
            let number = seen.entry(call.path.clone()).or_default();
            *number += 1;
            let name = if totals[&call.path] > 1 {
                format!("{}#{number}", call.path)
            } else {
                call.path
            };
            // Among modules that end with the same node, the innermost comes first.
            let depth = usize::MAX - call.key.len();
            (
                call.last,
                depth,
                Tap {
                    name,
                    class: call.class,
                    value: call.value,
                },
            )
        })
        .collect();
    named.sort_by_key(|(last, depth, _)| (*last, *depth));
    named.into_iter().map(|(_, _, tap)| tap).collect()
}

/// The last linear or convolution node, or product with a weight, that the logits depend on.
fn head_node(graph: &Graph, producers: &[Option<usize>]) -> Option<usize> {
    let mut needed = vec![false; graph.nodes.len()];
    let mut pending = vec![graph.logits];
    while let Some(id) = pending.pop() {
        if let Some(index) = producers[id].filter(|&index| !needed[index]) {
            needed[index] = true;
            pending.extend(graph.nodes[index].reads());
        }
    }
    let depends = graph.depends_on_input();
    (0..graph.nodes.len()).rev().find(|&index| {
        let node = &graph.nodes[index];
        needed[index]
            && match operators::base_name(node) {
                "linear" | "conv2d" | "addmm" => true,
                "matmul" => node.tensor("other").is_some_and(|id| !depends[id]),
                "mm" => node.tensor("mat2").is_some_and(|id| !depends[id]),
                _ => false,
            }
    })
}

/// Cut values of the graph: once such a value is computed, no other value that depends on the image is still needed.
fn cuts(graph: &Graph, producers: &[Option<usize>]) -> Vec<bool> {
    let depends = graph.depends_on_input();
    let mut last_use = vec![0; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        // Sizes and assertions carry no pixel data.
        if operators::is_size(node) || operators::is_assertion(node) {
            continue;
        }
        for id in node.reads() {
            last_use[id] = index;
        }
    }
    last_use[graph.logits] = usize::MAX;
    let is_tensor = |id: ValueId| graph.shape(id).is_some();
    let mut cuts = vec![false; graph.values.len()];
    let mut live: Vec<ValueId> = vec![graph.input];
    for (index, node) in graph.nodes.iter().enumerate() {
        live.extend(
            node.writes()
                .into_iter()
                .filter(|&id| depends[id] && is_tensor(id)),
        );
        live.retain(|&id| last_use[id] > index);
        if let [only] = live.as_slice()
            && producers[*only] == Some(index)
        {
            cuts[*only] = true;
        }
    }
    cuts
}

fn default_layers(
    graph: &Graph,
    taps: &[Tap],
    fields: &[Option<Field>],
    producers: &[Option<usize>],
    head_input: Option<ValueId>,
) -> (Option<usize>, Vec<usize>) {
    let cuts = cuts(graph, producers);
    let end = head_input
        .and_then(|id| producers[id])
        .unwrap_or(usize::MAX);
    // Taps on every path; among modules with the same output, the outermost.
    let mut on_path: Vec<(usize, usize)> = Vec::new();
    for (index, tap) in taps.iter().enumerate() {
        let value = unaliased(graph, producers, tap.value);
        let Some(at) = producers[value] else { continue };
        let spatial = matches!(graph.shape(value), Some([_, Some(_), Some(rows), Some(cols)]) if rows * cols > 1)
            && fields[value].and_then(|field| field.dims) == Some((2, 3));
        if !(cuts[value] && spatial && at <= end) || value != tap.value {
            continue;
        }
        match on_path.last() {
            Some((known, _)) if *known == at => {
                on_path.pop();
                on_path.push((at, index));
            }
            _ => on_path.push((at, index)),
        }
    }
    let size = |index: usize| {
        graph
            .shape(taps[index].value)
            .map(|shape| (shape[2], shape[3]))
    };
    let mut layers: Vec<usize> = Vec::new();
    for (_, index) in &on_path {
        if layers
            .last()
            .is_some_and(|&last| size(last) == size(*index))
        {
            layers.pop();
        }
        layers.push(*index);
    }
    let fits = |index: &usize| {
        let shape = graph.shape(taps[*index].value);
        matches!(shape, Some([_, _, Some(rows), Some(cols)]) if rows * cols <= MAX_CELLS)
    };
    layers.retain(fits);
    (on_path.last().map(|(_, index)| *index), layers)
}
