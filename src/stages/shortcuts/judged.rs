//! What a classifier says of the labelled images: the probe's out-of-fold predictions, or the network's.

use std::collections::BTreeMap;

use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::{
        classes::{ClassNames, labels},
        columns::{Columns, integer, number, text},
    },
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
        if manifest.has("probe") {
            judged.read_predictions(ctx, manifest, "probe", None)?;
        } else if manifest.has("predictions") {
            let network = judged.names.network_of_dataset();
            if !network.is_empty() {
                judged.read_predictions(ctx, manifest, "predictions", Some(&network))?;
            }
        }
        Ok(judged)
    }

    /// `network_of` says the network's class of a label, where the table speaks of the network's classes.
    fn read_predictions(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        table: &str,
        network_of: Option<&BTreeMap<i32, i32>>,
    ) -> Result<()> {
        let mut names = vec!["image_id", "pred", "p_label"];
        if network_of.is_none() {
            names.extend(["source", "fold"]);
        }
        for batch in ctx.run.read(manifest, table).columns(&names) {
            let batch = batch?;
            ctx.cancel.check()?;
            let columns = Columns::of(ctx.run, table, &batch);
            let folds = match network_of {
                None => Some(columns.integers("fold")?),
                Some(_) => None,
            };
            let (predicted, of_label) = (columns.integers("pred")?, columns.numbers("p_label")?);
            if self.source.is_none() {
                self.source = Some(match network_of {
                    Some(_) => "network".into(),
                    None => (text(&columns.texts("source")?, 0).unwrap_or("probe")).to_string(),
                });
            }
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                let id = id as usize;
                let Some(Some(label)) = self.label.get(id) else {
                    continue;
                };
                let label = self.classes[*label as usize];
                let class = match network_of {
                    Some(network_of) => network_of.get(&label).copied(),
                    None => Some(label),
                };
                // A label that is none of the classifier's classes has no probability.
                if let (Some(class), Some(p)) = (class, number(&of_label, row)) {
                    self.right[id] =
                        integer(&predicted, row).map(|found| found == i64::from(class));
                    self.p_label[id] = Some(p as f32);
                    let fold = folds.as_ref().and_then(|folds| integer(folds, row));
                    self.fold[id] = fold.and_then(|fold| u16::try_from(fold).ok());
                }
            }
        }
        if self.right.iter().all(Option::is_none) {
            self.source = None;
        }
        Ok(())
    }
}
