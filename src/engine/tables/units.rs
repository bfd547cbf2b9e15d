//! What the tables know of one layer's units, and which units are worth showing.

use arrow::array::Array;
use prospect_common::Result;
use prospect_store::{Manifest, RunFolder};
use serde::Serialize;

use super::{
    columns::{Columns, integer, number, text},
    layers::Layer,
};

/// A live unit among which the most selective are sought.
pub struct Candidate {
    pub unit: usize,
    /// Images with an activation over 0.
    pub n_active: u64,
    pub selectivity: f64,
}

/// At most `n` units, the most selective first (equal ones in order). Those that at least `k` images excite come before all
/// others: a unit that fires once is perfectly selective and shows nothing.
pub fn most_selective(
    candidates: impl Iterator<Item = Candidate>,
    k: usize,
    n: usize,
) -> Vec<usize> {
    let mut order: Vec<Candidate> = candidates.collect();
    let rank = |unit: &Candidate| (unit.n_active >= k as u64, unit.selectivity);
    order.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    order.truncate(n);
    order.into_iter().map(|unit| unit.unit).collect()
}

/// A row of `unit_stats`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitStats {
    pub unit: usize,
    /// Images that count.
    pub images: u64,
    pub mean: Option<f32>,
    pub std: Option<f32>,
    pub min: Option<f32>,
    pub max: Option<f32>,
    pub share_active: Option<f32>,
    pub dead: bool,
    pub selectivity: Option<f32>,
    pub measure: String,
    pub top_class: Option<i64>,
}

impl UnitStats {
    /// What `most_selective` looks at; `None` for a dead unit.
    pub fn candidate(&self) -> Option<Candidate> {
        let active = f64::from(self.share_active.unwrap_or(0.0)) * self.images as f64;
        (!self.dead).then(|| Candidate {
            unit: self.unit,
            n_active: active.round() as u64,
            selectivity: self.selectivity.unwrap_or(0.0).into(),
        })
    }

    /// Whether an image of this activation shows what the unit looks for: in a rectified layer one that leaves it silent does not.
    pub fn shows(&self, value: f32) -> bool {
        value > 0.0 || self.min.is_some_and(|min| min < 0.0)
    }
}

/// The units of a layer, in order.
pub fn read_stats(run: &RunFolder, manifest: &Manifest, layer: &str) -> Result<Vec<UnitStats>> {
    let mut found = Vec::new();
    for batch in run.read(manifest, "unit_stats").only("layer", layer) {
        let batch = batch?;
        let columns = Columns {
            run,
            table: "unit_stats",
            batch: &batch,
        };
        let (units, images) = (columns.integers("unit")?, columns.integers("images")?);
        let [mean, std, min, max, share, selectivity] = [
            columns.numbers("mean")?,
            columns.numbers("std")?,
            columns.numbers("min")?,
            columns.numbers("max")?,
            columns.numbers("share_active")?,
            columns.numbers("selectivity")?,
        ];
        let (measures, tops) = (columns.texts("measure")?, columns.integers("top_class")?);
        let dead = columns.booleans("dead")?;
        for row in 0..batch.num_rows() {
            let count = |array| integer(array, row).and_then(|n| u64::try_from(n).ok());
            let single = |array| number(array, row).map(|value| value as f32);
            let (Some(unit), Some(images)) = (count(&units), count(&images)) else {
                return Err(columns.unexpected("unit numbers and counts", "something else"));
            };
            found.push(UnitStats {
                unit: unit as usize,
                images,
                mean: single(&mean),
                std: single(&std),
                min: single(&min),
                max: single(&max),
                share_active: single(&share),
                dead: dead.is_valid(row) && dead.value(row),
                selectivity: single(&selectivity),
                measure: text(&measures, row).unwrap_or_default().to_string(),
                top_class: integer(&tops, row),
            });
        }
    }
    Ok(found)
}

/// A row of `patches`.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    pub unit: usize,
    pub rank: i16,
    pub image_id: u32,
    pub value: f32,
    /// Row and column in the layer's map.
    pub cell: (u32, u32),
    /// `x0, y0, x1, y1` in stored file pixels.
    pub file_box: [f32; 4],
    pub clipped: bool,
}

/// The patches of the units for which `wanted` says yes, in the table's order: by unit, then by rank.
pub fn read_patches(
    run: &RunFolder,
    manifest: &Manifest,
    layer: &Layer,
    wanted: impl Fn(usize) -> bool,
) -> Result<Vec<Patch>> {
    let mut found = Vec::new();
    for batch in run.read(manifest, "patches").only("layer", &layer.name) {
        let batch = batch?;
        let columns = Columns {
            run,
            table: "patches",
            batch: &batch,
        };
        let ids = columns.image_ids()?;
        let [units, ranks, rows, cols] =
            ["unit", "rank", "row", "col"].map(|name| columns.integers(name));
        let (units, ranks, rows, cols) = (units?, ranks?, rows?, cols?);
        let values = columns.numbers("value")?;
        let [x0, y0, x1, y1] =
            ["box_x0", "box_y0", "box_x1", "box_y1"].map(|name| columns.numbers(name));
        let edges = [x0?, y0?, x1?, y1?];
        let clipped = columns.booleans("clipped")?;
        for (at, &image_id) in ids.iter().enumerate() {
            let count = |array| integer(array, at).and_then(|n| usize::try_from(n).ok());
            let (unit, row, col) = (count(&units), count(&rows), count(&cols));
            let rank = integer(&ranks, at).and_then(|rank| i16::try_from(rank).ok());
            let patch = match (unit, rank, row, col, number(&values, at)) {
                (Some(unit), Some(rank), Some(row), Some(col), Some(value))
                    if unit < layer.channels
                        && row < layer.height as usize
                        && col < layer.width as usize =>
                {
                    Patch {
                        unit,
                        rank,
                        image_id,
                        value: value as f32,
                        cell: (row as u32, col as u32),
                        file_box: [0, 1, 2, 3]
                            .map(|edge| number(&edges[edge], at).unwrap_or(0.0) as f32),
                        clipped: clipped.is_valid(at) && clipped.value(at),
                    }
                }
                _ => {
                    return Err(columns
                        .unexpected(format!("units and cells of layer {}", layer.name), "others"));
                }
            };
            if wanted(patch.unit) {
                found.push(patch);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_many_images_excite_come_first() {
        let unit = |unit, n_active, selectivity| Candidate {
            unit,
            n_active,
            selectivity,
        };
        let all = || {
            [
                unit(0, 1, 1.0),
                unit(1, 20, 0.2),
                unit(2, 20, 0.7),
                unit(3, 9, 0.7),
                unit(4, 8, 0.9),
            ]
            .into_iter()
        };
        assert_eq!(most_selective(all(), 9, 10), [2, 3, 1, 0, 4]);
        assert_eq!(most_selective(all(), 9, 2), [2, 3]);
        assert_eq!(most_selective(all(), 1, 2), [0, 4]);
        assert!(most_selective(all(), 1, 0).is_empty());
    }
}
