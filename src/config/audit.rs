//! `[audit]`: checks of labels, pictures and attributes.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    methods::ProbabilitySource,
    reader::{SectionReader, all_distinct},
    settings::Settings,
    values::ColumnNames,
};

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditConfig {
    pub source: ProbabilitySource,
    /// Folds of the probe; each is evaluated by a probe trained on the others.
    pub folds: usize,
    pub seed: u64,
    /// Findings per kind to review: the number of candidates kept, and the budget of the calibration.
    pub budget: usize,
    /// Fraction of labels flipped for the calibration, 0 to 0.5; 0 disables it.
    pub planted: f64,
    /// Maximum cosine distance between the features of near-duplicates; none: estimated from the data.
    pub duplicate_distance: Option<f64>,
    /// Metadata columns: images with the same value in one of them are not independent.
    pub group: Vec<String>,
    /// Metadata columns tested for association with labels and accuracy; none: all.
    pub attributes: Option<Vec<String>>,
    /// Permutations per p-value.
    pub permutations: usize,
    /// Search whole pictures for marks, not only what the network sees.
    pub whole: bool,
    /// CSV of people's reviews. Default: `reviews.csv` next to the run folder.
    pub reviews: Option<PathBuf>,
}

impl AuditConfig {
    pub(super) fn read(settings: &mut Settings) -> AuditConfig {
        let mut section = SectionReader::new(settings, "audit");
        AuditConfig {
            source: section.choice(
                "source",
                ProbabilitySource::Probe,
                &ProbabilitySource::NAMES,
            ),
            folds: section.value("folds", 5, "an integer from 2 to 100", |n| {
                (2..=100).contains(n)
            }),
            seed: section.value("seed", 42, "an integer from 0", |_| true),
            budget: section.value("budget", 200, "an integer from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
            planted: section.value("planted", 0.1, "a number from 0 to 0.5", |share| {
                (0.0..=0.5).contains(share)
            }),
            duplicate_distance: section.optional(
                "duplicate_distance",
                "a number from 0 to 2",
                |distance| (0.0..=2.0).contains(distance),
            ),
            group: section
                .optional(
                    "group",
                    "a metadata column such as \"patient\", or a list of distinct ones",
                    |names: &ColumnNames| !names.0.is_empty() && all_distinct(&names.0),
                )
                .map_or_else(Vec::new, |names| names.0),
            attributes: section.optional(
                "attributes",
                "a list of distinct metadata columns such as [\"camera\"]",
                |names: &Vec<String>| all_distinct(names),
            ),
            permutations: section.value(
                "permutations",
                1000,
                "an integer from 0 to 1000000",
                |n| *n <= 1_000_000,
            ),
            whole: section.value("whole", false, "true or false", |_| true),
            reviews: section.path("reviews"),
        }
    }
}
