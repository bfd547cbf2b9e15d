//! Statistics and patches of a layer's units, and the choice of units to show.

use prospect_common::Result;
use prospect_store::{Manifest, RunFolder};
use serde::Serialize;

use super::layers::Layer;
use crate::schema::{patches, unit_stats};

/// A live unit to choose from.
pub struct Candidate {
    pub unit: usize,
    /// Images with an activation over 0.
    pub n_active: u64,
    pub selectivity: f64,
}

/// At most `n` units, the most selective first (ties in order). Units activated by at least `k` images come before all others: a
/// unit that fires once is perfectly selective but not informative.
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
    /// Number of images with a finite activation.
    pub images: u64,
    pub mean: Option<f32>,
    pub std: Option<f32>,
    pub min: Option<f32>,
    pub max: Option<f32>,
    pub share_active: Option<f32>,
    pub dead: bool,
    pub selectivity: Option<f32>,
    pub measure: String,
    pub top_class: Option<i32>,
}

impl UnitStats {
    /// Input for `most_selective`; `None` for a dead unit.
    pub fn candidate(&self) -> Option<Candidate> {
        let active = f64::from(self.share_active.unwrap_or(0.0)) * self.images as f64;
        (!self.dead).then(|| Candidate {
            unit: self.unit,
            n_active: active.round() as u64,
            selectivity: self.selectivity.unwrap_or(0.0).into(),
        })
    }

    /// Whether an image with this activation is informative: in a rectified layer, one without activation is not.
    pub fn shows(&self, value: f32) -> bool {
        value > 0.0 || self.min.is_some_and(|min| min < 0.0)
    }
}

/// The units of a layer, in order.
pub fn read_stats(run: &RunFolder, manifest: &Manifest, layer: &str) -> Result<Vec<UnitStats>> {
    let columns = (
        unit_stats::unit,
        unit_stats::images,
        unit_stats::mean,
        unit_stats::std,
        unit_stats::min,
        unit_stats::max,
        unit_stats::share_active,
        unit_stats::dead,
        unit_stats::selectivity,
        unit_stats::measure,
        unit_stats::top_class,
    );
    let mut found = Vec::new();
    for batch in (run.rows(manifest, columns)).only(unit_stats::layer, layer) {
        let batch = batch?;
        for cells in batch.iter() {
            let (unit, images, mean, std, min, max, share_active, ..) = cells;
            let (.., dead, selectivity, measure, top_class) = cells;
            let unit = usize::try_from(unit)
                .map_err(|_| batch.unexpected("numbers of units", unit.to_string()))?;
            found.push(UnitStats {
                unit,
                images: images.into(),
                mean,
                std,
                min,
                max,
                share_active,
                dead,
                selectivity,
                measure: measure.to_string(),
                top_class,
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

/// The patches of the `wanted` units, in the table's order: by unit, then by rank.
pub fn read_patches(
    run: &RunFolder,
    manifest: &Manifest,
    layer: &Layer,
    wanted: impl Fn(usize) -> bool,
) -> Result<Vec<Patch>> {
    let columns = (
        patches::unit,
        patches::rank,
        patches::image_id,
        patches::value,
        patches::row,
        patches::col,
        patches::box_x0,
        patches::box_y0,
        patches::box_x1,
        patches::box_y1,
        patches::clipped,
    );
    let within = |place: i32, length: usize| usize::try_from(place).ok().filter(|at| *at < length);
    let mut found = Vec::new();
    for batch in (run.rows(manifest, columns)).only(patches::layer, &layer.name) {
        let batch = batch?;
        for cells in batch.iter() {
            let (unit, rank, image_id, value, row, col, ..) = cells;
            let (.., x0, y0, x1, y1, clipped) = cells;
            let unit = within(unit, layer.channels);
            let row = within(row.into(), layer.height as usize);
            let col = within(col.into(), layer.width as usize);
            let (Some(unit), Some(row), Some(col)) = (unit, row, col) else {
                let expected = format!("units and cells of layer {}", layer.name);
                return Err(batch.unexpected(expected, "others"));
            };
            if wanted(unit) {
                found.push(Patch {
                    unit,
                    rank,
                    image_id,
                    value,
                    cell: (row as u32, col as u32),
                    file_box: [x0, y0, x1, y1],
                    clipped,
                });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_activated_by_many_images_come_first() {
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
