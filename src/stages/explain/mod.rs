//! Where the network looked: class activation maps of every image, from the layers' maps and the head of the network alone.
//!
//! Part i explains the images of `extract`'s part i: from the stored table `maps` or, where `extract` explained inline, from
//! the rows that it left in `cams`. Both ways give the same numbers.

pub(crate) mod estimate;
mod images;
mod part;
pub mod pictures;
pub mod rows;
pub(super) mod tables;

use prospect_common::Result;
use prospect_config::MapStorage;
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    schema::{explanations, predictions},
    tables::layers,
};
use prospect_store::StageWriter;
use serde_json::{Value, json};

use self::{
    images::Images,
    part::Source,
    pictures::{Chosen, Shown},
    rows::Choice,
    tables::Counts,
};

pub const STAGE: Stage = Stage {
    name: "explain",
    version: 1,
    about: "show where the network looked, by Grad-CAM and CAM of every image",
    needs: Needs::Named(&["scan", "extract"]),
    writes: &[&explanations::TABLE],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Pictures in a part.
const PICTURES: usize = 64;

fn parameters(ctx: &Context) -> Result<Value> {
    let choice = Choice::new(&ctx.config.explain, ctx.model()?)?;
    let mut parameters = choice.parameters();
    parameters["maps"] = json!(ctx.config.explain.maps);
    parameters["pictures"] = json!(ctx.config.explain.pictures);
    parameters["boxes"] = json!(ctx.config.boxes()?.map(|boxes| boxes.digest()));
    Ok(parameters)
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let model = ctx.model()?;
    let choice = Choice::new(&ctx.config.explain, model)?;
    for why in &choice.refused {
        tracing::warn!("{why}");
    }
    let manifest = ctx.run.manifest()?;
    let spec = layers::input_spec(&manifest)?;
    let n_parts = (manifest.stages.get("extract"))
        .and_then(|stage| stage.parts_total)
        .unwrap_or(0);
    let classes = model.classes();
    let shown = choice.layers.iter().find_map(|layer| {
        Some(Shown {
            layer: &layer.layer.name,
            method: *layer.methods.first()?,
            classes: &classes,
            spec: &spec,
        })
    });
    let chosen = match shown {
        Some(_) => pictures::plan(ctx, &manifest, &classes)?,
        None => Vec::new(),
    };
    let chosen: Vec<&[Chosen]> = chosen.chunks(PICTURES).collect();
    writer.set_parts_total(n_parts + chosen.len())?;
    let n_images = ctx.run.read(&manifest, predictions::NAME).rows();
    let bar = ctx.progress.stage("explain", n_images, "images");
    if (0..n_parts).any(|part| !writer.has_part(part)) {
        let images = Images::read(ctx, &manifest, model, &spec)?;
        let explainers = match ctx.config.explain.maps {
            MapStorage::Inline => Vec::new(),
            MapStorage::Stored => choice.explainers(model, ctx.config.model.device)?,
        };
        let source = Source {
            ctx,
            manifest: &manifest,
            choice: &choice,
            explainers: &explainers,
            images: &images,
        };
        let mut counts = Counts::default();
        for part in 0..n_parts {
            if !writer.has_part(part) {
                let mut files = writer.part(part)?;
                source.explain_part(part, &mut files, &mut counts)?;
                writer.commit(files)?;
            }
            let read = ctx.run.read(&manifest, predictions::NAME);
            bar.advance(read.part(part).rows());
        }
        if counts.not_finite > 0 {
            tracing::warn!(
                "{} maps held numbers that are not finite; they are stored as zeros with zero_map = true",
                counts.not_finite
            );
        }
    }
    let manifest = ctx.run.manifest()?;
    let mut unreadable = 0;
    for (part, chosen) in (n_parts..).zip(chosen) {
        if let Some(shown) = shown.as_ref().filter(|_| !writer.has_part(part)) {
            bar.note("overlays");
            let mut files = writer.part(part)?;
            unreadable += pictures::draw(ctx, &manifest, shown, chosen, &mut files)?.1;
            writer.commit(files)?;
        }
    }
    let mut summary = summary(ctx)?;
    summary["left_out"] = json!(choice.refused);
    summary["unreadable_images"] = json!(unreadable);
    bar.finish(&line(&summary));
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// Figures over the whole table, also of parts that an earlier run wrote.
fn summary(ctx: &Context) -> Result<Value> {
    let manifest = ctx.run.manifest()?;
    let (mut rows, mut zero_maps) = (0u64, 0u64);
    let (mut worst, mut worst_relative) = (None::<f64>, None::<f64>);
    let columns = (
        explanations::class_kind,
        explanations::zero_map,
        explanations::logit,
        explanations::residual,
    );
    for batch in ctx.run.rows(&manifest, columns) {
        for (kind, zero_map, logit, residual) in batch?.iter() {
            rows += 1;
            zero_maps += u64::from(zero_map);
            let Some(residual) = residual else {
                continue;
            };
            let residual = f64::from(residual).abs();
            worst = Some(worst.unwrap_or(0.0).max(residual));
            // Relative to the largest logit: another class's may be next to 0.
            if kind == "predicted" {
                let relative = residual / f64::from(logit).abs().max(f64::MIN_POSITIVE);
                worst_relative = Some(worst_relative.unwrap_or(0.0).max(relative));
            }
        }
    }
    Ok(json!({
        "rows": rows,
        "zero_maps": zero_maps,
        "worst_cam_residual": worst,
        "worst_cam_residual_relative": worst_relative,
    }))
}

fn line(summary: &Value) -> String {
    let mut line = format!("{} maps", summary["rows"]);
    if summary["zero_maps"] != 0 {
        line += &format!(", {} of them zero", summary["zero_maps"]);
    }
    if let (Some(worst), Some(relative)) = (
        summary["worst_cam_residual"].as_f64(),
        summary["worst_cam_residual_relative"].as_f64(),
    ) {
        line += &format!(
            "; CAM misses a logit by {worst:.1e} at most ({relative:.1e} of the predicted class's)"
        );
    }
    line
}
