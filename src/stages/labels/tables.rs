//! Rows of `label_scores`, `confident_joint` and `label_calibration`.

use std::collections::HashMap;

use arrow::array::{Float32Array, Float64Array, Int32Array, RecordBatch, StringArray};
use prospect_analysis::audit::label_issues::{
    UNLABELLED,
    calibration::Review,
    channel::PRIOR,
    confident::ConfidentJoint,
    detect::Detection,
    inject::Noise,
    scores::{Votes, normalized_margin, self_confidence},
};
use prospect_common::Result;
use prospect_engine::{
    Context,
    schema::{confident_joint, label_calibration, label_scores},
};
use prospect_findings::review::Verdict;
use prospect_store::Manifest;

use super::inputs::Inputs;

/// Minimum expected images of a pair of classes in `confident_joint`.
const NEGLIGIBLE: f64 = 0.01;
/// Minimum support of another class for a doubtful label to be called wrong: classifier and neighbours both name it more often than not.
const SUPPORT: f32 = 0.5;

/// `label_scores`, in order of the image ids.
#[derive(Debug, Default, PartialEq)]
pub struct Scores {
    pub image_ids: Vec<u32>,
    labels: Vec<i32>,
    /// None if the label is the most likely class.
    pub suggested: Vec<Option<i32>>,
    p_suggested: Vec<f32>,
    self_confidence: Vec<f32>,
    normalized_margin: Vec<f32>,
    knn_agreement: Vec<f32>,
    /// Whether the image is off the diagonal of the confident joint.
    pub off_diagonal: Vec<bool>,
    support: Vec<f32>,
    pub ambiguity: Vec<f32>,
    /// 0 worst to 1.
    pub scores: Vec<f32>,
    /// Probably wrong, and not settled by a review.
    pub flagged: Vec<bool>,
    /// As doubtful as the flagged labels, but no other class is agreed on.
    pub ambiguous: Vec<bool>,
    /// 1 is the worst.
    pub ranks: Vec<i32>,
    /// Flagged but for a review.
    pub suspicious: Vec<bool>,
    /// Reviews; not read from the table.
    reviewed: Vec<Option<Verdict>>,
    reviewed_labels: Vec<Option<i32>>,
}

impl Scores {
    /// Doubts as many of the worst labels as are expected to be wrong, in all and of each class, where another class is more likely.
    /// The quota keeps one class with many doubtful labels from filling the list. A doubtful label is flagged if classifier and
    /// neighbours agree on the suggested class, unless the image's annotators disagree, and ambiguous otherwise. If most labels would
    /// be wrong, none is doubted.
    pub fn new(inputs: &Inputs, detected: &Detection, off_diagonal: &[bool]) -> Scores {
        let mut scores = Scores::default();
        let mut disputed = Vec::new();
        let probabilities = inputs.probabilities();
        for (row, posterior) in detected.posteriors.iter().enumerate() {
            let (Some(posterior), label) = (posterior, inputs.given[row]) else {
                continue;
            };
            let other =
                (posterior.class != label).then(|| inputs.classes[posterior.class as usize]);
            let votes = Votes::of(row, label, &inputs.corrected, &inputs.neighbors);
            let review = inputs.reviewed.get(&inputs.image_ids[row]);
            scores.image_ids.push(inputs.image_ids[row]);
            scores.labels.push(inputs.classes[label as usize]);
            scores.suggested.push(other);
            scores.p_suggested.push(posterior.p_class);
            scores
                .self_confidence
                .push(self_confidence(label, probabilities.row(row)));
            scores
                .normalized_margin
                .push(normalized_margin(label, probabilities.row(row)));
            scores.knn_agreement.push(votes.agreement());
            scores.off_diagonal.push(off_diagonal[row]);
            let agreement = posterior.agreement;
            scores.support.push(agreement.support);
            scores.ambiguity.push(agreement.ambiguity);
            scores.scores.push(posterior.p_label);
            disputed.push(inputs.disputed[row]);
            scores.reviewed.push(review.map(|review| review.verdict));
            scores
                .reviewed_labels
                .push(review.and_then(|review| review.class));
        }
        let n = scores.image_ids.len();
        let mut order: Vec<usize> = (0..n).collect();
        // The sort is stable: ties stay in order of the ids.
        order.sort_by(|a, b| {
            let of = |row: &usize| (scores.scores[*row], scores.self_confidence[*row]);
            let (a, b) = (of(a), of(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let mut quotas = scores.quotas();
        let wrong = if scores.contradict_most() {
            0
        } else {
            scores.errors().round() as usize
        };
        (scores.suspicious, scores.ambiguous) = (vec![false; n], vec![false; n]);
        scores.ranks = vec![0; n];
        for (at, row) in order.into_iter().enumerate() {
            scores.ranks[row] = i32::try_from(at + 1).unwrap_or(i32::MAX);
            if at < wrong && scores.suggested[row].is_some() {
                let quota = quotas.entry(scores.labels[row]).or_default();
                // Rounded up: a class with less than one expected error may have one.
                let is_doubtful = *quota > 0.0;
                let is_wrong = scores.support[row] >= SUPPORT && !disputed[row];
                scores.suspicious[row] = is_doubtful && is_wrong;
                scores.ambiguous[row] = is_doubtful && !is_wrong;
                *quota -= 1.0;
            }
        }
        // Settled: the right class is known.
        let settled = scores.reviewed_labels.iter().map(Option::is_some);
        let suspicious = scores.suspicious.iter().zip(settled);
        scores.flagged =
            (suspicious.map(|(suspicious, settled)| *suspicious && !settled)).collect();
        scores
    }

    /// Expected number of wrong labels of each class, with [`PRIOR`] pseudo-images at the overall rate: where the classifier
    /// rejects many of a small class, it has probably not learned the class.
    fn quotas(&self) -> HashMap<i32, f64> {
        let rate = self.errors() / self.scores.len().max(1) as f64;
        let mut sums: HashMap<i32, (f64, f64)> = HashMap::new();
        for (label, score) in self.labels.iter().zip(&self.scores) {
            let (images, wrong) = sums.entry(*label).or_default();
            *images += 1.0;
            *wrong += 1.0 - f64::from(*score);
        }
        let quota = |(images, wrong)| images * (wrong + PRIOR * rate) / (images + PRIOR);
        (sums.into_iter())
            .map(|(label, sums)| (label, quota(sums)))
            .collect()
    }

    /// Expected number of wrong labels.
    pub fn errors(&self) -> f64 {
        self.scores
            .iter()
            .map(|right| 1.0 - f64::from(*right))
            .sum()
    }

    /// Whether most labels are expected to be wrong. Then the detector has failed: it supposes that most are right.
    pub fn contradict_most(&self) -> bool {
        2.0 * self.errors() > self.scores.len() as f64
    }

    /// Number of images with each label.
    pub fn class_sizes(&self) -> HashMap<i32, usize> {
        let mut sizes = HashMap::new();
        for label in &self.labels {
            *sizes.entry(*label).or_default() += 1;
        }
        sizes
    }

    pub fn flagged_count(&self) -> usize {
        self.flagged.iter().filter(|flagged| **flagged).count()
    }

    pub fn ambiguous_count(&self) -> usize {
        self.ambiguous
            .iter()
            .filter(|ambiguous| **ambiguous)
            .count()
    }

    pub fn batch(&self) -> Result<RecordBatch> {
        let p_suggested = self.suggested.iter().zip(&self.p_suggested);
        label_scores::Columns {
            image_id: self.image_ids.clone().into(),
            label: self.labels.clone().into(),
            suggested_label: self.suggested.clone().into(),
            p_suggested: p_suggested.map(|(class, p)| class.map(|_| *p)).collect(),
            self_confidence: self.self_confidence.clone().into(),
            normalized_margin: self.normalized_margin.clone().into(),
            knn_agreement: self.knn_agreement.clone().into(),
            confident_joint: self.off_diagonal.clone().into(),
            support: self.support.clone().into(),
            ambiguity: self.ambiguity.clone().into(),
            score: self.scores.clone().into(),
            flagged: self.flagged.clone().into(),
            ambiguous: self.ambiguous.clone().into(),
            rank: self.ranks.clone().into(),
            suspicious: self.suspicious.clone().into(),
            reviewed: (self.reviewed.iter())
                .map(|verdict| verdict.map(Verdict::name))
                .collect(),
            reviewed_label: self.reviewed_labels.clone().into(),
        }
        .batch()
    }

    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Scores> {
        let first = (
            label_scores::image_id,
            label_scores::label,
            label_scores::suggested_label,
            label_scores::p_suggested,
            label_scores::self_confidence,
            label_scores::normalized_margin,
            label_scores::knn_agreement,
        );
        let second = (
            label_scores::confident_joint,
            label_scores::support,
            label_scores::ambiguity,
            label_scores::score,
            label_scores::flagged,
            label_scores::ambiguous,
            label_scores::rank,
            label_scores::suspicious,
        );
        let mut scores = Scores::default();
        for batch in ctx.run.rows(manifest, first) {
            let batch = batch?;
            let (ids, labels, suggested, p_suggested, confidence, margins, agreements) =
                batch.columns();
            scores.image_ids.extend(ids.values());
            scores.labels.extend(labels.values());
            scores.suggested.extend(suggested);
            let p_suggested = p_suggested.iter().map(|p| p.unwrap_or(0.0));
            scores.p_suggested.extend(p_suggested);
            scores.self_confidence.extend(confidence.values());
            scores.normalized_margin.extend(margins.values());
            scores.knn_agreement.extend(agreements.values());
        }
        for batch in ctx.run.rows(manifest, second) {
            let batch = batch?;
            let (off_diagonal, support, ambiguity, right, flagged, ambiguous, ranks, suspicious) =
                batch.columns();
            scores.off_diagonal.extend(off_diagonal.values());
            scores.support.extend(support.values());
            scores.ambiguity.extend(ambiguity.values());
            scores.scores.extend(right.values());
            scores.flagged.extend(flagged.values());
            scores.ambiguous.extend(ambiguous.values());
            scores.ranks.extend(ranks.values());
            scores.suspicious.extend(suspicious.values());
        }
        Ok(scores)
    }

    /// The label of a row, and the suggested class with its probability, if any.
    pub fn classes(&self, row: usize) -> (i32, Option<(i32, f32)>) {
        let suggested = self.suggested[row].map(|class| (class, self.p_suggested[row]));
        (self.labels[row], suggested)
    }
}

/// Rows of `confident_joint`: pairs of label and true class with a confident or expected image.
pub fn joint(
    inputs: &Inputs,
    counted: &ConfidentJoint,
    detected: &Detection,
    name_of: &dyn Fn(i32) -> String,
) -> Result<RecordBatch> {
    let k = inputs.classes.len();
    // For a class without labelled images, counts follow cleanlab: 1 on the diagonal.
    let kept = |at: &usize| counted.counts[*at] > 0 || detected.joint[*at] >= NEGLIGIBLE;
    let any = inputs.given.iter().any(|label| *label != UNLABELLED);
    let places: Vec<usize> = (0..if any { k * k } else { 0 }).filter(kept).collect();
    let classes = |of: fn(usize, usize) -> usize| -> Int32Array {
        places.iter().map(|at| inputs.classes[of(*at, k)]).collect()
    };
    let names = |of: fn(usize, usize) -> usize| {
        let names = places.iter().map(|at| name_of(inputs.classes[of(*at, k)]));
        StringArray::from_iter_values(names)
    };
    let figures =
        |values: &[f64]| -> Float64Array { places.iter().map(|at| values[*at]).collect() };
    let (label, true_class) = (|at, k| at / k, |at, k| at % k);
    confident_joint::Columns {
        label: classes(label),
        label_name: names(label),
        true_label: classes(true_class),
        true_name: names(true_class),
        count: places.iter().map(|at| counted.counts[*at]).collect(),
        estimated: figures(&counted.estimated),
        expected: figures(&detected.joint),
    }
    .batch()
}

/// Expected images, `[label, true class]` by index in `classes`.
pub fn read_joint(ctx: &Context, manifest: &Manifest, inputs: &Inputs) -> Result<Vec<f64>> {
    let k = inputs.classes.len();
    let mut joint = vec![0.0; k * k];
    let place = |class: i32| inputs.classes.iter().position(|known| *known == class);
    let columns = (
        confident_joint::label,
        confident_joint::true_label,
        confident_joint::expected,
    );
    for batch in ctx.run.rows(manifest, columns) {
        for (label, class, expected) in batch?.iter() {
            if let (Some(label), Some(class)) = (place(label), place(class)) {
                joint[label * k + class] = expected;
            }
        }
    }
    Ok(joint)
}

pub fn calibration(noise: Noise, reviews: &[Review], injected: usize) -> Result<RecordBatch> {
    let floats = |of: fn(&Review) -> f64| -> Float32Array {
        reviews.iter().map(|review| of(review) as f32).collect()
    };
    let reviewed = reviews.iter().map(|review| i32::try_from(review.reviewed));
    let injected = u32::try_from(injected).unwrap_or(u32::MAX);
    label_calibration::Columns {
        noise: reviews.iter().map(|_| Some(noise.name())).collect(),
        reviewed: reviewed.map(|n| n.unwrap_or(i32::MAX)).collect(),
        recall: floats(|review| review.recall),
        recall_low: floats(|review| review.recall_low),
        recall_high: floats(|review| review.recall_high),
        planted: vec![injected; reviews.len()].into(),
    }
    .batch()
}

/// The reviews of every kind of noise.
pub fn read_calibration(ctx: &Context, manifest: &Manifest) -> Result<Vec<Review>> {
    let columns = (
        label_calibration::reviewed,
        label_calibration::recall,
        label_calibration::recall_low,
        label_calibration::recall_high,
    );
    let mut reviews = Vec::new();
    for batch in ctx.run.rows(manifest, columns) {
        for (reviewed, recall, recall_low, recall_high) in batch?.iter() {
            reviews.push(Review {
                reviewed: usize::try_from(reviewed).unwrap_or(0),
                recall: recall.into(),
                recall_low: recall_low.into(),
                recall_high: recall_high.into(),
            });
        }
    }
    Ok(reviews)
}
