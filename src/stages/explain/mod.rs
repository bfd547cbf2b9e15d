//! Class activation maps of every image, computed from stored feature maps by the network's head alone.
//!
//! Part i explains the images of part i of `extract`, from the table `maps`. If `extract` explained inline, it copies the rows
//! of `cams` instead, which are equal.

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
    part::PartExplainer,
    pictures::{MapChoice, Overlay},
    rows::Choice,
    tables::Counts,
};

pub const STAGE: Stage = Stage {
    name: "explain",
    version: 1,
    about: "compute class activation maps (Grad-CAM, CAM) of every image",
    needs: Needs::Named(&["scan", "extract"]),
    writes: &[&explanations::TABLE],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Pictures per part.
const PICTURES: usize = 250;

fn parameters(ctx: &Context) -> Result<Value> {
    let choice = Choice::new(&ctx.config.explain, ctx.model()?)?;
    let mut parameters = choice.parameters();
    parameters["maps"] = json!(ctx.config.explain.maps);
    parameters["pictures"] = json!(ctx.config.explain.pictures);
    parameters["max_pictures"] = json!(ctx.config.explain.max_pictures);
    parameters["boxes"] = json!(ctx.config.boxes()?.map(|boxes| boxes.digest()));
    Ok(parameters)
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let model = ctx.model()?;
    let choice = Choice::new(&ctx.config.explain, model)?;
    for why in &choice.left_out {
        tracing::warn!("{why}");
    }
    let manifest = ctx.run.manifest()?;
    let spec = layers::input_spec(&manifest)?;
    let n_parts = (manifest.stages.get("extract"))
        .and_then(|stage| stage.parts_total)
        .unwrap_or(0);
    let classes = model.classes();
    let map_choice = choice.layers.iter().find_map(|layer| {
        Some(MapChoice {
            layer: &layer.layer.name,
            method: *layer.methods.first()?,
            classes: &classes,
            spec: &spec,
        })
    });
    let (overlays, overlays_left_out) = match map_choice {
        Some(_) => pictures::plan(ctx, &manifest, &classes)?,
        None => (Vec::new(), 0),
    };
    let parts: Vec<&[Overlay]> = overlays.chunks(PICTURES).collect();
    writer.set_parts_total(n_parts + parts.len())?;
    let n_images = ctx.run.read(&manifest, predictions::NAME).rows();
    let bar = ctx.progress.stage("explain", n_images, "images");
    if (0..n_parts).any(|part| !writer.has_part(part)) {
        let images = Images::read(ctx, &manifest, model, &spec)?;
        let explainers = match ctx.config.explain.maps {
            MapStorage::Inline => Vec::new(),
            MapStorage::Stored => choice.explainers(model, ctx.config.model.device)?,
        };
        let explainer = PartExplainer {
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
                explainer.explain(part, &mut files, &mut counts)?;
                writer.commit(files)?;
            }
            let read = ctx.run.read(&manifest, predictions::NAME);
            bar.advance(read.part(part).rows());
        }
        if counts.not_finite > 0 {
            tracing::warn!(
                "{} maps have values that are not finite; they are stored as zeros, with zero_map = true",
                counts.not_finite
            );
        }
    }
    let manifest = ctx.run.manifest()?;
    let mut unreadable = 0;
    let overlay_bar = (ctx.progress).stage("explain", overlays.len() as u64, "overlays");
    for (part, overlays) in (n_parts..).zip(parts) {
        let Some(map_choice) = map_choice.as_ref().filter(|_| !writer.has_part(part)) else {
            overlay_bar.advance(overlays.len() as u64);
            continue;
        };
        let mut files = writer.part(part)?;
        let done = |n| overlay_bar.advance(n);
        unreadable += pictures::draw(ctx, &manifest, map_choice, overlays, &mut files, done)?.1;
        writer.commit(files)?;
    }
    overlay_bar.finish("");
    let mut summary = summary(ctx)?;
    summary["left_out"] = json!(choice.left_out);
    summary["overlays"] = json!(overlays.len());
    summary["overlays_left_out"] = json!(overlays_left_out);
    summary["unreadable_images"] = json!(unreadable);
    bar.finish(&line(&summary));
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// Reads the table back: after a resume, earlier rows are not in memory.
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
            // Only of the predicted class, as other logits may be near 0.
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
    if summary["overlays_left_out"] != 0 {
        line += &format!(
            "; {} overlays, {} left out ([explain] max_pictures)",
            summary["overlays"], summary["overlays_left_out"]
        );
    }
    if let (Some(worst), Some(relative)) = (
        summary["worst_cam_residual"].as_f64(),
        summary["worst_cam_residual_relative"].as_f64(),
    ) {
        line +=
            &format!("; CAM residual at most {worst:.1e} ({relative:.1e} of the predicted logit)");
    }
    line
}
