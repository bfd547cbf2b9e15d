//! The images in the space of features.

use prospect_store::table;

table! {
    /// The nearest images of each image by their features, nearest first.
    pub mod neighbors = "neighbors", "image and rank", [15.0, 9.0] {
        image_id: u32,
        /// 1 is nearest
        rank: i16,
        neighbor_id: u32,
        /// by `[neighbors] metric`
        distance: f32,
        /// whether it comes from exact search
        exact: bool,
    }
}

table! {
    /// Each image among the others.
    pub mod neighbor_stats = "neighbor_stats", "image", [16.0, 9.0] {
        image_id: u32,
        /// whose neighbour it is, counted
        in_degree: u32,
        mean_distance: f32,
        /// fraction of its labelled neighbours with its label
        label_agreement: Option<f32>,
    }
}

table! {
    /// How the classes lie in the space of features.
    pub mod class_neighbors = "class_neighbors", "class", [40.0, 40.0] {
        class: i32,
        name: Text,
        images: u32,
        /// mean over its images
        label_agreement: Option<f32>,
        in_degree_mean: Option<f32>,
        in_degree_max: u32,
        /// hubness
        in_degree_skewness: Option<f32>,
        /// images in nobody's list
        antihubs: u32,
    }
}

table! {
    /// Maps of the dataset in the plane.
    pub mod projection = "projection", "image and method", [21.0, 16.0] {
        image_id: u32,
        /// `pca`, `tsne`, `umap`
        method: Text,
        x: f32,
        y: f32,
        /// PCA's third
        z: Option<f32>,
        /// put beside its neighbours in an older map
        placed: bool,
    }
}

table! {
    /// How far each map can be trusted.
    pub mod projection_quality = "projection_quality", "method", [40.0, 2200.0] {
        method: Text,
        /// 1 is best
        trustworthiness: Option<f32>,
        /// fraction of the k nearest that are kept
        knn_preservation: Option<f32>,
        /// neighbours looked at
        k: i32,
        /// t-SNE's Kullback-Leibler divergence
        kl: Option<f64>,
        perplexity: Option<f64>,
        /// images in the map
        n: u32,
        /// images judged
        sampled: u32,
    }
}

table! {
    /// Principal components.
    pub mod pca_components = "pca_components", "component", [20.0, 20.0] {
        /// 0 is the mean
        component: i32,
        variance: Option<f64>,
        /// of the whole variance
        variance_ratio: Option<f64>,
        vector: List<f64>,
    }
}

table! {
    /// Which classes the network takes for each other.
    pub mod confusion = "confusion", "pair of classes", [40.0, 12.0] {
        label: i32,
        label_name: Text,
        pred: i32,
        pred_name: Text,
        images: u32,
        /// of the label's images
        share: f32,
    }
}

table! {
    /// Which classes lie among each other.
    pub mod class_overlap = "class_overlap", "pair of classes", [40.0, 12.0] {
        class_a: i32,
        name_a: Text,
        class_b: i32,
        name_b: Text,
        /// of class a's neighbours that are of class b
        share: f32,
        edges: u32,
    }
}
