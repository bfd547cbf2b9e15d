//! Everything that the page shows, read from the manifest and the tables. Nothing is formatted here.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, AsArray};
use serde_json::Value;

use super::super::{
    Context,
    columns::{Columns, integer, number, text},
    layers::unit_picture,
};
use crate::{error::Result, store::Manifest};

/// Units shown of each layer.
pub const UNITS_SHOWN: usize = 12;
/// Overlays shown.
pub const OVERLAYS_SHOWN: usize = 24;
/// Unreadable files that are listed by name.
pub const BAD_SHOWN: usize = 50;

/// What there is to tell about a run.
#[derive(Debug, Default)]
pub struct Facts {
    pub n_images: u64,
    pub n_bad: u64,
    /// The first [`BAD_SHOWN`]: path and error.
    pub bad: Vec<(String, String)>,
    /// Images per class; unreadable ones count, for they have labels.
    pub classes: Vec<(String, u64)>,
    pub n_unlabelled: u64,
    /// Images whose label is one of the network's classes, and how many of them it got right.
    pub judged: u64,
    pub correct: u64,
    pub network: Option<String>,
    pub device: Option<String>,
    pub images_per_second: Option<f64>,
    pub bottleneck: Option<String>,
    /// In 0..=1, of the bottleneck.
    pub busy: Option<f64>,
    pub k: u64,
    /// As `unit_stats.measure` spells it.
    pub measure: String,
    pub layers: Vec<LayerFacts>,
    /// Paths in the run folder, at most [`OVERLAYS_SHOWN`], spread evenly over all.
    pub overlays: Vec<String>,
    pub n_overlays: usize,
    pub stages: Vec<StageFacts>,
}

#[derive(Debug, Default)]
pub struct LayerFacts {
    pub name: String,
    pub op: String,
    /// Channels, rows, columns.
    pub shape: [i64; 3],
    /// Receptive field in input pixels, (size, stride), along y and x; `None` where a cell sees everything.
    pub field: Option<[(f64, f64); 2]>,
    pub n_units: usize,
    pub n_dead: usize,
    /// The most selective with a contact sheet, best first.
    pub units: Vec<UnitFacts>,
}

#[derive(Debug)]
pub struct UnitFacts {
    pub unit: i64,
    pub selectivity: f64,
    /// Relative to the run folder.
    pub sheet: String,
    /// The same patches with the pixels that made the unit fire, if that was drawn.
    pub pixels: Option<String>,
    /// The images on the sheet, best first.
    pub images: Vec<u32>,
    /// Their classes, most frequent first.
    pub classes: Vec<(String, usize)>,
}

#[derive(Debug)]
pub struct StageFacts {
    pub name: String,
    pub seconds: f64,
    pub parts: usize,
    pub rows: u64,
    pub bytes: u64,
    pub key: String,
    pub complete: bool,
}

impl Facts {
    pub fn of_run(ctx: &Context) -> Result<Facts> {
        let manifest = ctx.run.manifest()?;
        let mut facts = Facts {
            k: manifest
                .stages
                .get("patches")
                .and_then(|stage| stage.parameters["k"].as_u64())
                .unwrap_or(0),
            ..Facts::default()
        };
        facts.read_extract(&manifest);
        facts.read_stages(&manifest);
        facts.read_layers(ctx, &manifest)?;
        facts.read_pictures(&manifest);
        ctx.cancel.check()?;
        let labels = facts.read_images(ctx, &manifest)?;
        facts.read_predictions(ctx, &manifest, &labels)?;
        Ok(facts)
    }

    fn read_extract(&mut self, manifest: &Manifest) {
        let Some(stage) = manifest.stages.get("extract") else {
            return;
        };
        let text = |name: &str| stage.summary[name].as_str().map(str::to_string);
        self.network = text("network");
        self.device = text("device");
        self.bottleneck = text("bottleneck");
        self.images_per_second = stage.summary["images_per_second"].as_f64();
        self.busy = (self.bottleneck.as_ref())
            .and_then(|bottleneck| stage.summary["busy"][bottleneck].as_f64());
    }

    fn read_stages(&mut self, manifest: &Manifest) {
        for stage in super::super::STAGES
            .iter()
            .filter(|s| s.name != super::STAGE.name)
        {
            let Some(record) = manifest.stages.get(stage.name) else {
                continue;
            };
            let files = || record.parts.values().flat_map(|part| &part.files);
            let of_parts: f64 = record.parts.values().map(|part| part.seconds).sum();
            self.stages.push(StageFacts {
                name: stage.name.to_string(),
                // A stage that works on several parts at once measures itself.
                seconds: (record.summary.get("seconds"))
                    .and_then(Value::as_f64)
                    .unwrap_or(of_parts),
                parts: record.parts.len(),
                rows: files().map(|file| file.rows).sum(),
                bytes: files().map(|file| file.bytes).sum(),
                key: record.key.clone(),
                complete: record.complete,
            });
        }
    }

    /// What `explain` and `backprop` drew.
    fn read_pictures(&mut self, manifest: &Manifest) {
        let pictures = |stage: &str| {
            let parts = manifest.stages.get(stage).map(|stage| stage.parts.values());
            let files = parts.into_iter().flatten().flat_map(|part| &part.files);
            files
                .filter(|file| file.table.is_none())
                .map(|file| file.path.as_str())
        };
        let overlays: Vec<&str> = pictures("explain").collect();
        self.n_overlays = overlays.len();
        let shown = OVERLAYS_SHOWN.min(overlays.len());
        self.overlays = (0..shown)
            .map(|place| overlays[place * overlays.len() / shown].to_string())
            .collect();
        let traced: HashSet<&str> = pictures("backprop").collect();
        for layer in &mut self.layers {
            for unit in &mut layer.units {
                let number = usize::try_from(unit.unit).unwrap_or_default();
                let path = unit_picture("backprop", &layer.name, number);
                unit.pixels = traced.contains(path.as_str()).then_some(path);
            }
        }
    }

    fn read_layers(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        for batch in ctx.run.read(manifest, "layers") {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "layers", &batch);
            let (names, ops) = (columns.texts("layer")?, columns.texts("op")?);
            let shape = [
                columns.integers("channels")?,
                columns.integers("height")?,
                columns.integers("width")?,
            ];
            let mut axes = Vec::new();
            for letter in ["y", "x"] {
                let read = |what| columns.numbers(&format!("rf_{what}_{letter}"));
                axes.push((read("size")?, read("stride")?));
            }
            for row in 0..batch.num_rows() {
                let axis =
                    |(size, stride): &(_, _)| Some((number(size, row)?, number(stride, row)?));
                self.layers.push(LayerFacts {
                    name: text(&names, row).unwrap_or_default().to_string(),
                    op: text(&ops, row).unwrap_or_default().to_string(),
                    shape: [0, 1, 2].map(|side| integer(&shape[side], row).unwrap_or(0)),
                    field: axis(&axes[0]).zip(axis(&axes[1])).map(|(y, x)| [y, x]),
                    ..LayerFacts::default()
                });
            }
        }
        for index in 0..self.layers.len() {
            ctx.cancel.check()?;
            self.read_units(ctx, manifest, index)?;
        }
        Ok(())
    }

    /// Statistics and the best sheets of one layer, which is a part of the tables `unit_stats` and `patches`.
    fn read_units(&mut self, ctx: &Context, manifest: &Manifest, index: usize) -> Result<()> {
        let layer = &mut self.layers[index];
        // Images that excite it, selectivity.
        let mut stats: HashMap<i64, (f64, f64)> = HashMap::new();
        for batch in (ctx.run.read(manifest, "unit_stats"))
            .part(index)
            .only("layer", &layer.name)
        {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "unit_stats", &batch);
            let (units, images) = (columns.integers("unit")?, columns.numbers("images")?);
            let (shares, selectivity) = (
                columns.numbers("share_active")?,
                columns.numbers("selectivity")?,
            );
            let measures = columns.texts("measure")?;
            let dead = columns.column("dead")?;
            let dead = dead.as_boolean_opt().ok_or_else(|| {
                columns.unexpected("booleans in column dead", dead.data_type().to_string())
            })?;
            for row in 0..batch.num_rows() {
                layer.n_units += 1;
                layer.n_dead += usize::from(dead.value(row));
                let active =
                    number(&images, row).unwrap_or(0.0) * number(&shares, row).unwrap_or(0.0);
                if let Some(unit) = integer(&units, row) {
                    stats.insert(unit, (active, number(&selectivity, row).unwrap_or(0.0)));
                }
                self.measure = text(&measures, row).unwrap_or_default().to_string();
            }
        }
        let mut found: BTreeMap<i64, UnitFacts> = BTreeMap::new();
        let rows = (ctx.run.read(manifest, "patches"))
            .part(index)
            .columns(&["unit", "image_id", "crop"])
            .only("layer", &layer.name);
        for batch in rows {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "patches", &batch);
            let (ids, units) = (columns.image_ids()?, columns.integers("unit")?);
            let crops = columns.texts("crop")?;
            for (row, &image_id) in ids.iter().enumerate() {
                let (Some(unit), Some(sheet)) = (integer(&units, row), text(&crops, row)) else {
                    continue;
                };
                let facts = found.entry(unit).or_insert_with(|| UnitFacts {
                    unit,
                    selectivity: stats.get(&unit).map_or(0.0, |stats| stats.1),
                    sheet: sheet.to_string(),
                    pixels: None,
                    images: Vec::new(),
                    classes: Vec::new(),
                });
                facts.images.push(image_id);
            }
        }
        let enough = |facts: &UnitFacts| {
            // A share is rounded to f32: half an image either way does not matter.
            stats
                .get(&facts.unit)
                .is_some_and(|(active, _)| active + 0.5 >= self.k as f64)
        };
        layer.units = found.into_values().collect();
        layer.units.sort_by(|a, b| {
            (enough(b).cmp(&enough(a))).then(b.selectivity.total_cmp(&a.selectivity))
        });
        layer.units.truncate(UNITS_SHOWN);
        Ok(())
    }

    /// Gives back each image's dataset class, by image id.
    fn read_images(&mut self, ctx: &Context, manifest: &Manifest) -> Result<Vec<Option<i64>>> {
        let units = self.layers.iter().flat_map(|layer| &layer.units);
        let wanted: HashSet<u32> = units.flat_map(|unit| unit.images.iter().copied()).collect();
        let mut class_of: HashMap<u32, String> = HashMap::new();
        let mut classes: BTreeMap<String, u64> = BTreeMap::new();
        let mut class_numbers = Vec::new();
        let names = ["image_id", "path", "label", "label_name", "error"];
        for batch in ctx.run.read(manifest, "images").columns(&names) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "images", &batch);
            let (paths, errors) = (columns.texts("path")?, columns.texts("error")?);
            let labels = columns.texts("label_name")?;
            class_numbers.extend(columns.integers("label")?.iter());
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                self.n_images += 1;
                if let Some(error) = text(&errors, row) {
                    self.n_bad += 1;
                    if self.bad.len() < BAD_SHOWN {
                        let path = text(&paths, row).unwrap_or_default();
                        self.bad.push((path.to_string(), error.to_string()));
                    }
                }
                match text(&labels, row) {
                    None => self.n_unlabelled += 1,
                    Some(label) => {
                        // One String per class, not per image.
                        match classes.get_mut(label) {
                            Some(n) => *n += 1,
                            None => {
                                classes.insert(label.to_string(), 1);
                            }
                        }
                        if wanted.contains(&id) {
                            class_of.insert(id, label.to_string());
                        }
                    }
                }
            }
        }
        self.classes = classes.into_iter().collect();
        // Stable: equal counts stay in the order of their names.
        self.classes.sort_by_key(|class| std::cmp::Reverse(class.1));
        for unit in self.layers.iter_mut().flat_map(|layer| &mut layer.units) {
            let mut counts: Vec<(String, usize)> = Vec::new();
            for name in unit.images.iter().filter_map(|id| class_of.get(id)) {
                match counts.iter_mut().find(|(known, _)| known == name) {
                    Some((_, n)) => *n += 1,
                    None => counts.push((name.clone(), 1)),
                }
            }
            counts.sort_by_key(|class| std::cmp::Reverse(class.1));
            unit.classes = counts;
        }
        Ok(class_numbers)
    }

    /// Compares names, because the dataset and the network number their classes each in their own way.
    fn read_predictions(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        labels: &[Option<i64>],
    ) -> Result<()> {
        let mut names: HashMap<(bool, i64), String> = HashMap::new();
        for batch in ctx.run.read(manifest, "classes") {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "classes", &batch);
            let (numbers, sources) = (columns.integers("class")?, columns.texts("source")?);
            let class_names = columns.texts("name")?;
            for row in 0..batch.num_rows() {
                if let (Some(class), Some(name)) = (integer(&numbers, row), text(&class_names, row))
                {
                    let of_network = text(&sources, row) == Some("model");
                    names.insert((of_network, class), name.to_string());
                }
            }
        }
        for batch in
            (ctx.run.read(manifest, "predictions")).columns(&["image_id", "pred", "p_label"])
        {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "predictions", &batch);
            let (predicted, of_label) = (columns.integers("pred")?, columns.numbers("p_label")?);
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                // A label that is none of the network's classes has no probability.
                let label = labels.get(id as usize).copied().flatten();
                if let (Some(_), Some(label)) = (number(&of_label, row), label) {
                    let predicted =
                        integer(&predicted, row).and_then(|class| names.get(&(true, class)));
                    self.judged += 1;
                    self.correct +=
                        u64::from(predicted.is_some() && predicted == names.get(&(false, label)));
                }
            }
        }
        Ok(())
    }
}
