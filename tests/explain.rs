//! Explanations of the golden networks against Captum and pytorch-grad-cam (tests/golden/make_explanations.py), and their
//! mathematical properties.
//!
//! Default tolerance: 1e-5 of the largest absolute value of the map or gradient. Both sides compute in float32, but in
//! different orders (folded BatchNorm, channels innermost, a mean before or after a product): about 1e-7 per sum.

mod common;
#[path = "explain/properties.rs"]
mod properties;

use std::collections::HashMap;

use half::f16;
use prospect::{
    dataset::image::InputOverrides,
    model::{
        CamMethod::{self, Cam, GradCam, GradCamPlusPlus, HiResCam, LayerCam},
        Layer, LayerChoice, ModelInfo, ReluRule,
        backprop::Backprop,
        executor::Network,
        explain::{Explainer, Explanation},
        forward::{Forward, Wanted},
    },
};
use tch::{Device, Kind, Tensor};

use common::{golden, open};

const CNNS: [&str; 4] = ["plain", "residual", "mobile", "branches"];
const METHODS: [CamMethod; 5] = [GradCam, Cam, GradCamPlusPlus, LayerCam, HiResCam];
const RULES: [ReluRule; 3] = [ReluRule::Plain, ReluRule::Deconv, ReluRule::Guided];

struct Case {
    name: &'static str,
    info: ModelInfo,
    network: Network,
    golden: HashMap<String, Tensor>,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Case {
    fn open(name: &'static str) -> Case {
        let (info, network, _) = open(name);
        let path = golden(&format!("{name}.explanations.safetensors"));
        let golden = Tensor::read_safetensors(path).unwrap();
        let spec = info.input_spec(&InputOverrides::default()).unwrap();
        Case {
            name,
            info,
            network,
            golden: golden.into_iter().collect(),
            mean: spec.mean,
            std: spec.std,
        }
    }

    /// The layers that have a tensor named `KIND.LAYER`.
    fn layers(&self, kind: &str) -> Vec<Layer> {
        let prefix = format!("{kind}.");
        let mut names: Vec<&str> = (self.golden.keys())
            .filter_map(|key| key.strip_prefix(prefix.as_str()))
            .filter(|&name| name != "class")
            .collect();
        names.sort_unstable();
        assert!(names.len() >= 4, "{} {kind}: {names:?}", self.name);
        names.into_iter().map(|name| self.layer(name)).collect()
    }

    fn layer(&self, name: &str) -> Layer {
        let tap = self.info.analysis.tap(name).unwrap();
        Layer {
            name: name.into(),
            class: tap.class.clone(),
            value: tap.value,
        }
    }

    /// The default explanation layer.
    fn default_layer(&self) -> Layer {
        let layers = self.info.explanation_layers(&LayerChoice::Auto).unwrap();
        let [layer] = layers.as_slice() else {
            panic!("{}: {layers:?}", self.name)
        };
        layer.clone()
    }

    fn explainer(&self, layer: &Layer) -> Explainer {
        let (methods, _) = self.info.methods_at(layer, &METHODS);
        Explainer::new(&self.network, &self.info, layer, &methods).unwrap()
    }

    fn pixels(&self) -> Vec<u8> {
        bytes(&self.golden["pixels"])
    }

    /// The inputs of `explainer` for both images, computed from their pixels as in a run.
    fn maps(&self, explainer: &Explainer) -> Vec<Vec<f32>> {
        let wanted = Wanted {
            feature: self.info.feature("auto").unwrap(),
            units: vec![],
            maps: explainer.inputs().to_vec(),
        };
        let forward = Forward::new(&self.network, &wanted, self.mean, self.std).unwrap();
        forward.run(&self.pixels(), 2).unwrap().maps
    }

    fn classes(&self) -> usize {
        self.info.graph.n_classes() as usize
    }

    /// Every image for every class.
    fn jobs(&self) -> Vec<(usize, usize)> {
        (0..2)
            .flat_map(|image| (0..self.classes()).map(move |class| (image, class)))
            .collect()
    }

    fn expected(&self, key: &str, image: usize, class: usize) -> Vec<f32> {
        floats(&self.golden[key].get(image as i64).get(class as i64))
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

fn run(explainer: &Explainer, maps: &[Vec<f32>], jobs: &[(usize, usize)]) -> Vec<Explanation> {
    let maps: Vec<&[f32]> = maps.iter().map(Vec::as_slice).collect();
    explainer.run(&maps, 2, jobs).unwrap()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, value| value.abs().max(max))
}

/// Largest absolute difference, relative to the largest expected value; two zero maps are equal.
fn difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, f32::max) / largest(expected).max(1e-12)
}

/// Every method, layer, image and class; the additional inputs of layers inside branches; the logits.
#[test]
fn maps_equal_those_of_pytorch_grad_cam() {
    for name in CNNS {
        let case = Case::open(name);
        for layer in case.layers("gradcam") {
            let (methods, _) = case.info.methods_at(&layer, &METHODS);
            let exact = methods.contains(&Cam);
            assert_eq!(
                exact,
                case.golden.contains_key(&format!("cam.{}", layer.name)),
                "{name} {}",
                layer.name
            );
            let explainer = case.explainer(&layer);
            assert_eq!(explainer.inputs()[0], layer);
            let inside = [
                "layer1.0.relu#1",
                "layer2.0.conv2",
                "layer2.0.downsample.0",
                "mixed.tall",
                "mixed.dilated",
                "features.1.depthwise",
                "features.1.gate",
            ];
            assert_eq!(
                explainer.inputs().len() > 1,
                inside.contains(&layer.name.as_str()),
                "{name} {}: {:?}",
                layer.name,
                explainer.inputs()
            );
            let jobs = case.jobs();
            let results = run(&explainer, &case.maps(&explainer), &jobs);
            assert_eq!(results.len(), jobs.len());
            for (result, &(image, class)) in results.iter().zip(&jobs) {
                let logit = case.expected("logits", image, class)[0];
                assert!((result.logit - logit).abs() < 1e-5 * logit.abs().max(1.0));
                assert_eq!(result.maps.len(), methods.len());
                for (method, map) in methods.iter().zip(&result.maps) {
                    let key = format!("{}.{}", method.name(), layer.name);
                    let difference = difference(map, &case.expected(&key, image, class));
                    assert!(
                        difference < 1e-5,
                        "{name} {key} image {image} class {class}: {difference}"
                    );
                }
            }
        }
    }
}

/// Raw Grad-CAM inside a residual branch equals autograd through the whole network.
#[test]
fn grad_cam_inside_a_branch_equals_autograd() {
    let case = Case::open("residual");
    let layer = case.layer("layer2.0.conv2");
    let explainer = Explainer::new(&case.network, &case.info, &layer, &[GradCam]).unwrap();
    let shortcut = case.info.analysis.tap("layer2.0.downsample").unwrap().value;
    let inputs: Vec<usize> = explainer.inputs().iter().map(|input| input.value).collect();
    assert_eq!(inputs, [layer.value, shortcut]);
    let results = run(&explainer, &case.maps(&explainer), &[(0, 1), (1, 2)]);
    for (image, class) in [(0, 1), (1, 2)] {
        let gradient = layer_and_gradient(&case, &layer, image, class);
        let (value, gradient) = (
            gradient.0,
            gradient.1.mean_dim([1i64, 2].as_slice(), true, Kind::Float),
        );
        let expected = (value * gradient).sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
        let difference = difference(&results[image].maps[0], &floats(&expected));
        assert!(difference < 1e-5, "image {image}: {difference}");
    }
}

/// A layer's map of one image and the gradient of a class's logit there, by autograd through the whole network.
fn layer_and_gradient(case: &Case, layer: &Layer, image: usize, class: usize) -> (Tensor, Tensor) {
    use prospect::model::program::Fusion;
    let values = [layer.value, case.info.graph.logits];
    let runner = case.network.compile(&values, Fusion::None).unwrap();
    let pixels = case.golden["pixels"]
        .permute([0, 3, 1, 2])
        .to_kind(Kind::Float)
        / 255.0;
    // The golden networks have equal means and deviations for all channels.
    let input =
        ((pixels - f64::from(case.mean[0])) / f64::from(case.std[0])).set_requires_grad(true);
    let outputs = runner.run(&input).unwrap();
    let score = outputs[1].get(image as i64).get(class as i64);
    let gradient = Tensor::run_backward(&[score], &[&outputs[0]], false, false).remove(0);
    (
        outputs[0].get(image as i64).detach(),
        gradient.get(image as i64),
    )
}

#[test]
fn pixel_gradients_equal_captums() {
    for name in CNNS {
        let case = Case::open(name);
        let mut targets = vec![("class".to_string(), case.info.graph.logits, vec![0, 1])];
        for layer in case.layers("element") {
            let elements: Vec<i64> =
                Vec::try_from(&case.golden[&format!("element.{}", layer.name)]).unwrap();
            let elements = elements.into_iter().map(|element| element as usize);
            targets.push((layer.name, layer.value, elements.collect()));
        }
        for (target, value, elements) in targets {
            for rule in RULES {
                let backprop =
                    Backprop::new(&case.network, value, rule, case.mean, case.std).unwrap();
                let got = backprop.run(&case.pixels(), &elements).unwrap();
                let key = format!("{}.{target}", rule.name());
                let size = got.len() / 2;
                for (image, got) in got.chunks(size).enumerate() {
                    let expected = floats(&case.golden[&key].get(image as i64));
                    let difference = difference(got, &expected);
                    assert!(
                        difference < 1e-5,
                        "{name} {key} image {image}: {difference}"
                    );
                }
            }
        }
    }
}

/// `mean(CAM_c) + b_c` is the logit, and CAM is Grad-CAM times the number of cells: Zhou et al. and Selvaraju et al.
#[test]
fn cam_sums_to_the_logit() {
    for name in ["plain", "residual", "mobile"] {
        let case = Case::open(name);
        let layer = case.default_layer();
        let explainer = Explainer::new(&case.network, &case.info, &layer, &[GradCam, Cam]).unwrap();
        let [_, rows, cols] = explainer.shape();
        let cells = (rows * cols) as f32;
        let jobs = case.jobs();
        for result in run(&explainer, &case.maps(&explainer), &jobs) {
            let scaled: Vec<f32> = result.maps[0].iter().map(|value| value * cells).collect();
            assert!(difference(&scaled, &result.maps[1]) < 1e-4, "{name}");
            let residual = result.logit - result.cam_logit.unwrap();
            assert!(
                residual.abs() < 1e-4 * result.logit.abs().max(1.0),
                "{name}: {residual} of {}",
                result.logit
            );
        }
    }
}

/// Where CAM is not exact, the error names the operator in between.
#[test]
fn cam_is_refused_where_it_is_not_exact() {
    for (name, layer, reason) in [
        ("branches", "pool", "conv2d"),
        ("plain", "features.2", "conv2d"),
        ("residual", "layer1", "used 2 times"),
    ] {
        let case = Case::open(name);
        let layer = case.layer(layer);
        let (possible, refused) = case.info.methods_at(&layer, &[Cam, GradCam]);
        assert_eq!(possible, [GradCam]);
        assert!(
            refused.len() == 1 && refused[0].contains(reason),
            "{refused:?}"
        );
        let error = Explainer::new(&case.network, &case.info, &layer, &[Cam])
            .err()
            .unwrap();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// Stored maps have half precision, a relative error of 2^-11 per feature, so 2e-3 of the map's largest value suffices.
#[test]
fn half_precision_maps_are_close() {
    for name in CNNS {
        let case = Case::open(name);
        let explainer = case.explainer(&case.default_layer());
        let (maps, jobs) = (case.maps(&explainer), case.jobs());
        let rounded: Vec<Vec<f32>> = maps
            .iter()
            .map(|map| {
                map.iter()
                    .map(|&value| f16::from_f32(value).to_f32())
                    .collect()
            })
            .collect();
        let pairs = run(&explainer, &maps, &jobs);
        for (exact, near) in pairs.iter().zip(run(&explainer, &rounded, &jobs)) {
            for (exact, near) in exact.maps.iter().zip(&near.maps) {
                let difference = difference(near, exact);
                assert!(difference < 2e-3, "{name}: {difference}");
            }
        }
    }
}

/// Classes explained together, in any order and with images left out, equal each class explained alone.
#[test]
fn jobs_are_independent() {
    for name in CNNS {
        let case = Case::open(name);
        for layer in [case.default_layer(), case.layers("gradcam").remove(1)] {
            let explainer = case.explainer(&layer);
            let maps = case.maps(&explainer);
            let jobs = [(1, 2), (0, 1), (1, 0), (0, 1)];
            let together = run(&explainer, &maps, &jobs);
            assert_eq!(together.len(), jobs.len());
            for (result, job) in together.iter().zip(jobs) {
                let alone = run(&explainer, &maps, &[job]).remove(0);
                assert!((result.logit - alone.logit).abs() < 1e-5 * alone.logit.abs().max(1.0));
                for (a, b) in result.maps.iter().zip(&alone.maps) {
                    assert!(difference(a, b) < 1e-6, "{name} {} {job:?}", layer.name);
                }
            }
            assert!(run(&explainer, &maps, &[]).is_empty());
        }
    }
}

#[test]
fn invalid_sizes_and_indices_are_errors() {
    let case = Case::open("plain");
    let explainer = case.explainer(&case.default_layer());
    let maps = case.maps(&explainer);
    let map = maps[0].as_slice();
    assert!(explainer.run(&[map], 2, &[(1, 2)]).is_ok());
    assert!(explainer.run(&[&map[1..]], 2, &[(1, 2)]).is_err());
    assert!(explainer.run(&[map], 1, &[(0, 0)]).is_err());
    assert!(explainer.run(&[], 2, &[(0, 0)]).is_err());
    assert!(explainer.run(&[map, map], 2, &[(0, 0)]).is_err());
    assert!(explainer.run(&[map], 2, &[(2, 0)]).is_err());
    assert!(explainer.run(&[map], 2, &[(0, 3)]).is_err());
    let logits = case.info.graph.logits;
    let rule = ReluRule::Guided;
    let backprop = Backprop::new(&case.network, logits, rule, case.mean, case.std).unwrap();
    assert!(backprop.run(&case.pixels(), &[0, 3]).is_err());
    assert!(backprop.run(&case.pixels(), &[0]).is_err());
}

#[test]
fn smooth_activations_are_listed() {
    let smooth = |name, rule| {
        let case = Case::open(name);
        let logits = case.info.graph.logits;
        let backprop = Backprop::new(&case.network, logits, rule, case.mean, case.std).unwrap();
        backprop.smooth().to_vec()
    };
    assert_eq!(smooth("mobile", ReluRule::Guided), ["hardswish"]);
    assert!(smooth("mobile", ReluRule::Plain).is_empty());
    assert!(smooth("residual", ReluRule::Deconv).is_empty());
}

/// Layers of tokens are not spatial.
#[test]
fn layers_of_tokens_are_errors() {
    let (info, network, _) = open("transformer");
    let tap = info.analysis.tap("blocks.0").unwrap();
    let layer = Layer {
        name: tap.name.clone(),
        class: tap.class.clone(),
        value: tap.value,
    };
    let error = Explainer::new(&network, &info, &layer, &[GradCam]);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("not a map"), "{error}");
}
