//! Reads layers and units from the tables. Nothing is formatted here.

use std::collections::{BTreeMap, HashMap, HashSet};

use prospect_common::Result;
use prospect_engine::{
    Context,
    schema::{layers, patches, unit_stats, units},
    tables::{classes::ClassNames, groups::Groups, layers::unit_picture},
};
use prospect_store::Manifest;
use rayon::prelude::*;

use super::super::frame::drawn;

/// Bins of a histogram.
pub const BARS: usize = 24;
/// Maximum number of activations counted in histograms; of a larger run, an even sample of parts.
const MAX_VALUES: u64 = 1_000_000_000;
/// Rows of `units` in memory at a time.
const BLOCK_ROWS: usize = 1024;

/// The units of a run.
#[derive(Debug, Default)]
pub struct Units {
    /// Patches per unit.
    pub k: u64,
    /// As `unit_stats.measure` spells it.
    pub measure: String,
    /// Kind of the classes: `label`, or `predicted class` in a dataset without labels.
    pub grouped_by: &'static str,
    pub classes: Vec<String>,
    pub layers: Vec<Layer>,
    /// Images counted in the histograms, and all images that went through the network.
    pub counted: u64,
    pub images: u64,
}

#[derive(Debug, Default)]
pub struct Layer {
    pub name: String,
    pub op: String,
    /// Channels, rows, columns.
    pub shape: [i32; 3],
    /// Size of the receptive field in input pixels, y and x; `None` if it covers the whole input.
    pub field: Option<[i32; 2]>,
    pub n_units: usize,
    pub n_dead: usize,
    /// Units with a contact sheet, in order.
    pub units: Vec<Unit>,
}

#[derive(Debug, Default, Clone)]
pub struct Unit {
    pub unit: usize,
    /// Over the images, of the maximum activation in the map; NaN if the table has none.
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    /// Fraction and number of images with positive activation.
    pub share_active: f64,
    pub n_active: u64,
    pub selectivity: f64,
    /// The class with the highest mean activation: its index in [`Units::classes`].
    pub top_class: Option<usize>,
    /// Images on its sheet, strongest first.
    pub images: Vec<u32>,
    /// Their classes (index, number of images), most frequent first.
    pub classes: Vec<(usize, usize)>,
    /// Histogram of the images' activations: [`BARS`] equal bins from `low` to `max`.
    pub bars: Vec<u32>,
    /// Whether `backprop` has drawn it.
    pub traced: bool,
}

impl Unit {
    /// Lower end of the histogram. For a rectified unit, only active images are counted.
    pub fn low(&self) -> f64 {
        self.min.min(0.0)
    }
}

impl Units {
    /// `None` if `patches` has not run.
    pub fn of_run(ctx: &Context, manifest: &Manifest) -> Result<Option<Units>> {
        let tables = [layers::NAME, unit_stats::NAME, patches::NAME];
        if !tables.iter().all(|table| manifest.has(table)) {
            return Ok(None);
        }
        let groups = Groups::read(ctx, manifest)?;
        let parameters = manifest
            .stages
            .get("patches")
            .map(|stage| &stage.parameters);
        let mut units = Units {
            k: parameters.and_then(|all| all["k"].as_u64()).unwrap_or(0),
            grouped_by: groups.by,
            classes: groups.names.clone(),
            layers: read_layers(ctx, manifest)?,
            ..Units::default()
        };
        let stats = units.read_stats(ctx, manifest)?;
        units.read_patches(ctx, manifest, &groups, &stats)?;
        units.mark_traced(manifest);
        units.count(ctx, manifest)?;
        Ok(Some(units))
    }

    /// Units active on fewer images than they have patches are maximally selective but meaningless.
    pub fn fires_enough(&self, unit: &Unit) -> bool {
        unit.n_active >= self.k
    }

    /// The layer's units, most selective first, rarely active ones last.
    pub fn by_selectivity<'u>(&self, layer: &'u Layer) -> Vec<&'u Unit> {
        let mut order: Vec<&Unit> = layer.units.iter().collect();
        let rank = |unit: &Unit| (self.fires_enough(unit), unit.selectivity);
        order.sort_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
        });
        order
    }

    /// For each class, by index, at most `n` units (layer, unit) with the most patches from it; ties put units with this top
    /// class first, by selectivity.
    pub fn of_classes(&self, n: usize) -> Vec<Vec<(usize, usize)>> {
        let mut found: Vec<Vec<(usize, &Unit, usize)>> = vec![Vec::new(); self.classes.len()];
        for (at, layer) in self.layers.iter().enumerate() {
            for unit in layer.units.iter().filter(|unit| self.fires_enough(unit)) {
                for &(class, patches) in &unit.classes {
                    found[class].push((at, unit, patches));
                }
            }
        }
        let best = found.into_iter().enumerate().map(|(class, mut units)| {
            let own = |unit: &Unit| match unit.top_class == Some(class) {
                true => unit.selectivity,
                false => -1.0,
            };
            units.sort_by(|a, b| b.2.cmp(&a.2).then(own(b.1).total_cmp(&own(a.1))));
            units.truncate(n);
            (units.into_iter())
                .map(|(layer, unit, _)| (layer, unit.unit))
                .collect()
        });
        best.collect()
    }

    fn places(&self) -> HashMap<String, usize> {
        let named = self.layers.iter().enumerate();
        named.map(|(at, layer)| (layer.name.clone(), at)).collect()
    }

    /// The live units of each layer, with their `unit_stats`.
    fn read_stats(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
    ) -> Result<Vec<HashMap<usize, Unit>>> {
        let names = ClassNames::read(ctx.run, manifest)?;
        let by_name: HashMap<&str, usize> = (self.classes.iter().enumerate())
            .map(|(at, name)| (name.as_str(), at))
            .collect();
        let places = self.places();
        let mut found = vec![HashMap::new(); self.layers.len()];
        let columns = (
            unit_stats::layer,
            unit_stats::unit,
            unit_stats::images,
            unit_stats::mean,
            unit_stats::min,
            unit_stats::max,
            unit_stats::share_active,
            unit_stats::dead,
            unit_stats::selectivity,
            unit_stats::measure,
            unit_stats::top_class,
        );
        for batch in ctx.run.rows(manifest, columns) {
            ctx.cancel.check()?;
            let batch = batch?;
            for cells in batch.iter() {
                let (layer, unit, images, mean, min, max, ..) = cells;
                let (.., share_active, dead, selectivity, measure, top_class) = cells;
                let (Some(&place), Ok(unit)) = (places.get(layer), usize::try_from(unit)) else {
                    return Err(batch.unexpected("units of recorded layers", "others"));
                };
                self.measure = measure.to_string();
                self.layers[place].n_units += 1;
                if dead {
                    self.layers[place].n_dead += 1;
                    continue;
                }
                let figure = |value: Option<f32>| value.map_or(f64::NAN, f64::from);
                let share_active = share_active.map_or(0.0, f64::from);
                let top = top_class.and_then(|class| names.dataset.get(&class));
                let known = Unit {
                    unit,
                    mean: figure(mean),
                    min: figure(min),
                    max: figure(max),
                    share_active,
                    // The fraction is stored as f32; rounding recovers the count.
                    n_active: (share_active * f64::from(images)).round() as u64,
                    selectivity: selectivity.map_or(0.0, f64::from),
                    top_class: top.and_then(|name| by_name.get(name.as_str()).copied()),
                    ..Unit::default()
                };
                found[place].insert(unit, known);
            }
        }
        Ok(found)
    }

    fn read_patches(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        groups: &Groups,
        stats: &[HashMap<usize, Unit>],
    ) -> Result<()> {
        let places = self.places();
        let mut found: Vec<BTreeMap<usize, Vec<u32>>> = vec![BTreeMap::new(); stats.len()];
        let columns = (
            patches::layer,
            patches::unit,
            patches::image_id,
            patches::crop,
        );
        for batch in ctx.run.rows(manifest, columns) {
            ctx.cancel.check()?;
            for (layer, unit, image_id, crop) in batch?.iter() {
                let place = places.get(layer);
                if let (Some(&place), Ok(unit), Some(_)) = (place, usize::try_from(unit), crop) {
                    found[place].entry(unit).or_default().push(image_id);
                }
            }
        }
        for ((layer, found), stats) in self.layers.iter_mut().zip(found).zip(stats) {
            for (unit, images) in found {
                let Some(known) = stats.get(&unit) else {
                    continue;
                };
                let mut classes: Vec<(usize, usize)> = Vec::new();
                for class in images.iter().filter_map(|id| groups.of.get(id)) {
                    match classes.iter_mut().find(|(known, _)| known == class) {
                        Some((_, n)) => *n += 1,
                        None => classes.push((*class, 1)),
                    }
                }
                // Stable: ties stay in the order of their best patches.
                classes.sort_by_key(|class| std::cmp::Reverse(class.1));
                layer.units.push(Unit {
                    images,
                    classes,
                    ..known.clone()
                });
            }
        }
        Ok(())
    }

    /// Marks the units that `backprop` has drawn.
    fn mark_traced(&mut self, manifest: &Manifest) {
        let drawn: HashSet<&str> = drawn(manifest, "backprop").collect();
        for layer in &mut self.layers {
            for unit in &mut layer.units {
                let path = unit_picture("backprop", &layer.name, unit.unit);
                unit.traced = drawn.contains(path.as_str());
            }
        }
    }

    /// The histograms, from the table `units`.
    fn count(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        let parts: Vec<(usize, u64)> = (manifest.table_files(units::NAME))
            .map(|(part, file)| (part, file.rows))
            .collect();
        let n_layers = self.layers.len().max(1) as u64;
        let images =
            |parts: &[(usize, u64)]| parts.iter().map(|(_, rows)| rows).sum::<u64>() / n_layers;
        self.images = images(&parts);
        let channels: u64 = self
            .layers
            .iter()
            .map(|layer| u64::from(layer.shape[0].unsigned_abs()))
            .sum();
        let values = (self.images * channels).max(1);
        let all = parts.len();
        let n = match values <= MAX_VALUES {
            true => all,
            false => (all as u64 * MAX_VALUES / values).clamp(1, all as u64) as usize,
        };
        let chosen: Vec<(usize, u64)> = (0..n).map(|place| parts[place * all / n]).collect();
        self.counted = images(&chosen);
        for layer in &mut self.layers {
            for (part, _) in &chosen {
                ctx.cancel.check()?;
                layer.count(ctx, manifest, *part)?;
            }
        }
        Ok(())
    }
}

impl Layer {
    /// Adds one part of `units` to the histograms.
    fn count(&mut self, ctx: &Context, manifest: &Manifest, part: usize) -> Result<()> {
        let channels = self.shape[0].unsigned_abs() as usize;
        for unit in &mut self.units {
            unit.bars.resize(BARS, 0);
        }
        let rows = (ctx.run)
            .rows(manifest, (units::max,))
            .part(part)
            .only(units::layer, &self.name)
            .batch_rows(BLOCK_ROWS);
        for batch in rows {
            let batch = batch?;
            let (max,) = batch.columns();
            batch.check_length(max, channels)?;
            let values = max.to_f32();
            self.units.par_iter_mut().for_each(|unit| {
                let low = unit.low();
                let steps = BARS as f64 / (unit.max - low);
                for row in values.chunks_exact(channels.max(1)) {
                    let value = f64::from(row.get(unit.unit).copied().unwrap_or(f32::NAN));
                    let is_counted = value > 0.0 || (low < 0.0 && value.is_finite());
                    if is_counted && unit.max > low {
                        let step = ((value - low) * steps) as usize;
                        unit.bars[step.min(BARS - 1)] += 1;
                    }
                }
            });
        }
        Ok(())
    }
}

fn read_layers(ctx: &Context, manifest: &Manifest) -> Result<Vec<Layer>> {
    let columns = (
        layers::layer,
        layers::op,
        layers::channels,
        layers::height,
        layers::width,
        layers::rf_size_y,
        layers::rf_size_x,
    );
    let mut found = Vec::new();
    for batch in ctx.run.rows(manifest, columns) {
        let layer = |(name, op, channels, height, width, y, x): (&str, &str, _, _, _, _, _)| {
            let field: Option<(i32, i32)> = Option::zip(y, x);
            Layer {
                name: name.to_string(),
                op: op.to_string(),
                shape: [channels, height, width],
                field: field.map(|(y, x)| [y, x]),
                ..Layer::default()
            }
        };
        found.extend(batch?.iter().map(layer));
    }
    Ok(found)
}
