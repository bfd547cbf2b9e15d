//! `[run]` and `[images]`: what is looked at, and where the run goes.

use std::path::PathBuf;

use prospect_dataset::image::DecodeOptions;
use serde::Serialize;

use super::{reader::SectionReader, settings::Settings, values::Labels};

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunConfig {
    /// The run folder.
    pub dir: PathBuf,
    /// An earlier run's folder: rows of images that have not changed are taken from it, and findings are compared with its.
    pub previous: Option<PathBuf>,
}

/// `[images]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImagesConfig {
    /// The folder of images, searched with its subfolders.
    pub dir: PathBuf,
    /// CSV with one row per image.
    pub metadata: Option<PathBuf>,
    pub labels: Labels,
    /// An image with more pixels than this is an error row, not an allocation.
    pub max_pixels: u64,
    /// Turn photos upright as their EXIF tag says.
    pub exif_orientation: bool,
    /// In 0..=1; more unreadable images than this stop the run.
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
    /// How images are decoded.
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            max_pixels: self.max_pixels,
            exif_orientation: self.exif_orientation,
        }
    }

    pub(super) fn read(settings: &mut Settings) -> ImagesConfig {
        let mut section = SectionReader::new(settings, "images");
        let images = ImagesConfig {
            dir: section.required_path("dir", "the folder of images, e.g. dir = \"photos\""),
            metadata: section.path("metadata"),
            labels: section.choice("labels", Labels::Folder, &Labels::NAMES),
            // Pillow's limit against decompression bombs: twice 1024^3 / 4 / 3 pixels.
            max_pixels: section.value(
                "max_pixels",
                178_956_970,
                "a whole number of pixels from 1 to 4294967296",
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
                "is \"metadata\", but [images] metadata names no file; name it, or take labels = \"folder\"",
            );
        }
        images
    }
}
