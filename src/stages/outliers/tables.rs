//! The table `outliers`: a row for each image with neighbours, in order of the ids.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, UInt32Array};
use prospect_common::Result;
use prospect_engine::tables::columns::{Columns, number, table};
use prospect_store::{Manifest, RunFolder};

use super::Row;

const TABLE: &str = "outliers";

pub fn outliers(rows: &[Row]) -> Result<RecordBatch> {
    let figures = |of: fn(&Row) -> Option<f32>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Float32Array>())
    };
    let ids = UInt32Array::from_iter_values(rows.iter().map(|row| row.image_id));
    let flags = BooleanArray::from_iter(rows.iter().map(|row| Some(row.flagged())));
    table([
        ("image_id", Arc::new(ids), false),
        ("distance", figures(|row| Some(row.distance)), false),
        ("score", figures(|row| Some(row.score)), false),
        ("class_distance", figures(|row| row.class_distance), true),
        ("class_score", figures(|row| row.class_score), true),
        ("flagged", Arc::new(flags), false),
    ])
}

pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for batch in run.read(manifest, TABLE) {
        let batch = batch?;
        let columns = Columns::of(run, TABLE, &batch);
        let (distances, scores) = (columns.numbers("distance")?, columns.numbers("score")?);
        let class_distances = columns.numbers("class_distance")?;
        let class_scores = columns.numbers("class_score")?;
        for (row, image_id) in columns.image_ids()?.into_iter().enumerate() {
            let figure = |of| number(of, row).map(|figure| figure as f32);
            rows.push(Row {
                image_id,
                distance: figure(&distances).unwrap_or(0.0),
                score: figure(&scores).unwrap_or(1.0),
                class_distance: figure(&class_distances),
                class_score: figure(&class_scores),
            });
        }
    }
    Ok(rows)
}
