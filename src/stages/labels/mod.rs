//! Scores every label, and measures the recall of reviewing the worst labels on injected errors.
//!
//! Part 0 evaluates the given labels; each further part injects errors of one kind and evaluates again. Images without a label, or of a class that
//! cannot be learned without them, have no row.

mod classifier;
mod earlier;
mod evidence;
mod inputs;
mod memorised;
pub mod reviews;
mod tables;
#[cfg(test)]
mod tests;

use prospect_analysis::audit::label_issues::{
    NeighborRows, Probabilities,
    calibration::{self, Injected, Review},
    channel::Channel,
    confident::{ConfidentJoint, Filter},
    detect::{self, Detection, Labels},
    inject::{Noise, Subject, inject},
    rare,
};
use prospect_common::{Result, text::count};
use prospect_engine::{
    Context, Needs, Outcome, Stage, TableEstimate, estimate,
    progress::Bar,
    schema::{confident_joint, label_calibration, label_scores},
    tables::{
        classes::{ClassNames, name_of},
        related::group_parameter,
        reviewed,
    },
};
use prospect_findings::Finding;
use prospect_store::{Manifest, StageWriter};
use serde_json::{Value, json};

use self::{classifier::with_classifier, inputs::Inputs, tables::Scores};

pub const STAGE: Stage = Stage {
    name: "labels",
    version: 7,
    about: "find label errors",
    needs: Needs::Named(&["scan", "extract", "neighbors", "duplicates", "probe"]),
    writes: &[
        &label_scores::TABLE,
        &confident_joint::TABLE,
        &label_calibration::TABLE,
    ],
    findings: Some(findings),
    reuse: None,
    parameters,
    estimate,
    run,
};

/// Trainings on the given labels, whose first round is the stage `probe`, and on those with each kind of injected error.
const TRAININGS: [u64; 2] = [detect::ROUNDS as u64, 1 + detect::ROUNDS as u64];
const KINDS: usize = Noise::ALL.len();

/// Estimated classes that a class is confused with.
const CONFUSED: u64 = 10;

fn parameters(ctx: &Context) -> Result<Value> {
    let settings = &ctx.config.audit;
    Ok(json!({
        "budget": settings.budget,
        "planted": settings.planted,
        "reviews": reviewed::parameter(ctx.config)?,
        "seed": settings.seed,
        "group": group_parameter(ctx)?,
    }))
}

fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let classes = estimate::dataset_classes(ctx)?;
    if classes < 2 {
        return Ok(Vec::new());
    }
    Ok(vec![
        TableEstimate::of(&label_scores::TABLE, images),
        TableEstimate::of(&confident_joint::TABLE, classes * classes.min(CONFUSED)),
        TableEstimate::of(&label_calibration::TABLE, 15 * KINDS as u64),
    ])
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1 + KINDS)?;
    let manifest = ctx.run.manifest()?;
    let mut inputs = Inputs::read(ctx, &manifest)?;
    let bar = (ctx.progress).stage(
        "labels",
        TRAININGS[0] + KINDS as u64 * TRAININGS[1],
        "trainings",
    );
    let mut warning = memorised::warning(ctx, &manifest, &inputs.image_ids)?;
    if let Some(warning) = &mut warning {
        if !inputs.of_network && inputs.evaluated() > 0 {
            earlier::use_earlier_layers(ctx, &manifest, &mut inputs, &bar)?;
        }
        *warning += &memorised::advice(&inputs.layers);
    }
    let work = Work {
        ctx,
        manifest,
        is_memorised: warning.is_some(),
        inputs,
        bar,
    };
    if !writer.has_part(0) {
        let mut part = writer.part(0)?;
        let names = ClassNames::read(ctx.run, &work.manifest)?;
        let detected = work.detect(&work.inputs.given, Some(work.inputs.probabilities()))?;
        let joint = ConfidentJoint::count(&work.inputs.given, &work.inputs.probabilities());
        let off_diagonal = joint.issues(
            &work.inputs.given,
            &work.inputs.probabilities(),
            Filter::OffDiagonal,
        );
        let scores = Scores::new(&work.inputs, &detected, &off_diagonal);
        part.write(label_scores::NAME, &scores.batch()?)?;
        let of_class = |class: i32| name_of(&names.dataset, class);
        let rows = tables::joint(&work.inputs, &joint, &detected, &of_class)?;
        part.write(confident_joint::NAME, &rows)?;
        writer.commit(part)?;
    }
    work.bar.set_done(TRAININGS[0]);
    let manifest = ctx.run.manifest()?;
    let scores = Scores::read(ctx, &manifest)?;
    if warning.is_none() && scores.contradict_most() {
        warning = Some(
            "the features contradict most labels, so none is flagged: use a network that can tell these classes apart".into(),
        );
    }
    let joint = tables::read_joint(ctx, &manifest, &work.inputs)?;
    for (number, noise) in (1..).zip(Noise::ALL) {
        if !writer.has_part(number) {
            let mut part = writer.part(number)?;
            let (reviews, injected) = work.calibrate(&scores, &joint, noise)?;
            part.write(
                label_calibration::NAME,
                &tables::calibration(noise, &reviews, injected)?,
            )?;
            writer.commit(part)?;
        }
        work.bar
            .set_done(TRAININGS[0] + number as u64 * TRAININGS[1]);
    }
    let reviews = tables::read_calibration(ctx, &ctx.run.manifest()?)?;
    let budget = ctx.config.audit.budget.min(scores.image_ids.len());
    let review = sentence(budget, &reviews);
    let mut summary = summary(&work.inputs, &scores, review.as_deref());
    let mut line = line(&scores, review.as_deref());
    if let Some(warning) = warning {
        line += &format!("; {warning}");
        summary["caveat"] = json!(warning);
    }
    work.bar.finish(&line);
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// State shared by both parts.
struct Work<'a> {
    ctx: &'a Context<'a>,
    manifest: Manifest,
    inputs: Inputs,
    /// Whether the network was probably trained on these labels.
    is_memorised: bool,
    bar: Bar,
}

impl Work<'_> {
    /// Evaluates labels. `first`: out-of-sample probabilities of a classifier trained on them; if None, one is trained.
    fn detect(&self, labels: &[u32], first: Option<Probabilities>) -> Result<Detection> {
        let inputs = &self.inputs;
        // Where the features are not used, neither are their neighbours.
        let none = NeighborRows::new(labels.iter().map(|_| []));
        let labels = Labels {
            classes: inputs.classes.len(),
            given: labels,
            neighbors: if inputs.layers.is_empty() {
                &inputs.neighbors
            } else {
                &none
            },
            decided: &inputs.decided,
        };
        if !inputs.layers.is_empty() {
            let classifier = inputs.probabilities();
            return Ok(detect::detect_uniform(
                &labels,
                &classifier,
                earlier::ASSUMED_ERRORS,
            ));
        }
        let corrected: Vec<u32> = (labels.given.iter().enumerate())
            .map(|(row, label)| *labels.decided.get(&row).unwrap_or(label))
            .collect();
        with_classifier(self.ctx, &self.manifest, inputs, &self.bar, |train| {
            let trained;
            let first = match first {
                Some(first) => first,
                None => {
                    trained = train(&corrected, None)?;
                    Probabilities {
                        classes: labels.classes,
                        values: &trained,
                    }
                }
            };
            let mut detected = detect::detect(&labels, &first, &mut |classes, weights| {
                train(classes, Some(weights))
            })?;
            let (classes, neighbors) = (labels.classes, labels.neighbors);
            let posteriors = &mut detected.posteriors;
            rare::rescore(classes, labels.given, &corrected, neighbors, posteriors);
            Ok(detected)
        })
    }

    /// Recall of reviews of several sizes on errors of one kind, and the number injected. None if the network may have memorised
    /// these very labels, which injected errors cannot show, or contradicts most of them.
    fn calibrate(
        &self,
        scores: &Scores,
        joint: &[f64],
        noise: Noise,
    ) -> Result<(Vec<Review>, usize)> {
        let (inputs, settings) = (&self.inputs, &self.ctx.config.audit);
        if inputs.of_network || self.is_memorised || scores.contradict_most() {
            return Ok((Vec::new(), 0));
        }
        let mut right = vec![None; inputs.image_ids.len()];
        for (id, score) in scores.image_ids.iter().zip(&scores.scores) {
            if let Ok(row) = inputs.image_ids.binary_search(id)
                && !inputs.decided.contains_key(&row)
            {
                right[row] = Some(*score);
            }
        }
        let subject = Subject {
            labels: &inputs.given,
            right: &right,
            probabilities: inputs.probabilities(),
            channel: &Channel::from_joint(inputs.classes.len(), joint),
            groups: &inputs.groups,
        };
        let injected = inject(&subject, noise, settings.planted, settings.seed);
        if injected.rows.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let detected = self.detect(&injected.labels, None)?;
        let score = |row: usize| detected.posteriors[row].map(|posterior| posterior.p_label);
        let is_changed = |row: &usize| injected.rows.binary_search(row).is_ok();
        let unchanged = (0..detected.posteriors.len()).filter(|row| !is_changed(row));
        let others: Vec<f32> = unchanged.filter_map(score).collect();
        let errors: Vec<f32> = injected.rows.iter().copied().filter_map(score).collect();
        let reviews = calibration::reviews(
            &Injected {
                others: &others,
                errors: &errors,
                decisions: injected.decisions,
            },
            scores.errors(),
            &sizes(scores, settings.budget),
        );
        Ok((reviews, injected.rows.len()))
    }
}

/// Review sizes: 10, 20, 50, 100, …, the number of flagged labels, the budget.
fn sizes(scores: &Scores, budget: usize) -> Vec<usize> {
    let n = scores.image_ids.len();
    let steps = (1..).map(|power: u32| 10usize.saturating_pow(power));
    let steps = steps
        .take_while(|ten| *ten < n)
        .flat_map(|ten| [ten, 2 * ten, 5 * ten]);
    let mut sizes: Vec<usize> = steps
        .chain([scores.flagged_count(), budget])
        .map(|size| size.min(n))
        .filter(|size| *size > 0)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn summary(inputs: &Inputs, scores: &Scores, review: Option<&str>) -> Value {
    let mut summary = json!({
        "evaluated_images": scores.image_ids.len(),
        "not_evaluated": inputs.image_ids.len() - scores.image_ids.len(),
        "flagged": scores.flagged_count(),
        "ambiguous": scores.ambiguous_count(),
        "confident_joint": scores.off_diagonal.iter().filter(|off| **off).count(),
    });
    if let Some(review) = review {
        summary["review"] = json!(review);
    }
    if !inputs.layers.is_empty() {
        summary["layers"] = json!(inputs.layers);
    }
    if inputs.of_network && !scores.image_ids.is_empty() {
        summary["caveat"] = json!(
            "the scores come from the network; if it was trained on these labels, it may have memorised the wrong ones"
        );
    }
    summary
}

/// "a review of the worst 200 finds 31 to 72 % of injected label errors": the range over all kinds of noise and their
/// 95 % prediction intervals. None without injected errors.
fn sentence(budget: usize, reviews: &[Review]) -> Option<String> {
    let of_budget = reviews.iter().filter(|review| review.reviewed == budget);
    let low = of_budget.clone().map(|review| review.recall_low);
    let high = of_budget.map(|review| review.recall_high);
    let (low, high) = (low.reduce(f64::min)?, high.reduce(f64::max)?);
    Some(format!(
        "a review of the worst {} finds {:.0} to {:.0} % of injected label errors",
        count(budget as u64),
        (100.0 * low).floor(),
        (100.0 * high).ceil(),
    ))
}

fn line(scores: &Scores, review: Option<&str>) -> String {
    if scores.image_ids.is_empty() {
        return "no labels to evaluate".into();
    }
    let flagged = count(scores.flagged_count() as u64);
    let ambiguous = count(scores.ambiguous_count() as u64);
    let review = review.map(|review| format!("; {review}"));
    format!(
        "{flagged} suspicious labels, {ambiguous} ambiguous{}",
        review.unwrap_or_default()
    )
}

/// The flagged and the ambiguous labels and the worst `[audit] budget` labels, in no order.
fn findings(ctx: &Context, manifest: &Manifest) -> Result<Vec<Finding>> {
    if !manifest.has(label_scores::NAME) {
        return Ok(Vec::new());
    }
    let record = manifest.stages.get(STAGE.name);
    let of_layers = record.is_some_and(|record| record.summary["layers"].is_array());
    evidence::findings(ctx, manifest, of_layers)
}
