//! Projections of feature vectors: PCA, t-SNE and UMAP.

pub mod layout;
pub mod linfa;
pub mod pca;
pub mod place;
pub mod quality;
mod sparse;
#[cfg(test)]
mod testing;
pub mod tsne;
pub mod umap;
