//! What an export is made of.

use std::path::{Component, Path, PathBuf};

use crate::picture::Picture;

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
pub(super) fn kinds(record: &Record) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for found in &record.findings {
        if !kinds.contains(&found.kind.as_str()) {
            kinds.push(&found.kind);
        }
    }
    kinds
}
