//! Choices between methods.

use prospect_common::names;

names! {
    /// Methods of nearest-neighbour search.
    pub enum SearchMethod {
        /// The one expected to be faster.
        Auto = "auto",
        /// All pairs of images, in blocks.
        Exact = "exact",
        /// Malkov & Yashunin 2018: a hierarchical navigable small world graph.
        Hnsw = "hnsw",
    }
}

names! {
    /// Methods that project features to the plane.
    pub enum ProjectionMethod {
        /// Principal components.
        Pca = "pca",
        /// van der Maaten & Hinton 2008.
        Tsne = "tsne",
        /// McInnes et al. 2018.
        Umap = "umap",
        /// Principal components by linfa-reduction.
        PcaLinfa = "pca-linfa",
        /// t-SNE by linfa-tsne, which cannot be seeded.
        TsneLinfa = "tsne-linfa",
    }
}

names! {
    /// Source of the probabilities that label scores use.
    pub enum ProbabilitySource {
        /// A linear probe on the features, trained on the other folds: out-of-sample, so independent of the image's own label.
        Probe = "probe",
        /// The network's predictions, if its classes are the dataset's. It may have memorised its training labels.
        Network = "network",
    }
}
