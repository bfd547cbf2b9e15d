//! Estimates of a stage's output: rows from the settings and the network's graph, bytes by measured factors. Each stage
//! estimates itself with these shared helpers.
//!
//! No image is read and nothing runs, so bytes are approximate: accurate within a factor of two for the networks and
//! photos that the factors were measured on (ResNet-50, SqueezeNet 1.1, MobileNetV2 and EfficientNet-Lite0 trained on
//! ImageNet, over 200 and 713 photos; a ResNet-20 over 10,000 pictures of 32 x 32). Each factor's comment gives the
//! measured range.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use prospect_common::Result;
use prospect_config::Labels;
use prospect_dataset::{listing::SPLITS, metadata::Metadata};
use prospect_model::{Layer, ModelInfo};

use crate::{Context, TableEstimate};

/// Compressed fraction of a float32 vector under zstd: logits 0.88 to 0.93.
pub const FLOATS: f64 = 0.92;
/// Compressed fraction of a PNG's pixels: 0.36 to 0.56 for contact sheets of photos; less for smaller pictures.
pub const SHEET_PNG: f64 = 0.5;

/// A row's fixed part and a vector of `vector` bytes that compresses to a fraction `share`.
pub fn with_vector([raw, disk]: [f64; 2], vector: u64, share: f64) -> [f64; 2] {
    [raw + vector as f64, disk + vector as f64 * share]
}

/// A picture whose bytes compress to a fraction `share`.
pub fn picture(pixels: u64, share: f64) -> [f64; 2] {
    let raw = 3.0 * pixels as f64;
    [raw, raw * share]
}

/// Channels, rows and columns of a layer's map.
pub fn shape(model: &ModelInfo, layer: &Layer) -> [u64; 3] {
    let sizes = model.graph.shape(layer.value).unwrap_or(&[]);
    [1, 2, 3].map(|at| {
        let size = sizes.get(at).copied().flatten();
        size.and_then(|size| u64::try_from(size).ok()).unwrap_or(1)
    })
}

/// Length of a feature vector.
pub fn feature_dimension(ctx: &Context) -> Result<u64> {
    let model = ctx.model()?;
    let feature = model.feature(&ctx.config.extract.feature_layer)?;
    let sizes = model.graph.shape(feature.value).unwrap_or(&[]);
    // [n, d], [n, tokens, d] or [n, d, rows, columns].
    let length = sizes.get(if sizes.len() == 3 { 2 } else { 1 });
    Ok(length.copied().flatten().unwrap_or(0) as u64)
}

/// Estimated number of label classes: folders, or different labels in the metadata.
pub fn dataset_classes(ctx: &Context) -> Result<u64> {
    let images = &ctx.config.images;
    let folders = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.is_dir()).collect()
    };
    let is_split = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        SPLITS.iter().any(|split| name.eq_ignore_ascii_case(split))
    };
    match images.labels {
        Labels::None => Ok(0),
        Labels::Folder => {
            let top = folders(&images.dir);
            let inside = match top.first() {
                Some(split) if top.iter().all(is_split) => folders(split),
                _ => top,
            };
            Ok(inside.len() as u64)
        }
        Labels::Metadata => {
            let Some(path) = &images.metadata else {
                return Ok(0);
            };
            let metadata = Metadata::read(path, &images.label_columns(), &[])?;
            let rows = 0..u32::try_from(metadata.n_rows()).unwrap_or(u32::MAX);
            let labels: HashSet<&str> = rows.filter_map(|row| metadata.label(row)).collect();
            Ok(labels.len() as u64)
        }
    }
}

/// Total of rows of different sizes.
#[derive(Default)]
pub struct Sum {
    rows: u64,
    bytes: [f64; 2],
}

impl Sum {
    pub fn add(&mut self, rows: u64, row: [f64; 2]) {
        self.rows += rows;
        for (sum, bytes) in self.bytes.iter_mut().zip(row) {
            *sum += rows as f64 * bytes;
        }
    }

    /// None without rows.
    pub fn table(
        self,
        table: &'static str,
        images: u64,
        remedy: &'static str,
    ) -> Option<TableEstimate> {
        let mean = self.bytes.map(|bytes| bytes / self.rows as f64);
        (self.rows > 0).then(|| TableEstimate::new(table, images * self.rows, mean).or(remedy))
    }
}
