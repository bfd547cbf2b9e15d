//! Which method does a piece of work, where there are several.

use serde::{Deserialize, Serialize};

/// How nearest neighbours are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchMethod {
    /// Whichever is expected to be faster.
    Auto,
    /// Every image with every other, by blocks.
    Exact,
    /// Malkov & Yashunin 2018: a hierarchical navigable small world graph.
    Hnsw,
}

/// How images are laid out in the plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProjectionMethod {
    /// Principal components.
    Pca,
    /// van der Maaten & Hinton 2008.
    Tsne,
    /// McInnes et al. 2018.
    Umap,
    /// Principal components by linfa-reduction.
    #[serde(rename = "pca-linfa")]
    PcaLinfa,
    /// t-SNE by linfa-tsne, which takes no seed.
    #[serde(rename = "tsne-linfa")]
    TsneLinfa,
}

impl ProjectionMethod {
    /// As tables and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            ProjectionMethod::Pca => "pca",
            ProjectionMethod::Tsne => "tsne",
            ProjectionMethod::Umap => "umap",
            ProjectionMethod::PcaLinfa => "pca-linfa",
            ProjectionMethod::TsneLinfa => "tsne-linfa",
        }
    }
}

/// Whose probabilities judge the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbabilitySource {
    /// A linear probe on the features, trained on the other folds: nothing it says of an image comes from that image's label.
    Probe,
    /// The network's own predictions, where its classes are the dataset's. It may have memorised the labels it was trained on.
    Network,
}

impl ProbabilitySource {
    /// As tables and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            ProbabilitySource::Probe => "probe",
            ProbabilitySource::Network => "network",
        }
    }
}
