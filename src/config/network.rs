//! `[model]`, `[input]` and `[extract]`: the network, its preprocessing and its outputs.

use std::path::PathBuf;

use prospect_dataset::image::{InputOverrides, Interpolation, Size};
use prospect_model::{LayerChoice, device::DeviceChoice, executor::Precision};
use serde::{Deserialize, Serialize};

use super::{reader::SectionReader, settings::Settings};

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelConfig {
    /// The `.pt2` archive; optional for commands that need no network.
    pub path: Option<PathBuf>,
    /// JSON with class names and preprocessing. Default: the model's path with the extension `json`.
    pub sidecar: Option<PathBuf>,
    pub device: DeviceChoice,
    pub dtype: Precision,
    /// Images per forward pass.
    pub batch_size: usize,
    /// 0 for one per core; see [`ModelConfig::streams`].
    pub streams: usize,
}

/// `[extract]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtractConfig {
    pub layers: LayerChoice,
    /// Module path, or `auto` for the input of the final linear layer.
    pub feature_layer: String,
    /// Images per part.
    pub part_size: usize,
    /// 0 for one per core; see [`ExtractConfig::decode_threads`].
    pub decode_threads: usize,
}

impl ExtractConfig {
    /// Number of decoding threads, at least 1.
    pub fn decode_threads(&self) -> usize {
        or_cores(self.decode_threads)
    }
}

/// 0 stands for the number of cores that the process may use, by its affinity and its control group's quota.
fn or_cores(n: usize) -> usize {
    match n {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    }
}

impl ModelConfig {
    /// Number of batches that run at the same time on the CPU, each with one thread, at least 1.
    pub fn streams(&self) -> usize {
        or_cores(self.streams)
    }

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
            batch_size: section.value("batch_size", 32, "an integer from 1 to 65536", |n| {
                (1..=65_536).contains(n)
            }),
            streams: section.value(
                "streams",
                0,
                "an integer from 0 (one per core) to 1024",
                |n| *n <= 1024,
            ),
        }
    }
}

/// Reads `[input]` from the configuration or a sidecar.
pub(super) fn read_input(settings: &mut Settings) -> InputOverrides {
    let mut section = SectionReader::new(settings, "input");
    InputOverrides {
        resize: section.optional(
            "resize",
            "1 to 16384 pixels for the shorter side, [height, width] or \"none\"",
            Size::in_range,
        ),
        crop: section.optional(
            "crop",
            "1 to 16384 pixels for a square, [height, width] or \"none\"",
            Size::in_range,
        ),
        interpolation: section.optional_choice("interpolation", None, &Interpolation::NAMES),
        mean: section.optional(
            "mean",
            "three numbers up to 1, for red, green and blue in 0..1, or one for all (divide those of 0..255 by 255)",
            |mean: &Channels| mean.all(|value| value.is_finite() && value <= 1.0),
        ).map(|mean| mean.each()),
        std: section.optional(
            "std",
            "three positive numbers up to 1, for red, green and blue in 0..1, or one for all (divide those of 0..255 by 255)",
            |std: &Channels| std.all(|value| value > 0.0 && value <= 1.0),
        ).map(|std| std.each()),
    }
}

/// A number for red, green and blue each, or one for all.
#[derive(Deserialize)]
#[serde(untagged)]
enum Channels {
    Each([f32; 3]),
    All(f32),
}

impl Channels {
    fn each(&self) -> [f32; 3] {
        match *self {
            Channels::Each(each) => each,
            Channels::All(all) => [all; 3],
        }
    }

    fn all(&self, check: impl Fn(f32) -> bool) -> bool {
        self.each().into_iter().all(check)
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
            part_size: section.value("part_size", 1024, "an integer from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
            decode_threads: section.value(
                "decode_threads",
                0,
                "an integer from 0 (one per core) to 1024",
                |n| *n <= 1024,
            ),
        }
    }
}
