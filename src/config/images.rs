//! `[run]` and `[images]`: the run folder and the dataset.

use std::path::PathBuf;

use prospect_dataset::image::DecodeOptions;
use serde::Serialize;

use super::{reader::SectionReader, settings::Settings, values::Labels};

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunConfig {
    /// The run folder.
    pub dir: PathBuf,
    /// An earlier run's folder: rows of unchanged images are reused, and findings are compared with that run's.
    pub previous: Option<PathBuf>,
}

/// `[images]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImagesConfig {
    /// The image folder, searched recursively.
    pub dir: PathBuf,
    /// CSV, TSV or Parquet with one row per image.
    pub metadata: Option<PathBuf>,
    pub labels: Labels,
    /// Images with more pixels are not decoded and become error rows.
    pub max_pixels: u64,
    /// Apply the EXIF orientation.
    pub exif_orientation: bool,
    /// Maximum fraction of unreadable images, in 0..=1; more stop the run.
    pub max_bad_fraction: f64,
}

impl RunConfig {
    pub(super) fn read(settings: &mut Settings) -> RunConfig {
        let mut section = SectionReader::new(settings, "run");
        RunConfig {
            dir: section.path_or("dir", "runs/default"),
            previous: section.path("previous"),
        }
    }
}

impl ImagesConfig {
    /// Options for decoding images.
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            max_pixels: self.max_pixels,
            exif_orientation: self.exif_orientation,
        }
    }

    pub(super) fn read(settings: &mut Settings) -> ImagesConfig {
        let mut section = SectionReader::new(settings, "images");
        let images = ImagesConfig {
            dir: section.required_path("dir", "the image folder, e.g. dir = \"photos\""),
            metadata: section.path("metadata"),
            labels: section.choice("labels", Labels::Folder, &Labels::NAMES),
            // Pillow's limit against decompression bombs: twice 1024^3 / 4 / 3 pixels.
            max_pixels: section.value(
                "max_pixels",
                178_956_970,
                "a number of pixels from 1 to 4294967296",
                |n| (1..=1 << 32).contains(n),
            ),
            exif_orientation: section.value("exif_orientation", true, "true or false", |_| true),
            max_bad_fraction: section.value("max_bad_fraction", 0.1, "a number from 0 to 1", |f| {
                (0.0..=1.0).contains(f)
            }),
        };
        if images.labels == Labels::Metadata && !section.has("metadata") {
            section.complain(
                "labels",
                "is \"metadata\", but [images] metadata is not set; set it, or use labels = \"folder\"",
            );
        }
        images
    }
}
