//! Inputs of the projections: features and neighbours; and the progress of their phases.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use prospect_analysis::space::neighbors::{Graph, Neighbor};
use prospect_common::Result;
use prospect_engine::{
    Context,
    progress::Bar,
    schema::neighbors,
    tables::features::{Features, read_features},
};
use prospect_model::device::{self, Device};
use prospect_store::{Manifest, RunFolder};

/// Inputs shared by all methods.
pub struct Inputs<'a> {
    pub ctx: &'a Context<'a>,
    pub features: Features,
    /// Images left out because their features are not finite.
    pub left_out: usize,
    /// The table `neighbors`, with ids replaced by rows of `features`.
    pub graph: Graph,
    pub device: Device,
}

impl<'a> Inputs<'a> {
    pub fn read(ctx: &'a Context<'a>, manifest: &Manifest) -> Result<Inputs<'a>> {
        let (features, left_out) = read_features(ctx.run, manifest)?;
        let graph = read_graph(ctx.run, manifest, &features.image_ids)?;
        Ok(Inputs {
            ctx,
            features,
            left_out,
            graph,
            device: device::choose(ctx.config.model.device)?,
        })
    }

    /// Number of images.
    pub fn n(&self) -> usize {
        self.features.image_ids.len()
    }
}

/// The neighbours of each image, as rows of `image_ids`.
fn read_graph(run: &RunFolder, manifest: &Manifest, image_ids: &[u32]) -> Result<Graph> {
    let rows: HashMap<u32, u32> = image_ids.iter().copied().zip(0..).collect();
    let mut lists: Vec<Vec<(i16, Neighbor)>> = vec![Vec::new(); image_ids.len()];
    let columns = (
        neighbors::image_id,
        neighbors::rank,
        neighbors::neighbor_id,
        neighbors::distance,
    );
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for (image_id, rank, neighbor_id, distance) in batch.iter() {
            let (Some(&row), Some(&id)) = (rows.get(&image_id), rows.get(&neighbor_id)) else {
                return Err(batch.unexpected("ids of images with features", "another id"));
            };
            lists[row as usize].push((rank, Neighbor { id, distance }));
        }
    }
    // An index may find fewer neighbours for some images.
    let k = lists.iter().map(Vec::len).min().unwrap_or(0);
    let mut neighbors = Vec::with_capacity(k * lists.len());
    for mut list in lists {
        list.sort_unstable_by_key(|(rank, _)| *rank);
        neighbors.extend(list.into_iter().take(k).map(|(_, neighbor)| neighbor));
    }
    Ok(Graph { k, neighbors })
}

/// A phase whose total is known at its first step.
pub struct Phase<'a> {
    ctx: &'a Context<'a>,
    note: &'a str,
    unit: &'static str,
    bar: OnceLock<Bar>,
    done: AtomicU64,
}

impl<'a> Phase<'a> {
    pub fn new(ctx: &'a Context<'a>, note: &'a str, unit: &'static str) -> Phase<'a> {
        Phase {
            ctx,
            note,
            unit,
            bar: OnceLock::new(),
            done: AtomicU64::new(0),
        }
    }

    /// Reports progress and checks for cancellation.
    pub fn at(&self, done: u64, total: u64) -> Result<()> {
        let bar = self.bar.get_or_init(|| {
            let bar = self.ctx.progress.stage("project", total, self.unit);
            bar.note(self.note);
            bar
        });
        let before = self.done.fetch_max(done, Ordering::Relaxed);
        bar.advance(done.saturating_sub(before));
        self.ctx.cancel.check()
    }
}

impl Drop for Phase<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish("");
        }
    }
}
