//! Evaluation of the classifier on the labelled images: out-of-fold predictions of the probe, or those of the network.

use prospect_common::Result;
use prospect_engine::{
    Context,
    schema::{predictions, probe},
    tables::classes::{ClassNames, labels},
};
use prospect_store::Manifest;

/// Labels and predictions by image id.
pub struct Evaluation {
    pub names: ClassNames,
    /// The classes that occur as labels, ascending; elsewhere classes are indices into this list.
    pub classes: Vec<i32>,
    /// Index of the label in `classes`.
    pub label: Vec<Option<u32>>,
    /// Whether the prediction equals the label.
    pub correct: Vec<Option<bool>>,
    /// Predicted probability of the label.
    pub p_label: Vec<Option<f32>>,
    /// The fold whose probe was not trained on the image.
    pub fold: Vec<Option<u16>>,
    /// `probe` or `network`; `None` if neither predicts these classes.
    pub source: Option<String>,
}

impl Evaluation {
    /// The image's label, as an index into `classes`.
    pub fn label_of(&self, image_id: u32) -> Option<u32> {
        self.label.get(image_id as usize).copied().flatten()
    }

    /// Takes about 30 bytes per image.
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Evaluation> {
        let names = ClassNames::read(ctx.run, manifest)?;
        let labels = labels(ctx.run, manifest)?;
        let mut classes: Vec<i32> = labels.iter().flatten().copied().collect();
        classes.sort_unstable();
        classes.dedup();
        let place = |label: i32| classes.binary_search(&label).ok().map(|at| at as u32);
        let mut evaluation = Evaluation {
            label: labels.iter().map(|label| label.and_then(place)).collect(),
            correct: vec![None; labels.len()],
            p_label: vec![None; labels.len()],
            fold: vec![None; labels.len()],
            source: None,
            names,
            classes,
        };
        let network = evaluation.names.network_of_dataset();
        if manifest.has(probe::NAME) {
            let columns = (
                probe::image_id,
                probe::pred,
                probe::p_label,
                probe::source,
                probe::fold,
            );
            for batch in ctx.run.rows(manifest, columns) {
                ctx.cancel.check()?;
                for (id, predicted, p_label, source, fold) in batch?.iter() {
                    (evaluation.source).get_or_insert_with(|| source.to_string());
                    if evaluation.record(id, Some, predicted, p_label) {
                        evaluation.fold[id as usize] =
                            fold.and_then(|fold| u16::try_from(fold).ok());
                    }
                }
            }
        } else if manifest.has(predictions::NAME) && !network.is_empty() {
            let columns = (
                predictions::image_id,
                predictions::pred,
                predictions::p_label,
            );
            evaluation.source = Some("network".into());
            for batch in ctx.run.rows(manifest, columns) {
                ctx.cancel.check()?;
                for (id, predicted, p_label) in batch?.iter() {
                    evaluation.record(id, |label| network.get(&label).copied(), predicted, p_label);
                }
            }
        }
        if evaluation.correct.iter().all(Option::is_none) {
            evaluation.source = None;
        }
        Ok(evaluation)
    }

    /// Records the prediction of a labelled image; `class_of` maps a label to the classifier's class. Returns false if the
    /// label is not one of its classes: then it has no probability.
    fn record(
        &mut self,
        id: u32,
        class_of: impl Fn(i32) -> Option<i32>,
        predicted: i32,
        p_label: Option<f32>,
    ) -> bool {
        let class = (self.label_of(id)).and_then(|label| class_of(self.classes[label as usize]));
        let (Some(class), Some(p)) = (class, p_label) else {
            return false;
        };
        self.correct[id as usize] = Some(predicted == class);
        self.p_label[id as usize] = Some(p);
        true
    }
}
