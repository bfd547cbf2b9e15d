//! HNSW index (Malkov & Yashunin 2018) by hnsw_rs, in its own file format.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use hnsw_rs::{anndists::dist::DistL2, api::AnnT, hnsw::Hnsw, hnswio::HnswIo};
use prospect_common::{Error, Result};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;

use super::exact::{Block, Tick};

/// M of the paper: links per point in the upper layers; the lowest has twice as many. hnswlib's default.
const M: usize = 16;
/// Candidates considered when a point is inserted.
const EF_CONSTRUCTION: usize = 200;
const MAX_LAYERS: usize = 16;
/// The files of an index, in one folder.
pub const FILES: [&str; 2] = ["neighbors.hnsw.graph", "neighbors.hnsw.data"];
const NAME: &str = "neighbors";
/// Seed of the insertion order.
const SEED: u64 = 0;
/// Insertions per tick.
const TICK: usize = 256;

/// Index of a block's rows by id. For the cosine the rows are normalised, so that Euclidean distances give the same order.
pub struct Index {
    graph: Hnsw<'static, f32, DistL2>,
}

impl Index {
    /// Inserts the rows one by one, so that the index is deterministic (and because hnsw_rs loses points in parallel
    /// insertion), in an order shuffled by a fixed seed, because consecutive files are similar.
    pub fn build(block: &Block, tick: &Tick) -> Result<Index> {
        let graph = Hnsw::new(M, block.len(), MAX_LAYERS, EF_CONSTRUCTION, DistL2 {});
        let mut rows: Vec<usize> = (0..block.len()).collect();
        rows.shuffle(&mut StdRng::seed_from_u64(SEED));
        for (done, row) in rows.into_iter().enumerate() {
            graph.insert_slice((block.row(row), block.ids()[row] as usize));
            if done % TICK == 0 {
                tick(done as u64, block.len() as u64)?;
            }
        }
        Ok(Index { graph })
    }

    /// Writes [`FILES`] into `folder`, where they must not exist.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let saved = guarded(|| self.graph.file_dump(folder, NAME));
        match saved {
            Ok(name) if name == NAME => Ok(()),
            Ok(other) => Err(unusable(folder, format!("files named {other} instead"))),
            Err(found) => Err(unusable(folder, found)),
        }
    }

    /// Reads the files of [`Index::save`]. Their checksums must have been verified, since hnsw_rs trusts their lengths.
    pub fn load(folder: &Path) -> Result<Index> {
        for file in FILES {
            let path = folder.join(file);
            std::fs::metadata(&path).map_err(Error::io(&path, "opening"))?;
        }
        // The type of the index borrows from its reader (for memory mapping, unused here), so these few bytes are leaked.
        let reader: &'static mut HnswIo = Box::leak(Box::new(HnswIo::new(folder, NAME)));
        let graph = guarded(|| reader.load_hnsw::<f32, DistL2>())
            .map_err(|found| unusable(folder, found))?;
        Ok(Index { graph })
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.graph.get_nb_point()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids of about `k` points near each query, in no particular order, with a candidate list of size `ef`, at least `k`.
    pub fn search(&self, queries: &Block, k: usize, ef: usize) -> Vec<Vec<u32>> {
        (0..queries.len())
            .into_par_iter()
            .map(|query| {
                let found = self.graph.search(queries.row(query), k, ef.max(k));
                found.iter().map(|one| one.d_id as u32).collect()
            })
            .collect()
    }

    /// Sorted ids of the points reachable through links from the top layer; searches cannot find others.
    pub fn reachable(&self) -> Vec<u32> {
        if self.is_empty() {
            return Vec::new();
        }
        let points = self.graph.get_point_indexation();
        let mut links: HashMap<u32, Vec<u32>> = HashMap::with_capacity(self.len());
        let mut top: (u8, Vec<u32>) = (0, Vec::new());
        for point in points {
            let (id, level) = (point.get_origin_id() as u32, point.get_point_id().0);
            let of_point = point.get_neighborhood_id().into_iter().flatten();
            links.insert(id, of_point.map(|one| one.d_id as u32).collect());
            if level > top.0 {
                top = (level, Vec::new());
            }
            if level == top.0 {
                top.1.push(id);
            }
        }
        let mut queue: VecDeque<u32> = top.1.into();
        let mut reached = Vec::with_capacity(links.len());
        while let Some(id) = queue.pop_front() {
            if let Some(next) = links.remove(&id) {
                reached.push(id);
                queue.extend(next);
            }
        }
        reached.sort_unstable();
        reached
    }
}

/// Turns errors and panics of hnsw_rs into messages.
fn guarded<T, E: std::fmt::Display>(
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("contents that hnsw_rs cannot read".into()),
    }
}

fn unusable(folder: &Path, found: String) -> Error {
    Error::invalid(
        folder,
        "an index of hnsw_rs",
        found,
        "remove it with `prospect clean neighbors`, and run `prospect run neighbors` again",
    )
}
