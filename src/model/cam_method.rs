//! The ways to make a class activation map.

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
