//! Real networks compared with PyTorch, run manually:
//!
//! ```text
//! PROSPECT_MODELS=/folder cargo test --release --test reference -- --ignored --nocapture
//! ```
//!
//! The folder contains NAME.pt2 and NAME.reference.safetensors with `logits` and either `input` or `input_first_8`.
//! PROSPECT_EXPLANATIONS is a folder written by tests/golden/make_reference_explanations.py with these networks.

mod common;

use std::{collections::HashMap, path::PathBuf};

use half::f16;
use prospect::{
    dataset::image::InputOverrides,
    model::{
        CamMethod, LayerChoice, ReluRule,
        backprop::Backprop,
        executor::Precision,
        explain::Explainer,
        forward::{Forward, Wanted},
        program::Fusion,
    },
};
use tch::{Device, Tensor};

use common::relative_difference;

fn folder(variable: &str) -> PathBuf {
    let value = std::env::var(variable);
    PathBuf::from(value.unwrap_or_else(|_| panic!("{variable} must name a folder")))
}

#[test]
#[ignore = "needs real networks: set PROSPECT_MODELS"]
fn logits_of_real_networks_equal_pytorchs() {
    let mut n = 0;
    let mut wrong = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder("PROSPECT_MODELS"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let reference = path.with_extension("reference.safetensors");
        if path.extension().is_none_or(|extension| extension != "pt2") || !reference.exists() {
            continue;
        }
        let reference: HashMap<String, Tensor> = Tensor::read_safetensors(reference)
            .unwrap()
            .into_iter()
            .collect();
        let input = reference
            .get("input")
            .or(reference.get("input_first_8"))
            .unwrap();
        let expected = reference["logits"].narrow(0, 0, input.size()[0]);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let result = prospect::config::open_model(&path, None).and_then(|info| {
            let network = info.load(Device::Cpu, Precision::Float32)?;
            let mut line = format!("{name}:");
            for fusion in [Fusion::None, Fusion::Fold, Fusion::OneDnn] {
                let runner = network.compile(&[info.graph.logits], fusion)?;
                let started = std::time::Instant::now();
                let got = tch::no_grad(|| runner.run(input))?.remove(0);
                let difference = relative_difference(&got, &expected);
                line += &format!(
                    " {fusion:?} {difference:.1e} ({:.0} ms)",
                    started.elapsed().as_secs_f64() * 1e3
                );
                if difference.is_nan() || difference > 1e-4 {
                    wrong.push(format!("{name} {fusion:?} {difference}"));
                }
            }
            println!("{line}");
            Ok(())
        });
        if let Err(error) = result {
            println!("{name}: {error}");
            wrong.push(format!("{name}: {error}"));
        }
        n += 1;
    }
    assert!(n > 0, "no networks");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Name, largest difference over all images, and tolerance of each comparison.
#[derive(Default)]
struct Worst(Vec<(&'static str, f64, f64)>);

impl Worst {
    /// Adds one image: the largest difference relative to the largest expected value.
    fn add(&mut self, what: &'static str, allowed: f64, got: &[f32], expected: &[f32]) {
        assert_eq!(got.len(), expected.len(), "{what}");
        let largest = expected
            .iter()
            .fold(0f32, |max, value| value.abs().max(max));
        let pairs = got.iter().zip(expected);
        let difference = pairs.fold(0f32, |max, (a, b)| (a - b).abs().max(max));
        let difference = f64::from(difference / largest.max(1e-12));
        match self.0.iter_mut().find(|(name, ..)| *name == what) {
            Some((_, worst, _)) => *worst = worst.max(difference),
            None => self.0.push((what, difference, allowed)),
        }
    }
}

fn values<T>(tensor: &Tensor) -> Vec<T>
where
    Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
{
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

/// Raw Grad-CAM from float32 maps (tolerance 1e-5 of a map's largest value) and from maps rounded to half precision (2e-3),
/// guided backpropagation and DeconvNet (1e-5), CAM's identities (1e-4).
///
/// Gradients are compared under the reference's conditions: its normalised input, its batches, one thread. The rules are
/// discontinuous: where a ReLU's input is within rounding of zero, another order of summation, as with another number of
/// threads, opens or closes it. Results from pixels normalised here are printed too.
#[test]
#[ignore = "needs real networks and explanations: set PROSPECT_MODELS and PROSPECT_EXPLANATIONS"]
fn explanations_of_real_photos_equal_captums() {
    const BATCH: usize = 8;
    tch::set_num_threads(1);
    let (models, explanations) = (folder("PROSPECT_MODELS"), folder("PROSPECT_EXPLANATIONS"));
    let mut wrong = Vec::new();
    for name in ["squeezenet1_1", "resnet50_v1"] {
        let path = explanations.join(format!("{name}.explanations.safetensors"));
        let reference: HashMap<String, Tensor> =
            (Tensor::read_safetensors(path).unwrap().into_iter()).collect();
        let info = prospect::config::open_model(&models.join(format!("{name}.pt2")), None).unwrap();
        let network = info.load(Device::Cpu, Precision::Float32).unwrap();
        let spec = info.input_spec(&InputOverrides::default()).unwrap();
        let layer = info
            .explanation_layers(&LayerChoice::Auto)
            .unwrap()
            .remove(0);
        let (methods, _) = info.methods_at(&layer, &[CamMethod::GradCam, CamMethod::Cam]);
        let explainer = Explainer::new(&network, &info, &layer, &methods).unwrap();
        let [_, rows, cols] = explainer.shape();
        let wanted = Wanted {
            feature: info.feature("auto").unwrap(),
            units: vec![],
            maps: explainer.inputs().to_vec(),
        };
        let forward = Forward::new(&network, &wanted, spec.mean, spec.std).unwrap();
        let backprop = |rule| {
            let logits = info.graph.logits;
            Backprop::new(&network, logits, rule, spec.mean, spec.std).unwrap()
        };
        let rules = [
            ("guided", backprop(ReluRule::Guided)),
            ("deconv", backprop(ReluRule::Deconv)),
        ];
        let mut worst = Worst::default();
        let count = reference["class"].size()[0] as usize;
        for start in (0..count).step_by(BATCH) {
            let part = |key: &str| reference[key].narrow(0, start as i64, BATCH as i64);
            let classes: Vec<usize> = (values::<i64>(&part("class")).into_iter())
                .map(|class| class as usize)
                .collect();
            let jobs: Vec<(usize, usize)> = classes.iter().copied().enumerate().collect();
            let batch = forward.run(&values::<u8>(&part("pixels")), BATCH).unwrap();
            let exact = batch.maps.clone();
            let mut rounded = batch.maps;
            for value in rounded.iter_mut().flatten() {
                *value = f16::from_f32(*value).to_f32();
            }
            let explain = |maps: &[Vec<f32>]| {
                let maps: Vec<&[f32]> = maps.iter().map(Vec::as_slice).collect();
                explainer.run(&maps, BATCH, &jobs).unwrap()
            };
            let expected = values::<f32>(&part("gradcam"));
            let logits = part("logits");
            for (index, (exact, rounded)) in explain(&exact)
                .into_iter()
                .zip(explain(&rounded))
                .enumerate()
            {
                let expected = &expected[index * rows * cols..][..rows * cols];
                worst.add("gradcam, float32 maps", 1e-5, &exact.maps[0], expected);
                worst.add("gradcam, float16 maps", 2e-3, &rounded.maps[0], expected);
                let logit = logits.double_value(&[index as i64, classes[index] as i64]) as f32;
                worst.add("logit", 1e-5, &[exact.logit], &[logit]);
                if let (Some(cam), Some(cam_logit)) = (exact.maps.get(1), exact.cam_logit) {
                    let scaled: Vec<f32> = exact.maps[0]
                        .iter()
                        .map(|value| value * (rows * cols) as f32)
                        .collect();
                    worst.add("gradcam * cells against cam", 1e-4, &scaled, cam);
                    worst.add("mean(cam) + b against logit", 1e-4, &[cam_logit], &[logit]);
                }
            }
            for (rule, backprop) in &rules {
                let got = backprop.run_normalised(&part("input"), &classes).unwrap();
                let from_pixels = backprop
                    .run(&values::<u8>(&part("pixels")), &classes)
                    .unwrap();
                let expected = values::<f32>(&part(rule));
                let size = expected.len() / BATCH;
                for index in 0..BATCH {
                    let one = |all: &[f32]| all[index * size..][..size].to_vec();
                    worst.add(rule, 1e-5, &one(&got), &one(&expected));
                    let what = match *rule {
                        "guided" => "guided, pixels normalised here",
                        _ => "deconv, pixels normalised here",
                    };
                    worst.add(what, f64::INFINITY, &one(&from_pixels), &one(&expected));
                }
            }
        }
        println!("{name} at {}, {count} photos:", layer.name);
        for (what, difference, allowed) in worst.0 {
            println!("  {what}: {difference:.1e}");
            if difference.is_nan() || difference > allowed {
                wrong.push(format!(
                    "{name} {what}: {difference:.1e} over {allowed:.0e}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
