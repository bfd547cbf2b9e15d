//! Which method does a piece of work, where there are several.

use prospect_common::names;

names! {
    /// How nearest neighbours are found.
    pub enum SearchMethod {
        /// Whichever is expected to be faster.
        Auto = "auto",
        /// Every image with every other, by blocks.
        Exact = "exact",
        /// Malkov & Yashunin 2018: a hierarchical navigable small world graph.
        Hnsw = "hnsw",
    }
}

names! {
    /// How images are laid out in the plane.
    pub enum ProjectionMethod {
        /// Principal components.
        Pca = "pca",
        /// van der Maaten & Hinton 2008.
        Tsne = "tsne",
        /// McInnes et al. 2018.
        Umap = "umap",
        /// Principal components by linfa-reduction.
        PcaLinfa = "pca-linfa",
        /// t-SNE by linfa-tsne, which takes no seed.
        TsneLinfa = "tsne-linfa",
    }
}

names! {
    /// Whose probabilities judge the labels.
    pub enum ProbabilitySource {
        /// A linear probe on the features, trained on the other folds: nothing it says of an image comes from that image's label.
        Probe = "probe",
        /// The network's own predictions, where its classes are the dataset's. It may have memorised the labels it was trained on.
        Network = "network",
    }
}
