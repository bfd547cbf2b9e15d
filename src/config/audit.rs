//! `[audit]`: what is looked for in labels, pictures and attributes.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    methods::ProbabilitySource,
    reader::{SectionReader, all_different},
    settings::Settings,
};

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditConfig {
    pub source: ProbabilitySource,
    /// Folds of the probe; each is judged by a probe that was trained on the others.
    pub folds: usize,
    pub seed: u64,
    /// Images of a kind that a person is going to review: so many candidates are kept, and the calibration is told for them.
    pub budget: usize,
    /// Share of the labels that the calibration flips, in 0..0.5; 0 leaves it out.
    pub planted: f64,
    /// Cosine distance of features up to which pictures may be near duplicates; none: found from the data.
    pub duplicate_distance: Option<f64>,
    /// Columns of the metadata that are held against labels and accuracy; none: all of them.
    pub attributes: Option<Vec<String>>,
    /// Shuffles behind a p-value.
    pub permutations: usize,
    /// CSV of what people have decided. Default: `reviews.csv` beside the run folder.
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
            folds: section.value("folds", 5, "a whole number from 2 to 100", |n| {
                (2..=100).contains(n)
            }),
            seed: section.value("seed", 42, "a whole number from 0", |_| true),
            budget: section.value("budget", 200, "a whole number from 1 to 1000000", |n| {
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
            attributes: section.optional(
                "attributes",
                "a list of different columns of the metadata such as [\"camera\"]",
                |names: &Vec<String>| all_different(names),
            ),
            permutations: section.value(
                "permutations",
                1000,
                "a whole number from 0 to 1000000",
                |n| *n <= 1_000_000,
            ),
            reviews: section.path("reviews"),
        }
    }
}
