//! Pixel gradients of units: for the top patches of the most selective units, the gradient of the patch's cell with respect to
//! the pixels under the configured ReLU rules, and the effective receptive field.
//!
//! One backward pass per patch and rule, batched over units and images; the plain rule always runs, for the effective receptive
//! field. A part is a layer, or a range of its units whose tiles fit in memory.

mod estimate;
mod tables;
#[cfg(test)]
mod tests;
mod trace;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
};

use prospect_common::{Error, Result};
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    schema::unit_gradients,
    tables::{
        layers::{Layer, input_spec, read_layers, unit_picture},
        units::{UnitStats, most_selective, read_patches, read_stats},
    },
};
use prospect_model::{
    ReluRule, device,
    executor::{Network, Precision},
};
use prospect_output::picture::{self, Layout, Picture, PictureError, palette};
use prospect_store::{Manifest, PartWriter, RunFolder, StageWriter};
use rayon::prelude::*;
use serde_json::{Value, json};

use self::trace::{TILE, Tracer};
use super::patches;

pub const STAGE: Stage = Stage {
    name: "backprop",
    version: 1,
    about: "compute pixel gradients of selective units at their top patches",
    needs: Needs::Named(&["scan", "extract", "patches"]),
    writes: &[&unit_gradients::TABLE],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Tiles in memory at a time: 61 KiB each, 243 MiB in total.
const MAX_TILES: usize = 4096;
/// Pixels between the tiles of a patch.
const GAP: u32 = 4;
/// Pixels between adjacent patches.
const PATCH_GAP: u32 = 16;

fn parameters(ctx: &Context) -> Result<Value> {
    Ok(json!({
        "units_per_layer": ctx.config.backprop.units_per_layer,
        "rules": ctx.config.backprop.rules,
    }))
}

/// A part: the index of a layer, and a range of its chosen units.
type Piece = (usize, Range<usize>);

/// The parts. They depend only on layers and settings, not on which units are dead. Every layer has at least one.
fn plan(layers: &[Layer], units_per_layer: usize, tiles_per_unit: usize) -> Vec<Piece> {
    let capacity = (MAX_TILES / tiles_per_unit.max(1)).max(1);
    let mut pieces = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let max = units_per_layer.min(layer.channels);
        let starts = (0..max.max(1)).step_by(capacity);
        pieces.extend(starts.map(|start| (index, start..max.min(start + capacity))));
    }
    pieces
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let spec = input_spec(&manifest)?;
    let layers = read_layers(ctx.run, &manifest)?;
    let settings = &ctx.config.backprop;
    let tiles_per_unit = ctx.config.patches.k * (1 + settings.rules.len());
    let pieces = plan(&layers, settings.units_per_layer, tiles_per_unit);
    writer.set_parts_total(pieces.len())?;
    let bar = ctx.progress.stage("backprop", pieces.len() as u64, "parts");
    bar.set_done(writer.parts_done() as u64);

    let mut smooth = BTreeSet::new();
    if settings.units_per_layer > 0 {
        let network = load(ctx)?;
        for (index, layer) in layers.iter().enumerate() {
            bar.note(&layer.name);
            let tracer = Tracer::new(ctx, &manifest, &spec, ctx.model()?, &network, layer)?;
            smooth.extend(tracer.smooth());
            for (part, (_, range)) in (pieces.iter().enumerate()).filter(|(_, p)| p.0 == index) {
                if !writer.has_part(part) {
                    let files = writer.part(part)?;
                    let files = trace_piece(ctx, &manifest, &tracer, layer, range, files)?;
                    writer.commit(files)?;
                    bar.advance(1);
                }
            }
        }
    } else {
        for (part, (index, _)) in pieces.iter().enumerate() {
            if !writer.has_part(part) {
                let mut files = writer.part(part)?;
                let none = tables::unit_gradients(&layers[*index], "theoretical", &[], &[])?;
                files.write(unit_gradients::NAME, &none)?;
                writer.commit(files)?;
                bar.advance(1);
            }
        }
    }
    warn_of_smooth(&smooth);
    let summary = summary(ctx.run, &layers, &smooth)?;
    bar.finish(&format!(
        "gradients of {} patches of {} units",
        summary["patches"], summary["units"]
    ));
    Ok(Outcome {
        result: None,
        summary,
    })
}

fn load(ctx: &Context) -> Result<Network> {
    let device = device::choose(ctx.config.model.device)?;
    ctx.model()?.load(device, Precision::Float32)
}

/// Warns that the guided and deconv rules are only defined for ReLU.
fn warn_of_smooth(smooth: &BTreeSet<String>) {
    if !smooth.is_empty() {
        tracing::warn!(
            "{}: guided and deconv rules are undefined for smooth activations; using the derivative",
            listed(smooth)
        );
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// Traces the patches of a range of a layer's chosen units, and writes their rows and sheets.
fn trace_piece(
    ctx: &Context,
    manifest: &Manifest,
    tracer: &Tracer,
    layer: &Layer,
    range: &Range<usize>,
    mut files: PartWriter,
) -> Result<PartWriter> {
    let stats = read_stats(ctx.run, manifest, &layer.name)?;
    let max = ctx.config.backprop.units_per_layer;
    let candidates = stats.iter().filter_map(UnitStats::candidate);
    let chosen = most_selective(candidates, ctx.config.patches.k, max);
    let chosen: BTreeSet<usize> = (chosen.into_iter())
        .skip(range.start)
        .take(range.len())
        .collect();
    let stats: BTreeMap<usize, &UnitStats> =
        stats.iter().map(|stats| (stats.unit, stats)).collect();
    let mut found = read_patches(ctx.run, manifest, layer, |unit| chosen.contains(&unit))?;
    found.retain(|patch| {
        let stats = stats.get(&patch.unit);
        stats.is_some_and(|stats| stats.shows(patch.value))
    });
    let mut traces = tracer.trace(&found)?;
    let rows = tables::unit_gradients(layer, tracer.rf(), &found, &traces)?;
    files.write(unit_gradients::NAME, &rows)?;

    let mut first = 0;
    let mut sheets = Vec::new();
    for unit in found.chunk_by(|a, b| a.unit == b.unit) {
        let strips: Vec<Option<Vec<Picture>>> = (traces[first..first + unit.len()].iter_mut())
            .map(|trace| trace.take().map(|trace| trace.tiles))
            .collect();
        sheets.push((unit[0].unit, strips));
        first += unit.len();
    }
    let rules = &ctx.config.backprop.rules;
    let drawn: Vec<(usize, Result<Vec<u8>, PictureError>)> = sheets
        .into_par_iter()
        .map(|(unit, strips)| (unit, draw(&strips, rules)))
        .collect();
    for (unit, bytes) in drawn {
        let path = unit_picture(STAGE.name, &layer.name, unit);
        let bytes = bytes.map_err(|error| Error::internal(&path, error))?;
        files.file(&path, &bytes)?;
    }
    Ok(files)
}

/// A PNG of a unit's patches in reading order, each followed by its gradients.
fn draw(strips: &[Option<Vec<Picture>>], rules: &[ReluRule]) -> Result<Vec<u8>, PictureError> {
    let mut headings = vec!["patch"];
    headings.extend(rules.iter().map(|rule| rule.name()));
    let n_tiles = headings.len();
    let layout = Layout {
        columns: (1..)
            .find(|columns| columns * columns * n_tiles >= strips.len())
            .unwrap_or(1),
        tile_size: TILE,
        gap: GAP,
        background: palette::sheet::MAT,
    };
    picture::png(&picture::strips(strips, &headings, &layout, PATCH_GAP)?)
}

/// The PNG of one unit: the run's if up to date, otherwise drawn now. `None` if no image activates the unit.
///
/// # Errors
/// The run has no such layer, or was made with another network.
pub fn unit_sheet(ctx: &Context, layer: &str, unit: usize) -> Result<Option<Vec<u8>>> {
    let manifest = ctx.run.manifest()?;
    let path = unit_picture(STAGE.name, layer, unit);
    if is_current(ctx, &manifest, &path) {
        let path = ctx.run.path(&path);
        return fs::read(&path)
            .map(Some)
            .map_err(Error::io(&path, "reading"));
    }
    let layers = read_layers(ctx.run, &manifest)?;
    let layer = (layers.iter())
        .find(|known| known.name == layer)
        .ok_or_else(|| Error::Missing {
            what: format!("layer {layer} in the run"),
            next: "choose one listed by `prospect query \"select layer from layers\"`".into(),
        })?;
    let stats = read_stats(ctx.run, &manifest, &layer.name)?;
    let Some(stats) = stats.iter().find(|stats| stats.unit == unit && !stats.dead) else {
        return Ok(None);
    };
    let mut found = read_patches(ctx.run, &manifest, layer, |other| other == unit)?;
    found.retain(|patch| stats.shows(patch.value));
    if found.is_empty() {
        return Ok(None);
    }
    let model = ctx.model()?;
    let recorded = manifest
        .stages
        .get("extract")
        .map(|stage| &stage.parameters["model"]);
    if recorded != Some(&json!(model.digest)) {
        return Err(Error::invalid(
            &model.path,
            "the network that the run was made with",
            "another network",
            "set [model] path to that network, or update the run with `prospect run`",
        ));
    }
    let spec = input_spec(&manifest)?;
    let network = load(ctx)?;
    let tracer = Tracer::new(ctx, &manifest, &spec, model, &network, layer)?;
    warn_of_smooth(&tracer.smooth());
    let strips: Vec<Option<Vec<Picture>>> = (tracer.trace(&found)?.into_iter())
        .map(|trace| trace.map(|trace| trace.tiles))
        .collect();
    draw(&strips, &ctx.config.backprop.rules)
        .map(Some)
        .map_err(|error| Error::internal(&path, error))
}

/// Whether the run has this picture, drawn with the configured rules from the current patches.
fn is_current(ctx: &Context, manifest: &Manifest, path: &str) -> bool {
    let (Some(stage), Some(patches)) = (
        manifest.stages.get(STAGE.name),
        manifest.stages.get(patches::STAGE.name),
    ) else {
        return false;
    };
    let mut files = stage.parts.values().flat_map(|part| &part.files);
    stage.version == STAGE.version
        && stage.parameters["rules"] == json!(ctx.config.backprop.rules)
        && (stage.needs.get(patches::STAGE.name))
            .is_some_and(|key| *key == patches.dependency_key())
        && files.any(|file| file.path == path)
}

fn summary(run: &RunFolder, layers: &[Layer], smooth: &BTreeSet<String>) -> Result<Value> {
    let manifest = run.manifest()?;
    let parts = manifest.stages.get(STAGE.name);
    let parts = parts.into_iter().flat_map(|stage| stage.parts.values());
    let sheets = (parts.flat_map(|part| &part.files))
        .filter(|file| file.table.is_none())
        .count();
    let (mut patches, mut zero, mut unreadable) = (0_u64, 0, BTreeSet::new());
    if !layers.is_empty() {
        let columns = (unit_gradients::image_id, unit_gradients::zero_gradient);
        for batch in run.rows(&manifest, columns) {
            for (image_id, is_zero) in batch?.iter() {
                patches += 1;
                zero += u64::from(is_zero == Some(true));
                if is_zero.is_none() {
                    unreadable.insert(image_id);
                }
            }
        }
    }
    let mut summary = json!({
        "layers": layers.len(),
        "units": sheets,
        "patches": patches,
        "zero_gradients": zero,
        "unreadable_images": unreadable.len(),
    });
    if !smooth.is_empty() {
        summary["smooth_activations"] = json!(listed(smooth));
    }
    Ok(summary)
}
