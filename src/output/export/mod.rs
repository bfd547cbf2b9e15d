//! A run's findings in the formats of other tools: pure writers, which get one [`Record`] an image, in order of the ids, and
//! keep no more than a batch of them.
//!
//! File names, labels and evidence come from strangers: what goes into a table of text is escaped for that table, and no file
//! of an export is named after them.

mod atlas;
mod cleanlab;
mod coco;
mod columns;
mod csv_cells;
mod fiftyone;
mod folder;
mod huggingface;
mod npy;
mod tensorboard;
#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

use clap::ValueEnum;
use prospect_common::Result;
use serde::Serialize;

use crate::picture::Picture;

pub use folder::{Contents, Folder, Images, lies_in};

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

    /// The side in pixels of its thumbnails, where `asked` for and `rows` images are in it; 0 for none.
    pub fn thumbnail_side(self, asked: Option<u32>, rows: u64) -> u32 {
        match self {
            Format::Tensorboard => tensorboard::sprite_side(rows, asked.unwrap_or(48)),
            Format::EmbeddingAtlas => asked.unwrap_or(64),
            _ => 0,
        }
    }

    /// Begins an export. `how` is for formats that hold the images themselves, `side` as [`Format::thumbnail_side`] gives it.
    pub fn writer(
        self,
        folder: &Folder,
        outline: Outline,
        how: Images,
        side: u32,
    ) -> Result<Box<dyn Writer>> {
        Ok(match self {
            Format::Huggingface => Box::new(huggingface::Huggingface::new(outline, how)),
            Format::Fiftyone => Box::new(fiftyone::Fiftyone::new(folder, outline)?),
            Format::Coco => Box::new(coco::Coco::new(folder, outline)?),
            Format::Cleanlab => Box::new(cleanlab::Cleanlab::new(folder, outline)?),
            Format::Tensorboard => Box::new(tensorboard::Tensorboard::new(folder, outline, side)?),
            Format::EmbeddingAtlas => Box::new(atlas::Atlas::new(folder, outline, side)?),
        })
    }
}

/// Writes one format.
pub trait Writer {
    /// Takes the next image.
    fn write(&mut self, folder: &Folder, record: Record) -> Result<()>;

    /// Ends the files.
    fn finish(self: Box<Self>, folder: &Folder) -> Result<Told>;
}

/// What a finished export tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Images in it.
    pub rows: u64,
    /// One line that opens it, in Python or for the shell.
    pub open: String,
    /// What else its reader should know.
    pub remarks: Vec<String>,
}

/// What holds for all images of an export.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    /// The folder of images, absolute.
    pub images: PathBuf,
    /// Images that will come.
    pub rows: u64,
    /// Names of the dataset's classes by their number.
    pub classes: Vec<String>,
    /// Names of the splits, sorted; `None` among them stands for images without one.
    pub splits: Vec<Option<String>>,
    /// Names of the maps, as in the table `projection`.
    pub maps: Vec<String>,
    /// Classes in the order of [`Record::probabilities`].
    pub judged: Vec<i32>,
}

impl Outline {
    /// The name of a class; `class 7` where there is none.
    pub fn class(&self, class: i32) -> String {
        let name = usize::try_from(class).ok();
        let name = name.and_then(|class| self.classes.get(class));
        name.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Where an image lies. `None`: its path leads out of the folder of images, so the run folder is not to be trusted.
    pub fn file(&self, record: &Record) -> Option<PathBuf> {
        let path = Path::new(&record.path);
        let stays = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        (stays && !record.path.is_empty()).then(|| self.images.join(path))
    }
}

/// What is said of one image.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub image_id: u32,
    /// In the folder of images, with `/`.
    pub path: String,
    /// BLAKE3 of the file's bytes.
    pub digest: String,
    /// Width and height in pixels, upright.
    pub size: [u32; 2],
    pub split: Option<String>,
    /// The dataset's class.
    pub label: Option<i32>,
    /// The network's verdict, in the network's classes.
    pub prediction: Option<Judged>,
    /// The probe's verdict, which has not seen the image's label, in the dataset's classes.
    pub probe: Option<Judged>,
    /// The likelier label; how likely the given one is right, 0 to 1; whether it is flagged as wrong.
    pub suggested: Option<i32>,
    pub label_score: Option<f32>,
    pub label_issue: Option<bool>,
    /// What is flagged and not dismissed by a person.
    pub findings: Vec<Found>,
    /// Places on the maps of the outline.
    pub places: Vec<Option<[f32; 2]>>,
    /// The network's feature vector, where the format wants it.
    pub features: Option<Vec<f32>>,
    /// The probe's probabilities from a fold that this image was not in, where the format wants them.
    pub probabilities: Option<Vec<f32>>,
    /// Nearest first: their row in the export, and the distance, where the format wants them.
    pub neighbors: Vec<(u32, f32)>,
    /// Where the format wants it and the file can be decoded.
    pub thumbnail: Option<Picture>,
    /// Boxes round the object, `x0, y0, x1, y1` in pixels of the upright image, where the format wants them.
    pub boxes: Vec<[f64; 4]>,
}

/// A class and how sure a classifier is of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub class: i32,
    pub name: String,
    /// 0 to 1.
    pub confidence: f32,
}

/// A finding about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub kind: String,
    /// 0 (worst) to 1 (fine).
    pub score: f32,
    pub evidence: String,
}

/// Kinds of the findings, each once.
fn kinds(record: &Record) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for found in &record.findings {
        if !kinds.contains(&found.kind.as_str()) {
            kinds.push(&found.kind);
        }
    }
    kinds
}

/// A path as a string literal of Python (and of JSON).
fn literal(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

/// A path as one word for the shell.
fn word(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
