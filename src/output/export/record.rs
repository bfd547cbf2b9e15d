//! The contents of an export.

use std::path::{Component, Path, PathBuf};

use crate::picture::Picture;

/// Facts about the whole export.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    /// Absolute path of the image folder.
    pub images: PathBuf,
    /// Number of images to be written.
    pub rows: u64,
    /// Names of the dataset's classes by index.
    pub classes: Vec<String>,
    /// Sorted names of the splits; `None` for images without a split.
    pub splits: Vec<Option<String>>,
    /// Names of the maps, as in the table `projection`.
    pub maps: Vec<String>,
    /// Classes in the order of [`Record::probabilities`].
    pub probe_classes: Vec<i32>,
}

impl Outline {
    /// The name of a class, or `class 7` if it has none.
    pub fn class(&self, class: i32) -> String {
        let name = usize::try_from(class).ok();
        let name = name.and_then(|class| self.classes.get(class));
        name.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// An image's file. `None` if its path is outside the image folder: the run folder is untrusted.
    pub fn file(&self, record: &Record) -> Option<PathBuf> {
        let path = Path::new(&record.path);
        let is_inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        (is_inside && !record.path.is_empty()).then(|| self.images.join(path))
    }
}

/// One image of an export.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub image_id: u32,
    /// Relative to the image folder, `/`-separated.
    pub path: String,
    /// BLAKE3 of the file.
    pub digest: String,
    /// Upright width and height in pixels.
    pub size: [u32; 2],
    pub split: Option<String>,
    /// The dataset's class.
    pub label: Option<i32>,
    /// The network's prediction, among the network's classes.
    pub prediction: Option<Prediction>,
    /// The probe's out-of-fold prediction, among the dataset's classes.
    pub probe: Option<Prediction>,
    /// The suggested label; the score of the given one, 0 worst to 1; whether that is flagged as wrong.
    pub suggested: Option<i32>,
    pub label_score: Option<f32>,
    pub label_issue: Option<bool>,
    /// A person's review of the label.
    pub review: Option<Review>,
    /// Flagged findings that no person has dismissed.
    pub findings: Vec<Finding>,
    /// Coordinates on the outline's maps.
    pub coordinates: Vec<Option<[f32; 2]>>,
    /// The network's feature vector, if the format needs it.
    pub features: Option<Vec<f32>>,
    /// The probe's out-of-fold probabilities, if the format needs them.
    pub probabilities: Option<Vec<f32>>,
    /// Rows in the export and distances of the nearest images, nearest first, if the format needs them.
    pub neighbors: Vec<(u32, f32)>,
    /// If the format needs it and the file can be decoded.
    pub thumbnail: Option<Picture>,
    /// Object bounding boxes, `x0, y0, x1, y1` in pixels of the upright image, if the format needs them.
    pub boxes: Vec<[f64; 4]>,
}

/// A predicted class with its confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub class: i32,
    pub name: String,
    /// 0 to 1.
    pub confidence: f32,
}

/// A finding about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub kind: String,
    /// 0 (worst) to 1 (fine).
    pub score: f32,
    pub evidence: String,
}

/// A review of a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// `ok` or `fix`.
    pub verdict: String,
    /// The right class of the dataset, if known.
    pub label: Option<i32>,
}

/// The distinct kinds of the findings.
pub(super) fn kinds(record: &Record) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for found in &record.findings {
        if !kinds.contains(&found.kind.as_str()) {
            kinds.push(&found.kind);
        }
    }
    kinds
}
