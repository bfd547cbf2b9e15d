//! `[report]`: the HTML report.

use serde::Serialize;

use super::{reader::SectionReader, settings::Settings};

/// `[report]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportConfig {
    /// Heading of all pages.
    pub title: String,
    /// Maximum number of images with a thumbnail.
    pub images: usize,
    /// Maximum number of points on the map.
    pub map_points: usize,
}

impl ReportConfig {
    pub(super) fn read(settings: &mut Settings) -> ReportConfig {
        let mut section = SectionReader::new(settings, "report");
        ReportConfig {
            title: section.value(
                "title",
                "Prospect".to_string(),
                "a string of at most 200 characters",
                |title| title.chars().count() <= 200,
            ),
            images: section.value("images", 20_000, "an integer from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
            map_points: section.value("map_points", 100_000, "an integer from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
        }
    }
}
