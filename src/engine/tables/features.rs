//! The table `features`: one vector for each readable image.

use prospect_common::Result;
use prospect_store::{
    Batch, Manifest, Rows, RunFolder,
    declare::{Column, Vector},
};

use crate::schema::features;

/// Image and vector.
type Selected = (Column<u32>, Column<Vector<f32>>);

/// Vectors of some images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    pub image_ids: Vec<u32>,
    /// Values per vector; 0 without images.
    pub dimension: usize,
    /// `[image_ids.len(), dimension]`, row-major.
    pub values: Vec<f32>,
}

impl Features {
    /// Appends images with finite vectors, in order of their ids; overflow in the network makes a vector unusable.
    fn append<'v>(&mut self, rows: impl Iterator<Item = (u32, &'v [f32])>) -> usize {
        let mut left_out = 0;
        for (id, vector) in rows {
            if has_distances(vector) {
                self.image_ids.push(id);
                self.values.extend_from_slice(vector);
            } else {
                left_out += 1;
            }
        }
        left_out
    }
}

/// Whether distances to this vector are finite, which depends on its squared length.
pub fn has_distances(vector: &[f32]) -> bool {
    let squared: f32 = vector.iter().map(|x| x * x).sum();
    squared.is_finite()
}

/// The features of a run, some rows of the table at a time, in order of the image ids.
pub struct FeatureReader {
    /// None if no image is readable.
    rows: Option<Rows<Selected>>,
    /// The next row of the table to return.
    rest: Option<(Batch<Selected>, usize)>,
    at_a_time: usize,
    /// Images left out so far because of non-finite vectors.
    pub left_out: usize,
}

impl FeatureReader {
    /// Returns `at_a_time` rows of the table at a time, without those left out.
    pub fn new(run: &RunFolder, manifest: &Manifest, at_a_time: usize) -> FeatureReader {
        FeatureReader {
            rows: (manifest.has(features::NAME))
                .then(|| run.rows(manifest, (features::image_id, features::vector))),
            rest: None,
            at_a_time,
            left_out: 0,
        }
    }

    /// Rows of the table, including those to be left out.
    pub fn rows(&self) -> usize {
        self.rows.as_ref().map_or(0, Rows::rows) as usize
    }

    fn read(&mut self) -> Result<Option<Features>> {
        let mut features = Features::default();
        let mut missing = self.at_a_time;
        while missing > 0 {
            let next = match self.rest.take() {
                None => (self.rows.as_mut()).and_then(|rows| Some((rows.next()?, 0))),
                Some((batch, from)) => Some((Ok(batch), from)),
            };
            let Some((batch, from)) = next else {
                break;
            };
            let batch = batch?;
            let dimension = batch.columns().1.length;
            if features.dimension != 0 && dimension != features.dimension {
                let expected = format!("vectors of {} numbers", features.dimension);
                return Err(batch.unexpected(expected, format!("one of {dimension}")));
            }
            features.dimension = dimension;
            let now = missing.min(batch.len() - from);
            self.left_out += features.append(batch.iter().skip(from).take(now));
            missing -= now;
            if from + now < batch.len() {
                self.rest = Some((batch, from + now));
            }
        }
        Ok((missing < self.at_a_time).then_some(features))
    }
}

impl Iterator for FeatureReader {
    type Item = Result<Features>;

    fn next(&mut self) -> Option<Result<Features>> {
        self.read().transpose()
    }
}

/// All features, and the number of images left out because of non-finite vectors.
pub fn read_features(run: &RunFolder, manifest: &Manifest) -> Result<(Features, usize)> {
    let mut reader = FeatureReader::new(run, manifest, usize::MAX);
    let all = reader.next().transpose()?.unwrap_or_default();
    Ok((all, reader.left_out))
}
