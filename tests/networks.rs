//! Networks that would give random results, results of other pictures or none, and hostile files: refused at load.

mod common;

use prospect::model::{LayerChoice, executor::Precision, program::Fusion};
use serde_json::{Value as Json, json};
use tch::Device;
use zip::CompressionMethod;

use common::{
    archive::{Edited, altered, edited, load_error, tensor},
    golden, open, relative_difference,
};

/// The message about an altered network, with every fragment in it.
fn refuses(name: &str, change: impl Fn(&mut Edited), fragments: &[&str]) {
    let message = load_error(&edited(name, change));
    for fragment in fragments {
        assert!(
            message.contains(fragment),
            "{name}: no {fragment:?} in {message}"
        );
    }
    assert!(message.chars().count() < 800, "{name}: {message}");
}

fn int(value: i64) -> Json {
    json!({"as_int": value})
}

#[test]
fn networks_in_training_mode_are_refused_with_their_modules() {
    let on = || json!({"as_bool": true});
    refuses(
        "dropout",
        |graph| graph.set("dropout", "train", on()),
        &[
            "aten::dropout (in classifier.0)",
            "call model.eval() before torch.export",
        ],
    );
    refuses(
        "functional",
        |graph| {
            graph.set("dropout", "train", on());
            graph.node("dropout")["metadata"]["nn_module_stack"] = json!("L__self__,,Net");
        },
        &["training=self.training"],
    );
    refuses(
        "feature-dropout",
        |graph| {
            graph.node("dropout")["target"] = json!("torch.ops.aten.feature_dropout.default");
            graph.set("dropout", "train", on());
        },
        &["model.eval()"],
    );
    refuses(
        "random",
        |graph| {
            graph.push(
                "rand_like.default",
                "noise",
                &[("self", tensor("linear"))],
                &[-1, 3],
            );
            graph.output("noise");
        },
        &["aten::rand_like", "remove random numbers"],
    );
    for (mean, remedy) in [
        (json!({"as_none": true}), "GroupNorm"),
        (tensor("p_classifier_1_bias"), "model.eval()"),
    ] {
        refuses(
            "batch-norm",
            |graph| {
                let none = json!({"as_none": true});
                let inputs = [
                    ("input", tensor("linear")),
                    ("weight", none.clone()),
                    ("bias", none),
                    ("running_mean", mean.clone()),
                    ("running_var", mean.clone()),
                    ("training", on()),
                    ("momentum", json!({"as_float": 0.1})),
                    ("eps", json!({"as_float": 1e-5})),
                    ("cudnn_enabled", on()),
                ];
                graph.push("batch_norm.default", "norm", &inputs, &[-1, 3]);
                graph.output("norm");
            },
            &["aten::batch_norm", remedy],
        );
    }
}

/// Dropout of any kind does nothing in evaluation mode.
#[test]
fn dropout_of_whole_channels_is_an_identity() {
    let (.., reference) = open("plain");
    let path = edited("identity", |graph| {
        graph.node("dropout")["target"] = json!("torch.ops.aten.feature_dropout.default");
    });
    let info = prospect::config::open_model(&path, None).unwrap();
    let network = info.load(Device::Cpu, Precision::Float32).unwrap();
    std::fs::remove_file(path).unwrap();
    let runner = network.inference(&[info.graph.logits]).unwrap();
    let logits = runner.run(&reference["input"]).unwrap().remove(0);
    assert!(relative_difference(&logits, &reference["logits"]) < 1e-5);
}

#[test]
fn outputs_that_are_not_logits_are_refused() {
    for target in ["softmax.int", "log_softmax.int"] {
        refuses(
            "softmax",
            |graph| {
                graph.push(
                    target,
                    "ending",
                    &[("self", tensor("linear")), ("dim", int(1))],
                    &[-1, 3],
                );
                graph.output("ending");
            },
            &["softmax.int (in the network itself)", "applied twice"],
        );
    }
    refuses(
        "sigmoid",
        |graph| {
            graph.push(
                "sigmoid.default",
                "ending",
                &[("self", tensor("linear"))],
                &[-1, 3],
            );
            let inputs = [("self", tensor("ending")), ("dim", int(0))];
            graph.push("unsqueeze.default", "wide", &inputs, &[1, -1, 3]);
            graph.push(
                "squeeze.dim",
                "narrow",
                &[("self", tensor("wide")), ("dim", int(0))],
                &[-1, 3],
            );
            graph.output("narrow");
        },
        &["aten::sigmoid", "applied twice"],
    );
    refuses(
        "one",
        |graph| graph.values()["linear"]["sizes"][1] = int(1),
        &["one output", "torch.cat"],
    );
    // The mean of two softmaxes is seen in its sums.
    refuses(
        "ensemble",
        |graph| {
            graph.push(
                "softmax.int",
                "a",
                &[("self", tensor("linear")), ("dim", int(1))],
                &[-1, 3],
            );
            graph.push(
                "add.Tensor",
                "b",
                &[("self", tensor("a")), ("other", tensor("a"))],
                &[-1, 3],
            );
            graph.push(
                "div.Tensor",
                "c",
                &[("self", tensor("b")), ("other", json!({"as_float": 2.0}))],
                &[-1, 3],
            );
            graph.output("c");
        },
        &["probabilities"],
    );
}

#[test]
fn encoders_without_a_classifier_are_refused_unless_classes_are_named() {
    let without_head = |graph: &mut Edited| {
        graph.nodes().pop();
        graph.output("dropout");
    };
    refuses(
        "encoder",
        without_head,
        &[
            "without a classifier after aten::conv2d (in features.3)",
            "torch.nn.Linear(6, classes)",
        ],
    );
    let path = edited("named", without_head);
    let sidecar = path.with_extension("json");
    std::fs::write(&sidecar, r#"{"classes": ["a", "b", "c", "d", "e", "f"]}"#).unwrap();
    let info = prospect::config::open_model(&path, None);
    std::fs::remove_file(sidecar).unwrap();
    let named = info.and_then(|info| info.load(Device::Cpu, Precision::Float32));
    std::fs::remove_file(path).unwrap();
    assert!(named.is_ok());
}

#[test]
fn fixed_batches_and_other_types_are_refused() {
    refuses(
        "static",
        |graph| graph.values()["x"]["sizes"][0] = int(8),
        &["one for batches of 8", "dynamic_shapes"],
    );
    for (dtype, name) in [(1, "uint8"), (6, "float16"), (8, "float64")] {
        refuses(
            "input-type",
            |graph| graph.values()["x"]["dtype"] = json!(dtype),
            &[&format!("images of type {name}"), "model.float()"],
        );
    }
    refuses(
        "inside",
        |graph| graph.values()["conv2d_1"]["dtype"] = json!(13),
        &["bfloat16 after aten::conv2d in features.3", "model.float()"],
    );
}

#[test]
fn logits_that_depend_on_the_batch_are_refused() {
    refuses(
        "batch-mean",
        |graph| {
            let inputs = [
                ("self", tensor("linear")),
                ("dim", json!({"as_ints": [0]})),
                ("keepdim", json!({"as_bool": true})),
            ];
            graph.push("mean.dim", "mean", &inputs, &[1, 3]);
            graph.push(
                "sub.Tensor",
                "centred",
                &[("self", tensor("linear")), ("other", tensor("mean"))],
                &[-1, 3],
            );
            graph.output("centred");
        },
        &[
            "depend on the other pictures of the batch",
            "not over dimension 0",
        ],
    );
}

#[test]
fn networks_that_libtorch_cannot_run_are_refused_at_load() {
    refuses(
        "reshape",
        |graph| graph.set("flatten", "start_dim", int(7)),
        &["runs in libtorch 2.11", "aten::flatten.using_ints"],
    );
}

#[test]
fn values_that_are_defined_twice_are_errors() {
    refuses(
        "twice",
        |graph| graph.node("dropout")["outputs"][0] = tensor("relu_"),
        &["\"relu_\" is defined twice"],
    );
}

#[test]
fn hostile_operators_and_arguments_are_errors() {
    for target in [
        "view.dtype",
        "repeat_interleave.Tensor",
        "zeros.out",
        "where.default",
    ] {
        refuses(
            "overload",
            |graph| graph.node("flatten")["target"] = json!(format!("torch.ops.aten.{target}")),
            &["unsupported operators"],
        );
    }
    let hostile: [(&str, &str, Json); 6] = [
        ("conv2d", "stride", json!({"as_ints": [0, 1]})),
        ("conv2d", "padding", json!({"as_ints": [1_i64 << 40, 1]})),
        ("conv2d", "groups", int(0)),
        ("max_pool2d", "kernel_size", json!({"as_ints": [0, 0]})),
        ("flatten", "dtype", int(-1)),
        ("flatten", "scales_h", json!({"as_float": 1e-300})),
    ];
    for (node, argument, value) in hostile {
        refuses(
            "argument",
            |graph| graph.set(node, argument, value.clone()),
            &[&format!("an invalid {argument:?} of aten::{node}")],
        );
    }
    refuses(
        "large",
        |graph| {
            graph.set(
                "adaptive_avg_pool2d",
                "output_size",
                json!({"as_ints": [1 << 20, 1 << 20]}),
            )
        },
        &["elements for 2 pictures"],
    );
    // The size asked for is small, but it is that of each channel.
    refuses(
        "memory",
        |graph| {
            graph.set(
                "adaptive_avg_pool2d",
                "output_size",
                json!({"as_ints": [1 << 13, 1 << 13]}),
            )
        },
        &[
            "takes at most 640 MiB for two pictures",
            "export it for smaller pictures",
        ],
    );
    refuses(
        "sizes",
        |graph| graph.values()["conv2d"]["sizes"][1] = int(i64::MAX),
        &["of conv2d"],
    );
    refuses(
        "write",
        |graph| graph.set("relu_", "self", tensor("p_features_0_weight")),
        &["writes into p_features_0_weight"],
    );
}

#[test]
fn messages_never_show_a_whole_graph() {
    let long = json!({"as_graph": {"nodes": vec!["node"; 100_000]}});
    refuses(
        "long",
        |graph| graph.set("linear", "bias", long.clone()),
        &["an invalid argument"],
    );
}

/// One storage of three elements must not become gigabytes.
#[test]
fn weights_are_no_larger_than_their_storage() {
    let path = altered(
        "strides",
        |member, bytes| {
            if !member.ends_with("model_weights_config.json") {
                return Some(bytes);
            }
            let mut config: Json = serde_json::from_slice(&bytes).unwrap();
            let meta = &mut config["config"]["classifier.1.bias"]["tensor_meta"];
            meta["sizes"] = json!([{"as_int": 3}, {"as_int": 1 << 30}]);
            meta["strides"] = json!([{"as_int": 1}, {"as_int": 0}]);
            Some(config.to_string().into_bytes())
        },
        CompressionMethod::Stored,
    );
    let message = load_error(&path);
    assert!(
        message.contains("at most the 3 elements of its storage"),
        "{message}"
    );
}

/// Writes into a map are seen through a slice that was taken before.
#[test]
fn writes_in_place_reach_earlier_views() {
    let path = edited("in-place", |graph| {
        let zero = || int(0);
        let at = |graph: &mut Edited| {
            graph
                .nodes()
                .iter()
                .position(|node| node["name"] == "adaptive_avg_pool2d")
                .unwrap()
        };
        let sizes = [-1, 6, 4, 3];
        let slice = [
            ("self", tensor("relu__1")),
            ("dim", int(1)),
            ("start", zero()),
            ("end", int(4)),
        ];
        let index = at(graph);
        graph.insert(index, "slice.Tensor", "part", &slice, &[-1, 4, 4, 3]);
        graph.insert(
            index + 1,
            "add_.Tensor",
            "plus",
            &[("self", tensor("relu__1")), ("other", int(1))],
            &sizes,
        );
        graph.insert(
            index + 2,
            "mul_.Tensor",
            "twice",
            &[("self", tensor("plus")), ("other", int(2))],
            &sizes,
        );
        graph.set("adaptive_avg_pool2d", "self", tensor("twice"));
        graph.push(
            "mean.dim",
            "pooled",
            &[
                ("self", tensor("part")),
                ("dim", json!({"as_ints": [2, 3]})),
            ],
            &[-1, 4],
        );
        graph.output("pooled");
    });
    let sidecar = path.with_extension("json");
    std::fs::write(&sidecar, r#"{"classes": ["a", "b", "c", "d"]}"#).unwrap();
    let info = prospect::config::open_model(&path, None).unwrap();
    let network = info.load(Device::Cpu, Precision::Float32).unwrap();
    std::fs::remove_file(sidecar).unwrap();
    std::fs::remove_file(path).unwrap();
    let (plain, original, reference) = open("plain");
    let map = plain.analysis.tap("features.4").unwrap().value;
    let map = original
        .compile(&[map], Fusion::None)
        .unwrap()
        .run(&reference["input"])
        .unwrap()
        .remove(0);
    let expected = (map
        .narrow(1, 0, 4)
        .mean_dim([2i64, 3].as_slice(), false, tch::Kind::Float)
        + 1.0)
        * 2.0;
    for fusion in [Fusion::None, Fusion::Fold, Fusion::OneDnn] {
        let runner = network.compile(&[info.graph.logits], fusion).unwrap();
        for _ in 0..2 {
            let logits = runner.run(&reference["input"]).unwrap().remove(0);
            assert!(relative_difference(&logits, &expected) < 1e-5, "{fusion:?}");
        }
    }
    assert!(info.layers(&LayerChoice::Auto).is_ok());
}

#[test]
fn a_file_that_is_replaced_after_opening_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt2");
    std::fs::copy(golden("plain.pt2"), &path).unwrap();
    let info = prospect::config::open_model(&path, None).unwrap();
    let other = edited("other", |graph| {
        graph.set("dropout", "p", json!({"as_float": 0.25}))
    });
    std::fs::rename(other, &path).unwrap();
    let result = info.load(Device::Cpu, Precision::Float32).map(|_| ());
    let message = result.unwrap_err().to_string();
    assert!(message.contains("replaced meanwhile"), "{message}");
    let result = info.first_filters().map(|_| ());
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("replaced meanwhile")
    );
}
