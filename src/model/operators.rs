//! The operators that a model file may use, by kind.
//!
//! The dispatcher also offers operators that touch the disk or the process (`aten::from_file`, ...), so only this list of
//! pure tensor functions is allowed.

use std::path::Path;

use prospect_common::{Error, Result, text::some_of};

use super::graph::{Graph, Node};

/// Effect of an operator on the spatial layout of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every output element depends on the input elements at the same position (inputs are broadcast).
    Elementwise,
    /// The same elements in another shape; may share memory with the input.
    View,
    /// A window slides over the two spatial dimensions.
    Window,
    /// Depends on no input, or on sizes only.
    Constant,
    /// Any other: every output element may depend on every input element.
    Global,
}

use Kind::{Constant, Elementwise, Global, View, Window};

/// Allowed operators, without `aten::` and trailing `_`.
const OPERATORS: &[(&str, Kind)] = &[
    ("abs", Elementwise),
    ("adaptive_avg_pool2d", Global),
    ("adaptive_max_pool2d", Global),
    ("add", Elementwise),
    ("addmm", Global),
    ("alias", View),
    ("alpha_dropout", View),
    ("amax", Global),
    ("arange", Constant),
    ("avg_pool2d", Window),
    ("baddbmm", Global),
    ("batch_norm", Elementwise),
    ("bmm", Global),
    ("cat", Global),
    ("channel_shuffle", Global),
    ("chunk", View),
    ("clamp", Elementwise),
    ("clamp_max", Elementwise),
    ("clamp_min", Elementwise),
    ("clone", Elementwise),
    ("contiguous", View),
    ("conv1d", Global),
    ("conv2d", Window),
    ("copy", Global),
    ("cos", Elementwise),
    ("cumsum", Global),
    ("detach", View),
    ("div", Elementwise),
    ("dropout", View),
    ("einsum", Global),
    ("elu", Elementwise),
    ("embedding", Global),
    ("eq", Elementwise),
    ("erf", Elementwise),
    ("exp", Elementwise),
    ("expand", View),
    ("expand_as", View),
    ("eye", Constant),
    ("feature_alpha_dropout", View),
    ("feature_dropout", View),
    ("fill", Elementwise),
    ("flatten", View),
    ("flip", Global),
    ("full", Constant),
    ("full_like", Constant),
    ("ge", Elementwise),
    ("gelu", Elementwise),
    ("glu", Global),
    ("group_norm", Global),
    ("gt", Elementwise),
    ("hardsigmoid", Elementwise),
    ("hardswish", Elementwise),
    ("hardtanh", Elementwise),
    ("index", Global),
    ("index_select", Global),
    ("instance_norm", Global),
    ("layer_norm", Global),
    ("le", Elementwise),
    ("leaky_relu", Elementwise),
    ("lift_fresh_copy", Constant),
    ("linalg_vector_norm", Global),
    ("linear", Global),
    ("linspace", Constant),
    ("log", Elementwise),
    ("log_softmax", Global),
    ("logical_and", Elementwise),
    ("logical_not", Elementwise),
    ("logical_or", Elementwise),
    ("lt", Elementwise),
    ("masked_fill", Elementwise),
    ("matmul", Global),
    ("max", Global),
    ("max_pool2d", Window),
    ("maximum", Elementwise),
    ("mean", Global),
    ("meshgrid", Constant),
    ("minimum", Elementwise),
    ("mish", Elementwise),
    ("mm", Global),
    ("movedim", View),
    ("mul", Elementwise),
    ("narrow", View),
    ("ne", Elementwise),
    ("neg", Elementwise),
    ("new_full", Constant),
    ("new_ones", Constant),
    ("new_zeros", Constant),
    ("ones", Constant),
    ("ones_like", Constant),
    ("pad", Window),
    ("permute", View),
    ("pixel_shuffle", Global),
    ("pixel_unshuffle", Global),
    ("pow", Elementwise),
    ("prelu", Elementwise),
    ("reciprocal", Elementwise),
    ("relu", Elementwise),
    ("relu6", Elementwise),
    ("repeat", Global),
    ("repeat_interleave", Global),
    ("reshape", View),
    ("rms_norm", Global),
    ("roll", Global),
    ("rsqrt", Elementwise),
    ("rsub", Elementwise),
    ("scaled_dot_product_attention", Global),
    ("select", View),
    ("selu", Elementwise),
    ("sigmoid", Elementwise),
    ("silu", Elementwise),
    ("sin", Elementwise),
    ("slice", View),
    ("softmax", Global),
    ("softplus", Elementwise),
    ("split", View),
    ("split_with_sizes", View),
    ("sqrt", Elementwise),
    ("square", Elementwise),
    ("squeeze", View),
    ("stack", Global),
    ("std", Global),
    ("std_mean", Global),
    ("sub", Elementwise),
    ("sum", Global),
    ("swapaxes", View),
    ("t", View),
    ("tanh", Elementwise),
    ("to", Elementwise),
    ("_to_copy", Elementwise),
    ("transpose", View),
    ("triu", Global),
    ("tril", Global),
    ("unbind", View),
    ("unflatten", View),
    ("unfold", View),
    ("unsafe_chunk", View),
    ("unsafe_split", View),
    ("unsqueeze", View),
    ("upsample_bicubic2d", Global),
    ("upsample_bilinear2d", Global),
    ("upsample_nearest2d", Global),
    ("var", Global),
    ("var_mean", Global),
    ("view", View),
    ("view_as", View),
    ("where", Elementwise),
    ("zero", Elementwise),
    ("zeros", Constant),
    ("zeros_like", Constant),
];

/// Allowed overloads with the operators that have them; the default overload of an operator is allowed but for [`NO_DEFAULT`].
/// No overload writes into a given output, has a result of unknown size, reinterprets bytes or names dimensions.
const OVERLOADS: &[(&str, &[&str])] = &[
    ("correction", &["std", "std_mean", "var", "var_mean"]),
    ("device", &["to"]),
    (
        "dim",
        &[
            "max", "mean", "squeeze", "std", "std_mean", "var", "var_mean",
        ],
    ),
    ("dim_IntList", &["sum"]),
    ("dims", &["squeeze"]),
    ("dtype", &["to"]),
    ("dtype_layout", &["to"]),
    ("indexing", &["meshgrid"]),
    (
        "int",
        &[
            "log_softmax",
            "movedim",
            "select",
            "softmax",
            "transpose",
            "unbind",
            "unflatten",
        ],
    ),
    ("intlist", &["movedim"]),
    ("m", &["eye"]),
    ("other", &["max", "to"]),
    ("padding", &["conv1d", "conv2d"]),
    (
        "Scalar",
        &[
            "add",
            "div",
            "eq",
            "fill",
            "ge",
            "gt",
            "le",
            "lt",
            "masked_fill",
            "mul",
            "ne",
            "pow",
            "rsub",
            "sub",
            "where",
        ],
    ),
    ("ScalarOther", &["where"]),
    ("ScalarSelf", &["where"]),
    ("Scalar_mode", &["div"]),
    ("self", &["where"]),
    ("self_int", &["repeat_interleave"]),
    ("sizes", &["split"]),
    ("start", &["arange"]),
    ("start_step", &["arange"]),
    (
        "Tensor",
        &[
            "add",
            "clamp",
            "clamp_max",
            "clamp_min",
            "div",
            "eq",
            "fill",
            "ge",
            "gt",
            "index",
            "le",
            "lt",
            "masked_fill",
            "mul",
            "ne",
            "pow",
            "rsub",
            "slice",
            "split",
            "sub",
            "unsafe_split",
        ],
    ),
    ("Tensor_mode", &["div"]),
    ("Tensor_Scalar", &["pow"]),
    ("Tensor_Tensor", &["pow"]),
    ("using_ints", &["flatten"]),
    (
        "vec",
        &[
            "upsample_bicubic2d",
            "upsample_bilinear2d",
            "upsample_nearest2d",
        ],
    ),
];

/// Operators whose default overload has a result of unknown size.
const NO_DEFAULT: &[&str] = &["repeat_interleave", "where"];

/// Integer arithmetic on sizes, evaluated by the executor.
pub const SIZE_OPERATORS: &[&str] = &[
    "aten::sym_size",
    "_operator::add",
    "_operator::sub",
    "_operator::mul",
    "_operator::floordiv",
    "_operator::mod",
    "_operator::neg",
];

/// Shape checks of the exporter; skipped at run time.
const ASSERTIONS: &[&str] = &[
    "aten::_assert_scalar",
    "aten::_assert_tensor_metadata",
    "aten::_assert_async",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
    "_operator::ge",
    "_operator::le",
    "_operator::gt",
    "_operator::lt",
    "_operator::eq",
];

/// The operator's name without namespace and in-place underscore.
pub fn base_name(node: &Node) -> &str {
    let name = node
        .operator
        .strip_prefix("aten::")
        .unwrap_or(&node.operator);
    name.strip_suffix('_').unwrap_or(name)
}

/// Whether the operator writes into its first argument.
pub fn is_in_place(node: &Node) -> bool {
    node.operator.starts_with("aten::") && node.operator.ends_with('_')
}

/// Whether an output may share memory with the first argument.
pub fn is_alias(node: &Node) -> bool {
    kind(node) == Some(Kind::View) || base_name(node) == "to" || is_in_place(node)
}

pub fn is_assertion(node: &Node) -> bool {
    ASSERTIONS.contains(&node.operator.as_str())
}

pub fn is_size(node: &Node) -> bool {
    SIZE_OPERATORS.contains(&node.operator.as_str())
}

/// The range of a pure clamp: ReLU, ReLU6 or Hardtanh.
pub fn clamp_range(node: &Node) -> Option<(f64, f64)> {
    match base_name(node) {
        "relu" => Some((0.0, f64::INFINITY)),
        "relu6" => Some((0.0, 6.0)),
        "hardtanh" => Some((
            node.float("min_val").unwrap_or(-1.0),
            node.float("max_val").unwrap_or(1.0),
        )),
        _ => None,
    }
}

/// Whether the activation is not a clamp, so that the backward rules for ReLUs do not cover it.
pub fn is_smooth_activation(node: &Node) -> bool {
    const SMOOTH: [&str; 10] = [
        "silu",
        "gelu",
        "hardswish",
        "mish",
        "elu",
        "selu",
        "celu",
        "leaky_relu",
        "softplus",
        "tanh",
    ];
    SMOOTH.contains(&base_name(node))
}

/// The kind of an allowed tensor operator; `None` for all others.
pub fn kind(node: &Node) -> Option<Kind> {
    node.operator.strip_prefix("aten::")?;
    let name = base_name(node);
    OPERATORS
        .iter()
        .find_map(|(allowed, kind)| (*allowed == name).then_some(*kind))
}

/// Whether the model file may use the operator in this overload.
fn is_allowed(node: &Node) -> bool {
    let name = base_name(node);
    let overload = node.overload.as_str();
    let listed = match overload {
        "" => !NO_DEFAULT.contains(&name),
        _ => OVERLOADS
            .iter()
            .any(|(known, names)| *known == overload && names.contains(&name)),
    };
    (kind(node).is_some() && listed) || is_size(node) || is_assertion(node)
}

/// Every disallowed operator of the graph, once, with the module that uses it first.
fn disallowed(graph: &Graph) -> Vec<String> {
    let mut modules: Vec<(String, String)> = Vec::new();
    for node in &graph.nodes {
        if is_allowed(node) {
            continue;
        }
        let name = node.full_name();
        if !modules.iter().any(|(known, _)| *known == name) {
            modules.push((name, node.place().to_string()));
        }
    }
    modules
        .into_iter()
        .map(|(name, module)| format!("{name} (in {module})"))
        .collect()
}

/// Refuses a graph with disallowed operators; `path` is for the message.
///
/// # Errors
/// Names these operators, each with a module that uses it.
pub fn check(graph: &Graph, path: &Path) -> Result<()> {
    let disallowed = disallowed(graph);
    if disallowed.is_empty() {
        return Ok(());
    }
    let is_decomposed = graph
        .nodes
        .iter()
        .any(|node| DECOMPOSED.contains(&base_name(node)));
    let next = if is_decomposed {
        "export the network without run_decompositions()"
    } else {
        "replace them in the network by supported ones and export it again, or request their support"
    };
    Err(Error::invalid(
        path,
        "only supported operators",
        format!("unsupported operators: {}", some_of(&disallowed)),
        next,
    ))
}

/// Operators that `run_decompositions()` puts in the place of supported ones.
const DECOMPOSED: &[&str] = &[
    "_log_softmax",
    "_native_batch_norm_legit_no_training",
    "_softmax",
    "convolution",
    "native_group_norm",
    "native_layer_norm",
];
