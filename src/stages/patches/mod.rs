//! The images and places that excite each unit most: `patches`, `unit_stats` and contact sheets.
//!
//! Parts 0..L are the L layers of the table `layers`: each reads its layer's rows of `units` and writes `patches` and
//! `unit_stats` for every unit. The parts after them hold the contact sheets of the chosen units; one such part cuts its
//! crops for as many layers as fit in memory, so that an image is decoded once for all of them.

mod sheets;
mod tables;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::{
    Context, Outcome, Stage,
    columns::{Columns, integer, number},
    estimate,
};
use crate::{
    config::UnitChoice,
    error::{Error, Result},
    image::InputSpec,
    store::{Manifest, RunFolder, StageWriter},
};

pub const STAGE: Stage = Stage {
    name: "patches",
    version: 1,
    about: "find what excites each unit most; writes patches, unit_stats and contact sheets",
    needs: &["scan", "extract"],
    parameters,
    estimate: estimate::patches,
    run,
};

/// How many units of each layer `units = "selective"` means.
const SELECTIVE: usize = 12;

pub(super) use sheets::{TILE_PIXELS, most_sheets};

/// A row of `layers`.
#[derive(Debug, Clone, PartialEq)]
struct Layer {
    name: String,
    channels: usize,
    /// Of its feature map, in cells; both at least 1.
    width: u32,
    /// Along y, then along x; `None` where a cell sees everything.
    field: [Option<Axis>; 2],
}

/// The receptive field along one axis: cell `i` sees `[start + i * stride, start + i * stride + size)` of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    size: f64,
    stride: f64,
    start: f64,
}

impl Layer {
    /// Row and column of a place in the map.
    fn cell(&self, position: u32) -> (u32, u32) {
        (position / self.width, position % self.width)
    }

    /// What the cell sees: `x0, y0, x1, y1` in pixel edges of an input tensor of (height, width), which it may exceed.
    fn input_box(&self, (row, col): (u32, u32), (height, width): (u32, u32)) -> [f64; 4] {
        let along = |axis: Option<Axis>, cell: u32, length: u32| match axis {
            None => (0.0, f64::from(length)),
            Some(axis) => {
                let first = axis.start + f64::from(cell) * axis.stride;
                (first, first + axis.size)
            }
        };
        let (y0, y1) = along(self.field[0], row, height);
        let (x0, x1) = along(self.field[1], col, width);
        [x0, y0, x1, y1]
    }
}

fn parameters(ctx: &Context) -> Result<Value> {
    Ok(json!({
        "k": ctx.config.patches.k,
        "units": ctx.config.patches.units,
    }))
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let spec = input_spec(&manifest)?;
    let layers = read_layers(ctx.run, &manifest)?;
    check_units(&ctx.config.patches.units, &layers)?;
    let sheet_parts = sheets::plan(&layers, &ctx.config.patches.units, ctx.config.patches.k);
    let n_parts = layers.len() + sheet_parts.len();
    writer.set_parts_total(n_parts)?;
    let bar = ctx.progress.stage("patches", n_parts as u64, "parts");
    bar.set_done(writer.parts_done() as u64);

    if (0..layers.len()).any(|part| !writer.has_part(part)) {
        let images = tables::Images::read(ctx.run, &manifest)?;
        for (part, layer) in layers.iter().enumerate() {
            if writer.has_part(part) {
                continue;
            }
            bar.note(&layer.name);
            let mut files = writer.part(part)?;
            let found = tables::Found::of_layer(ctx, &manifest, layer, &images)?;
            files.write("patches", &found.patches(layer, &images, &spec)?)?;
            files.write("unit_stats", &found.unit_stats(layer, &images)?)?;
            writer.commit(files)?;
            bar.advance(1);
        }
    }

    let manifest = ctx.run.manifest()?;
    let mut unreadable = 0;
    for (index, chosen) in sheet_parts.iter().enumerate() {
        let part = layers.len() + index;
        if writer.has_part(part) {
            continue;
        }
        bar.note("contact sheets");
        let mut files = writer.part(part)?;
        unreadable += sheets::draw(ctx, &manifest, &layers, chosen, &spec, &mut files)?;
        writer.commit(files)?;
        bar.advance(1);
    }

    let summary = summary(ctx.run, &layers, unreadable)?;
    bar.finish(&format!(
        "{} units in {} layers",
        summary["units"], summary["layers"]
    ));
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// How images became input, as `extract` recorded it.
pub(super) fn input_spec(manifest: &Manifest) -> Result<InputSpec> {
    let input = (manifest.stages.get("extract")).and_then(|stage| stage.parameters.get("input"));
    input
        .and_then(|input| serde_json::from_value(input.clone()).ok())
        .ok_or_else(|| Error::Missing {
            what: "the input that extract recorded".into(),
            next: "run `prospect run extract`".into(),
        })
}

fn read_layers(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for batch in run.read(manifest, "layers") {
        let batch = batch?;
        let columns = Columns {
            run,
            table: "layers",
            batch: &batch,
        };
        let names = columns.texts("layer")?;
        let [channels, heights, widths] =
            ["channels", "height", "width"].map(|name| columns.integers(name));
        let (channels, heights, widths) = (channels?, heights?, widths?);
        let mut axes = Vec::new();
        for letter in ["y", "x"] {
            let read = |what| columns.numbers(&format!("rf_{what}_{letter}"));
            axes.push((read("size")?, read("stride")?, read("start")?));
        }
        for row in 0..batch.num_rows() {
            let axis = |axis: usize| {
                let (size, stride, start) = &axes[axis];
                Some(Axis {
                    size: number(size, row)?,
                    stride: number(stride, row)?,
                    start: number(start, row)?,
                })
            };
            let side = |array| {
                integer(array, row)
                    .and_then(|n| u32::try_from(n).ok())
                    .filter(|&n| n > 0)
            };
            match (side(&channels), side(&heights), side(&widths)) {
                (Some(channels), Some(_), Some(width)) => layers.push(Layer {
                    name: names.value(row).to_string(),
                    channels: channels as usize,
                    width,
                    field: [axis(0), axis(1)],
                }),
                _ => {
                    return Err(columns.unexpected(
                        "maps of at least one channel, row and column",
                        format!("an empty one for layer {}", names.value(row)),
                    ));
                }
            }
        }
    }
    Ok(layers)
}

/// A listed unit that no layer has is a mistake in the configuration.
fn check_units(units: &UnitChoice, layers: &[Layer]) -> Result<()> {
    let UnitChoice::Listed(units) = units else {
        return Ok(());
    };
    let most = layers.iter().map(|layer| layer.channels).max().unwrap_or(0);
    let beyond: Vec<String> = (units.iter())
        .filter(|&&unit| unit as usize >= most)
        .map(u32::to_string)
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    Err(Error::Config(vec![format!(
        "[patches] units: no recorded layer has unit {}; the widest has 0 to {}",
        beyond.join(", "),
        most.saturating_sub(1)
    )]))
}

fn summary(run: &RunFolder, layers: &[Layer], unreadable: usize) -> Result<Value> {
    let manifest = run.manifest()?;
    let parts = manifest
        .stages
        .get(STAGE.name)
        .map(|stage| stage.parts.values());
    let files = parts.into_iter().flatten().flat_map(|part| &part.files);
    let sheets = files.filter(|file| file.table.is_none()).count();
    Ok(json!({
        "layers": layers.len(),
        "units": run.read(&manifest, "unit_stats").rows(),
        "patches": run.read(&manifest, "patches").rows(),
        "contact_sheets": sheets,
        "unreadable_images": unreadable,
    }))
}
