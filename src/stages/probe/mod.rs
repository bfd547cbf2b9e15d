//! What each image is, by a classifier that has not seen its label: for every fold of the images, a linear probe on the features is
//! trained on the other folds. Copies of a picture lie in one fold. Or, with `[audit] source = "network"`, by the network.
//!
//! Part 0 holds the models and how good they are; the parts after it hold the images, as many each as a part of `extract`.

mod inputs;
mod judge;
mod quality;
mod tables;
#[cfg(test)]
mod tests;

use prospect_analysis::space::linalg::logistic::{
    self, MOST_TRIED, Model, NO_FOLD, Problem, Settings, Step, UNLABELLED,
};
use prospect_common::Result;
use prospect_config::ProbabilitySource;
use prospect_engine::{
    Context, Needs, Outcome, Stage, TableEstimate, estimate,
    schema::{probe, probe_calibration, probe_classes, probe_quality, probe_weights},
};
use prospect_store::{Manifest, StageWriter};
use serde_json::{Value, json};

use self::{
    inputs::{Inputs, with_features},
    judge::{Chunk, Judge},
    quality::Tally,
    tables::Fitted,
};

pub const STAGE: Stage = Stage {
    name: "probe",
    version: 1,
    about: "train a linear classifier on the features, fold by fold",
    needs: Needs::Named(&["scan", "extract", "duplicates"]),
    writes: &[
        &probe::TABLE,
        &probe_classes::TABLE,
        &probe_weights::TABLE,
        &probe_quality::TABLE,
        &probe_calibration::TABLE,
    ],
    findings: None,
    reuse: None,
    parameters,
    estimate,
    run,
};

/// What is to be said wherever the network judges its own training labels.
const CAVEAT: &str = "the network may have memorised the labels that it was trained on: of those images it says too little";

fn parameters(ctx: &Context) -> Result<Value> {
    let settings = &ctx.config.audit;
    // The network was not trained here: folds and seed change nothing.
    Ok(match settings.source {
        ProbabilitySource::Network => json!({ "source": settings.source }),
        ProbabilitySource::Probe => json!({
            "source": settings.source,
            "folds": settings.folds,
            "seed": settings.seed,
        }),
    })
}

/// What is left of probabilities and of weights.
const PROBABILITIES: f64 = 0.95;
const WEIGHTS: f64 = 0.93;

fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let classes = estimate::dataset_classes(ctx)?;
    if classes < 2 {
        return Ok(Vec::new());
    }
    let row = estimate::with_vector(probe::TABLE.bytes, 4 * classes, PROBABILITIES);
    let mut tables = vec![TableEstimate::new(probe::NAME, images, row)];
    if ctx.config.audit.source == ProbabilitySource::Probe {
        let rows = classes * ctx.config.audit.folds as u64;
        let dimension = estimate::feature_dimension(ctx)?;
        let row = estimate::with_vector(probe_weights::TABLE.bytes, 4 * dimension, WEIGHTS);
        tables.push(TableEstimate::new(probe_weights::NAME, rows, row));
    }
    Ok(tables)
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let inputs = Inputs::read(ctx, &manifest)?;
    if inputs.classes.len() < 2 {
        return nothing(writer, &inputs);
    }
    let parts = inputs.table_rows.div_ceil(ctx.config.extract.part_size);
    writer.set_parts_total(1 + parts)?;
    let mut fitted = None;
    let judge = match ctx.config.audit.source {
        ProbabilitySource::Network => {
            tracing::warn!("[audit] source = \"network\": {CAVEAT}");
            Judge::network(ctx, &manifest, &inputs.classes)?
        }
        ProbabilitySource::Probe if writer.has_part(0) => {
            Judge::Probe(tables::read_models(ctx.run, &manifest)?)
        }
        ProbabilitySource::Probe => {
            let (models, tried) = fit(ctx, &manifest, &inputs)?;
            fitted = Some(tried);
            Judge::Probe(models)
        }
    };

    let n = inputs.table_rows as u64;
    let bar = ctx.progress.stage("probe", n, "images");
    if !writer.has_part(0) {
        bar.note("how good it is");
        let found = tally(ctx, &manifest, &inputs, &judge)?;
        let mut part = writer.part(0)?;
        part.write(probe_classes::NAME, &tables::classes(&inputs.classes)?)?;
        if let Judge::Probe(models) = &judge {
            let weights = tables::weights(models, &inputs.classes, inputs.dimension)?;
            part.write(probe_weights::NAME, &weights)?;
        }
        part.write(
            probe_quality::NAME,
            &tables::quality(fitted.as_ref(), &found)?,
        )?;
        part.write(probe_calibration::NAME, &tables::calibration(&found)?)?;
        writer.commit(part)?;
    }
    bar.note("");
    let done = (0..parts)
        .filter(|chunk| writer.has_part(1 + chunk))
        .count();
    bar.set_done(n.min((done * ctx.config.extract.part_size) as u64));
    let wanted = |chunk: usize| !writer.has_part(1 + chunk);
    judge.each(ctx, &manifest, &inputs, &wanted, &mut |number, chunk| {
        let mut part = writer.part(1 + number)?;
        let rows = tables::probe(&chunk, &inputs, inputs.classes.len(), judge.source().name())?;
        part.write(probe::NAME, &rows)?;
        writer.commit(part)?;
        bar.advance(chunk.image_ids.len() as u64);
        Ok(())
    })?;

    let summary = summary(ctx, &inputs, judge.source().name())?;
    bar.finish(&format!(
        "{} classes, {:.1} % right",
        inputs.classes.len(),
        100.0 * summary["accuracy"].as_f64().unwrap_or(0.0)
    ));
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// Where there is nothing to be told apart: tables without rows.
fn nothing(writer: &StageWriter, inputs: &Inputs) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    if !writer.has_part(0) {
        let mut part = writer.part(0)?;
        let (none, source) = (Chunk::default(), ProbabilitySource::Probe.name());
        let rows = tables::probe(&none, inputs, 1, source)?;
        part.write(probe::NAME, &rows)?;
        let rows = tables::classes(&inputs.classes)?;
        part.write(probe_classes::NAME, &rows)?;
        let rows = tables::weights(&[], &[], inputs.dimension)?;
        part.write(probe_weights::NAME, &rows)?;
        let none = Tally::default();
        part.write(probe_quality::NAME, &tables::quality(None, &none)?)?;
        part.write(probe_calibration::NAME, &tables::calibration(&none)?)?;
        writer.commit(part)?;
    }
    let why = if inputs.image_ids.is_empty() {
        "no image has features"
    } else if inputs.labels.iter().all(Option::is_none) {
        "no image has a label"
    } else {
        "fewer than two classes that can be told apart"
    };
    Ok(Outcome {
        result: None,
        summary: json!({ "images": inputs.image_ids.len(), "nothing_to_learn": why }),
    })
}

/// Models of all folds, by the penalty that does best on the images that they have not seen.
fn fit(ctx: &Context, manifest: &Manifest, inputs: &Inputs) -> Result<(Vec<Model>, Fitted)> {
    // A fold of its own for rows without a class, which no model is trained on.
    let folds: Vec<u16> = (inputs.folds.iter())
        .map(|fold| if *fold == NO_FOLD { 0 } else { *fold })
        .collect();
    let problem = Problem {
        classes: inputs.classes.len(),
        labels: &inputs.positions,
        weights: None,
        folds: &folds,
        n_folds: ctx.config.audit.folds as u16,
    };
    let bar = ctx.progress.stage("probe", MOST_TRIED as u64, "penalties");
    let tick = |step: &Step| {
        bar.set_done(step.tried as u64);
        bar.note(&format!(
            "penalty {:.1e}, pass {} over the features, {} of {} folds done",
            step.l2, step.passes, step.converged, problem.n_folds
        ));
        ctx.cancel.check()
    };
    let fit = with_features(ctx, manifest, inputs, |features| {
        logistic::fit(features, &problem, &Settings::default(), &tick)
    })?;
    bar.finish(&format!("penalty {:.1e}", fit.l2));
    let fitted = Fitted {
        l2: fit.l2,
        tried: fit.tried,
    };
    Ok((fit.models, fitted))
}

/// How good the probabilities are of labelled images.
fn tally(ctx: &Context, manifest: &Manifest, inputs: &Inputs, judge: &Judge) -> Result<Tally> {
    let mut found = Tally::default();
    judge.each(ctx, manifest, inputs, &|_| true, &mut |_, chunk| {
        let probabilities = chunk.probabilities.chunks_exact(inputs.classes.len());
        for (id, p) in chunk.image_ids.iter().zip(probabilities) {
            let position = inputs.row(*id).map(|row| inputs.positions[row]);
            if let Some(position) = position.filter(|position| *position != UNLABELLED) {
                found.add(p, position as usize);
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn summary(ctx: &Context, inputs: &Inputs, source: &str) -> Result<Value> {
    let mut summary = json!({
        "source": source,
        "images": inputs.image_ids.len(),
        "judged": inputs.judged(),
        "classes": inputs.classes.len(),
    });
    let manifest = ctx.run.manifest()?;
    for (name, figure) in tables::read_chosen(ctx.run, &manifest)? {
        summary[name] = json!(figure);
    }
    if inputs.classes_left_out > 0 {
        summary["classes_left_out"] = json!(inputs.classes_left_out);
    }
    if inputs.images_left_out > 0 {
        summary["left_out"] = json!(inputs.images_left_out);
    }
    if ctx.config.audit.source == ProbabilitySource::Network {
        summary["caveat"] = json!(CAVEAT);
    }
    Ok(summary)
}
