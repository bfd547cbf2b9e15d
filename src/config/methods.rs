//! Which method does a piece of work, where there are several.

use serde::{Deserialize, Serialize};

/// How a class activation map is made of a layer's maps `F` and the gradient `G` of the class's logit there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CamMethod {
    /// Selvaraju et al. 2017: `Σ_k mean(G_k) F_k`.
    GradCam,
    /// Zhou et al. 2016: `Σ_k w[c, k] F_k`; only where global average pooling and one linear layer follow.
    Cam,
    /// Chattopadhay et al. 2018.
    #[serde(rename = "gradcam++")]
    GradCamPlusPlus,
    /// Jiang et al. 2021: `Σ_k relu(G_k) F_k`, cell by cell.
    LayerCam,
    /// Draelos & Carin 2020: `Σ_k G_k F_k`, cell by cell.
    HiResCam,
}

impl CamMethod {
    pub const ALL: [CamMethod; 5] = [
        CamMethod::GradCam,
        CamMethod::Cam,
        CamMethod::GradCamPlusPlus,
        CamMethod::LayerCam,
        CamMethod::HiResCam,
    ];

    /// As tables and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            CamMethod::GradCam => "gradcam",
            CamMethod::Cam => "cam",
            CamMethod::GradCamPlusPlus => "gradcam++",
            CamMethod::LayerCam => "layercam",
            CamMethod::HiResCam => "hirescam",
        }
    }
}

/// What a ReLU does to the gradient `g` that comes back to it, `z` being its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReluRule {
    /// The derivative: `g [z > 0]`.
    Plain,
    /// Zeiler & Fergus 2014: `g [g > 0]`.
    Deconv,
    /// Springenberg et al. 2015: `g [z > 0] [g > 0]`.
    Guided,
}

impl ReluRule {
    /// As tables and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            ReluRule::Plain => "plain",
            ReluRule::Deconv => "deconv",
            ReluRule::Guided => "guided",
        }
    }
}

/// How far two feature vectors are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Euclidean.
    L2,
    /// One minus the cosine of the angle between them; 1 where one of them is zero.
    Cosine,
}

impl Metric {
    /// As tables and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::L2 => "l2",
            Metric::Cosine => "cosine",
        }
    }
}

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
