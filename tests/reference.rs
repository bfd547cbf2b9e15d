//! Real networks against PyTorch, where they are at hand. Run by hand:
//!
//! ```text
//! PROSPECT_MODELS=/folder cargo test --release --test reference -- --ignored --nocapture
//! ```
//!
//! The folder holds NAME.pt2 and NAME.reference.safetensors with `logits` and either `input` or `input_first_8`.

mod common;

use common::relative_difference;
use prospect::model::{ModelInfo, executor::Precision, program::Fusion};
use tch::{Device, Tensor};

#[test]
#[ignore = "needs real networks: set PROSPECT_MODELS"]
fn real_networks_give_pytorchs_logits() {
    let folder =
        std::env::var("PROSPECT_MODELS").expect("PROSPECT_MODELS names a folder of .pt2 files");
    let mut seen = 0;
    let mut wrong = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let reference = path.with_extension("reference.safetensors");
        if path.extension().is_none_or(|extension| extension != "pt2") || !reference.exists() {
            continue;
        }
        let reference: std::collections::HashMap<String, Tensor> =
            Tensor::read_safetensors(reference)
                .unwrap()
                .into_iter()
                .collect();
        let input = reference
            .get("input")
            .or(reference.get("input_first_8"))
            .unwrap();
        let expected = reference["logits"].narrow(0, 0, input.size()[0]);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let result = ModelInfo::open(&path, None).and_then(|info| {
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
        seen += 1;
    }
    assert!(seen > 0, "no networks");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
