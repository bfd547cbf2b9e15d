//! What the graph tells without running: taps by module path, the layers to use by default, where CAM is exact.

use std::collections::BTreeMap;

use super::{
    graph::{Graph, Node, ValueId},
    operators,
    receptive_field::{self, Field},
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

/// Everything that follows from the graph alone.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// In the order in which the modules finish.
    pub taps: Vec<Tap>,
    /// Receptive field of every value; `None` where it does not depend on the image.
    pub fields: Vec<Option<Field>>,
    /// The input of the last layer with weights on the way to the logits, and its node.
    pub head_input: Option<ValueId>,
    pub head_node: Option<usize>,
    /// Default explanation layer: the last spatial tap that the whole network passes through before the head.
    pub explanation: Option<usize>,
    /// Default tapped layers: the last such tap at every resolution, up to the explanation layer.
    pub layers: Vec<usize>,
}

/// Follows values that are another one's elements unchanged (dropout in evaluation, identity pooling) back to it.
pub fn unaliased(graph: &Graph, producers: &[Option<usize>], mut id: ValueId) -> ValueId {
    while let Some(node) = producers[id].map(|index| &graph.nodes[index]) {
        match identity_input(graph, node) {
            Some(input) => id = input,
            None => break,
        }
    }
    id
}

/// The input of a node that changes nothing.
pub fn identity_input(graph: &Graph, node: &Node) -> Option<ValueId> {
    let input = *node.reads().first()?;
    let same = match operators::base_name(node) {
        "dropout" => node.bool("train") != Some(true),
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
            let input = node
                .tensor("input")
                .or_else(|| node.reads().first().copied())?;
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

    /// A tap by its name. `path` means the only (or, of several calls, the last) call of the module.
    pub fn tap(&self, name: &str) -> Option<&Tap> {
        let last = format!("{name}#");
        self.taps.iter().find(|tap| tap.name == name).or_else(|| {
            self.taps
                .iter()
                .rev()
                .find(|tap| tap.name.starts_with(&last))
        })
    }

    /// Is this a map `[n, channels, rows, columns]` that has more than one cell?
    pub fn is_spatial(&self, graph: &Graph, value: ValueId) -> bool {
        let dims = self.fields[value].and_then(|field| field.dims);
        matches!(graph.shape(value), Some([_, Some(_), Some(rows), Some(cols)]) if rows * cols > 1)
            && dims == Some((2, 3))
    }

    /// Does nothing below zero reach this value: is it what a ReLU gives, pooled, joined or added up at most?
    pub fn is_rectified(&self, graph: &Graph, value: ValueId) -> bool {
        let producers = graph.producers();
        let mut open = vec![value];
        let mut seen = vec![false; graph.values.len()];
        while let Some(id) = open.pop() {
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
                | "cat" => open.extend(node.reads()),
                "add" if node.float("alpha").unwrap_or(1.0) >= 0.0 => open.extend(node.reads()),
                _ => return false,
            }
        }
        true
    }

    /// Is CAM exact at this value? It is where only global average pooling and one linear layer follow: that layer's node.
    ///
    /// # Errors
    /// What stands in the way, in words.
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
                        Err("more follows after the linear layer".into())
                    };
                }
                "linear" => return Err("no global average pooling before the linear layer".into()),
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

/// The last node of a module call is its output.
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
            // Of modules that end with the same node the innermost comes first.
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

/// The last node with weights (linear or convolution) on the way to the logits.
fn head_node(graph: &Graph, producers: &[Option<usize>]) -> Option<usize> {
    let mut needed = vec![false; graph.nodes.len()];
    let mut open = vec![graph.logits];
    while let Some(id) = open.pop() {
        if let Some(index) = producers[id].filter(|&index| !needed[index]) {
            needed[index] = true;
            open.extend(graph.nodes[index].reads());
        }
    }
    (0..graph.nodes.len()).rev().find(|&index| {
        needed[index]
            && matches!(
                operators::base_name(&graph.nodes[index]),
                "linear" | "conv2d" | "addmm"
            )
    })
}

/// The values that everything passes through: after their node, nothing else that depends on the image is still needed.
fn cuts(graph: &Graph, producers: &[Option<usize>]) -> Vec<bool> {
    let depends = graph.depends_on_input();
    let mut last_use = vec![0; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        // Sizes keep no pixels.
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
    // The taps that the whole network passes through; of modules with the same output the outermost.
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
    (on_path.last().map(|(_, index)| *index), layers)
}
