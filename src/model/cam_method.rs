//! Methods of class activation mapping.

use prospect_common::names;

names! {
    /// Method of class activation mapping, given a layer's feature maps `F` and the gradient `G` of the class's logit.
    pub enum CamMethod {
        /// Selvaraju et al. 2017: `Σ_k mean(G_k) F_k`.
        GradCam = "gradcam",
        /// Zhou et al. 2016: `Σ_k w[c, k] F_k`; requires that only global average pooling and one linear layer follow.
        Cam = "cam",
        /// Chattopadhay et al. 2018.
        GradCamPlusPlus = "gradcam++",
        /// Jiang et al. 2021: `Σ_k relu(G_k) F_k`, cellwise.
        LayerCam = "layercam",
        /// Draelos & Carin 2020: `Σ_k G_k F_k`, cellwise.
        HiResCam = "hirescam",
    }
}
