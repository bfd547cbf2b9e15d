//! The rows of `label_scores`, `confident_joint` and `label_calibration`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, UInt32Array,
};
use prospect_analysis::audit::label_issues::{
    UNLABELLED,
    calibration::Review,
    confident::ConfidentJoint,
    detect::Detected,
    scores::{Votes, normalized_margin, self_confidence},
};
use prospect_common::Result;
use prospect_engine::tables::columns::{Columns, integer, number, table};
use prospect_store::Manifest;

use super::{Context, inputs::Inputs};

/// Bytes of a row, before and after compression.
pub const SCORE_ROW: [f64; 2] = [35.0, 17.0];
pub const JOINT_ROW: [f64; 2] = [56.0, 30.0];
pub const REVIEW_ROW: [f64; 2] = [24.0, 40.0];

/// Pairs of classes that fewer images are expected of are left out of `confident_joint`.
const NEGLIGIBLE: f64 = 0.01;

/// `label_scores`, in order of the image ids.
#[derive(Debug, Default, PartialEq)]
pub struct Scores {
    pub image_ids: Vec<u32>,
    labels: Vec<i32>,
    /// None: the label is the most likely class.
    pub suggested: Vec<Option<i32>>,
    p_suggested: Vec<f32>,
    self_confidence: Vec<f32>,
    normalized_margin: Vec<f32>,
    knn_agreement: Vec<f32>,
    /// Counted off the diagonal of the confident joint.
    pub off_diagonal: Vec<bool>,
    /// How likely the label is right.
    pub scores: Vec<f32>,
    pub flagged: Vec<bool>,
    /// From 1, the worst.
    pub ranks: Vec<i32>,
}

impl Scores {
    /// Flagged are the worst labels, as many as are expected to be wrong, if another class is more likely.
    pub fn new(inputs: &Inputs, detected: &Detected, off_diagonal: &[bool]) -> Scores {
        let mut scores = Scores::default();
        let first = inputs.first();
        for (row, verdict) in detected.verdicts.iter().enumerate() {
            let (Some(verdict), label) = (verdict, inputs.given[row]) else {
                continue;
            };
            let other = (verdict.class != label).then(|| inputs.classes[verdict.class as usize]);
            let votes = Votes::of(row, &inputs.given, &inputs.neighbors);
            scores.image_ids.push(inputs.image_ids[row]);
            scores.labels.push(inputs.classes[label as usize]);
            scores.suggested.push(other);
            scores.p_suggested.push(verdict.p_class);
            scores
                .self_confidence
                .push(self_confidence(label, first.row(row)));
            scores
                .normalized_margin
                .push(normalized_margin(label, first.row(row)));
            scores.knn_agreement.push(votes.agreement());
            scores.off_diagonal.push(off_diagonal[row]);
            scores.scores.push(verdict.right);
        }
        let n = scores.image_ids.len();
        let mut order: Vec<usize> = (0..n).collect();
        // Rows are in order of the ids, which ties keep.
        order.sort_by(|a, b| {
            let of = |row: &usize| (scores.scores[*row], scores.self_confidence[*row]);
            let (a, b) = (of(a), of(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let wrong = scores.errors().round() as usize;
        (scores.flagged, scores.ranks) = (vec![false; n], vec![0; n]);
        for (at, row) in order.into_iter().enumerate() {
            scores.ranks[row] = i32::try_from(at + 1).unwrap_or(i32::MAX);
            scores.flagged[row] = at < wrong && scores.suggested[row].is_some();
        }
        scores
    }

    /// How many labels are expected to be wrong.
    pub fn errors(&self) -> f64 {
        self.scores
            .iter()
            .map(|right| 1.0 - f64::from(*right))
            .sum()
    }

    pub fn flagged_count(&self) -> usize {
        self.flagged.iter().filter(|flagged| **flagged).count()
    }

    pub fn batch(&self) -> Result<RecordBatch> {
        let floats = |values: &[f32]| -> ArrayRef { Arc::new(Float32Array::from(values.to_vec())) };
        let flags = |values: &[bool]| -> ArrayRef { Arc::new(BooleanArray::from(values.to_vec())) };
        let whole = |values: &[i32]| -> ArrayRef { Arc::new(Int32Array::from(values.to_vec())) };
        let ids = UInt32Array::from(self.image_ids.clone());
        let suggested = Int32Array::from(self.suggested.clone());
        let p_suggested =
            (self.suggested.iter().zip(&self.p_suggested)).map(|(class, p)| class.map(|_| *p));
        let p_suggested = Float32Array::from_iter(p_suggested);
        table([
            ("image_id", Arc::new(ids), false),
            ("label", whole(&self.labels), false),
            ("suggested_label", Arc::new(suggested), true),
            ("p_suggested", Arc::new(p_suggested), true),
            ("self_confidence", floats(&self.self_confidence), false),
            ("normalized_margin", floats(&self.normalized_margin), false),
            ("knn_agreement", floats(&self.knn_agreement), false),
            ("confident_joint", flags(&self.off_diagonal), false),
            ("score", floats(&self.scores), false),
            ("flagged", flags(&self.flagged), false),
            ("rank", whole(&self.ranks), false),
        ])
    }

    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Scores> {
        const TABLE: &str = "label_scores";
        let mut scores = Scores::default();
        for batch in ctx.run.read(manifest, TABLE) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, TABLE, &batch);
            let whole = |name: &str| -> Result<Vec<Option<i32>>> {
                let values = columns.integers(name)?;
                let narrow = |value: Option<i64>| value.and_then(|value| i32::try_from(value).ok());
                Ok(values.iter().map(narrow).collect())
            };
            let floats = |name: &str| -> Result<Vec<f32>> {
                let values = columns.numbers(name)?;
                Ok(values
                    .iter()
                    .map(|value| value.unwrap_or(0.0) as f32)
                    .collect())
            };
            let flags = |name: &str| -> Result<Vec<bool>> {
                Ok(columns
                    .integers(name)?
                    .iter()
                    .map(|flag| flag == Some(1))
                    .collect())
            };
            scores.image_ids.extend(columns.image_ids()?);
            scores.labels.extend(whole("label")?.into_iter().flatten());
            scores.suggested.extend(whole("suggested_label")?);
            scores.p_suggested.extend(floats("p_suggested")?);
            scores.self_confidence.extend(floats("self_confidence")?);
            scores
                .normalized_margin
                .extend(floats("normalized_margin")?);
            scores.knn_agreement.extend(floats("knn_agreement")?);
            scores.off_diagonal.extend(flags("confident_joint")?);
            scores.scores.extend(floats("score")?);
            scores.flagged.extend(flags("flagged")?);
            scores.ranks.extend(whole("rank")?.into_iter().flatten());
        }
        Ok(scores)
    }

    /// The label of a row, and the most likely other class with its probability where that is the more likely one.
    pub fn classes(&self, row: usize) -> (i32, Option<(i32, f32)>) {
        let suggested = self.suggested[row].map(|class| (class, self.p_suggested[row]));
        (self.labels[row], suggested)
    }
}

/// Pairs of a label and a class that some image of that label confidently is, or is expected to be.
pub fn joint(
    inputs: &Inputs,
    counted: &ConfidentJoint,
    detected: &Detected,
    name_of: &dyn Fn(i32) -> String,
) -> Result<RecordBatch> {
    let k = inputs.classes.len();
    // Counts of a class that no image is labelled as are cleanlab's: 1 of its own.
    let kept = |at: &usize| counted.counts[*at] > 0 || detected.joint[*at] >= NEGLIGIBLE;
    let any = inputs.given.iter().any(|label| *label != UNLABELLED);
    let places: Vec<usize> = (0..if any { k * k } else { 0 }).filter(kept).collect();
    let classes = |of: &dyn Fn(usize) -> usize| -> ArrayRef {
        let classes = places.iter().map(|at| inputs.classes[of(*at)]);
        Arc::new(Int32Array::from_iter_values(classes))
    };
    let names = |of: &dyn Fn(usize) -> usize| -> ArrayRef {
        let names = places.iter().map(|at| name_of(inputs.classes[of(*at)]));
        Arc::new(StringArray::from_iter_values(names))
    };
    let figures = |values: &[f64]| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(
            places.iter().map(|at| values[*at]),
        ))
    };
    let counts = places.iter().map(|at| counted.counts[*at]);
    let (label, true_class) = (|at: usize| at / k, |at: usize| at % k);
    table([
        ("label", classes(&label), false),
        ("label_name", names(&label), false),
        ("true_label", classes(&true_class), false),
        ("true_name", names(&true_class), false),
        (
            "count",
            Arc::new(Int64Array::from_iter_values(counts)),
            false,
        ),
        ("estimated", figures(&counted.estimated), false),
        ("expected", figures(&detected.joint), false),
    ])
}

/// How many images of each label are expected to be of each class, `[label, true class]` by their place among the probabilities.
pub fn read_joint(ctx: &Context, manifest: &Manifest, inputs: &Inputs) -> Result<Vec<f64>> {
    const TABLE: &str = "confident_joint";
    let k = inputs.classes.len();
    let mut joint = vec![0.0; k * k];
    let place = |class: Option<i64>| {
        inputs
            .classes
            .iter()
            .position(|known| Some(i64::from(*known)) == class)
    };
    for batch in ctx.run.read(manifest, TABLE) {
        let batch = batch?;
        let columns = Columns::of(ctx.run, TABLE, &batch);
        let (labels, classes) = (columns.integers("label")?, columns.integers("true_label")?);
        let expected = columns.numbers("expected")?;
        for row in 0..batch.num_rows() {
            let [label, class] = [&labels, &classes].map(|column| place(integer(column, row)));
            if let (Some(label), Some(class)) = (label, class) {
                joint[label * k + class] = number(&expected, row).unwrap_or(0.0);
            }
        }
    }
    Ok(joint)
}

pub fn calibration(reviews: &[Review], planted: usize) -> Result<RecordBatch> {
    let floats = |of: fn(&Review) -> f64| -> ArrayRef {
        let values = reviews.iter().map(|review| of(review) as f32);
        Arc::new(Float32Array::from_iter_values(values))
    };
    let reviewed = reviews
        .iter()
        .map(|review| i32::try_from(review.reviewed).unwrap_or(i32::MAX));
    let planted = vec![u32::try_from(planted).unwrap_or(u32::MAX); reviews.len()];
    table([
        (
            "reviewed",
            Arc::new(Int32Array::from_iter_values(reviewed)),
            false,
        ),
        ("recall", floats(|review| review.recall), false),
        ("recall_low", floats(|review| review.recall_low), false),
        ("recall_high", floats(|review| review.recall_high), false),
        ("precision", floats(|review| review.precision), false),
        ("planted", Arc::new(UInt32Array::from(planted)), false),
    ])
}

pub fn read_calibration(ctx: &Context, manifest: &Manifest) -> Result<Vec<Review>> {
    const TABLE: &str = "label_calibration";
    let mut reviews = Vec::new();
    for batch in ctx.run.read(manifest, TABLE) {
        let batch = batch?;
        let columns = Columns::of(ctx.run, TABLE, &batch);
        let reviewed = columns.integers("reviewed")?;
        let names = ["recall", "recall_low", "recall_high", "precision"];
        let mut shares = Vec::new();
        for name in names {
            shares.push(columns.numbers(name)?);
        }
        reviews.extend((0..batch.num_rows()).filter_map(|row| {
            let share = |at: usize| number(&shares[at], row);
            Some(Review {
                reviewed: usize::try_from(integer(&reviewed, row)?).ok()?,
                recall: share(0)?,
                recall_low: share(1)?,
                recall_high: share(2)?,
                precision: share(3)?,
            })
        }));
    }
    Ok(reviews)
}
