//! Table `duplicate_candidates`, and the kinds of duplicates.

use arrow::array::{Float32Array, RecordBatch};
use prospect_analysis::audit::duplicates::picture::Similarity;
use prospect_common::{Result, names};
use prospect_store::{Manifest, RunFolder, table};

use super::candidates::Candidate;

table! {
    /// Candidate pairs, compared pixel by pixel.
    pub mod duplicate_candidates = "duplicate_candidates", "candidate pair", [23.0, 15.0] {
        image_a: u32,
        image_b: u32,
        /// cosine distance, if one is a nearest neighbour of the other
        feature_distance: Option<f32>,
        similarity: Option<f32>,
        mirrored_similarity: Option<f32>,
        /// in the least similar quarter of the blocks
        local_similarity: Option<f32>,
        mirrored_local_similarity: Option<f32>,
    }
}

names! {
    /// How two duplicates are related.
    pub enum DuplicateKind {
        Exact = "exact",
        Near = "near",
        Mirrored = "mirrored",
    }
}

/// A candidate pair with its similarities; None if an image could not be decoded or is nearly uniform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComparedPair {
    pub pair: Candidate,
    pub similarity: Option<Similarity>,
    pub mirrored: Option<Similarity>,
}

/// The rows of `duplicate_candidates`.
pub fn candidates(compared: &[ComparedPair]) -> Result<RecordBatch> {
    let figures = |of: fn(&ComparedPair) -> Option<f32>| -> Float32Array {
        compared.iter().map(of).collect()
    };
    duplicate_candidates::Columns {
        image_a: compared.iter().map(|row| row.pair.a).collect(),
        image_b: compared.iter().map(|row| row.pair.b).collect(),
        feature_distance: figures(|row| row.pair.distance),
        similarity: figures(|row| Some(row.similarity?.overall)),
        mirrored_similarity: figures(|row| Some(row.mirrored?.overall)),
        local_similarity: figures(|row| Some(row.similarity?.local)),
        mirrored_local_similarity: figures(|row| Some(row.mirrored?.local)),
    }
    .batch()
}

impl ComparedPair {
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Vec<ComparedPair>> {
        let columns = (
            duplicate_candidates::image_a,
            duplicate_candidates::image_b,
            duplicate_candidates::feature_distance,
            duplicate_candidates::similarity,
            duplicate_candidates::mirrored_similarity,
            duplicate_candidates::local_similarity,
            duplicate_candidates::mirrored_local_similarity,
        );
        let mut compared = Vec::new();
        for batch in run.rows(manifest, columns) {
            for (a, b, distance, similarity, mirrored, local, mirrored_local) in batch?.iter() {
                let both = |overall: Option<f32>, local: Option<f32>| {
                    Some(Similarity {
                        overall: overall?,
                        local: local?,
                    })
                };
                compared.push(ComparedPair {
                    pair: Candidate { a, b, distance },
                    similarity: both(similarity, local),
                    mirrored: both(mirrored, mirrored_local),
                });
            }
        }
        Ok(compared)
    }

    /// Similarity, as is or mirrored, whichever is higher.
    pub fn best(&self) -> Option<Similarity> {
        match self.kind() {
            DuplicateKind::Mirrored => self.mirrored,
            _ => self.similarity,
        }
    }

    /// Similarity in the other orientation: how similar pictures of this kind are that are no copies.
    pub fn wrong_way(&self) -> Option<Similarity> {
        match self.kind() {
            DuplicateKind::Mirrored => self.similarity,
            _ => self.mirrored,
        }
    }

    pub fn kind(&self) -> DuplicateKind {
        let overall = |similarity: Option<Similarity>| similarity.map(|found| found.overall);
        if overall(self.mirrored) > overall(self.similarity) {
            DuplicateKind::Mirrored
        } else {
            DuplicateKind::Near
        }
    }
}
