//! Export formats.

use clap::ValueEnum;
use prospect_common::names;

names! {
    /// The tool that reads the export.
    #[derive(ValueEnum)]
    pub enum Format {
        /// The labels corrected by reviews: labels.csv, labels.parquet, and an ImageFolder with one folder per class
        Labels = "labels",
        /// Hugging Face datasets: an ImageFolder with one folder per split, each with a metadata.parquet
        Huggingface = "huggingface",
        /// FiftyOne: a FiftyOneDataset with labels, predictions and findings as fields
        Fiftyone = "fiftyone",
        /// COCO: annotations.json with one box per image or those of `[explain] boxes`; predictions.json of the probe
        Coco = "coco",
        /// cleanlab: labels.npy and out-of-fold pred_probs.npy, images.csv, issues.csv
        Cleanlab = "cleanlab",
        /// TensorBoard's embedding projector: feature vectors, metadata and a sprite of thumbnails
        Tensorboard = "tensorboard",
        /// Embedding Atlas: images.parquet with the maps' coordinates, neighbours and thumbnails
        EmbeddingAtlas = "embedding-atlas",
    }
}

impl Format {
    /// Required tables. All others are optional.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Format::Labels | Format::Huggingface | Format::Fiftyone | Format::Coco => &["images"],
            Format::Cleanlab => &["images", "probe", "probe_classes"],
            Format::Tensorboard => &["images", "features"],
            Format::EmbeddingAtlas => &["images", "projection", "neighbors"],
        }
    }
}
