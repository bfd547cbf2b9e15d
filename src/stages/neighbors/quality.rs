//! `neighbor_stats` and `class_neighbors`, computed from the finished table `neighbors`.

use std::collections::BTreeMap;

use arrow::array::{Float32Array, RecordBatch, StringArray, UInt32Array};
use prospect_analysis::space::neighbors::{
    Neighbor,
    quality::{GroupQuality, Quality, Tally},
};
use prospect_common::Result;
use prospect_engine::{
    schema::{class_neighbors, neighbor_stats, neighbors},
    tables::classes::{ClassNames, labels},
};
use prospect_store::{Manifest, RunFolder};

/// Rows of `neighbors` in memory at a time.
const BATCH_ROWS: usize = 65_536;

/// Statistics of the neighbours.
pub struct Tables {
    pub neighbor_stats: RecordBatch,
    pub class_neighbors: RecordBatch,
    /// Over all images.
    pub all: GroupQuality,
}

impl Tables {
    /// Streams `images`, `classes` and `neighbors`; keeps 32 bytes per image in memory.
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Tables> {
        let mut tally = Tally::new(labels(run, manifest)?);
        let columns = (
            neighbors::image_id,
            neighbors::neighbor_id,
            neighbors::distance,
        );
        let mut list = Vec::new();
        for batch in run.rows(manifest, columns).batch_rows(BATCH_ROWS) {
            let batch = batch?;
            let edges: Vec<(u32, Neighbor)> = (batch.iter())
                .map(|(image, id, distance)| (image, Neighbor { id, distance }))
                .collect();
            for edges in edges.chunk_by(|a, b| a.0 == b.0) {
                let image = edges[0].0;
                list.clear();
                list.extend(edges.iter().map(|(_, neighbor)| *neighbor));
                let known = |id: u32| (id as usize) < tally.len();
                if !known(image) || !list.iter().all(|neighbor| known(neighbor.id)) {
                    return Err(batch.unexpected("known image ids", "an unknown one"));
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
    neighbor_stats::Columns {
        image_id: rows.iter().map(|row| row.row).collect(),
        in_degree: rows.iter().map(|row| row.in_degree).collect(),
        mean_distance: rows.iter().map(|row| row.mean_distance).collect(),
        label_agreement: rows.iter().map(|row| row.label_agreement).collect(),
    }
    .batch()
}

/// One row per class of the dataset, including classes whose images have no neighbours.
fn class_neighbors(quality: &Quality, names: &BTreeMap<i32, String>) -> Result<RecordBatch> {
    let empty = GroupQuality::default();
    let groups: Vec<&GroupQuality> = (names.keys())
        .map(|class| quality.classes.get(class).unwrap_or(&empty))
        .collect();
    let counts = |of: fn(&GroupQuality) -> u32| -> UInt32Array {
        groups.iter().map(|group| of(group)).collect()
    };
    let figures = |of: fn(&GroupQuality) -> Option<f64>| -> Float32Array {
        let figures = groups.iter().map(|group| of(group));
        figures
            .map(|figure| figure.map(|value| value as f32))
            .collect()
    };
    class_neighbors::Columns {
        class: names.keys().copied().collect(),
        name: StringArray::from_iter_values(names.values()),
        images: counts(|group| group.rows),
        label_agreement: figures(|group| group.label_agreement),
        in_degree_mean: figures(|group| group.in_degree_mean),
        in_degree_max: counts(|group| group.in_degree_max),
        in_degree_skewness: figures(|group| group.in_degree_skewness),
        antihubs: counts(|group| group.antihubs),
    }
    .batch()
}
