//! Top patches and statistics of one layer, and their tables.

use std::collections::BTreeSet;

use arrow::array::{RecordBatch, StringArray};
use prospect_analysis::units::{
    topk::{Hit, LayerTopK},
    unit_stats::{LayerStats, Measure, UnitSummary},
};
use prospect_common::Result;
use prospect_config::UnitChoice;
use prospect_dataset::image::{FileBox, Geometry, Header, InputSpec};
use prospect_engine::{
    Context,
    schema::{images, patches, unit_stats, units},
    tables::{
        layers::Layer,
        units::{Candidate, most_selective},
    },
};
use prospect_store::{Manifest, RunFolder};

use super::sheets::{self, SELECTIVE};

/// Rows of `units` in memory at a time.
const BLOCK_ROWS: usize = 1024;

/// Header and class of each image, indexed by image id.
pub struct Images {
    /// Width and height as stored, orientation.
    headers: Vec<(Option<i32>, Option<i32>, Option<i16>)>,
    /// Index into `labels`.
    classes: Vec<Option<u32>>,
    /// Labels that occur, ascending.
    labels: Vec<i32>,
}

impl Images {
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Images> {
        let mut headers = Vec::new();
        let mut labels: Vec<Option<i32>> = Vec::new();
        let columns = (
            images::image_id,
            images::width,
            images::height,
            images::orientation,
            images::label,
        );
        for batch in run.rows(manifest, columns) {
            let batch = batch?;
            for (id, width, height, orientation, label) in batch.iter() {
                if id as usize != headers.len() {
                    return Err(batch.unexpected("image ids without gaps", format!("id {id}")));
                }
                headers.push((width, height, orientation));
                labels.push(label);
            }
        }
        let values: BTreeSet<i32> = labels.iter().flatten().copied().collect();
        let values: Vec<i32> = values.into_iter().collect();
        let class = |label: i32| values.binary_search(&label).ok().map(|class| class as u32);
        Ok(Images {
            headers,
            classes: labels.iter().map(|label| label.and_then(class)).collect(),
            labels: values,
        })
    }

    /// The receptive field of a cell of this image, in its file.
    fn file_box(&self, image_id: u32, spec: &InputSpec, layer: &Layer, position: u32) -> FileBox {
        let (width, height, orientation) = self.headers[image_id as usize];
        let geometry = Geometry::new(&Header::stored(width, height, orientation), spec);
        geometry.file_box(layer.input_box(layer.cell(position), geometry.input_size()))
    }
}

/// Top patches and statistics of a layer's units.
pub struct TopPatches {
    /// Per unit, strongest first.
    hits: Vec<Vec<Hit>>,
    summaries: Vec<UnitSummary>,
    measure: Measure,
    /// Whether each unit gets a contact sheet.
    pictured: Vec<bool>,
}

impl TopPatches {
    pub fn of_layer(
        ctx: &Context,
        manifest: &Manifest,
        layer: &Layer,
        images: &Images,
    ) -> Result<TopPatches> {
        let k = ctx.config.patches.k;
        let mut top = LayerTopK::new(layer.channels, k);
        let mut stats = LayerStats::new(layer.channels, images.labels.len());
        let rows = (ctx
            .run
            .rows(manifest, (units::image_id, units::max, units::argmax)))
        .only(units::layer, &layer.name)
        .batch_rows(BLOCK_ROWS);
        for batch in rows {
            ctx.cancel.check()?;
            let batch = batch?;
            let (ids, values, places) = batch.columns();
            batch.check_length(values, layer.channels)?;
            batch.check_length(places, layer.channels)?;
            let ids = ids.values();
            let classes: Option<Vec<Option<u32>>> = ids
                .iter()
                .map(|&id| images.classes.get(id as usize).copied())
                .collect();
            let classes =
                classes.ok_or_else(|| batch.unexpected("known image ids", "an unknown one"))?;
            top.offer_block(ids, values.values(), places.values());
            stats.add_block(&classes, values.values());
        }
        let summaries = stats.summaries();
        let mut pictured = vec![false; layer.channels];
        for unit in choose(&ctx.config.patches.units, &summaries, k) {
            pictured[unit] = true;
        }
        Ok(TopPatches {
            hits: top.into_sorted(),
            summaries,
            measure: stats.measure(),
            pictured,
        })
    }

    /// Rows of `patches`: rank 1 is the unit's strongest; `crop` is the contact sheet showing the patch.
    pub fn patches(&self, layer: &Layer, images: &Images, spec: &InputSpec) -> Result<RecordBatch> {
        let n: usize = self.hits.iter().map(Vec::len).sum();
        let (mut units, mut ranks) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut ids, mut values) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut rows, mut cols) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let mut edges: [Vec<f32>; 4] = std::array::from_fn(|_| Vec::with_capacity(n));
        let mut clipped = Vec::with_capacity(n);
        let mut crops = Vec::with_capacity(n);
        for (unit, hits) in self.hits.iter().enumerate() {
            let sheet = self.pictured[unit].then(|| sheets::path(&layer.name, unit));
            // In a rectified layer, an image with activation 0 shows nothing of what the unit detects.
            let rectified = self.summaries[unit].min >= 0.0;
            for (rank, hit) in (1..).zip(hits) {
                let (row, col) = layer.cell(hit.position);
                let file_box = images.file_box(hit.image_id, spec, layer, hit.position);
                units.push(unit as i32);
                ranks.push(rank);
                ids.push(hit.image_id);
                values.push(hit.value);
                rows.push(row as i16);
                cols.push(col as i16);
                let sides = [file_box.x0, file_box.y0, file_box.x1, file_box.y1];
                for (column, edge) in edges.iter_mut().zip(sides) {
                    column.push(edge);
                }
                clipped.push(file_box.clipped);
                let shown = hit.value > 0.0 || !rectified;
                crops.push(sheet.as_deref().filter(|_| shown).map(str::to_string));
            }
        }
        let [x0, y0, x1, y1] = edges;
        patches::Columns {
            layer: StringArray::new_repeated(&layer.name, n),
            unit: units.into(),
            rank: ranks.into(),
            image_id: ids.into(),
            value: values.into(),
            row: rows.into(),
            col: cols.into(),
            box_x0: x0.into(),
            box_y0: y0.into(),
            box_x1: x1.into(),
            box_y1: y1.into(),
            rf: StringArray::new_repeated("theoretical", n),
            clipped: clipped.into(),
            crop: crops.into(),
        }
        .batch()
    }

    /// Rows of `unit_stats`, one per unit.
    pub fn unit_stats(&self, layer: &Layer, images: &Images) -> Result<RecordBatch> {
        let n = self.summaries.len();
        let floats = |of: fn(&UnitSummary) -> f64| {
            let known = |unit: &UnitSummary| (unit.n_images > 0).then(|| of(unit) as f32);
            self.summaries.iter().map(known).collect()
        };
        let label = |class: u32| images.labels.get(class as usize).copied();
        unit_stats::Columns {
            layer: StringArray::new_repeated(&layer.name, n),
            unit: (0..n as i32).collect(),
            images: (self.summaries.iter())
                .map(|unit| unit.n_images as u32)
                .collect(),
            mean: floats(|unit| unit.mean),
            std: floats(|unit| unit.std),
            min: floats(|unit| unit.min.into()),
            max: floats(|unit| unit.max.into()),
            share_active: floats(UnitSummary::share_active),
            dead: (self.summaries.iter())
                .map(|unit| Some(unit.is_dead()))
                .collect(),
            selectivity: floats(|unit| unit.selectivity),
            measure: StringArray::new_repeated(self.measure.name(), n),
            top_class: (self.summaries.iter())
                .map(|unit| unit.top_class.and_then(label))
                .collect(),
        }
        .batch()
    }
}

/// The units with contact sheets; dead units have none.
pub(super) fn choose(units: &UnitChoice, summaries: &[UnitSummary], k: usize) -> Vec<usize> {
    let live = (0..summaries.len()).filter(|&unit| !summaries[unit].is_dead());
    match units {
        UnitChoice::All => live.collect(),
        UnitChoice::Listed(listed) => live
            .filter(|&unit| listed.iter().any(|&wanted| wanted as usize == unit))
            .collect(),
        UnitChoice::Selective => {
            let candidates = live.map(|unit| Candidate {
                unit,
                n_active: summaries[unit].n_active,
                selectivity: summaries[unit].selectivity,
            });
            most_selective(candidates, k, SELECTIVE)
        }
    }
}
