//! Counting, one batch of rows at a time.

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

/// What is to be told about a run. Labels take 8 bytes an image while it is counted.
pub struct Counted {
    pub names: ClassNames,
    /// Labels against predictions, both as the network's classes; images whose label is one of these.
    pub confusion: Vec<Pair>,
    /// The dataset's class of each of the network's classes that is a label.
    pub label_of: BTreeMap<i32, i32>,
    /// The dataset's classes that the network does not know by name.
    pub unknown_labels: usize,
    /// Labels against neighbours' labels, as the dataset's classes.
    pub overlap: Vec<Pair>,
    /// The most neighbours that an image has.
    pub k: i16,
    pub bar: Bar,
}

impl Counted {
    pub fn of_run(ctx: &Context, manifest: &Manifest) -> Result<Counted> {
        let names = ClassNames::read(ctx.run, manifest)?;
        let network_of = names.network_of_dataset();
        let tables = [predictions::NAME, neighbors::NAME];
        // Without any readable image, extract has written no table.
        let there = tables.map(|name| manifest.has(name));
        let rows = |place: usize| match there[place] {
            true => ctx.run.read(manifest, tables[place]).rows(),
            false => 0,
        };
        let bar = (ctx.progress).stage("confusion", rows(0) + rows(1), "rows");
        let mut counted = Counted {
            unknown_labels: names.dataset.len() - network_of.len(),
            label_of: network_of.iter().map(|(l, c)| (*c, *l)).collect(),
            names,
            confusion: Vec::new(),
            overlap: Vec::new(),
            k: 0,
            bar,
        };
        let labels = labels(ctx.run, manifest)?;
        if there[0] {
            counted.count_predictions(ctx, manifest, &labels, &network_of)?;
        }
        if there[1] {
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
                // A label that is none of the network's classes has no probability.
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
