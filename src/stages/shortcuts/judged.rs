//! What a classifier says of the labelled images: the probe's out-of-fold predictions, or the network's.

use prospect_common::Result;
use prospect_engine::{
    Context,
    schema::{predictions, probe},
    tables::classes::{ClassNames, labels},
};
use prospect_store::Manifest;

/// By image id.
pub struct Judged {
    pub names: ClassNames,
    /// The dataset's classes that are labels, ascending; others are counted by their place here.
    pub classes: Vec<i32>,
    /// Place of the label in `classes`.
    pub label: Vec<Option<u32>>,
    /// Whether the classifier says so too.
    pub right: Vec<Option<bool>>,
    /// Probability that it gives the label.
    pub p_label: Vec<Option<f32>>,
    /// The fold whose probe has not seen it.
    pub fold: Vec<Option<u16>>,
    /// `probe` or `network`; `None` where nobody predicts these classes.
    pub source: Option<String>,
}

impl Judged {
    /// The image's label, as its place in `classes`.
    pub fn label_of(&self, image_id: u32) -> Option<u32> {
        self.label.get(image_id as usize).copied().flatten()
    }

    /// Takes some 30 bytes an image.
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Judged> {
        let names = ClassNames::read(ctx.run, manifest)?;
        let labels = labels(ctx.run, manifest)?;
        let mut classes: Vec<i32> = labels.iter().flatten().copied().collect();
        classes.sort_unstable();
        classes.dedup();
        let place = |label: i32| classes.binary_search(&label).ok().map(|at| at as u32);
        let mut judged = Judged {
            label: labels.iter().map(|label| label.and_then(place)).collect(),
            right: vec![None; labels.len()],
            p_label: vec![None; labels.len()],
            fold: vec![None; labels.len()],
            source: None,
            names,
            classes,
        };
        let network = judged.names.network_of_dataset();
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
                    (judged.source).get_or_insert_with(|| source.to_string());
                    if judged.judge(id, Some, predicted, p_label) {
                        judged.fold[id as usize] = fold.and_then(|fold| u16::try_from(fold).ok());
                    }
                }
            }
        } else if manifest.has(predictions::NAME) && !network.is_empty() {
            let columns = (
                predictions::image_id,
                predictions::pred,
                predictions::p_label,
            );
            judged.source = Some("network".into());
            for batch in ctx.run.rows(manifest, columns) {
                ctx.cancel.check()?;
                for (id, predicted, p_label) in batch?.iter() {
                    judged.judge(id, |label| network.get(&label).copied(), predicted, p_label);
                }
            }
        }
        if judged.right.iter().all(Option::is_none) {
            judged.source = None;
        }
        Ok(judged)
    }

    /// Takes up what the classifier says of an image with a label; `class_of` says the classifier's class of a label. Whether
    /// there was anything to take up: a label that is none of its classes has no probability.
    fn judge(
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
        self.right[id as usize] = Some(predicted == class);
        self.p_label[id as usize] = Some(p);
        true
    }
}
