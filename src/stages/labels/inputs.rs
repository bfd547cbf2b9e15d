//! Inputs of the label error detector, from the run's tables.

use std::collections::{BTreeMap, HashMap};

use prospect_analysis::audit::label_issues::{NeighborRows, Probabilities, UNLABELLED, voters};
use prospect_common::Result;
use prospect_config::ProbabilitySource;
use prospect_engine::{
    Context,
    schema::{label_votes, neighbors, probe, probe_classes, probe_quality},
    tables::{
        related::related_groups,
        reviewed::{ReviewedLabel, reviewed_labels},
    },
};
use prospect_store::Manifest;

/// Annotators disagree if fewer of them chose the same class.
const MIN_MAJORITY: f32 = 0.8;

/// One row per image of table `probe`, in order of the ids.
#[derive(Debug, Default)]
pub struct Inputs {
    pub image_ids: Vec<u32>,
    /// The dataset's class of each probability.
    pub classes: Vec<i32>,
    /// Index of the label in `classes`; [`UNLABELLED`] without a label or if the class could not be learned.
    pub given: Vec<u32>,
    /// `[images, classes]`, out of sample.
    pub probabilities: Vec<f32>,
    /// Fold of the probe; 0 for images without one, which have no label.
    pub folds: Vec<u16>,
    /// Whether the probabilities are the network's own; then nothing is trained here.
    pub of_network: bool,
    /// L2 penalty of the probe.
    pub l2: f64,
    /// The layers that the probabilities come from instead of the features, if these have memorised the labels.
    pub layers: Vec<String>,
    /// Whether the image's annotators disagree.
    pub disputed: Vec<bool>,
    /// Those that vote.
    pub neighbors: NeighborRows,
    /// Related images share a number: they are copies, or in one group of `[audit] group`.
    pub groups: Vec<u32>,
    /// The reviewed labels, by image id.
    pub reviewed: BTreeMap<u32, ReviewedLabel>,
    /// Index in `classes` of the reviewed class of each row; [`UNLABELLED`] if it is unknown.
    pub decided: HashMap<usize, u32>,
    /// `given`, or the reviewed class.
    pub corrected: Vec<u32>,
}

impl Inputs {
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        if manifest.has(probe_classes::NAME) {
            inputs.read_classes(ctx, manifest)?;
        }
        if manifest.has(probe::NAME) {
            inputs.read_probe(ctx, manifest)?;
        }
        if manifest.has(probe_quality::NAME) {
            inputs.read_penalty(ctx, manifest)?;
        }
        inputs.groups = related_groups(ctx, manifest, &inputs.image_ids)?;
        let places: HashMap<u32, u32> = inputs.image_ids.iter().copied().zip(0..).collect();
        let mut lists = vec![Vec::new(); inputs.image_ids.len()];
        if manifest.has(neighbors::NAME) {
            let columns = (neighbors::image_id, neighbors::neighbor_id);
            for batch in ctx.run.rows(manifest, columns) {
                for (image_id, neighbor_id) in batch?.iter() {
                    let rows = places.get(&image_id).zip(places.get(&neighbor_id));
                    if let Some((row, neighbor)) = rows {
                        lists[*row as usize].push(*neighbor);
                    }
                }
            }
        }
        for (own, list) in inputs.groups.iter().zip(&mut lists) {
            let labelled = list.iter().map(|row| *row as usize);
            let labelled = labelled.filter(|row| inputs.given[*row] != UNLABELLED);
            *list = voters(*own, labelled.map(|row| (inputs.groups[row], row as u32)));
        }
        inputs.neighbors = NeighborRows::new(lists);
        inputs.disputed = vec![false; inputs.image_ids.len()];
        if manifest.has(label_votes::NAME) {
            let columns = (label_votes::image_id, label_votes::majority_share);
            for batch in ctx.run.rows(manifest, columns) {
                for (image_id, share) in batch?.iter() {
                    if let Some(row) = places.get(&image_id) {
                        inputs.disputed[*row as usize] = share < MIN_MAJORITY;
                    }
                }
            }
        }
        inputs.reviewed = reviewed_labels(ctx.config, ctx.run, manifest)?;
        inputs.decide();
        Ok(inputs)
    }

    pub fn probabilities(&self) -> Probabilities<'_> {
        Probabilities {
            classes: self.classes.len(),
            values: &self.probabilities,
        }
    }

    /// Number of images whose labels can be evaluated.
    pub fn evaluated(&self) -> usize {
        let evaluated = self.given.iter().filter(|label| **label != UNLABELLED);
        evaluated.count()
    }

    fn decide(&mut self) {
        let classes = self.classes.iter();
        let places: HashMap<i32, u32> = classes.copied().zip(0..).collect();
        self.corrected = self.given.clone();
        for (image_id, label) in &self.reviewed {
            let row = self.image_ids.binary_search(image_id);
            if let Ok(row) = row
                && self.given[row] != UNLABELLED
            {
                let class = label.class.and_then(|class| places.get(&class));
                self.corrected[row] = class.copied().unwrap_or(UNLABELLED);
                self.decided.insert(row, self.corrected[row]);
            }
        }
    }

    fn read_classes(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        for batch in ctx
            .run
            .rows(manifest, (probe_classes::position, probe_classes::class))
        {
            let batch = batch?;
            for (position, class) in batch.iter() {
                if usize::try_from(position) != Ok(self.classes.len()) {
                    let expected = "classes at positions 0, 1, …";
                    return Err(batch.unexpected(expected, "another order"));
                }
                self.classes.push(class);
            }
        }
        Ok(())
    }

    fn read_probe(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        let columns = (
            probe::image_id,
            probe::source,
            probe::fold,
            probe::label,
            probe::probabilities,
        );
        let n = self.classes.len();
        let places: HashMap<i32, u32> = self.classes.iter().copied().zip(0..).collect();
        for batch in ctx.run.rows(manifest, columns) {
            let batch = batch?;
            ctx.cancel.check()?;
            batch.check_length(&batch.columns().4, n)?;
            for (image_id, source, fold, label, probabilities) in batch.iter() {
                self.image_ids.push(image_id);
                self.probabilities.extend_from_slice(probabilities);
                self.of_network |= source == ProbabilitySource::Network.name();
                let label = label.and_then(|label| places.get(&label).copied());
                // A single class has no alternative.
                let label = label.filter(|_| n > 1);
                let learned = fold.is_some() || self.of_network;
                self.given
                    .push(label.filter(|_| learned).unwrap_or(UNLABELLED));
                self.folds
                    .push(fold.and_then(|fold| u16::try_from(fold).ok()).unwrap_or(0));
            }
        }
        Ok(())
    }

    fn read_penalty(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        for batch in ctx
            .run
            .rows(manifest, (probe_quality::l2, probe_quality::chosen))
        {
            for (l2, chosen) in batch?.iter() {
                if chosen {
                    self.l2 = l2.unwrap_or(self.l2);
                }
            }
        }
        Ok(())
    }
}
