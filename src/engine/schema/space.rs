//! Neighbours, maps and classes in feature space.

use prospect_store::table;

table! {
    /// Nearest neighbours of each image in feature space, nearest first.
    pub mod neighbors = "neighbors", "image and rank", [15.0, 9.0] {
        image_id: u32,
        /// 1 is nearest
        rank: i16,
        neighbor_id: u32,
        /// by `[neighbors] metric`
        distance: f32,
        /// whether found by exact search
        exact: bool,
    }
}

table! {
    /// Neighbourhood statistics of each image.
    pub mod neighbor_stats = "neighbor_stats", "image", [16.0, 9.0] {
        image_id: u32,
        /// number of images that have it as a neighbour
        in_degree: u32,
        mean_distance: f32,
        /// fraction of its labelled neighbours with the same label
        label_agreement: Option<f32>,
    }
}

table! {
    /// Neighbourhood statistics of each class.
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
        /// images that are no other image's neighbour
        antihubs: u32,
    }
}

table! {
    /// Two-dimensional maps of the dataset.
    pub mod projection = "projection", "image and method", [21.0, 16.0] {
        image_id: u32,
        /// `pca`, `tsne`, `umap`
        method: Text,
        x: f32,
        y: f32,
        /// third principal component; PCA only
        z: Option<f32>,
        /// placed beside its neighbours in an existing map
        placed: bool,
    }
}

table! {
    /// Quality of each map.
    pub mod projection_quality = "projection_quality", "method", [40.0, 2200.0] {
        method: Text,
        /// 1 is best
        trustworthiness: Option<f32>,
        /// fraction of the k nearest neighbours preserved
        knn_preservation: Option<f32>,
        /// neighbours per image
        k: i32,
        /// t-SNE's Kullback-Leibler divergence
        kl: Option<f64>,
        perplexity: Option<f64>,
        /// images in the map
        n: u32,
        /// images evaluated
        sampled: u32,
    }
}

table! {
    /// Principal components.
    pub mod pca_components = "pca_components", "component", [20.0, 20.0] {
        /// 0 is the mean
        component: i32,
        variance: Option<f64>,
        /// fraction of the total variance
        variance_ratio: Option<f64>,
        vector: List<f64>,
    }
}

table! {
    /// Confusion matrix of the network.
    pub mod confusion = "confusion", "pair of classes", [40.0, 12.0] {
        label: i32,
        label_name: Text,
        pred: i32,
        pred_name: Text,
        images: u32,
        /// fraction of the label's images
        share: f32,
    }
}

table! {
    /// Overlap of classes among nearest neighbours.
    pub mod class_overlap = "class_overlap", "pair of classes", [40.0, 12.0] {
        class_a: i32,
        name_a: Text,
        class_b: i32,
        name_b: Text,
        /// fraction of the neighbours of class a in class b
        share: f32,
        edges: u32,
    }
}
