//! `[report]`: the pages.

use serde::Serialize;

use super::{reader::SectionReader, settings::Settings};

/// `[report]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportConfig {
    /// Heading of the pages.
    pub title: String,
    /// Most images with a picture in the report.
    pub images: usize,
    /// Most points on the map.
    pub map_points: usize,
}

impl ReportConfig {
    pub(super) fn read(settings: &mut Settings) -> ReportConfig {
        let mut section = SectionReader::new(settings, "report");
        ReportConfig {
            title: section.value(
                "title",
                "Prospect".to_string(),
                "a text of at most 200 characters",
                |title| title.chars().count() <= 200,
            ),
            images: section.value("images", 20_000, "a whole number from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
            map_points: section.value(
                "map_points",
                100_000,
                "a whole number from 1 to 1000000",
                |n| (1..=1_000_000).contains(n),
            ),
        }
    }
}
