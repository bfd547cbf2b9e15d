//! Out-of-sample class probabilities: for each fold of the images, a linear probe on the features is trained on the other folds.
//! Duplicates, and images of one group of `[audit] group`, share a fold. With `[audit] source = "network"`, the network's own probabilities.
//!
//! Part 0 holds the models and their quality; each further part holds as many images as a part of `extract`.

mod classifier;
mod inputs;
mod quality;
mod tables;
#[cfg(test)]
mod tests;

use prospect_analysis::{
    audit::calibration::CrossCalibration,
    space::linalg::logistic::{
        self, MAX_PENALTIES, Model, NO_FOLD, Problem, Progress, Settings, UNLABELLED,
    },
};
use prospect_common::Result;
use prospect_config::ProbabilitySource;
use prospect_engine::{
    Context, Needs, Outcome, Stage, TableEstimate, estimate,
    schema::{probe, probe_calibration, probe_classes, probe_quality, probe_weights},
    tables::related::group_parameter,
};
use prospect_store::{Manifest, StageWriter};
use serde_json::{Value, json};

use self::{
    classifier::{Chunk, Classifier},
    inputs::{Inputs, with_features},
    quality::Tally,
    tables::PenaltySearch,
};

pub const STAGE: Stage = Stage {
    name: "probe",
    version: 4,
    about: "train a cross-validated linear classifier on the features",
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

/// Caveat where the network evaluates its own training labels.
const CAVEAT: &str = "the network may have memorised its training labels, so its probabilities can hide their errors";

fn parameters(ctx: &Context) -> Result<Value> {
    let settings = &ctx.config.audit;
    // The network is not trained here: folds and seed have no effect.
    Ok(match settings.source {
        ProbabilitySource::Network => json!({ "source": settings.source }),
        ProbabilitySource::Probe => json!({
            "source": settings.source,
            "folds": settings.folds,
            "seed": settings.seed,
            "group": group_parameter(ctx)?,
        }),
    })
}

/// Compression ratios of probabilities and weights.
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
        return write_empty(writer, &inputs);
    }
    let parts = inputs.table_rows.div_ceil(ctx.config.extract.part_size);
    writer.set_parts_total(1 + parts)?;
    let mut fitted = None;
    let classifier = match ctx.config.audit.source {
        ProbabilitySource::Network => {
            tracing::warn!("[audit] source = \"network\": {CAVEAT}");
            Classifier::network(ctx, &manifest, &inputs.classes)?
        }
        ProbabilitySource::Probe if writer.has_part(0) => {
            Classifier::Probe(tables::read_models(ctx.run, &manifest)?)
        }
        ProbabilitySource::Probe => {
            let (models, tried) = fit(ctx, &manifest, &inputs)?;
            fitted = Some(tried);
            Classifier::Probe(models)
        }
    };

    let n = inputs.table_rows as u64;
    let bar = ctx.progress.stage("probe", n, "images");
    bar.note("evaluation");
    let tally = tally(ctx, &manifest, &inputs, &classifier)?;
    let calibration = tally.calibration();
    if !writer.has_part(0) {
        let mut part = writer.part(0)?;
        part.write(probe_classes::NAME, &tables::classes(&inputs.classes)?)?;
        if let Classifier::Probe(models) = &classifier {
            let weights = tables::weights(models, &inputs.classes, inputs.dimension)?;
            part.write(probe_weights::NAME, &weights)?;
        }
        part.write(
            probe_quality::NAME,
            &tables::quality(fitted.as_ref(), &tally, &calibration)?,
        )?;
        part.write(probe_calibration::NAME, &tables::calibration(&tally)?)?;
        writer.commit(part)?;
    }
    bar.note("");
    let done = (0..parts)
        .filter(|chunk| writer.has_part(1 + chunk))
        .count();
    bar.set_done(n.min((done * ctx.config.extract.part_size) as u64));
    let wanted = |chunk: usize| !writer.has_part(1 + chunk);
    classifier.each(ctx, &manifest, &inputs, &wanted, &mut |number, chunk| {
        let mut part = writer.part(1 + number)?;
        let rows = tables::probe(
            &chunk,
            &inputs,
            inputs.classes.len(),
            classifier.source().name(),
            &calibration,
        )?;
        part.write(probe::NAME, &rows)?;
        writer.commit(part)?;
        bar.advance(chunk.image_ids.len() as u64);
        Ok(())
    })?;

    let summary = summary(ctx, &inputs, classifier.source().name())?;
    bar.finish(&format!(
        "{} classes, accuracy {:.1} %",
        inputs.classes.len(),
        100.0 * summary["accuracy"].as_f64().unwrap_or(0.0)
    ));
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// Writes tables without rows: fewer than two classes can be learned.
fn write_empty(writer: &StageWriter, inputs: &Inputs) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    if !writer.has_part(0) {
        let mut part = writer.part(0)?;
        let (none, source) = (Chunk::default(), ProbabilitySource::Probe.name());
        let of_none = CrossCalibration::default();
        let rows = tables::probe(&none, inputs, 1, source, &of_none)?;
        part.write(probe::NAME, &rows)?;
        let rows = tables::classes(&inputs.classes)?;
        part.write(probe_classes::NAME, &rows)?;
        let rows = tables::weights(&[], &[], inputs.dimension)?;
        part.write(probe_weights::NAME, &rows)?;
        let none = Tally::default();
        let rows = tables::quality(None, &none, &of_none)?;
        part.write(probe_quality::NAME, &rows)?;
        part.write(probe_calibration::NAME, &tables::calibration(&none)?)?;
        writer.commit(part)?;
    }
    let reason = if inputs.image_ids.is_empty() {
        "no image has features"
    } else if inputs.labels.iter().all(Option::is_none) {
        "no image has a label"
    } else if inputs.classes_left_out > 0 {
        "fewer than two learnable classes: all images of a class are copies or in one group of [audit] group"
    } else {
        "fewer than two classes"
    };
    Ok(Outcome {
        result: None,
        summary: json!({ "images": inputs.image_ids.len(), "nothing_to_learn": reason }),
    })
}

/// Trains the models of all folds with the penalty of the lowest held-out loss.
fn fit(ctx: &Context, manifest: &Manifest, inputs: &Inputs) -> Result<(Vec<Model>, PenaltySearch)> {
    // Any fold will do for rows without a class: no model is trained on them.
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
    let bar = ctx
        .progress
        .stage("probe", MAX_PENALTIES as u64, "penalties");
    let tick = |progress: &Progress| {
        bar.set_done(progress.penalties_done as u64);
        bar.note(&format!(
            "L2 penalty {:.1e}, pass {}, {} of {} folds converged",
            progress.l2, progress.passes, progress.folds_done, problem.n_folds
        ));
        ctx.cancel.check()
    };
    let fit = with_features(ctx, manifest, inputs, |features| {
        logistic::fit(features, &problem, &Settings::default(), &tick)
    })?;
    bar.finish(&format!("L2 penalty {:.1e} chosen", fit.l2));
    let fitted = PenaltySearch {
        l2: fit.l2,
        trials: fit.trials,
    };
    Ok((fit.models, fitted))
}

/// Quality of the probabilities, over labelled images.
fn tally(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    classifier: &Classifier,
) -> Result<Tally> {
    let mut tally = Tally::default();
    classifier.each(ctx, manifest, inputs, &|_| true, &mut |_, chunk| {
        let probabilities = chunk.probabilities.chunks_exact(inputs.classes.len());
        for (id, p) in chunk.image_ids.iter().zip(probabilities) {
            let row = inputs.row(*id);
            if let Some(row) = row.filter(|row| inputs.positions[*row] != UNLABELLED) {
                let fold = tables::in_fold(inputs.folds[row]);
                tally.add(p, inputs.positions[row] as usize, fold);
            }
        }
        Ok(())
    })?;
    Ok(tally)
}

fn summary(ctx: &Context, inputs: &Inputs, source: &str) -> Result<Value> {
    let mut summary = json!({
        "source": source,
        "images": inputs.image_ids.len(),
        "evaluated_images": inputs.evaluated(),
        "classes": inputs.classes.len(),
    });
    let manifest = ctx.run.manifest()?;
    for (name, figure) in tables::read_chosen(ctx.run, &manifest)? {
        summary[name] = json!(figure);
    }
    if inputs.classes_left_out > 0 {
        summary["classes_left_out"] = json!(inputs.classes_left_out);
    }
    if !ctx.config.audit.group.is_empty() {
        summary["groups"] = json!(inputs.groups);
    }
    if inputs.images_left_out > 0 {
        summary["left_out"] = json!(inputs.images_left_out);
    }
    if ctx.config.audit.source == ProbabilitySource::Network {
        summary["caveat"] = json!(CAVEAT);
    }
    Ok(summary)
}
