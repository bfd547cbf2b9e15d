//! Rows of `neighbors`, `neighbor_candidates` and `index_audit`.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use prospect_analysis::space::neighbors::{Neighbor, audit::Audit, lists::Nearest};
use prospect_common::{Error, Result};
use prospect_engine::{Context, schema::neighbors};
use prospect_store::{Manifest, PartWriter, RunFolder, table};

table! {
    /// Nearest neighbours within pairs of blocks, before the merge.
    pub mod neighbor_candidates = "neighbor_candidates", "image, block and rank", [15.0, 9.0] {
        image_id: u32,
        rank: i16,
        neighbor_id: u32,
        distance: f32,
        exact: bool,
    }
}

table! {
    /// Measured quality of the HNSW index.
    pub mod index_audit = "index_audit", "index", [40.0, 2000.0] {
        /// candidates examined per search, as in the paper
        ef: i32,
        /// fraction of the true neighbours found, in the sample
        recall: Option<f64>,
        /// images in the sample
        sample: i32,
        /// fraction of the images whose search finds the image itself or an exact copy
        self_recall: Option<f64>,
        /// images that no path of links reaches
        unreachable: i32,
        /// images repaired by exact search
        repaired: i32,
        /// whether the recall is at least `[neighbors] min_recall`
        accepted: bool,
    }
}

/// Images whose rows are in memory at once.
const IMAGES: usize = 8192;

/// Writes each image's list, nearest first, to `neighbors` or `neighbor_candidates`; ranks start at 1.
pub fn write_neighbors<'l>(
    part: &mut PartWriter,
    table: &str,
    lists: impl Iterator<Item = (u32, &'l [Neighbor], bool)>,
) -> Result<()> {
    let mut rows = Rows::default();
    for (at, (id, neighbors, exact)) in lists.enumerate() {
        if at > 0 && at % IMAGES == 0 {
            part.write(table, &std::mem::take(&mut rows).batch()?)?;
        }
        rows.push(id, neighbors, exact);
    }
    part.write(table, &rows.batch()?)
}

#[derive(Default)]
struct Rows {
    image_ids: Vec<u32>,
    ranks: Vec<i16>,
    neighbor_ids: Vec<u32>,
    distances: Vec<f32>,
    exact: Vec<bool>,
}

impl Rows {
    fn push(&mut self, id: u32, neighbors: &[Neighbor], exact: bool) {
        for (rank, neighbor) in neighbors.iter().enumerate() {
            self.image_ids.push(id);
            self.ranks.push(rank as i16 + 1);
            self.neighbor_ids.push(neighbor.id);
            self.distances.push(neighbor.distance);
            self.exact.push(exact);
        }
    }

    /// `neighbor_candidates` has the same columns.
    fn batch(self) -> Result<RecordBatch> {
        neighbors::Columns {
            image_id: self.image_ids.into(),
            rank: self.ranks.into(),
            neighbor_id: self.neighbor_ids.into(),
            distance: self.distances.into(),
            exact: self.exact.into(),
        }
        .batch()
    }
}

/// Up to `max` neighbours of each wanted image, nearest first; empty if the run has no table `neighbors`.
pub fn nearest_of(
    ctx: &Context,
    manifest: &Manifest,
    wanted: &HashSet<u32>,
    max: usize,
) -> Result<HashMap<u32, Vec<u32>>> {
    let mut nearest: HashMap<u32, Vec<u32>> = HashMap::new();
    if wanted.is_empty() || !manifest.has(neighbors::NAME) {
        return Ok(nearest);
    }
    let columns = (neighbors::image_id, neighbors::neighbor_id);
    for batch in ctx.run.rows(manifest, columns) {
        let batch = batch?;
        ctx.cancel.check()?;
        for (id, neighbor) in batch.iter() {
            if wanted.contains(&id) {
                let near = nearest.entry(id).or_default();
                if near.len() < max {
                    near.push(neighbor);
                }
            }
        }
    }
    Ok(nearest)
}

/// The k nearest neighbours of each image among the candidates of these parts.
pub fn merge(run: &RunFolder, parts: &[usize], ids: &[u32], k: usize) -> Result<Vec<Nearest>> {
    let manifest = run.manifest()?;
    let places: HashMap<u32, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut lists = vec![Nearest::new(k); ids.len()];
    for part in parts {
        let columns = (
            neighbor_candidates::image_id,
            neighbor_candidates::neighbor_id,
            neighbor_candidates::distance,
        );
        for batch in run.rows(&manifest, columns).part(*part) {
            for (image_id, id, distance) in batch?.iter() {
                if let Some(place) = places.get(&image_id) {
                    lists[*place].offer(Neighbor { id, distance });
                }
            }
        }
    }
    Ok(lists)
}

/// The single row of `index_audit`.
pub fn audit(audit: &Audit, accepted: bool) -> Result<RecordBatch> {
    let share = |value: f64| [value.is_finite().then_some(value)].into_iter().collect();
    let count = |value: usize| [value as i32].into_iter().collect();
    index_audit::Columns {
        ef: count(audit.ef),
        recall: share(audit.recall),
        sample: count(audit.sample),
        self_recall: share(audit.self_recall),
        unreachable: count(audit.unreachable),
        repaired: count(audit.repaired),
        accepted: vec![accepted].into(),
    }
    .batch()
}

/// The audit of the index, and whether the index was accepted.
pub fn read_audit(run: &RunFolder, manifest: &Manifest) -> Result<(Audit, bool)> {
    let columns = (
        index_audit::ef,
        index_audit::recall,
        index_audit::sample,
        index_audit::self_recall,
        index_audit::unreachable,
        index_audit::repaired,
        index_audit::accepted,
    );
    let batch = run.rows(manifest, columns).next().transpose()?;
    let row = batch.as_ref().and_then(|batch| batch.iter().next());
    let (ef, recall, sample, self_recall, unreachable, repaired, accepted) =
        row.ok_or_else(|| Error::Missing {
            what: "the audit of the index".into(),
            next: "run `prospect run neighbors` again".into(),
        })?;
    let count = |value: i32| usize::try_from(value).unwrap_or(0);
    let audit = Audit {
        ef: count(ef),
        recall: recall.unwrap_or(f64::NAN),
        sample: count(sample),
        self_recall: self_recall.unwrap_or(f64::NAN),
        unreachable: count(unreachable),
        repaired: count(repaired),
    };
    Ok((audit, accepted))
}

/// Number of images with neighbours.
pub fn images(run: &RunFolder, manifest: &Manifest) -> Result<usize> {
    let mut images = 0;
    for batch in run.rows(manifest, (neighbors::rank,)) {
        let batch = batch?;
        let ranks = batch.columns().0.values();
        images += ranks.iter().filter(|rank| **rank == 1).count();
    }
    Ok(images)
}
