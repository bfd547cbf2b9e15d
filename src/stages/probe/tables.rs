//! Rows of the probe's tables.

use std::iter::repeat_n;

use arrow::array::{Float32Array, Float64Array, RecordBatch, StringArray};
use prospect_analysis::{
    audit::calibration::CrossCalibration,
    space::linalg::logistic::{Model, NO_FOLD, PenaltyTrial, UNLABELLED},
};
use prospect_common::Result;
use prospect_engine::schema::{
    probe, probe_calibration, probe_classes, probe_quality, probe_weights,
};
use prospect_store::{Manifest, RunFolder, declare::Lists};

use super::{
    classifier::Chunk,
    inputs::{Class, Inputs},
    quality::{Quality, Tally, best},
};

/// Rows of `probe`. `classes`: number of classes, at least 1.
pub fn probe(
    chunk: &Chunk,
    inputs: &Inputs,
    classes: usize,
    source: &str,
    calibration: &CrossCalibration,
) -> Result<RecordBatch> {
    let n = chunk.image_ids.len();
    let mut rows = Rows::default();
    for (id, p) in chunk
        .image_ids
        .iter()
        .zip(chunk.probabilities.chunks_exact(classes))
    {
        let row = inputs.row(*id);
        rows.push(
            row.and_then(|row| inputs.labels[row]),
            row.map_or(NO_FOLD, |row| inputs.folds[row]),
            row.map_or(UNLABELLED, |row| inputs.positions[row]),
            p,
            &inputs.classes,
            calibration,
        );
    }
    probe::Columns {
        image_id: chunk.image_ids.clone().into(),
        source: repeat_n(Some(source), n).collect(),
        fold: rows.folds.into(),
        label: rows.labels.into(),
        pred: rows.pred.into(),
        p_label: rows.p_label.into(),
        calibrated: rows.calibrated.into(),
        p_pred: rows.p_pred.into(),
        margin: rows.margin.into(),
        entropy: rows.entropy.into(),
        probabilities: Lists::new(chunk.probabilities.clone(), classes),
    }
    .batch()
}

/// The fold of a row, if it is in one.
pub fn in_fold(fold: u16) -> Option<u16> {
    (fold != NO_FOLD).then_some(fold)
}

#[derive(Default)]
struct Rows {
    folds: Vec<Option<i16>>,
    labels: Vec<Option<i32>>,
    pred: Vec<i32>,
    p_label: Vec<Option<f32>>,
    p_pred: Vec<f32>,
    calibrated: Vec<Option<f32>>,
    margin: Vec<f32>,
    entropy: Vec<f32>,
}

impl Rows {
    fn push(
        &mut self,
        label: Option<i32>,
        fold: u16,
        position: u32,
        p: &[f32],
        classes: &[Class],
        calibration: &CrossCalibration,
    ) {
        let pred = best(p);
        // The margin is the label's, or without a label the prediction's.
        let of = if position == UNLABELLED {
            pred
        } else {
            position as usize
        };
        let others = p.iter().enumerate().filter(|(class, _)| *class != of);
        let rival = others.map(|(_, p)| *p).fold(0f32, f32::max);
        let entropy = p
            .iter()
            .filter(|p| **p > 0.0)
            .map(|p| -f64::from(*p) * f64::from(*p).ln());
        self.folds.push(in_fold(fold).map(|fold| fold as i16));
        self.labels.push(label);
        self.pred.push(classes[pred].number);
        self.p_label.push((position != UNLABELLED).then(|| p[of]));
        self.p_pred.push(p[pred]);
        (self.calibrated).push(calibration.share(in_fold(fold), p[pred]));
        self.margin.push(p[of] - rival);
        self.entropy.push(entropy.sum::<f64>() as f32);
    }
}

/// Rows of `probe_classes`, by position.
pub fn classes(classes: &[Class]) -> Result<RecordBatch> {
    probe_classes::Columns {
        position: (0..classes.len() as i32).collect(),
        class: classes.iter().map(|class| class.number).collect(),
        name: StringArray::from_iter_values(classes.iter().map(|class| &class.name)),
        images: classes.iter().map(|class| class.images).collect(),
    }
    .batch()
}

/// Rows of `probe_weights`: one per class of each fold's model.
pub fn weights(models: &[Model], classes: &[Class], dimension: usize) -> Result<RecordBatch> {
    let rows = (0i16..).zip(models).flat_map(|(fold, model)| {
        let of_classes = classes.iter().zip(&model.bias);
        of_classes.map(move |(class, bias)| (fold, class.number, *bias))
    });
    let rows: Vec<(i16, i32, f32)> = rows.collect();
    let values = models
        .iter()
        .flat_map(|model| model.weights.iter().copied());
    probe_weights::Columns {
        fold: rows.iter().map(|row| row.0).collect(),
        class: rows.iter().map(|row| row.1).collect(),
        bias: rows.iter().map(|row| row.2).collect(),
        weights: Lists::new(values.collect(), dimension.max(1)),
    }
    .batch()
}

/// The models that [`weights`] wrote.
pub fn read_models(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Model>> {
    let mut models: Vec<Model> = Vec::new();
    let columns = (
        probe_weights::fold,
        probe_weights::bias,
        probe_weights::weights,
    );
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for (fold, bias, weights) in batch.iter() {
            if usize::try_from(fold) == Ok(models.len()) {
                models.push(Model {
                    weights: Vec::new(),
                    bias: Vec::new(),
                });
            }
            let last = models.len().checked_sub(1);
            match models.last_mut() {
                Some(model) if usize::try_from(fold).ok() == last => {
                    model.bias.push(bias);
                    model.weights.extend_from_slice(weights);
                }
                _ => return Err(batch.unexpected("folds 0, 1, …", "another order")),
            }
        }
    }
    Ok(models)
}

/// The chosen penalty and all penalties tried.
pub struct PenaltySearch {
    pub l2: f64,
    pub trials: Vec<PenaltyTrial>,
}

/// Rows of `probe_quality`: the penalties tried, with the measured quality of the chosen one; a single row without a penalty if
/// nothing was trained.
pub fn quality(
    fitted: Option<&PenaltySearch>,
    tally: &Tally,
    calibration: &CrossCalibration,
) -> Result<RecordBatch> {
    let measured = tally.quality(calibration);
    let rows: Vec<(Option<&PenaltyTrial>, Option<Quality>)> = match fitted {
        Some(fitted) => (fitted.trials.iter())
            .map(|tried| (Some(tried), measured.filter(|_| tried.l2 == fitted.l2)))
            .collect(),
        None => (measured.into_iter())
            .map(|quality| (None, Some(quality)))
            .collect(),
    };
    let of_trial = |of: fn(&PenaltyTrial) -> f64| -> Float64Array {
        rows.iter().map(|row| row.0.map(of)).collect()
    };
    let of_chosen =
        |of: fn(Quality) -> f64| -> Float64Array { rows.iter().map(|row| row.1.map(of)).collect() };
    let either =
        |of_chosen: fn(Quality) -> f64, of_trial: fn(&PenaltyTrial) -> f64| -> Float64Array {
            let values = rows.iter();
            values
                .map(|row| row.1.map(of_chosen).or(row.0.map(of_trial)))
                .collect()
        };
    let tried = || rows.iter().map(|row| row.0);
    probe_quality::Columns {
        l2: of_trial(|trial| trial.l2),
        chosen: rows.iter().map(|row| Some(row.1.is_some())).collect(),
        log_loss: either(|quality| quality.log_loss, |trial| trial.log_loss),
        accuracy: either(|quality| quality.accuracy, |trial| trial.accuracy),
        ece: of_chosen(|quality| quality.ece),
        ece_calibrated: (rows.iter()).map(|row| row.1?.ece_calibrated).collect(),
        brier: of_chosen(|quality| quality.brier),
        images: vec![tally.images as u32; rows.len()].into(),
        passes: tried().map(|tried| Some(tried?.passes as i32)).collect(),
        converged: tried().map(|tried| Some(tried?.converged)).collect(),
    }
    .batch()
}

/// Quality of the chosen penalty, or of the network, that [`quality`] wrote.
pub fn read_chosen(run: &RunFolder, manifest: &Manifest) -> Result<Vec<(&'static str, f64)>> {
    let columns = (
        probe_quality::chosen,
        probe_quality::accuracy,
        probe_quality::log_loss,
        probe_quality::ece,
        probe_quality::ece_calibrated,
        probe_quality::l2,
    );
    let mut figures = Vec::new();
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        let mut rows = batch.iter();
        if let Some((_, accuracy, log_loss, ece, calibrated, l2)) = rows.find(|row| row.0) {
            figures.extend([("accuracy", accuracy), ("log_loss", log_loss)]);
            figures.extend(ece.map(|ece| ("ece", ece)));
            figures.extend(calibrated.map(|ece| ("ece_calibrated", ece)));
            figures.extend(l2.map(|l2| ("l2", l2)));
        }
    }
    Ok(figures)
}

/// Rows of `probe_calibration`: all bins, including empty ones.
pub fn calibration(tally: &Tally) -> Result<RecordBatch> {
    let bins = &tally.bins;
    let mean = |of: fn((f64, f64)) -> f64| -> Float32Array {
        let means = bins.iter().map(|bin| bin.means());
        means
            .map(|means| means.map(|means| of(means) as f32))
            .collect()
    };
    probe_calibration::Columns {
        bin: (0..bins.len() as i32).collect(),
        images: bins.iter().map(|bin| bin.images as u32).collect(),
        confidence: mean(|means| means.0),
        accuracy: mean(|means| means.1),
    }
    .batch()
}
