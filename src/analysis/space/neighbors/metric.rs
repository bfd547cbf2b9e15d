//! Distances between feature vectors.

use serde::{Deserialize, Serialize};

/// How far two feature vectors are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Euclidean.
    L2,
    /// One minus the cosine of the angle between them; 1 where one of them is zero.
    Cosine,
}

impl Metric {
    /// As tables and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::L2 => "l2",
            Metric::Cosine => "cosine",
        }
    }
}
