//! A hierarchical navigable small world graph (Malkov & Yashunin 2018) by hnsw_rs, which writes and reads its own files.

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

/// Links of a point in the upper layers; twice as many in the lowest. hnswlib's default.
const LINKS: usize = 16;
/// Candidates looked at when a point is put in.
const EF_CONSTRUCTION: usize = 200;
const MAX_LAYERS: usize = 16;
/// The files that hold an index, in one folder.
pub const FILES: [&str; 2] = ["neighbors.hnsw.graph", "neighbors.hnsw.data"];
const NAME: &str = "neighbors";
/// Of the order in which points are put in.
const SEED: u64 = 0;
/// Points put in between two ticks.
const TICK: usize = 256;

/// An index of a block's rows, found by their ids. For the cosine it holds rows of unit length, among which Euclidean
/// distances have the same order.
pub struct Index {
    graph: Hnsw<'static, f32, DistL2>,
}

impl Index {
    /// Puts the rows in one by one, shuffled by a fixed seed, because neighbours in a folder are alike: the same rows make the
    /// same index. (Put in by many threads at a time, hnsw_rs loses points.)
    pub fn build(block: &Block, tick: &Tick) -> Result<Index> {
        let graph = Hnsw::new(LINKS, block.len(), MAX_LAYERS, EF_CONSTRUCTION, DistL2 {});
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

    /// Writes [`FILES`] into `folder`, which must not hold them yet.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let saved = guarded(|| self.graph.file_dump(folder, NAME));
        match saved {
            Ok(name) if name == NAME => Ok(()),
            Ok(other) => Err(unusable(folder, format!("files named {other} instead"))),
            Err(found) => Err(unusable(folder, found)),
        }
    }

    /// Reads what [`Index::save`] wrote. The files' checksums have been checked before: hnsw_rs believes their lengths.
    pub fn load(folder: &Path) -> Result<Index> {
        for file in FILES {
            let path = folder.join(file);
            std::fs::metadata(&path).map_err(Error::io(&path, "opening"))?;
        }
        // The index may borrow from its reader (where it is mapped, which is not asked for), so the few bytes stay.
        let reader: &'static mut HnswIo = Box::leak(Box::new(HnswIo::new(folder, NAME)));
        let graph = guarded(|| reader.load_hnsw::<f32, DistL2>())
            .map_err(|found| unusable(folder, found))?;
        Ok(Index { graph })
    }

    /// Points in it.
    pub fn len(&self) -> usize {
        self.graph.get_nb_point()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of about `k` points near each query, in no certain order; `ef` candidates are looked at, at least `k`.
    pub fn search(&self, queries: &Block, k: usize, ef: usize) -> Vec<Vec<u32>> {
        (0..queries.len())
            .into_par_iter()
            .map(|query| {
                let found = self.graph.search(queries.row(query), k, ef.max(k));
                found.iter().map(|one| one.d_id as u32).collect()
            })
            .collect()
    }

    /// Ids, sorted, of the points to which some chain of links leads from the topmost ones; no search can come to others.
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
        let mut waiting: VecDeque<u32> = top.1.into();
        let mut reached = Vec::with_capacity(links.len());
        while let Some(id) = waiting.pop_front() {
            if let Some(next) = links.remove(&id) {
                reached.push(id);
                waiting.extend(next);
            }
        }
        reached.sort_unstable();
        reached
    }
}

/// What hnsw_rs says, or cries out, in words.
fn guarded<T, E: std::fmt::Display>(
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("contents that hnsw_rs gives up on".into()),
    }
}

fn unusable(folder: &Path, found: String) -> Error {
    Error::invalid(
        folder,
        "an index as hnsw_rs writes it",
        found,
        "remove it with `prospect clean neighbors`, and run `prospect run neighbors` again",
    )
}
