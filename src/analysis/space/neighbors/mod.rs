//! Nearest neighbours, by exact search or by an audited HNSW index.
//!
//! - [`exact`]: exact search; [`lists`]: bounded lists of neighbours; [`hnsw`]: the index; [`audit`]: its recall and repair;
//!   [`quality`]: label agreement and hubness of a neighbour graph

pub mod audit;
mod block;
pub mod exact;
pub mod hnsw;
pub mod lists;
mod metric;
pub mod quality;
#[cfg(test)]
mod tests;

pub use metric::Metric;

/// Id of a query that is not one of the searched rows.
pub const NO_ID: u32 = u32::MAX;

/// A neighbour of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// Id of the neighbouring row.
    pub id: u32,
    /// Euclidean distance for `l2`; 1 - cos, from 0 to 2, for `cosine`.
    pub distance: f32,
}

/// The k nearest neighbours of each of `n` rows, nearest first, ties by id.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Neighbours per row, at most n - 1.
    pub k: usize,
    /// Those of row `i` are `neighbors[i * k..(i + 1) * k]`; ids are row indices.
    pub neighbors: Vec<Neighbor>,
}

impl Graph {
    pub fn row(&self, i: usize) -> &[Neighbor] {
        &self.neighbors[i * self.k..(i + 1) * self.k]
    }

    /// Number of rows; 0 if `k` is 0.
    pub fn rows(&self) -> usize {
        self.neighbors.len().checked_div(self.k).unwrap_or(0)
    }
}
