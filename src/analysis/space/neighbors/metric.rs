//! Distances between feature vectors.

use prospect_common::names;

names! {
    /// Distance between two feature vectors.
    pub enum Metric {
        /// Euclidean.
        L2 = "l2",
        /// One minus the cosine of the angle; 1 if either vector is zero.
        Cosine = "cosine",
    }
}
