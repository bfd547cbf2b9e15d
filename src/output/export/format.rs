//! The formats of exports.

use clap::ValueEnum;
use serde::Serialize;

/// What reads the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Hugging Face datasets: an ImageFolder, one folder a split, each with a metadata.parquet
    Huggingface,
    /// FiftyOne: a FiftyOneDataset with labels, predictions and findings as fields
    Fiftyone,
    /// COCO: annotations.json, a box an image or those of `[explain] boxes`; predictions.json of the probe
    Coco,
    /// cleanlab: labels.npy and out-of-fold pred_probs.npy, images.csv, issues.csv
    Cleanlab,
    /// TensorBoard's embedding projector: feature vectors, metadata and a sprite of thumbnails
    Tensorboard,
    /// Embedding Atlas: images.parquet with the maps' coordinates, neighbours and thumbnails
    EmbeddingAtlas,
}

impl Format {
    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Huggingface => "huggingface",
            Format::Fiftyone => "fiftyone",
            Format::Coco => "coco",
            Format::Cleanlab => "cleanlab",
            Format::Tensorboard => "tensorboard",
            Format::EmbeddingAtlas => "embedding-atlas",
        }
    }

    /// Tables without which there is no such export. All others are taken where the run has them.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Format::Huggingface | Format::Fiftyone | Format::Coco => &["images"],
            Format::Cleanlab => &["images", "probe", "probe_classes"],
            Format::Tensorboard => &["images", "features"],
            Format::EmbeddingAtlas => &["images", "projection", "neighbors"],
        }
    }
}
