//! Nearest neighbours: exactly by blocks of products, or by a graph index that is audited.
//!
//! - [`exact`]: every row with every other; [`lists`]: the nearest so far; [`hnsw`]: the index; [`audit`]: what it misses

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

/// The id of a query that is none of the rows searched.
pub const NOBODY: u32 = u32::MAX;

/// One row near another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// Of the row.
    pub id: u32,
    /// `l2`: Euclidean; `cosine`: 1 - cos, from 0 to 2.
    pub distance: f32,
}

/// The nearest other rows of each of `n` rows, nearest first, ties by id.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Neighbours of each row: what was asked for, or n - 1 where there are no more.
    pub k: usize,
    /// Row `i`'s are `neighbors[i * k..(i + 1) * k]`; their ids are rows.
    pub neighbors: Vec<Neighbor>,
}

impl Graph {
    pub fn row(&self, i: usize) -> &[Neighbor] {
        &self.neighbors[i * self.k..(i + 1) * self.k]
    }

    /// How many rows have neighbours; 0 where `k` is.
    pub fn rows(&self) -> usize {
        self.neighbors.len().checked_div(self.k).unwrap_or(0)
    }
}
