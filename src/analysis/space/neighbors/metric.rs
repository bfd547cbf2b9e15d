//! Distances between feature vectors.

use prospect_common::names;

names! {
    /// How far two feature vectors are apart.
    pub enum Metric {
        /// Euclidean.
        L2 = "l2",
        /// One minus the cosine of the angle between them; 1 where one of them is zero.
        Cosine = "cosine",
    }
}
