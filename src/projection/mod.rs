//! Maps of many vectors: linear, by principal components, and by neighbourhoods, by t-SNE and UMAP.

pub mod pca;
pub mod place;
