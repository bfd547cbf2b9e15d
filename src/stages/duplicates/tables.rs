//! Table `duplicate_candidates`, and the kinds of duplicates.

use arrow::array::{Float32Array, RecordBatch};
use prospect_analysis::audit::duplicates::{
    orientation::Orientation,
    picture::{Comparison, Similarity},
};
use prospect_common::{Result, names};
use prospect_store::{Manifest, RunFolder, table};

use super::candidates::Candidate;

table! {
    /// Candidate pairs, compared pixel by pixel.
    pub mod duplicate_candidates = "duplicate_candidates", "candidate pair", [22.0, 14.0] {
        image_a: u32,
        image_b: u32,
        /// cosine distance, if one is a nearest neighbour of the other
        feature_distance: Option<f32>,
        /// of the first image, where it is most similar: `upright`, `mirrored`, `rotated 90`, …
        orientation: Option<Text>,
        similarity: Option<f32>,
        /// in the least similar quarter of the blocks
        local_similarity: Option<f32>,
        /// the same, with one image mirrored from there
        wrong_way_similarity: Option<f32>,
    }
}

names! {
    /// How two duplicates are related.
    pub enum DuplicateKind {
        Exact = "exact",
        Near = "near",
        Mirrored = "mirrored",
        Rotated = "rotated",
    }
}

/// A candidate pair, compared; None if an image could not be decoded or is nearly uniform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComparedPair {
    pub pair: Candidate,
    pub found: Option<Comparison>,
}

/// The rows of `duplicate_candidates`.
pub fn candidates(compared: &[ComparedPair]) -> Result<RecordBatch> {
    let figures = |of: fn(Comparison) -> f32| -> Float32Array {
        compared.iter().map(|row| row.found.map(of)).collect()
    };
    let orientations = compared
        .iter()
        .map(|row| Some(row.found?.orientation.name()));
    duplicate_candidates::Columns {
        image_a: compared.iter().map(|row| row.pair.a).collect(),
        image_b: compared.iter().map(|row| row.pair.b).collect(),
        feature_distance: compared.iter().map(|row| row.pair.distance).collect(),
        orientation: orientations.collect(),
        similarity: figures(|found| found.similarity.overall),
        local_similarity: figures(|found| found.similarity.local),
        wrong_way_similarity: figures(|found| found.wrong_way),
    }
    .batch()
}

impl ComparedPair {
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Vec<ComparedPair>> {
        let columns = (
            duplicate_candidates::image_a,
            duplicate_candidates::image_b,
            duplicate_candidates::feature_distance,
            duplicate_candidates::orientation,
            duplicate_candidates::similarity,
            duplicate_candidates::local_similarity,
            duplicate_candidates::wrong_way_similarity,
        );
        let mut compared = Vec::new();
        for batch in run.rows(manifest, columns) {
            let batch = batch?;
            for (a, b, distance, orientation, overall, local, wrong_way) in batch.iter() {
                let unknown = |message: String| batch.unexpected("an orientation", message);
                let orientation = orientation.map(str::parse).transpose().map_err(unknown)?;
                let found = || {
                    Some(Comparison {
                        orientation: orientation?,
                        similarity: Similarity {
                            overall: overall?,
                            local: local?,
                        },
                        wrong_way: wrong_way?,
                    })
                };
                compared.push(ComparedPair {
                    pair: Candidate { a, b, distance },
                    found: found(),
                });
            }
        }
        Ok(compared)
    }
}

impl From<Orientation> for DuplicateKind {
    fn from(orientation: Orientation) -> DuplicateKind {
        match orientation {
            Orientation::Upright => DuplicateKind::Near,
            Orientation::Mirrored => DuplicateKind::Mirrored,
            _ => DuplicateKind::Rotated,
        }
    }
}
