//! Networks against PyTorch's outputs (tests/golden/make_models.py), and invalid archives.

mod common;

use prospect::model::{
    LayerChoice,
    analysis::Analysis,
    forward::{Forward, Wanted},
    graph::Graph,
    program::Fusion,
};
use tch::{Device, Tensor};
use zip::CompressionMethod;

use common::{
    GOLDEN,
    archive::{altered, load_error, with_graph},
    golden, open, relative_difference,
};

/// Logits of every network, unfused, folded and fused, at batch sizes 2, 1 and 5. The tolerance of 1e-5 of the largest logit
/// allows for float32 sums in a different order.
#[test]
fn logits_equal_pytorchs() {
    for name in GOLDEN {
        let (info, network, reference) = open(name);
        let (input, logits) = (&reference["input"], &reference["logits"]);
        for fusion in [Fusion::None, Fusion::Fold, Fusion::OneDnn] {
            let runner = network.compile(&[info.graph.logits], fusion).unwrap();
            let run = |batch: &Tensor| runner.run(batch).unwrap().remove(0);
            let difference = relative_difference(&run(input), logits);
            assert!(difference < 1e-5, "{name} {fusion:?}: {difference}");
            assert!(
                relative_difference(&run(&input.narrow(0, 0, 1)), &logits.narrow(0, 0, 1)) < 1e-5
            );
            let five = Tensor::cat(&[input, input, &input.narrow(0, 1, 1)], 0);
            let expected = Tensor::cat(&[logits, logits, &logits.narrow(0, 1, 1)], 0);
            assert!(
                relative_difference(&run(&five), &expected) < 1e-5,
                "{name} {fusion:?} five"
            );
        }
    }
}

/// Bit-identical between batches of one size: incremental runs rely on it. Between sizes the last bits differ, because products
/// of small matrices are computed differently; for the transformer, in batches of two, also between positions.
#[test]
fn results_are_independent_of_position_and_batch() {
    for name in GOLDEN {
        let (info, network, reference) = open(name);
        let layers = info.layers(&LayerChoice::Auto).unwrap();
        let wanted = Wanted {
            feature: info.feature("auto").unwrap(),
            maps: layers.clone(),
            units: layers,
        };
        let forward = Forward::new(&network, &wanted, [0.0; 3], [1.0; 3]).unwrap();
        let shape = reference["input"].size();
        tch::manual_seed(1);
        let images = Tensor::rand(
            [40, shape[1], shape[2], shape[3]],
            (tch::Kind::Float, Device::Cpu),
        );
        // All outputs for each image, as bits.
        let run = |places: &[i64]| -> Vec<Vec<u32>> {
            let n = places.len();
            let batch = images.index_select(0, &Tensor::from_slice(places));
            let batch = forward.run_normalised(&batch, n).unwrap();
            let units = batch
                .units
                .iter()
                .flat_map(|units| [&units.max, &units.mean]);
            let columns: Vec<&Vec<f32>> = [&batch.logits, &batch.features]
                .into_iter()
                .chain(units)
                .chain(&batch.maps)
                .collect();
            let of_image = |image: usize| {
                let values = columns.iter().flat_map(|column| {
                    let length = column.len() / n;
                    &column[image * length..(image + 1) * length]
                });
                values.map(|value| value.to_bits()).collect()
            };
            (0..n).map(of_image).collect()
        };
        for size in [8, 16, 31, 32] {
            let in_order: Vec<i64> = (0..size).collect();
            let expected = run(&in_order);
            let reversed: Vec<i64> = in_order.iter().rev().copied().collect();
            let mut found = run(&reversed);
            found.reverse();
            assert!(found == expected, "{name}, batches of {size}, reversed");
            // Every second image among others.
            let others: Vec<i64> = (0..size)
                .map(|at| if at % 2 == 0 { at } else { 39 - at / 2 % 8 })
                .collect();
            for (at, row) in run(&others).iter().enumerate().step_by(2) {
                assert!(
                    *row == expected[at],
                    "{name}, batches of {size}, image {at} among others"
                );
            }
        }
    }
}

/// Every output that PyTorch's hooks recorded, by the same name, all together and each alone.
#[test]
fn taps_equal_hook_outputs() {
    for name in GOLDEN {
        let (info, network, reference) = open(name);
        let taps: Vec<(&str, &Tensor)> = reference
            .iter()
            .filter_map(|(key, value)| key.strip_prefix("tap.").map(|path| (path, value)))
            .collect();
        assert!(taps.len() > 2, "{name}");
        let values: Vec<usize> = taps
            .iter()
            .map(|(path, _)| {
                info.analysis
                    .tap(path)
                    .unwrap_or_else(|| panic!("{name}: no tap {path}"))
                    .value
            })
            .collect();
        for fusion in [Fusion::None, Fusion::Fold, Fusion::OneDnn] {
            let together = network
                .compile(&values, fusion)
                .unwrap()
                .run(&reference["input"])
                .unwrap();
            for (index, (path, expected)) in taps.iter().enumerate() {
                let difference = relative_difference(&together[index], expected);
                assert!(difference < 1e-5, "{name} {path} {fusion:?}: {difference}");
                let alone = network.compile(&values[index..=index], fusion).unwrap();
                let alone = alone.run(&reference["input"]).unwrap().remove(0);
                assert!(
                    relative_difference(&alone, expected) < 1e-5,
                    "{name} {path} {fusion:?} alone"
                );
            }
        }
    }
}

/// Gradients at intermediate taps, by autograd through the unfused program.
#[test]
fn unfused_programs_support_autograd() {
    for name in ["plain", "residual", "branches"] {
        let (info, network, reference) = open(name);
        for (key, expected) in &reference {
            let Some(path) = key.strip_prefix("grad.") else {
                continue;
            };
            let tap = match path {
                "input" => info.graph.input,
                _ => info.analysis.tap(path).unwrap().value,
            };
            let runner = network
                .compile(&[info.graph.logits, tap], Fusion::None)
                .unwrap();
            let input = reference["input"].copy().set_requires_grad(true);
            let outputs = runner.run(&input).unwrap();
            let classes = info.graph.n_classes();
            let score = (0..input.size()[0])
                .map(|n| outputs[0].get(n).get(n % classes))
                .reduce(|a, b| a + b)
                .unwrap();
            let gradient = Tensor::run_backward(&[score], &[&outputs[1]], false, false).remove(0);
            let difference = relative_difference(&gradient, expected);
            assert!(difference < 1e-5, "{name} {path}: {difference}");
        }
    }
}

#[test]
fn defaults_follow_from_the_graph() {
    let (info, ..) = open("plain");
    let analysis = &info.analysis;
    let explanation = &analysis.taps[analysis.explanation.unwrap()];
    assert_eq!(explanation.name, "features");
    assert!(analysis.cam_exact(&info.graph, explanation.value).is_ok());
    let early = analysis.tap("features.0").unwrap();
    assert!(analysis.cam_exact(&info.graph, early.value).is_err());
    assert_eq!(info.head_name(), "classifier.1");
}

#[test]
fn default_layers_fit_into_the_column_of_positions() {
    let (info, ..) = open("plain");
    let layers = |graph: &Graph| -> Vec<String> {
        let analysis = Analysis::new(graph);
        let names = analysis
            .layers
            .iter()
            .map(|&at| analysis.taps[at].name.clone());
        names.collect()
    };
    let all = layers(&info.graph);
    let first = info.analysis.taps[info.analysis.layers[0]].value;
    let size = info.graph.values[first].shape.as_ref().unwrap()[2..].to_vec();
    // All maps of the first layer's size get another.
    let with_side = |side: i64| {
        let mut graph = info.graph.clone();
        for value in &mut graph.values {
            if let Some([_, _, maps @ ..]) = value.shape.as_deref_mut()
                && maps == size
            {
                maps.fill(Some(side));
            }
        }
        graph
    };
    assert_eq!(layers(&with_side(256)), all);
    assert_eq!(layers(&with_side(288)), all[1..]);
}

#[test]
fn pickled_weights_are_errors() {
    let path = altered(
        "pickled",
        |member, bytes| {
            Some(if member.ends_with("model_weights_config.json") {
                let text = String::from_utf8(bytes).unwrap();
                text.replace("\"use_pickle\": false", "\"use_pickle\": true")
                    .into_bytes()
            } else {
                bytes
            })
        },
        CompressionMethod::Stored,
    );
    let message = load_error(&path);
    assert!(
        message.contains("pickled") && message.contains("features.0.weight"),
        "{message}"
    );
}

#[test]
fn all_unknown_operators_are_reported() {
    let path = with_graph("operators", |graph| {
        graph
            .replace(
                "torch.ops.aten.max_pool2d.default",
                "torch.ops.aten.from_file.default",
            )
            .replace(
                "torch.ops.aten.linear.default",
                "torch.ops.evil.run.default",
            )
    });
    let message = load_error(&path);
    assert!(
        message.contains("aten::from_file (in features.2)"),
        "{message}"
    );
    assert!(message.contains("evil::run (in classifier.1)"), "{message}");
}

#[test]
fn missing_and_short_weights_are_errors() {
    let missing = altered(
        "missing",
        |member, bytes| (!member.ends_with("/weight_0")).then_some(bytes),
        CompressionMethod::Stored,
    );
    assert!(load_error(&missing).contains("weight_0"));
    let short = altered(
        "short",
        |member, mut bytes| {
            if member.ends_with("/weight_0") {
                bytes.truncate(7);
            }
            Some(bytes)
        },
        CompressionMethod::Stored,
    );
    let message = load_error(&short);
    assert!(
        message.contains("features.0.weight") && message.contains("found 7"),
        "{message}"
    );
}

#[test]
fn other_inputs_are_errors() {
    let message = load_error(&with_graph("inputs", |graph| {
        // The first parameter becomes a second input.
        graph
            .replacen(
                "{\"parameter\": {\"arg\": {\"name\":",
                "{\"user_input\": {\"arg\": {\"as_tensor\": {\"name\":",
                1,
            )
            .replacen("}, \"parameter_name\": \"features.0.weight\"}}", "}}}}", 1)
    }));
    assert!(message.contains("one image batch"), "{message}");
}

#[test]
fn invalid_archives_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.pt2");
    std::fs::write(&text, "no zip").unwrap();
    let message = prospect::config::open_model(&text, None)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(message.contains("torch.export archive"), "{message}");
    let cut = folder.path().join("cut.pt2");
    let bytes = std::fs::read(golden("plain.pt2")).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert!(prospect::config::open_model(&cut, None).is_err());
    let truncated_graph = with_graph("graph", |graph| graph[..graph.len() / 2].to_string());
    assert!(load_error(&truncated_graph).contains("model.json"));
}
