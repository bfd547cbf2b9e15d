//! Counts pairs of classes, a batch of rows at a time.

use std::collections::BTreeMap;

use prospect_analysis::space::confusion::{Counts, Pair};
use prospect_common::Result;
use prospect_engine::{
    Context,
    progress::Bar,
    schema::{neighbors, predictions},
    tables::classes::{ClassNames, labels},
};
use prospect_store::Manifest;

/// Rows in memory at a time.
const BATCH_ROWS: usize = 65_536;

/// Class pair counts of a run. While counting, labels take 8 bytes per image.
pub struct PairCounts {
    pub names: ClassNames,
    /// Labels against predictions, both as the network's classes; only images whose label the network knows.
    pub confusion: Vec<Pair>,
    /// The dataset's class of each network class that occurs as a label.
    pub label_of: BTreeMap<i32, i32>,
    /// Number of the dataset's classes that the network does not know by name.
    pub unknown_labels: usize,
    /// Labels against neighbours' labels, both as the dataset's classes.
    pub overlap: Vec<Pair>,
    /// Largest number of neighbours of an image.
    pub k: i16,
    pub bar: Bar,
}

impl PairCounts {
    pub fn of_run(ctx: &Context, manifest: &Manifest) -> Result<PairCounts> {
        let names = ClassNames::read(ctx.run, manifest)?;
        let network_of = names.network_of_dataset();
        let tables = [predictions::NAME, neighbors::NAME];
        // Without a readable image, extract writes no table.
        let exists = tables.map(|name| manifest.has(name));
        let rows = |place: usize| match exists[place] {
            true => ctx.run.read(manifest, tables[place]).rows(),
            false => 0,
        };
        let bar = (ctx.progress).stage("confusion", rows(0) + rows(1), "rows");
        let mut counted = PairCounts {
            unknown_labels: names.dataset.len() - network_of.len(),
            label_of: network_of.iter().map(|(l, c)| (*c, *l)).collect(),
            names,
            confusion: Vec::new(),
            overlap: Vec::new(),
            k: 0,
            bar,
        };
        let labels = labels(ctx.run, manifest)?;
        if exists[0] {
            counted.count_predictions(ctx, manifest, &labels, &network_of)?;
        }
        if exists[1] {
            counted.count_neighbors(ctx, manifest, &labels)?;
        }
        Ok(counted)
    }

    fn count_predictions(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        labels: &[Option<i32>],
        network_of: &BTreeMap<i32, i32>,
    ) -> Result<()> {
        let mut counts = Counts::default();
        let columns = (
            predictions::image_id,
            predictions::pred,
            predictions::p_label,
        );
        for batch in ctx.run.rows(manifest, columns).batch_rows(BATCH_ROWS) {
            let batch = batch?;
            ctx.cancel.check()?;
            for (id, predicted, of_label) in batch.iter() {
                let label = labels.get(id as usize).copied().flatten();
                let class = label.and_then(|label| network_of.get(&label).copied());
                let class = class.and_then(|class| u32::try_from(class).ok());
                let predicted = u32::try_from(predicted).ok();
                // A label that is not one of the network's classes has no probability.
                if let (Some(class), Some(predicted), Some(_)) = (class, predicted, of_label) {
                    counts.add(class, predicted);
                }
            }
            self.bar.advance(batch.len() as u64);
        }
        self.confusion = counts.pairs();
        Ok(())
    }

    fn count_neighbors(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        labels: &[Option<i32>],
    ) -> Result<()> {
        let mut counts = Counts::default();
        let label = |id: u32| {
            let label = labels.get(id as usize).copied().flatten()?;
            u32::try_from(label).ok()
        };
        let columns = (neighbors::image_id, neighbors::rank, neighbors::neighbor_id);
        for batch in ctx.run.rows(manifest, columns).batch_rows(BATCH_ROWS) {
            let batch = batch?;
            ctx.cancel.check()?;
            for (image_id, rank, neighbor_id) in batch.iter() {
                self.k = self.k.max(rank);
                if let (Some(from), Some(to)) = (label(image_id), label(neighbor_id)) {
                    counts.add(from, to);
                }
            }
            self.bar.advance(batch.len() as u64);
        }
        self.overlap = counts.pairs();
        Ok(())
    }
}
