//! `[run]` and `[images]`: the run folder and the dataset.

use std::path::PathBuf;

use prospect_dataset::{
    image::{DecodeOptions, Depth},
    listing::Links,
    votes::LabelColumns,
};
use serde::Serialize;

use super::{
    reader::{SectionReader, all_distinct},
    settings::Settings,
    values::{ColumnNames, Labels},
};

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
    /// Which symbolic links in it are followed.
    pub links: Links,
    /// CSV, JSON or Parquet with one row per image.
    pub metadata: Option<PathBuf>,
    /// The metadata's columns with the images' paths, labels and splits, if they have other names than usual.
    pub file_column: Option<String>,
    pub label_column: Option<String>,
    pub split_column: Option<String>,
    pub labels: Labels,
    /// Metadata columns with votes for a class or its probability.
    pub votes: Vec<String>,
    /// Metadata columns with the label by one annotator.
    pub annotators: Vec<String>,
    /// Images with more pixels are not decoded and become error rows.
    pub max_pixels: u64,
    /// Apply the EXIF orientation.
    pub exif_orientation: bool,
    /// How 16-bit greys become 8-bit.
    pub depth: Depth,
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
            depth: self.depth,
        }
    }

    /// Columns of the metadata with labels.
    pub fn label_columns(&self) -> LabelColumns<'_> {
        LabelColumns {
            label: self.labels == Labels::Metadata,
            votes: &self.votes,
            annotators: &self.annotators,
            file_column: self.file_column.as_deref(),
            label_column: self.label_column.as_deref(),
            split_column: self.split_column.as_deref(),
        }
    }

    pub(super) fn read(settings: &mut Settings) -> ImagesConfig {
        let mut section = SectionReader::new(settings, "images");
        let allowed =
            "columns such as \"votes_*\", with at most one * each, or a list of distinct ones";
        let is_valid = |names: &ColumnNames| {
            let stars = |name: &String| name.matches('*').count();
            !names.0.is_empty()
                && all_distinct(&names.0)
                && names.0.iter().all(|name| stars(name) < 2)
        };
        let a_column = "a column of the metadata";
        let is_name = |name: &String| !name.is_empty();
        let images = ImagesConfig {
            dir: section.required_path("dir", "the image folder, e.g. dir = \"photos\""),
            links: section.choice("links", Links::Follow, &Links::NAMES),
            metadata: section.path("metadata"),
            file_column: section.optional("file_column", a_column, is_name),
            label_column: section.optional("label_column", a_column, is_name),
            split_column: section.optional("split_column", a_column, is_name),
            labels: section.choice("labels", Labels::Folder, &Labels::NAMES),
            votes: section
                .optional("votes", allowed, is_valid)
                .map_or_else(Vec::new, |names| names.0),
            annotators: section
                .optional("annotators", allowed, is_valid)
                .map_or_else(Vec::new, |names| names.0),
            // Pillow's limit against decompression bombs: twice 1024^3 / 4 / 3 pixels.
            max_pixels: section.value(
                "max_pixels",
                178_956_970,
                "a number of pixels from 1 to 4294967296",
                |n| (1..=1 << 32).contains(n),
            ),
            exif_orientation: section.value("exif_orientation", true, "true or false", |_| true),
            depth: section.choice("depth", Depth::Scale, &Depth::NAMES),
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
