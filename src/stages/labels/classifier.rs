//! The probe, retrained on other labels.

use prospect_analysis::space::linalg::logistic::{
    self, Features, L2, Model, Problem, Progress, Settings, Visit,
};
use prospect_common::{Error, Result};
use prospect_engine::{
    Context,
    progress::Bar,
    schema::{layers, probe, units},
    tables::features::FeatureReader,
};
use prospect_model::device;
use prospect_store::Manifest;

use super::inputs::Inputs;

/// Bytes for cached features.
const MEMORY: usize = 4 << 30;
/// Rows in memory at a time.
const ROWS: usize = 8192;

/// Calls `work` with a function that trains on labels and weights and returns out-of-sample probabilities, with the probe's folds
/// and penalty. If the probabilities are the network's, nothing is trained and the labels have no effect.
pub fn with_classifier<T>(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    bar: &Bar,
    work: impl FnOnce(&mut dyn FnMut(&[u32], Option<&[f32]>) -> Result<Vec<f32>>) -> Result<T>,
) -> Result<T> {
    if inputs.of_network || inputs.evaluated() == 0 {
        return work(&mut |_, _| Ok(inputs.probabilities.clone()));
    }
    with_features(ctx, manifest, inputs, |features| {
        let n_folds = inputs.folds.iter().max().map_or(1, |last| last + 1);
        let classes = inputs.classes.len();
        let mut start: Option<Vec<Model>> = None;
        let mut rounds = 0;
        work(&mut |labels, weights| {
            rounds += 1;
            let problem = Problem {
                classes,
                labels,
                weights,
                folds: &inputs.folds,
                n_folds,
            };
            let settings = Settings {
                l2: L2::Fixed(inputs.l2),
                start: start.as_deref(),
                ..Settings::default()
            };
            let tick = |progress: &Progress| {
                bar.note(&format!(
                    "training {rounds}, pass {}, {} of {n_folds} folds converged",
                    progress.passes, progress.folds_done
                ));
                ctx.cancel.check()
            };
            let models = logistic::fit(features, &problem, &settings, &tick)?.models;
            let mut out = vec![0f32; labels.len() * classes];
            logistic::predict(features, &models, &inputs.folds, &mut |first, values| {
                out[first * classes..][..values.len()].copy_from_slice(values);
                Ok(())
            })?;
            start = Some(models);
            bar.advance(1);
            Ok(out)
        })
    })
}

fn with_features<T>(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    work: impl FnOnce(&Features) -> Result<T>,
) -> Result<T> {
    let blocks = |visit: &mut Visit| visit_features(ctx, manifest, inputs, visit);
    let first = FeatureReader::new(ctx.run, manifest, 1)
        .next()
        .transpose()?;
    let dimension = first.map_or(0, |first| first.dimension);
    let device = device::choose(ctx.config.model.device)?;
    work(&Features::new(&blocks, dimension, device, MEMORY)?)
}

/// Calls `work` with the means of a layer's units over each image.
pub fn with_units<T>(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    layer: &str,
    work: impl FnOnce(&Features) -> Result<T>,
) -> Result<T> {
    let blocks = |visit: &mut Visit| visit_units(ctx, manifest, inputs, layer, visit);
    let mut rows = (ctx.run.rows(manifest, (layers::channels,))).only(layers::layer, layer);
    let first = rows.next().transpose()?;
    let channels = first.and_then(|batch| batch.columns().0.values().first().copied());
    let dimension = channels.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let device = device::choose(ctx.config.model.device)?;
    work(&Features::new(&blocks, dimension, device, MEMORY)?)
}

fn visit_features(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    visit: &mut Visit,
) -> Result<()> {
    let mut first = 0;
    for features in FeatureReader::new(ctx.run, manifest, ROWS) {
        let features = features?;
        let end = first + features.image_ids.len();
        if inputs.image_ids.get(first..end) != Some(&features.image_ids) {
            return Err(other_images(ctx, "features", first));
        }
        visit(first, &features.values)?;
        first = end;
    }
    Ok(())
}

fn visit_units(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    layer: &str,
    visit: &mut Visit,
) -> Result<()> {
    let mut first = 0;
    let rows = ctx.run.rows(manifest, (units::image_id, units::mean));
    for batch in rows.only(units::layer, layer) {
        ctx.cancel.check()?;
        let batch = batch?;
        let mut values = Vec::new();
        let mut next = first;
        for (image_id, mean) in batch.iter() {
            // Table `units` also has the images whose features are not finite.
            if inputs.image_ids.get(next) == Some(&image_id) {
                let finite = mean.iter().map(|value| value.to_f32());
                values.extend(finite.map(|value| if value.is_finite() { value } else { 0.0 }));
                next += 1;
            }
        }
        visit(first, &values)?;
        first = next;
    }
    if first != inputs.image_ids.len() {
        return Err(other_images(ctx, "units", first));
    }
    Ok(())
}

fn other_images(ctx: &Context, table: &str, row: usize) -> Error {
    Error::invalid(
        ctx.run.path(&format!("tables/{}", probe::NAME)),
        format!("the images of table {table}"),
        format!("other images at row {row}"),
        "run `prospect run probe` again",
    )
}
