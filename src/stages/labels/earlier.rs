//! Earlier layers of a network that has memorised the labels.
//!
//! A network that is trained to reproduce wrong labels learns them in its last layers; earlier ones still follow the content
//! (Stephenson et al. 2021, "On the geometry of generalization and memorization in deep neural networks"). A classifier on the
//! means of their units, out of fold, finds errors that the features hide.

use prospect_analysis::{
    audit::label_issues::{Probabilities, UNLABELLED, most_probable},
    space::linalg::logistic::{self, Problem, Progress, Settings},
};
use prospect_common::Result;
use prospect_engine::{Context, progress::Bar, schema::layers};
use prospect_store::Manifest;

use super::{classifier::with_units, inputs::Inputs};

/// Agreement with the labels, out of fold, above which a layer may have memorised them as well.
const MAX_AGREEMENT: f64 = 0.95;
/// Assumed fraction of wrong labels. A weak classifier cannot tell its own errors from theirs.
pub const ASSUMED_ERRORS: f64 = 0.1;
/// A probability that rounds to 0 must not rule a class out.
const MIN_PROBABILITY: f32 = 1e-9;

/// Replaces the probabilities by the geometric mean of those of all layers that have not memorised the labels; it ranks errors better
/// than each of them. Nothing is retrained, and neighbours in feature space do not vote. Without such a layer, nothing changes.
pub fn use_earlier_layers(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &mut Inputs,
    bar: &Bar,
) -> Result<()> {
    let mut names = Vec::new();
    if manifest.has(layers::NAME) {
        for batch in ctx.run.rows(manifest, (layers::layer,)) {
            names.extend(batch?.iter().map(|(name,)| name.to_string()));
        }
    }
    let classes = inputs.classes.len();
    let mut logs = vec![0f32; inputs.given.len() * classes];
    for name in names {
        let probabilities = fit(ctx, manifest, inputs, &name, bar)?;
        if agreement(&inputs.given, classes, &probabilities) > MAX_AGREEMENT {
            continue;
        }
        (logs.iter_mut().zip(&probabilities))
            .for_each(|(log, p)| *log += p.max(MIN_PROBABILITY).ln());
        inputs.layers.push(name);
    }
    if inputs.layers.is_empty() {
        return Ok(());
    }
    for row in logs.chunks_exact_mut(classes) {
        let mean = |log: &f32| (log / inputs.layers.len() as f32).exp();
        let sum: f32 = row.iter().map(mean).sum();
        row.iter_mut().for_each(|log| *log = mean(log) / sum);
    }
    inputs.probabilities = logs;
    Ok(())
}

/// Out-of-sample probabilities of a classifier on a layer, `[images, classes]`.
fn fit(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    layer: &str,
    bar: &Bar,
) -> Result<Vec<f32>> {
    let problem = Problem {
        classes: inputs.classes.len(),
        labels: &inputs.given,
        weights: None,
        folds: &inputs.folds,
        n_folds: inputs.folds.iter().max().map_or(1, |last| last + 1),
    };
    let tick = |progress: &Progress| {
        bar.note(&format!("{layer}, L2 penalty {:.1e}", progress.l2));
        ctx.cancel.check()
    };
    with_units(ctx, manifest, inputs, layer, |features| {
        let fit = logistic::fit(features, &problem, &Settings::default(), &tick)?;
        let mut out = vec![0f32; inputs.given.len() * problem.classes];
        logistic::predict(
            features,
            &fit.models,
            &inputs.folds,
            &mut |first, values| {
                out[first * problem.classes..][..values.len()].copy_from_slice(values);
                Ok(())
            },
        )?;
        Ok(out)
    })
}

/// Fraction of the labels that are the most probable class.
fn agreement(given: &[u32], classes: usize, probabilities: &[f32]) -> f64 {
    let probabilities = Probabilities {
        classes,
        values: probabilities,
    };
    let labelled = (0..given.len()).filter(|row| given[*row] != UNLABELLED);
    let right = |row: &usize| most_probable(probabilities.row(*row)) == Some(given[*row] as usize);
    let right_count = labelled.clone().filter(right).count();
    right_count as f64 / labelled.count().max(1) as f64
}
