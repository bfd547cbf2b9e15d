//! `neighbor_stats` and `class_neighbors`, out of the finished table `neighbors`.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch, StringArray, UInt32Array};
use prospect_analysis::space::neighbors::quality::{GroupQuality, Quality, Tally};
use prospect_common::Result;
use prospect_engine::tables::{
    classes::{ClassNames, labels},
    columns::{Columns, table},
};
use prospect_store::{Manifest, RunFolder};

use super::tables::read_edges;

/// Rows of `neighbors` in memory at a time.
const BATCH_ROWS: usize = 65_536;

/// What the neighbours of all images say.
pub struct Tables {
    pub neighbor_stats: RecordBatch,
    pub class_neighbors: RecordBatch,
    /// Of all images together.
    pub all: GroupQuality,
}

impl Tables {
    /// Reads `images`, `classes` and the whole of `neighbors`, a batch at a time: 32 bytes an image stay in memory.
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Tables> {
        let mut tally = Tally::new(labels(run, manifest)?);
        let rows = (run.read(manifest, "neighbors"))
            .columns(&["image_id", "neighbor_id", "distance"])
            .batch_rows(BATCH_ROWS);
        let mut list = Vec::new();
        for batch in rows {
            let batch = batch?;
            let columns = Columns::of(run, "neighbors", &batch);
            for edges in read_edges(&columns)?.chunk_by(|a, b| a.0 == b.0) {
                let image = edges[0].0;
                list.clear();
                list.extend(edges.iter().map(|(_, neighbor)| *neighbor));
                let known = |id: u32| (id as usize) < tally.len();
                if !known(image) || !list.iter().all(|neighbor| known(neighbor.id)) {
                    return Err(columns.unexpected("ids of images", "others"));
                }
                tally.add(image, &list);
            }
        }
        let quality = tally.finish();
        Ok(Tables {
            neighbor_stats: neighbor_stats(&quality)?,
            class_neighbors: class_neighbors(&quality, &ClassNames::read(run, manifest)?.dataset)?,
            all: quality.all,
        })
    }
}

fn neighbor_stats(quality: &Quality) -> Result<RecordBatch> {
    let rows = &quality.rows;
    let ids = UInt32Array::from_iter_values(rows.iter().map(|row| row.row));
    let degrees = UInt32Array::from_iter_values(rows.iter().map(|row| row.in_degree));
    let distances = Float32Array::from_iter_values(rows.iter().map(|row| row.mean_distance));
    let agreement: Float32Array = rows.iter().map(|row| row.label_agreement).collect();
    table([
        ("image_id", Arc::new(ids), false),
        ("in_degree", Arc::new(degrees), false),
        ("mean_distance", Arc::new(distances), false),
        ("label_agreement", Arc::new(agreement), true),
    ])
}

/// One row per class of the dataset, also for one none of whose images has neighbours.
fn class_neighbors(quality: &Quality, names: &BTreeMap<i32, String>) -> Result<RecordBatch> {
    let nothing = GroupQuality::default();
    let groups: Vec<(i32, &str, &GroupQuality)> = (names.iter())
        .map(|(class, name)| {
            let group = quality.classes.get(class).unwrap_or(&nothing);
            (*class, name.as_str(), group)
        })
        .collect();
    let counts = |of: fn(&GroupQuality) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(
            groups.iter().map(|group| of(group.2)),
        ))
    };
    let figures = |of: fn(&GroupQuality) -> Option<f64>| -> ArrayRef {
        let figures = groups
            .iter()
            .map(|group| of(group.2).map(|value| value as f32));
        Arc::new(figures.collect::<Float32Array>())
    };
    let classes = Int32Array::from_iter_values(groups.iter().map(|group| group.0));
    let names = StringArray::from_iter_values(groups.iter().map(|group| group.1));
    table([
        ("class", Arc::new(classes), false),
        ("name", Arc::new(names), false),
        ("images", counts(|group| group.rows), false),
        (
            "label_agreement",
            figures(|group| group.label_agreement),
            true,
        ),
        (
            "in_degree_mean",
            figures(|group| group.in_degree_mean),
            true,
        ),
        ("in_degree_max", counts(|group| group.in_degree_max), false),
        (
            "in_degree_skewness",
            figures(|group| group.in_degree_skewness),
            true,
        ),
        ("antihubs", counts(|group| group.antihubs), false),
    ])
}
