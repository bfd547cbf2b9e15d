//! Top activating image patches of each unit: `patches`, `unit_stats` and contact sheets.
//!
//! Parts 0..L are the L layers of table `layers`: each reads its layer's rows of `units` and writes `patches` and `unit_stats`
//! for all units. The parts after them hold the contact sheets of the chosen units; each covers as many layers as fit in memory,
//! so that an image is decoded once for all of them.

mod estimate;
mod sheets;
mod tables;
#[cfg(test)]
mod tests;

use prospect_common::{Error, Result};
use prospect_config::UnitChoice;
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    schema::{patches, unit_stats},
    tables::layers::{Layer, input_spec, read_layers},
};
use prospect_store::{RunFolder, StageWriter};
use serde_json::{Value, json};

pub const STAGE: Stage = Stage {
    name: "patches",
    version: 1,
    about: "find the top activating patches of each unit",
    needs: Needs::Named(&["scan", "extract"]),
    writes: &[&patches::TABLE, &unit_stats::TABLE],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

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
            let top = tables::TopPatches::of_layer(ctx, &manifest, layer, &images)?;
            files.write(patches::NAME, &top.patches(layer, &images, &spec)?)?;
            files.write(unit_stats::NAME, &top.unit_stats(layer, &images)?)?;
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

/// Rejects listed units that no layer has.
fn check_units(units: &UnitChoice, layers: &[Layer]) -> Result<()> {
    let UnitChoice::Listed(units) = units else {
        return Ok(());
    };
    let widest = layers.iter().map(|layer| layer.channels).max().unwrap_or(0);
    let beyond: Vec<String> = (units.iter())
        .filter(|&&unit| unit as usize >= widest)
        .map(u32::to_string)
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let message = format!(
        "no recorded layer has unit {}; the widest has 0 to {}",
        beyond.join(", "),
        widest.saturating_sub(1)
    );
    Err(Error::setting("patches", "units", message))
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
        "units": run.read(&manifest, unit_stats::NAME).rows(),
        "patches": run.read(&manifest, patches::NAME).rows(),
        "contact_sheets": sheets,
        "unreadable_images": unreadable,
    }))
}
