//! The rows of the probe's tables.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int16Array,
        Int32Array, RecordBatch, StringArray, UInt32Array, new_null_array,
    },
    datatypes::{DataType, Field},
};
use prospect_analysis::space::linalg::logistic::{Model, NO_FOLD, Tried, UNLABELLED};
use prospect_common::{Error, Result};
use prospect_engine::tables::columns::{Columns, number, repeated, table};
use prospect_store::{Manifest, RunFolder};

use super::{
    inputs::{Class, Inputs},
    judge::Chunk,
    quality::{Quality, Tally, best},
};

pub const WEIGHTS: &str = "probe_weights";
pub const QUALITY: &str = "probe_quality";

/// Rows of `probe`. `classes`: how many, at least 1 for a table without rows.
pub fn probe(chunk: &Chunk, inputs: &Inputs, classes: usize, source: &str) -> Result<RecordBatch> {
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
        );
    }
    let probabilities = Arc::new(Float32Array::from_iter_values(
        chunk.probabilities.iter().copied(),
    ));
    table([
        (
            "image_id",
            Arc::new(UInt32Array::from(chunk.image_ids.clone())),
            false,
        ),
        ("source", repeated(source, n), false),
        ("fold", Arc::new(Int16Array::from(rows.folds)), true),
        ("label", Arc::new(Int32Array::from(rows.labels)), true),
        ("pred", Arc::new(Int32Array::from(rows.pred)), false),
        ("p_label", Arc::new(Float32Array::from(rows.p_label)), true),
        ("p_pred", Arc::new(Float32Array::from(rows.p_pred)), false),
        ("margin", Arc::new(Float32Array::from(rows.margin)), false),
        ("entropy", Arc::new(Float32Array::from(rows.entropy)), false),
        (
            "probabilities",
            fixed_lists(probabilities, classes, n)?,
            false,
        ),
    ])
}

#[derive(Default)]
struct Rows {
    folds: Vec<Option<i16>>,
    labels: Vec<Option<i32>>,
    pred: Vec<i32>,
    p_label: Vec<Option<f32>>,
    p_pred: Vec<f32>,
    margin: Vec<f32>,
    entropy: Vec<f32>,
}

impl Rows {
    fn push(&mut self, label: Option<i32>, fold: u16, position: u32, p: &[f32], classes: &[Class]) {
        let pred = best(p);
        // The label's, or without one that of the prediction.
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
        self.folds.push((fold != NO_FOLD).then_some(fold as i16));
        self.labels.push(label);
        self.pred.push(classes[pred].number);
        self.p_label.push((position != UNLABELLED).then(|| p[of]));
        self.p_pred.push(p[pred]);
        self.margin.push(p[of] - rival);
        self.entropy.push(entropy.sum::<f64>() as f32);
    }
}

/// By position.
pub fn classes(classes: &[Class]) -> Result<RecordBatch> {
    let numbers = classes.iter().map(|class| class.number);
    let names = classes.iter().map(|class| class.name.as_str());
    let images = classes.iter().map(|class| class.images);
    table([
        (
            "position",
            Arc::new(Int32Array::from_iter_values(0..classes.len() as i32)),
            false,
        ),
        (
            "class",
            Arc::new(Int32Array::from_iter_values(numbers)),
            false,
        ),
        (
            "name",
            Arc::new(StringArray::from_iter_values(names)),
            false,
        ),
        (
            "images",
            Arc::new(UInt32Array::from_iter_values(images)),
            false,
        ),
    ])
}

/// A row for each class of each fold's model.
pub fn weights(models: &[Model], classes: &[Class], dimension: usize) -> Result<RecordBatch> {
    let rows = (0i16..).zip(models).flat_map(|(fold, model)| {
        let of_classes = classes.iter().zip(&model.bias);
        of_classes.map(move |(class, bias)| (fold, class.number, *bias))
    });
    let rows: Vec<(i16, i32, f32)> = rows.collect();
    let values = models
        .iter()
        .flat_map(|model| model.weights.iter().copied());
    let values = Arc::new(Float32Array::from_iter_values(values));
    let (folds, numbers) = (rows.iter().map(|row| row.0), rows.iter().map(|row| row.1));
    let biases = rows.iter().map(|row| row.2);
    table([
        ("fold", Arc::new(Int16Array::from_iter_values(folds)), false),
        (
            "class",
            Arc::new(Int32Array::from_iter_values(numbers)),
            false,
        ),
        (
            "bias",
            Arc::new(Float32Array::from_iter_values(biases)),
            false,
        ),
        (
            "weights",
            fixed_lists(values, dimension, rows.len())?,
            false,
        ),
    ])
}

/// The models, as [`weights`] wrote them.
pub fn read_models(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Model>> {
    let mut models: Vec<Model> = Vec::new();
    for batch in run
        .read(manifest, WEIGHTS)
        .columns(&["fold", "bias", "weights"])
    {
        let batch = batch?;
        let columns = Columns::of(run, WEIGHTS, &batch);
        let (folds, biases) = (columns.integers("fold")?, columns.numbers("bias")?);
        let dimension = columns.list_length("weights")?;
        let weights = columns.float_lists("weights", dimension)?;
        let rows = folds
            .iter()
            .zip(biases.iter())
            .zip(weights.chunks_exact(dimension.max(1)));
        for ((fold, bias), weights) in rows {
            if fold == Some(models.len() as i64) {
                models.push(Model {
                    weights: Vec::new(),
                    bias: Vec::new(),
                });
            }
            let last = models.len() as i64 - 1;
            match (models.last_mut(), bias) {
                (Some(model), Some(bias)) if fold == Some(last) => {
                    model.bias.push(bias as f32);
                    model.weights.extend_from_slice(weights);
                }
                _ => return Err(columns.unexpected("folds 0, 1, …", "something else")),
            }
        }
    }
    Ok(models)
}

/// How the models came about.
pub struct Fitted {
    pub l2: f64,
    pub tried: Vec<Tried>,
}

/// The penalties that were tried, with what is said of the images by the chosen one; a row without a penalty where nothing was
/// trained.
pub fn quality(fitted: Option<&Fitted>, found: &Tally) -> Result<RecordBatch> {
    let measured = found.quality();
    let rows: Vec<(Option<&Tried>, Option<Quality>)> = match fitted {
        Some(fitted) => (fitted.tried.iter())
            .map(|tried| (Some(tried), measured.filter(|_| tried.l2 == fitted.l2)))
            .collect(),
        None => (measured.into_iter())
            .map(|found| (None, Some(found)))
            .collect(),
    };
    let of_tried = |of: fn(&Tried) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter(
            rows.iter().map(|row| row.0.map(of)),
        ))
    };
    let of_chosen = |of: fn(Quality) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter(
            rows.iter().map(|row| row.1.map(of)),
        ))
    };
    let either = |of_chosen: fn(Quality) -> f64, of_tried: fn(&Tried) -> f64| -> ArrayRef {
        let values = rows
            .iter()
            .map(|row| row.1.map(of_chosen).or(row.0.map(of_tried)));
        Arc::new(Float64Array::from_iter(values))
    };
    let chosen: Vec<bool> = rows.iter().map(|row| row.1.is_some()).collect();
    let images = vec![found.images as u32; rows.len()];
    let passes = rows
        .iter()
        .map(|row| row.0.map(|tried| tried.passes as i32));
    let converged = rows.iter().map(|row| row.0.map(|tried| tried.converged));
    table([
        ("l2", of_tried(|tried| tried.l2), true),
        ("chosen", Arc::new(BooleanArray::from(chosen)), false),
        (
            "log_loss",
            either(|found| found.log_loss, |tried| tried.log_loss),
            false,
        ),
        (
            "accuracy",
            either(|found| found.accuracy, |tried| tried.accuracy),
            false,
        ),
        ("ece", of_chosen(|found| found.ece), true),
        ("brier", of_chosen(|found| found.brier), true),
        ("images", Arc::new(UInt32Array::from(images)), false),
        ("passes", Arc::new(Int32Array::from_iter(passes)), true),
        (
            "converged",
            Arc::new(BooleanArray::from_iter(converged)),
            true,
        ),
    ])
}

/// Figures of the chosen penalty, or of the network, as [`quality`] wrote them.
pub fn read_chosen(run: &RunFolder, manifest: &Manifest) -> Result<Vec<(&'static str, f64)>> {
    const FIGURES: [&str; 4] = ["accuracy", "log_loss", "ece", "l2"];
    let mut found = Vec::new();
    for batch in run.read(manifest, QUALITY) {
        let batch = batch?;
        let columns = Columns::of(run, QUALITY, &batch);
        let chosen = columns.integers("chosen")?;
        let Some(row) = chosen.iter().position(|chosen| chosen == Some(1)) else {
            continue;
        };
        for name in FIGURES {
            found.extend(number(&columns.numbers(name)?, row).map(|figure| (name, figure)));
        }
    }
    Ok(found)
}

/// Every bin, also those that no image lies in.
pub fn calibration(found: &Tally) -> Result<RecordBatch> {
    let bins = &found.bins;
    let mean = |of: fn((f64, f64)) -> f64| -> ArrayRef {
        let means = bins
            .iter()
            .map(|bin| bin.means().map(|means| of(means) as f32));
        Arc::new(Float32Array::from_iter(means))
    };
    let images = bins.iter().map(|bin| bin.images as u32);
    table([
        (
            "bin",
            Arc::new(Int32Array::from_iter_values(0..bins.len() as i32)),
            false,
        ),
        (
            "images",
            Arc::new(UInt32Array::from_iter_values(images)),
            false,
        ),
        ("confidence", mean(|means| means.0), true),
        ("accuracy", mean(|means| means.1), true),
    ])
}

fn fixed_lists(values: ArrayRef, length: usize, rows: usize) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", DataType::Float32, false));
    if rows == 0 {
        let kind = DataType::FixedSizeList(field, length.max(1) as i32);
        return Ok(new_null_array(&kind, 0));
    }
    let lists = FixedSizeListArray::try_new(field, length as i32, values, None);
    let lists = lists.map_err(|error| Error::internal("a table's lists", error))?;
    Ok(Arc::new(lists))
}
