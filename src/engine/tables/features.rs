//! The table `features`: one vector of the network for each image that could be read.

use arrow::array::RecordBatch;
use prospect_common::Result;
use prospect_store::{Manifest, RunFolder, TableReader};

use super::columns::Columns;

const TABLE: &str = "features";

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
    /// Images, in order of their ids, whose vectors are numbers; a network that overflowed has said nothing of an image.
    fn append(&mut self, ids: Vec<u32>, dimension: usize, values: &[f32]) -> usize {
        self.dimension = dimension;
        let mut left_out = 0;
        for (id, vector) in ids.into_iter().zip(values.chunks_exact(dimension.max(1))) {
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

/// Whether distances to this vector are numbers: its squared length is what they are made of.
pub fn has_distances(vector: &[f32]) -> bool {
    let squared: f32 = vector.iter().map(|x| x * x).sum();
    squared.is_finite()
}

/// The features of a run, some rows of the table at a time, in order of the image ids.
pub struct FeatureReader<'a> {
    run: &'a RunFolder,
    /// None where no image could be read at all.
    rows: Option<TableReader>,
    /// Of the table, not given yet.
    rest: Option<RecordBatch>,
    at_a_time: usize,
    /// Images left out so far because their vectors hold something else than finite numbers.
    pub left_out: usize,
}

impl<'a> FeatureReader<'a> {
    /// Gives `at_a_time` rows of the table at a time, without those that are left out.
    pub fn new(run: &'a RunFolder, manifest: &Manifest, at_a_time: usize) -> FeatureReader<'a> {
        FeatureReader {
            run,
            rows: (manifest.has(TABLE))
                .then(|| run.read(manifest, TABLE).columns(&["image_id", "vector"])),
            rest: None,
            at_a_time,
            left_out: 0,
        }
    }

    /// Rows of the table, with those that will be left out.
    pub fn rows(&self) -> usize {
        self.rows.as_ref().map_or(0, TableReader::rows) as usize
    }

    fn read(&mut self) -> Result<Option<Features>> {
        let mut features = Features::default();
        let mut missing = self.at_a_time;
        while missing > 0 {
            let rows = &mut self.rows;
            let next = self.rest.take().map(Ok);
            let Some(batch) = next.or_else(|| rows.as_mut()?.next()) else {
                break;
            };
            let batch = batch?;
            let now = batch.num_rows().min(missing);
            let columns = batch.slice(0, now);
            let columns = Columns::of(self.run, TABLE, &columns);
            let dimension = columns.list_length("vector")?;
            if features.dimension != 0 && dimension != features.dimension {
                let expected = format!("vectors of {} numbers", features.dimension);
                return Err(columns.unexpected(expected, format!("one of {dimension}")));
            }
            let values = columns.float_lists("vector", dimension)?;
            self.left_out += features.append(columns.image_ids()?, dimension, &values);
            missing -= now;
            if now < batch.num_rows() {
                self.rest = Some(batch.slice(now, batch.num_rows() - now));
            }
        }
        Ok((missing < self.at_a_time).then_some(features))
    }
}

impl Iterator for FeatureReader<'_> {
    type Item = Result<Features>;

    fn next(&mut self) -> Option<Result<Features>> {
        self.read().transpose()
    }
}

/// All of them, and how many images are left out because their vectors hold something else than finite numbers.
pub fn read_features(run: &RunFolder, manifest: &Manifest) -> Result<(Features, usize)> {
    let mut reader = FeatureReader::new(run, manifest, usize::MAX);
    let all = reader.next().transpose()?.unwrap_or_default();
    Ok((all, reader.left_out))
}
