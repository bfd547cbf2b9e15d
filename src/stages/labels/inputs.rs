//! What the detector needs of a run's tables.

use std::collections::HashMap;

use prospect_analysis::audit::label_issues::{NeighborRows, Probabilities, UNLABELLED};
use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::columns::{Columns, integer, number, text},
};
use prospect_store::Manifest;

use super::super::neighbors::read_edges;

/// Of every image that the probe has a row for, in order of the ids.
#[derive(Debug, Default)]
pub struct Inputs {
    pub image_ids: Vec<u32>,
    /// The dataset's classes by their place among the probabilities.
    pub classes: Vec<i32>,
    /// Place of the label's class, or [`UNLABELLED`]; also where nothing could be learned of that class.
    pub given: Vec<u32>,
    /// `[images, classes]`, of a classifier that has not seen the image's label.
    pub first: Vec<f32>,
    /// Fold of the probe; 0 where there is none, which concerns images without a label alone.
    pub folds: Vec<u16>,
    /// The probabilities are the network's own: nothing was trained on these labels.
    pub of_network: bool,
    /// The probe's penalty.
    pub l2: f64,
    pub neighbors: NeighborRows,
}

impl Inputs {
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        if manifest.has("probe_classes") {
            inputs.read_classes(ctx, manifest)?;
        }
        if manifest.has("probe") {
            inputs.read_probe(ctx, manifest)?;
        }
        if manifest.has("probe_quality") {
            inputs.read_penalty(ctx, manifest)?;
        }
        let places: HashMap<u32, u32> = inputs.image_ids.iter().copied().zip(0..).collect();
        let mut lists = vec![Vec::new(); inputs.image_ids.len()];
        if manifest.has("neighbors") {
            let columns = ["image_id", "neighbor_id", "distance"];
            for batch in ctx.run.read(manifest, "neighbors").columns(&columns) {
                let batch = batch?;
                let columns = Columns::of(ctx.run, "neighbors", &batch);
                for (id, neighbor) in read_edges(&columns)? {
                    let row = places.get(&id).zip(places.get(&neighbor.id));
                    if let Some((row, neighbor)) = row {
                        lists[*row as usize].push(*neighbor);
                    }
                }
            }
        }
        inputs.neighbors = NeighborRows::new(lists);
        Ok(inputs)
    }

    pub fn first(&self) -> Probabilities<'_> {
        Probabilities {
            classes: self.classes.len(),
            values: &self.first,
        }
    }

    /// Images whose labels can be judged.
    pub fn judged(&self) -> usize {
        let judged = self.given.iter().filter(|label| **label != UNLABELLED);
        judged.count()
    }

    fn read_classes(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        const TABLE: &str = "probe_classes";
        let mut classes = Vec::new();
        for batch in ctx.run.read(manifest, TABLE) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, TABLE, &batch);
            let (positions, numbers) = (columns.integers("position")?, columns.integers("class")?);
            for row in 0..batch.num_rows() {
                let class = integer(&numbers, row).and_then(|class| i32::try_from(class).ok());
                let class =
                    class.filter(|_| integer(&positions, row) == Some(classes.len() as i64));
                let class = class.ok_or_else(|| {
                    columns.unexpected("classes at positions 0, 1, …", "something else")
                })?;
                classes.push(class);
            }
        }
        self.classes = classes;
        Ok(())
    }

    fn read_probe(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        const TABLE: &str = "probe";
        let columns = ["image_id", "source", "fold", "label", "probabilities"];
        let places: HashMap<i64, u32> = (self.classes.iter().map(|class| i64::from(*class)))
            .zip(0..)
            .collect();
        for batch in ctx.run.read(manifest, TABLE).columns(&columns) {
            let batch = batch?;
            ctx.cancel.check()?;
            let columns = Columns::of(ctx.run, TABLE, &batch);
            let (folds, labels) = (columns.integers("fold")?, columns.integers("label")?);
            let sources = columns.texts("source")?;
            self.image_ids.extend(columns.image_ids()?);
            self.first
                .extend(columns.float_lists("probabilities", self.classes.len())?);
            for row in 0..batch.num_rows() {
                self.of_network |= text(&sources, row) == Some("network");
                let fold = integer(&folds, row);
                let label = integer(&labels, row).and_then(|label| places.get(&label).copied());
                // One class is not to be told from any other.
                let label = label.filter(|_| self.classes.len() > 1);
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
        const TABLE: &str = "probe_quality";
        for batch in ctx.run.read(manifest, TABLE).columns(&["l2", "chosen"]) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, TABLE, &batch);
            let (penalties, chosen) = (columns.numbers("l2")?, columns.integers("chosen")?);
            for row in 0..batch.num_rows() {
                if integer(&chosen, row) == Some(1) {
                    self.l2 = number(&penalties, row).unwrap_or(self.l2);
                }
            }
        }
        Ok(())
    }
}
