//! Candidates of one layer: units that fire in one small place for one class.

use std::collections::BTreeMap;

use prospect_analysis::audit::shortcuts::{
    auroc,
    places::{Counts, Grid, Place},
};
use prospect_common::Result;
use prospect_engine::{Context, schema::units, tables::layers::Layer};
use prospect_store::Manifest;
use rayon::prelude::*;

use super::{boxes::ObjectBoxes, evaluation::Evaluation};

/// Rows of `units` in memory at a time.
const BLOCK_ROWS: usize = 1024;
/// Bytes of counts in memory; a layer that needs more is read in several passes.
const COUNT_BYTES: usize = 512 << 20;
/// Maximum candidates of a layer, and of a class in a layer.
const MAX_PER_LAYER: usize = 64;
const MAX_PER_CLASS: usize = 8;

/// A unit that fires in one small place for one class.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub layer: String,
    pub unit: usize,
    /// Index into [`Evaluation::classes`].
    pub class: u32,
    pub score: f64,
    pub of_class: f64,
    pub of_others: f64,
    /// `x0, y0, x1, y1` in 0..=1 of the network's input.
    pub edges: [f64; 4],
    /// AUROC of the unit's maximum for the class against all others.
    pub exclusivity: f64,
    /// Fraction of the marked images whose strongest cell is in the outermost ring.
    pub border: f64,
    /// Fraction of the marked images with boxes whose strongest cell's centre is outside them.
    pub outside_boxes: Option<f64>,
    /// Images of the class whose strongest cell is in the place.
    pub marked: Vec<u32>,
}

/// Maximum activation of some units in every labelled image, and its position.
pub struct UnitMaxima {
    pub image_ids: Vec<u32>,
    pub classes: Vec<u32>,
    /// `[units][images]`
    pub strengths: Vec<Vec<f32>>,
    /// `row * columns + column` in the layer's map.
    pub positions: Vec<Vec<u32>>,
}

impl UnitMaxima {
    /// Whether each image is of the class.
    pub fn in_class(&self, class: u32) -> Vec<bool> {
        self.classes.iter().map(|own| *own == class).collect()
    }
}

/// Reads `units` of a layer block by block: ids, maxima and positions `[images, channels]`.
fn visit(
    ctx: &Context,
    manifest: &Manifest,
    layer: &Layer,
    mut take: impl FnMut(&[u32], &[f32], &[u32]),
) -> Result<()> {
    let rows = (ctx.run)
        .rows(manifest, (units::image_id, units::max, units::argmax))
        .only(units::layer, &layer.name)
        .batch_rows(BLOCK_ROWS);
    for batch in rows {
        ctx.cancel.check()?;
        let batch = batch?;
        let (ids, max, argmax) = batch.columns();
        batch.check_length(max, layer.channels)?;
        batch.check_length(argmax, layer.channels)?;
        let positions: Vec<u32> = argmax.values().iter().map(|&cell| cell.into()).collect();
        take(ids.values(), &max.to_f32(), &positions);
    }
    Ok(())
}

/// Reads the maxima of some units in every labelled image: 8 bytes per unit and image.
pub fn read_maxima(
    ctx: &Context,
    manifest: &Manifest,
    layer: &Layer,
    units: &[usize],
    evaluation: &Evaluation,
) -> Result<UnitMaxima> {
    let mut maxima = UnitMaxima {
        image_ids: Vec::new(),
        classes: Vec::new(),
        strengths: vec![Vec::new(); units.len()],
        positions: vec![Vec::new(); units.len()],
    };
    visit(ctx, manifest, layer, |ids, strengths, positions| {
        for (row, &id) in ids.iter().enumerate() {
            let Some(class) = evaluation.label_of(id) else {
                continue;
            };
            maxima.image_ids.push(id);
            maxima.classes.push(class);
            for (place, &unit) in units.iter().enumerate() {
                let at = row * layer.channels + unit;
                maxima.strengths[place].push(strengths[at]);
                maxima.positions[place].push(positions[at]);
            }
        }
    })?;
    Ok(maxima)
}

/// The layer's best candidates, best first.
pub fn candidates(
    ctx: &Context,
    manifest: &Manifest,
    layer: &Layer,
    evaluation: &Evaluation,
    boxes: Option<&ObjectBoxes>,
) -> Result<Vec<Candidate>> {
    let grid = Grid::new(layer.height as usize, layer.width as usize);
    let bytes_per_unit = 4 * evaluation.classes.len() * grid.cells();
    let units_per_pass = (COUNT_BYTES / bytes_per_unit.max(1)).max(1);
    let mut places = Vec::new();
    for first in (0..layer.channels).step_by(units_per_pass) {
        let n = units_per_pass.min(layer.channels - first);
        let mut counts = Counts::new(grid, first, n, evaluation.classes.len());
        visit(ctx, manifest, layer, |ids, strengths, positions| {
            let classes: Vec<Option<u32>> = ids.iter().map(|&id| evaluation.label_of(id)).collect();
            counts.add(&classes, strengths, positions);
        })?;
        places.extend(counts.places());
    }
    let chosen = best(places);
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let units: Vec<usize> = chosen.iter().map(|(unit, _, _)| *unit).collect();
    let maxima = read_maxima(ctx, manifest, layer, &units, evaluation)?;
    let candidates = (chosen.par_iter().enumerate())
        .map(|(at, (unit, class, place))| {
            let (strengths, positions) = (&maxima.strengths[at], &maxima.positions[at]);
            let inside = maxima.in_class(*class);
            let marked = (0..inside.len()).filter(|&image| {
                let cell = grid.cell(positions[image]);
                inside[image] && strengths[image] > 0.0 && grid.contains(&place.window, cell)
            });
            let marked: Vec<usize> = marked.collect();
            let on_border = |&&image: &&usize| grid.is_border(grid.cell(positions[image]));
            let centre = |image: usize| layer.centre(positions[image]);
            let outside = boxes.and_then(|boxes| {
                let images = marked.iter();
                boxes.share_outside(images.map(|&image| (maxima.image_ids[image], centre(image))))
            });
            Candidate {
                layer: layer.name.clone(),
                unit: *unit,
                class: *class,
                score: place.score,
                of_class: place.of_class,
                of_others: place.of_others,
                edges: grid.edges(&place.window),
                exclusivity: auroc(strengths, &inside).unwrap_or(0.5),
                border: marked.iter().filter(on_border).count() as f64 / marked.len().max(1) as f64,
                outside_boxes: outside,
                marked: marked
                    .iter()
                    .map(|&image| maxima.image_ids[image])
                    .collect(),
            }
        })
        .collect();
    Ok(candidates)
}

/// The places with the highest scores, limited per class.
fn best(mut places: Vec<(usize, u32, Place)>) -> Vec<(usize, u32, Place)> {
    places.sort_by(|a, b| {
        let order = b.2.score.total_cmp(&a.2.score);
        order.then((a.1, a.0).cmp(&(b.1, b.0)))
    });
    let mut of_class: BTreeMap<u32, usize> = BTreeMap::new();
    places.retain(|(_, class, _)| {
        let n = of_class.entry(*class).or_default();
        *n += 1;
        *n <= MAX_PER_CLASS
    });
    places.truncate(MAX_PER_LAYER);
    places
}
