//! `[model]`, `[input]` and `[extract]`: the network, and what it is run for.

use std::path::PathBuf;

use prospect_dataset::image::{InputOverrides, Interpolation, Size};
use prospect_model::{LayerChoice, device::DeviceChoice, executor::Precision};
use serde::Serialize;

use super::{reader::SectionReader, settings::Settings};

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelConfig {
    /// The `.pt2` archive. Commands that need no network run without it.
    pub path: Option<PathBuf>,
    /// JSON beside the model: class names and input. Default: the model's path with the extension `json`.
    pub sidecar: Option<PathBuf>,
    pub device: DeviceChoice,
    pub dtype: Precision,
    /// Images per forward pass.
    pub batch_size: usize,
}

/// `[extract]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtractConfig {
    pub layers: LayerChoice,
    /// Module path, or `auto`: the input of the final linear layer.
    pub feature_layer: String,
    /// Images per part.
    pub part_size: usize,
    /// 0 means one per core; [`ExtractConfig::decode_threads`] resolves it.
    pub decode_threads: usize,
}

impl ExtractConfig {
    /// Threads that decode, at least 1.
    pub fn decode_threads(&self) -> usize {
        match self.decode_threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
    }
}

impl ModelConfig {
    pub(super) fn read(settings: &mut Settings) -> ModelConfig {
        let mut section = SectionReader::new(settings, "model");
        ModelConfig {
            path: section.path("path"),
            sidecar: section.path("sidecar"),
            device: section.worded(
                "device",
                DeviceChoice::Auto,
                "\"auto\", \"cpu\" or a CUDA device such as \"cuda:0\"",
                &["auto", "cpu", "cuda:0"],
                |_| true,
            ),
            dtype: section.choice("dtype", Precision::Float32, &Precision::NAMES),
            batch_size: section.value("batch_size", 32, "a whole number from 1 to 65536", |n| {
                (1..=65_536).contains(n)
            }),
        }
    }
}

/// `[input]`, of the configuration or of a sidecar.
pub(super) fn read_input(settings: &mut Settings) -> InputOverrides {
    const SIDES: &str = "of 1 to 16384 pixels";
    let mut section = SectionReader::new(settings, "input");
    InputOverrides {
        resize: section.optional(
            "resize",
            &format!("the shorter side, [height, width] or \"none\", sides {SIDES}"),
            Size::in_range,
        ),
        crop: section.optional(
            "crop",
            &format!("a square's side, [height, width] or \"none\", sides {SIDES}"),
            Size::in_range,
        ),
        interpolation: section.optional_choice("interpolation", None, &Interpolation::NAMES),
        mean: section.optional(
            "mean",
            "three numbers, for red, green and blue",
            |mean: &[f32; 3]| mean.iter().all(|value| value.is_finite()),
        ),
        std: section.optional(
            "std",
            "three numbers over 0, for red, green and blue",
            |std: &[f32; 3]| std.iter().all(|value| value.is_finite() && *value > 0.0),
        ),
    }
}

impl ExtractConfig {
    pub(super) fn read(settings: &mut Settings) -> ExtractConfig {
        let mut section = SectionReader::new(settings, "extract");
        ExtractConfig {
            layers: section.layers("layers"),
            feature_layer: section.value(
                "feature_layer",
                "auto".to_string(),
                "\"auto\" or a module path",
                |layer| !layer.is_empty(),
            ),
            part_size: section.value("part_size", 1024, "a whole number from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
            decode_threads: section.value(
                "decode_threads",
                0,
                "a whole number from 0 (one per core) to 1024",
                |n| *n <= 1024,
            ),
        }
    }
}
