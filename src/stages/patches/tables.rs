//! Top-K and statistics of one layer, and their tables.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int16Array, Int32Array, RecordBatch,
        StringArray, UInt32Array,
    },
    datatypes::{DataType, Float16Type, Float32Type},
};
use half::f16;
use prospect_analysis::units::{
    topk::{Hit, LayerTopK},
    unit_stats::{LayerStats, Measure, UnitSummary},
};
use prospect_common::Result;
use prospect_config::UnitChoice;
use prospect_dataset::image::{FileBox, Geometry, Header, InputSpec};
use prospect_engine::{
    Context,
    tables::{
        columns::{Columns, integer, repeated, table},
        layers::Layer,
        units::{Candidate, most_selective},
    },
};
use prospect_store::{Manifest, RunFolder};

use super::{SELECTIVE, sheets};

/// Rows of `units` in memory at a time.
const BLOCK_ROWS: usize = 1024;

/// What is needed of every image; vectors are indexed by image id.
pub struct Images {
    /// Width and height as stored, orientation; zeros for an unreadable image.
    headers: Vec<(u32, u32, u8)>,
    /// Index into `labels`.
    classes: Vec<Option<u32>>,
    /// The label values that occur, ascending.
    labels: Vec<i32>,
}

impl Images {
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Images> {
        let mut headers = Vec::new();
        let mut labels: Vec<Option<i32>> = Vec::new();
        let names = ["image_id", "width", "height", "orientation", "label"];
        for batch in run.read(manifest, "images").columns(&names) {
            let batch = batch?;
            let columns = Columns {
                run,
                table: "images",
                batch: &batch,
            };
            let ids = columns.image_ids()?;
            let (widths, heights) = (columns.integers("width")?, columns.integers("height")?);
            let orientations = columns.integers("orientation")?;
            let label = columns.integers("label")?;
            for (row, &id) in ids.iter().enumerate() {
                if id as usize != headers.len() {
                    return Err(columns.unexpected("image ids without gaps", format!("id {id}")));
                }
                let side = |array| integer(array, row).and_then(|n| u32::try_from(n).ok());
                let orientation = integer(&orientations, row).filter(|n| (1..=8).contains(n));
                headers.push((
                    side(&widths).unwrap_or(0),
                    side(&heights).unwrap_or(0),
                    orientation.unwrap_or(1) as u8,
                ));
                labels.push(integer(&label, row).and_then(|n| i32::try_from(n).ok()));
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

    /// Where `input_box` of this image lies in its file.
    fn file_box(&self, image_id: u32, spec: &InputSpec, layer: &Layer, position: u32) -> FileBox {
        let (width, height, orientation) = self.headers[image_id as usize];
        let header = Header {
            format: "",
            width,
            height,
            orientation,
        };
        let geometry = Geometry::new(&header, spec);
        geometry.file_box(layer.input_box(layer.cell(position), geometry.input_size()))
    }
}

/// What one pass over a layer's `units` found.
pub struct Found {
    /// Per unit, best first.
    hits: Vec<Vec<Hit>>,
    summaries: Vec<UnitSummary>,
    measure: Measure,
    /// Whether each unit gets a contact sheet.
    pictured: Vec<bool>,
}

impl Found {
    pub fn of_layer(
        ctx: &Context,
        manifest: &Manifest,
        layer: &Layer,
        images: &Images,
    ) -> Result<Found> {
        let k = ctx.config.patches.k;
        let mut top = LayerTopK::new(layer.channels, k);
        let mut stats = LayerStats::new(layer.channels, images.labels.len());
        let rows = (ctx.run.read(manifest, "units"))
            .columns(&["image_id", "max", "argmax"])
            .only("layer", &layer.name)
            .batch_rows(BLOCK_ROWS);
        for batch in rows {
            ctx.cancel.check()?;
            let batch = batch?;
            let columns = Columns::of(ctx.run, "units", &batch);
            let ids = columns.image_ids()?;
            let classes: Option<Vec<Option<u32>>> = ids
                .iter()
                .map(|&id| images.classes.get(id as usize).copied())
                .collect();
            let classes = classes
                .ok_or_else(|| columns.unexpected("ids of the table images", "a greater one"))?;
            let values = columns.lists("max", layer.channels)?;
            let places = columns.cells("argmax", layer.channels)?;
            match values.data_type() {
                DataType::Float16 => {
                    let values: &[f16] = values.as_primitive::<Float16Type>().values();
                    top.offer_block(&ids, values, &places);
                    stats.add_block(&classes, values);
                }
                DataType::Float32 => {
                    let values: &[f32] = values.as_primitive::<Float32Type>().values();
                    top.offer_block(&ids, values, &places);
                    stats.add_block(&classes, values);
                }
                other => {
                    return Err(columns.unexpected("floats in column max", other.to_string()));
                }
            }
        }
        let summaries = stats.summaries();
        let mut pictured = vec![false; layer.channels];
        for unit in choose(&ctx.config.patches.units, &summaries, k) {
            pictured[unit] = true;
        }
        Ok(Found {
            hits: top.into_sorted(),
            summaries,
            measure: stats.measure(),
            pictured,
        })
    }

    /// The rows of `patches`: per unit, rank 1 is the strongest; `crop` is the contact sheet that shows it.
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
            // In a rectified layer an image that leaves the unit silent shows nothing of what it looks for.
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
        let [x0, y0, x1, y1] = edges.map(|edges| Arc::new(Float32Array::from(edges)) as ArrayRef);
        table([
            ("layer", repeated(&layer.name, n), false),
            ("unit", Arc::new(Int32Array::from(units)), false),
            ("rank", Arc::new(Int16Array::from(ranks)), false),
            ("image_id", Arc::new(UInt32Array::from(ids)), false),
            ("value", Arc::new(Float32Array::from(values)), false),
            ("row", Arc::new(Int16Array::from(rows)), false),
            ("col", Arc::new(Int16Array::from(cols)), false),
            ("box_x0", x0, false),
            ("box_y0", y0, false),
            ("box_x1", x1, false),
            ("box_y1", y1, false),
            ("rf", repeated("theoretical", n), false),
            ("clipped", Arc::new(BooleanArray::from(clipped)), false),
            ("crop", Arc::new(StringArray::from(crops)), true),
        ])
    }

    /// The rows of `unit_stats`, one per unit.
    pub fn unit_stats(&self, layer: &Layer, images: &Images) -> Result<RecordBatch> {
        let n = self.summaries.len();
        let floats = |of: fn(&UnitSummary) -> f64| {
            let known = |unit: &UnitSummary| (unit.n_images > 0).then(|| of(unit) as f32);
            Arc::new(Float32Array::from_iter(self.summaries.iter().map(known))) as ArrayRef
        };
        let numbers = Int32Array::from_iter_values(0..n as i32);
        let counts = self.summaries.iter().map(|unit| unit.n_images as u32);
        let label = |class: u32| images.labels.get(class as usize).copied();
        let tops = self
            .summaries
            .iter()
            .map(|unit| unit.top_class.and_then(label));
        let dead: Vec<bool> = self.summaries.iter().map(UnitSummary::is_dead).collect();
        table([
            ("layer", repeated(&layer.name, n), false),
            ("unit", Arc::new(numbers), false),
            (
                "images",
                Arc::new(UInt32Array::from_iter_values(counts)),
                false,
            ),
            ("mean", floats(|unit| unit.mean), true),
            ("std", floats(|unit| unit.std), true),
            ("min", floats(|unit| unit.min.into()), true),
            ("max", floats(|unit| unit.max.into()), true),
            ("share_active", floats(UnitSummary::share_active), true),
            ("dead", Arc::new(BooleanArray::from(dead)), false),
            ("selectivity", floats(|unit| unit.selectivity), true),
            ("measure", repeated(self.measure.name(), n), false),
            ("top_class", Arc::new(Int32Array::from_iter(tops)), true),
        ])
    }
}

/// The units that get contact sheets, never a dead one.
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
