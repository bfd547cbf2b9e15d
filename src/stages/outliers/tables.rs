//! The table `outliers`: a row for each image with neighbours, in order of the ids.

use arrow::array::RecordBatch;
use prospect_common::Result;
use prospect_engine::schema::outliers;
use prospect_store::{Manifest, RunFolder};

/// A row of the table.
pub struct Row {
    pub image_id: u32,
    pub distance: f32,
    /// 0 (worst) to 1.
    pub score: f32,
    pub class_distance: Option<f32>,
    pub class_score: Option<f32>,
}

impl Row {
    pub fn flagged(&self) -> bool {
        self.score.min(self.class_score.unwrap_or(1.0)) < 0.5
    }
}

pub fn outliers(rows: &[Row]) -> Result<RecordBatch> {
    outliers::Columns {
        image_id: rows.iter().map(|row| row.image_id).collect(),
        distance: rows.iter().map(|row| row.distance).collect(),
        score: rows.iter().map(|row| row.score).collect(),
        class_distance: rows.iter().map(|row| row.class_distance).collect(),
        class_score: rows.iter().map(|row| row.class_score).collect(),
        flagged: rows.iter().map(|row| Some(row.flagged())).collect(),
    }
    .batch()
}

pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Row>> {
    let columns = (
        outliers::image_id,
        outliers::distance,
        outliers::score,
        outliers::class_distance,
        outliers::class_score,
    );
    let mut rows = Vec::new();
    for batch in run.rows(manifest, columns) {
        rows.extend(batch?.iter().map(|cells| {
            let (image_id, distance, score, class_distance, class_score) = cells;
            Row {
                image_id,
                distance,
                score,
                class_distance,
                class_score,
            }
        }));
    }
    Ok(rows)
}
