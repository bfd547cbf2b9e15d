//! `[patches]`, `[neighbors]` and `[project]`: analysis of units and features.

use std::path::PathBuf;

use prospect_analysis::space::neighbors::Metric;
use serde::Serialize;

use super::{
    methods::{ProjectionMethod, SearchMethod},
    reader::SectionReader,
    settings::Settings,
    values::UnitChoice,
};

/// `[patches]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PatchesConfig {
    /// Patches per unit.
    pub k: usize,
    pub units: UnitChoice,
}

/// `[neighbors]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NeighborsConfig {
    /// Neighbours per image.
    pub k: usize,
    pub metric: Metric,
    pub method: SearchMethod,
    /// Minimum recall of an approximate search, in 0..=1.
    pub min_recall: f64,
    /// Images per block of an exact search, which keeps two blocks of features in memory.
    pub block_size: usize,
}

/// `[project]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProjectConfig {
    pub methods: Vec<ProjectionMethod>,
    pub seed: u64,
    /// Number of principal components stored and used by t-SNE.
    pub components: usize,
    /// t-SNE's perplexity: the effective number of neighbours.
    pub perplexity: f64,
    /// UMAP's neighbours per image, including the image itself.
    pub n_neighbors: usize,
    /// UMAP's minimum distance between similar images; its embedding is some ten units wide.
    pub min_dist: f64,
    /// Another run's folder, whose map is kept: only images that it lacks are placed.
    pub onto: Option<PathBuf>,
}

impl PatchesConfig {
    pub(super) fn read(settings: &mut Settings) -> PatchesConfig {
        let mut section = SectionReader::new(settings, "patches");
        PatchesConfig {
            // `patches.rank` is a 16-bit column, and nobody views thousands of patches of one unit.
            k: section.value("k", 9, "an integer from 1 to 1024", |k| {
                (1..=1024).contains(k)
            }),
            units: section.value(
                "units",
                UnitChoice::All,
                "\"all\", \"selective\" or a list of distinct channel indices such as [0, 17]",
                |units| match units {
                    UnitChoice::Listed(list) => {
                        !list.is_empty()
                            && (list.iter().enumerate())
                                .all(|(at, unit)| !list[..at].contains(unit))
                    }
                    _ => true,
                },
            ),
        }
    }
}

impl NeighborsConfig {
    pub(super) fn read(settings: &mut Settings) -> NeighborsConfig {
        let mut section = SectionReader::new(settings, "neighbors");
        NeighborsConfig {
            k: section.value("k", 20, "an integer from 1 to 1000", |k| {
                (1..=1000).contains(k)
            }),
            metric: section.choice("metric", Metric::Cosine, &Metric::NAMES),
            method: section.choice("method", SearchMethod::Auto, &SearchMethod::NAMES),
            min_recall: section.value("min_recall", 0.99, "a number from 0 to 1", |f| {
                (0.0..=1.0).contains(f)
            }),
            block_size: section.value("block_size", 32_768, "an integer from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
        }
    }
}

impl ProjectConfig {
    pub(super) fn read(settings: &mut Settings) -> ProjectConfig {
        let mut section = SectionReader::new(settings, "project");
        use ProjectionMethod::{Pca, Tsne, Umap};
        ProjectConfig {
            methods: section.choices(
                "methods",
                "methods",
                vec![Pca, Tsne, Umap],
                &ProjectionMethod::NAMES,
                |_| true,
            ),
            seed: section.value("seed", 42, "an integer from 0", |_| true),
            components: section.value("components", 50, "an integer from 2 to 1000", |n| {
                (2..=1000).contains(n)
            }),
            perplexity: section.value("perplexity", 30.0, "a number from 2 to 300", |p| {
                (2.0..=300.0).contains(p)
            }),
            n_neighbors: section.value("n_neighbors", 15, "an integer from 2 to 1000", |n| {
                (2..=1000).contains(n)
            }),
            min_dist: section.value("min_dist", 0.1, "a number from 0 to 1", |d| {
                (0.0..=1.0).contains(d)
            }),
            onto: section.path("onto"),
        }
    }
}
