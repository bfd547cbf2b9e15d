//! The table `outliers`: a row for each image with neighbours, in order of the ids.

use arrow::array::RecordBatch;
use prospect_common::Result;
use prospect_engine::schema::outliers;
use prospect_store::{Manifest, RunFolder};

use super::Row;

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
