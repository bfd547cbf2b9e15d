//! What a graph must be to give each picture its own logits, checked before anything runs: in evaluation mode, with arguments
//! that libtorch accepts, ending in logits.

use std::path::Path;

use prospect_common::{
    Error, Result,
    text::{shortened, some_of},
};

use super::{
    analysis::Analysis,
    graph::{Argument, Graph, Int, Node, ValueId},
    operators::{self, Kind, base_name},
};

const EVAL: &str = "call model.eval() before torch.export";
const FUNCTIONAL: &str =
    "pass training=self.training to functional dropout and call model.eval() before torch.export";
const STATISTICS: &str =
    "give every BatchNorm running statistics (track_running_stats=True), or use GroupNorm";
const RANDOM: &str = "remove random numbers from forward()";

/// Operators with random results, without `_like` and `.out` forms.
const RANDOM_OPERATORS: &[&str] = &[
    "bernoulli",
    "cauchy",
    "exponential",
    "geometric",
    "log_normal",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "randint",
    "randn",
    "randperm",
    "random",
    "uniform",
];

/// Limits of kernel sizes, strides and the like: far above any network's, and far below an overflow of receptive fields.
const MAX_WINDOW: i64 = 1 << 16;
const MAX_SCALE: f64 = 1024.0;

/// Refuses a graph whose results are random, depend on the other pictures of a batch, or are not logits, and one with disallowed
/// operators or arguments; `path` is for messages.
pub(super) fn check(graph: &Graph, path: &Path) -> Result<()> {
    evaluation_mode(graph, path)?;
    operators::check(graph, path)?;
    arguments(graph, path)?;
    constant_weights(graph, path)?;
    logits(graph, path)
}

fn evaluation_mode(graph: &Graph, path: &Path) -> Result<()> {
    let mut found: Vec<String> = Vec::new();
    let mut remedies: Vec<&str> = Vec::new();
    for node in &graph.nodes {
        if let Some(remedy) = remedy(node) {
            found.push(format!("{} (in {})", node.full_name(), node.place()));
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
    }
    found.dedup();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(
        path,
        "a network in evaluation mode, with the same result for a picture in every batch",
        format!(
            "operators in training mode or with random results: {}",
            some_of(&found)
        ),
        remedies.join("; "),
    ))
}

/// What to do about a node whose result is random or depends on the other pictures of a batch; `None` for other nodes.
fn remedy(node: &Node) -> Option<&'static str> {
    let name = base_name(node);
    let class = node.modules.last().map_or("", |module| &module.class);
    let (in_training, trains) = (
        node.bool("training") != Some(false),
        node.bool("train") != Some(false),
    );
    match name {
        "dropout"
        | "alpha_dropout"
        | "feature_dropout"
        | "feature_alpha_dropout"
        | "native_dropout"
            if trains && node.float("p") != Some(0.0) =>
        {
            Some(if class.contains("Dropout") {
                EVAL
            } else {
                FUNCTIONAL
            })
        }
        "batch_norm" | "native_batch_norm" | "_native_batch_norm_legit" if in_training => {
            let has_statistics = node.tensor("running_mean").is_some();
            Some(if has_statistics { EVAL } else { STATISTICS })
        }
        "rrelu" | "rrelu_with_noise" if in_training => Some(EVAL),
        "scaled_dot_product_attention" if node.float("dropout_p").is_some_and(|p| p != 0.0) => {
            Some(EVAL)
        }
        _ if RANDOM_OPERATORS.contains(&name.trim_end_matches("_like")) => Some(RANDOM),
        _ => None,
    }
}

/// Refuses arguments on which libtorch crashes or that make its memory unbounded.
fn arguments(graph: &Graph, path: &Path) -> Result<()> {
    let wrong = graph.nodes.iter().find_map(|node| {
        let (name, _) = (node.arguments.iter()).find(|(name, value)| !is_valid(name, value))?;
        Some(format!(
            "an invalid {name:?} of {} in {}",
            node.full_name(),
            node.place()
        ))
    });
    match wrong {
        None => Ok(()),
        Some(found) => Err(Error::invalid(
            path,
            "arguments that torch.export writes",
            found,
            super::archive::EXPORT_AGAIN,
        )),
    }
}

fn is_valid(name: &str, value: &Argument) -> bool {
    let within = |low: i64, ints: &[Int]| {
        let inside =
            |int: &Int| matches!(int, Int::Known(value) if (low..=MAX_WINDOW).contains(value));
        ints.iter().all(inside)
    };
    let lowest = match name {
        "dtype" | "layout" | "memory_format" => {
            return matches!(value, Argument::None | Argument::Enum(_));
        }
        "scale_factors" | "scales" | "scales_h" | "scales_w" => {
            let inside = |scale: f64| (MAX_SCALE.recip()..=MAX_SCALE).contains(&scale);
            return match value {
                Argument::None => true,
                Argument::Float(scale) => inside(*scale),
                Argument::Floats(scales) => scales.iter().all(|&scale| inside(scale)),
                _ => false,
            };
        }
        "kernel_size" | "stride" | "dilation" | "groups" | "num_groups" | "upscale_factor"
        | "downscale_factor" => 1,
        "padding" => 0,
        "pad" => -MAX_WINDOW,
        _ => return !matches!(value, Argument::Enum(_)),
    };
    match value {
        Argument::Int(int) => within(lowest, std::slice::from_ref(int)),
        Argument::Ints(ints) => within(lowest, ints),
        // "same" and "valid"
        Argument::Text(_) => name == "padding",
        _ => false,
    }
}

/// Refuses writes into weights: every batch would find other ones.
fn constant_weights(graph: &Graph, path: &Path) -> Result<()> {
    let mut is_weight = vec![false; graph.values.len()];
    for (id, _) in &graph.sources {
        is_weight[*id] = true;
    }
    for node in &graph.nodes {
        let first = node.reads().first().copied();
        let Some(first) = first.filter(|&id| is_weight[id]) else {
            continue;
        };
        if operators::is_in_place(node) {
            return Err(Error::invalid(
                path,
                "weights that forward() only reads",
                format!(
                    "{} in {} writes into {}",
                    node.full_name(),
                    node.place(),
                    shortened(&graph.values[first].name, 120)
                ),
                "clone the weight before writing into it, and export again",
            ));
        }
        if operators::is_alias(node) {
            for id in node.writes() {
                is_weight[id] = true;
            }
        }
    }
    Ok(())
}

/// Refuses outputs that are no logits of a softmax over at least two classes.
fn logits(graph: &Graph, path: &Path) -> Result<()> {
    let refused = |found: &str, next: &str| {
        let expected = "logits, one per class, before any softmax or sigmoid";
        Err(Error::invalid(path, expected, found, next))
    };
    if let Some(last) = last_operator(graph)
        && matches!(
            base_name(last),
            "softmax" | "log_softmax" | "sigmoid" | "hardsigmoid" | "log_sigmoid"
        )
    {
        return refused(
            &format!("an output of {} (in {})", last.full_name(), last.place()),
            "it would be applied twice: export the network without this last step",
        );
    }
    if graph.n_classes() == 1 {
        return refused(
            "one output",
            "export a wrapper whose forward() returns two logits: \
             z = network(x); return torch.cat([torch.zeros_like(z), z], 1)",
        );
    }
    Ok(())
}

/// The node that computes the logits, before changes of shape and the logarithm or clamp of a probability.
fn last_operator(graph: &Graph) -> Option<&Node> {
    let producers = graph.producers();
    let mut id = graph.logits;
    loop {
        let node = &graph.nodes[producers[id]?];
        let passes = operators::kind(node) == Some(Kind::View)
            || matches!(
                base_name(node),
                "log" | "exp" | "clamp" | "clamp_min" | "clamp_max" | "clone" | "to" | "neg"
            );
        if !passes {
            return Some(node);
        }
        id = *node.reads().first()?;
    }
}

/// Refuses an encoder without a classifier: after its last layer with weights come steps that no classifier has. Class names say
/// that the outputs are logits.
pub(super) fn classifier(graph: &Graph, analysis: &Analysis, path: &Path) -> Result<()> {
    let found = match analysis.head_node {
        None => Some("a network without a layer with weights".to_string()),
        Some(head) => embedding_step(graph, head).map(|node| {
            format!(
                "an embedding, without a classifier after {} (in {})",
                node.full_name(),
                node.place()
            )
        }),
    };
    let Some(found) = found else {
        return Ok(());
    };
    let dimension = graph.n_classes();
    Err(Error::invalid(
        path,
        "logits, one per class",
        found,
        format!(
            "export the encoder with a classifier, torch.nn.Sequential(encoder, torch.nn.Linear({dimension}, classes)), so that \
             the embedding is the feature vector; if the outputs are logits, list \"classes\" in the sidecar"
        ),
    ))
}

/// A node between the head and the output that normalises, activates or pools an embedding.
fn embedding_step(graph: &Graph, head: usize) -> Option<&Node> {
    let node = &graph.nodes[head];
    let is_convolution = base_name(node) == "conv2d";
    let output = node.output()?;
    let cells = |id: ValueId| match graph.shape(id) {
        Some([_, _, Some(rows), Some(cols)]) => rows * cols,
        _ => 1,
    };
    let kernel = node.tensor("weight").map_or(1, cells);
    let is_parameter_product = matches!(base_name(node), "matmul" | "mm");
    if is_parameter_product || (is_convolution && kernel > 1 && cells(output) > 1) {
        return Some(node);
    }
    let mut reached = vec![false; graph.values.len()];
    reached[output] = true;
    for node in &graph.nodes[head + 1..] {
        if !node.reads().iter().any(|&id| reached[id]) {
            continue;
        }
        for id in node.writes() {
            reached[id] = true;
        }
        let is_step = match base_name(node) {
            "layer_norm" | "rms_norm" | "group_norm" | "instance_norm" | "linalg_vector_norm"
            | "norm" | "max_pool2d" | "matmul" | "mm" | "bmm" => true,
            // SqueezeNet has a ReLU between its last convolution and the average.
            "batch_norm" | "silu" | "hardswish" | "relu6" | "hardtanh" | "leaky_relu" => {
                is_convolution
            }
            "relu" | "gelu" => !is_convolution,
            _ => false,
        };
        if is_step {
            return Some(node);
        }
    }
    None
}
