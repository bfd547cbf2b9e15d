//! What an index misses: how many of the true neighbours it finds, which points it cannot come to, and their repair.

use std::collections::HashMap;

use prospect_common::Result;
use rand::{SeedableRng, rngs::StdRng, seq::index};

use super::{
    Neighbor,
    exact::{Block, Search, Tick, between},
    hnsw::Index,
    lists::Nearest,
};

/// Rows whose neighbours are also searched exactly.
const SAMPLE: usize = 1000;
const SEED: u64 = 1;
/// Candidates that a search looks at, at most.
const MAX_EF: usize = 1024;
/// Rows searched between two ticks.
const STRIP: usize = 1024;

/// How good an index is.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// Candidates that a search looks at.
    pub ef: usize,
    /// Share of the true neighbours that it finds, in a sample.
    pub recall: f64,
    pub sample: usize,
    /// Share of the rows that find themselves, or an exact copy.
    pub self_recall: f64,
    /// Rows that no chain of links leads to.
    pub unreachable: usize,
    /// Rows whose neighbours were searched exactly, because they are unreachable or do not find themselves.
    pub repaired: usize,
}

/// A graph that an index found, repaired.
pub struct Found {
    /// Of each row of the block.
    pub nearest: Vec<Nearest>,
    /// Whether they were searched exactly.
    pub exact: Vec<bool>,
    pub audit: Audit,
}

/// The least effort with which `index` finds at least `min_recall` of the true neighbours of a seeded sample of the block's
/// rows, and what it finds so: (ef, recall, rows in the sample). Where no effort is enough, the greatest one.
pub fn effort(
    index: &Index,
    block: &Block,
    k: usize,
    min_recall: f64,
) -> Result<(usize, f64, usize)> {
    let sample = sample(block);
    let queries = block.pick(&sample)?;
    let search = Search::new(block.pick(&sample)?, k);
    search.add(block)?;
    let truth = search.finish();
    let rows: HashMap<u32, usize> = rows_by_id(block);
    let mut ef = (2 * k).max(64);
    loop {
        let found = index.search(&queries, k + 1, ef);
        let (mut hits, mut wanted) = (0, 0);
        for ((row, ids), truth) in sample.iter().zip(found).zip(&truth) {
            // Ties are as good as those that the exact search took.
            let reach = truth.last().map_or(f32::NEG_INFINITY, |last| last.distance);
            let near = measured(block, *row, &ids, &rows, k);
            hits += (near.items().iter())
                .filter(|one| one.distance <= reach)
                .count();
            wanted += truth.len();
        }
        let recall = if wanted == 0 {
            1.0
        } else {
            hits as f64 / wanted as f64
        };
        if recall >= min_recall || 2 * ef > MAX_EF {
            return Ok((ef, recall, sample.len()));
        }
        ef *= 2;
    }
}

/// The k nearest of every row of `block` by `index`, with `effort`'s figures. Rows that the index cannot come to, or that do
/// not find themselves, get their neighbours by exact search, and are offered to all others.
pub fn graph(
    index: &Index,
    block: &Block,
    k: usize,
    (ef, recall, sample): (usize, f64, usize),
    tick: &Tick,
) -> Result<Found> {
    let n = block.len();
    let rows = rows_by_id(block);
    let mut nearest = Vec::with_capacity(n);
    let mut lost = vec![false; n];
    let mut lost_by_search = 0;
    for start in (0..n).step_by(STRIP) {
        let part: Vec<usize> = (start..(start + STRIP).min(n)).collect();
        let found = index.search(&block.pick(&part)?, k + 1, ef);
        for (row, ids) in part.iter().zip(found) {
            let near = measured(block, *row, &ids, &rows, k);
            let has_copy = (near.items().first()).is_some_and(|one| one.distance == 0.0);
            let is_short = near.items().len() < k.min(n - 1);
            if is_short || !ids.contains(&block.ids()[*row]) && !has_copy {
                lost[*row] = true;
                lost_by_search += 1;
            }
            nearest.push(near);
        }
        tick((start + part.len()) as u64, n as u64)?;
    }
    let reachable = index.reachable();
    let mut unreachable = 0;
    for (row, id) in block.ids().iter().enumerate() {
        if reachable.binary_search(id).is_err() {
            lost[row] = true;
            unreachable += 1;
        }
    }
    let repaired = repair(block, k, &lost, &mut nearest)?;
    let found_themselves = n - lost_by_search;
    Ok(Found {
        nearest,
        exact: lost,
        audit: Audit {
            ef,
            recall,
            sample,
            self_recall: if n == 0 {
                1.0
            } else {
                found_themselves as f64 / n as f64
            },
            unreachable,
            repaired,
        },
    })
}

/// Searches exactly for the rows marked as lost, and offers them to all others, whom no search could lead to them.
fn repair(block: &Block, k: usize, lost: &[bool], nearest: &mut [Nearest]) -> Result<usize> {
    let rows: Vec<usize> = (0..lost.len()).filter(|row| lost[*row]).collect();
    if rows.is_empty() {
        return Ok(0);
    }
    let [of_lost, of_all] = between(&block.pick(&rows)?, block, k, &|_, _| Ok(()))?;
    for (near, offered) in nearest.iter_mut().zip(of_all) {
        near.merge(offered.items());
    }
    for (row, exact) in rows.iter().zip(of_lost) {
        nearest[*row] = exact;
    }
    Ok(rows.len())
}

/// The nearest of the rows with these ids to row `row`, itself left out.
fn measured(
    block: &Block,
    row: usize,
    ids: &[u32],
    rows: &HashMap<u32, usize>,
    k: usize,
) -> Nearest {
    let mut nearest = Nearest::new(k);
    for id in ids.iter().filter(|id| **id != block.ids()[row]) {
        if let Some(other) = rows.get(id) {
            let distance = block.distance(row, block, *other);
            nearest.offer(Neighbor { id: *id, distance });
        }
    }
    nearest
}

fn rows_by_id(block: &Block) -> HashMap<u32, usize> {
    let ids = block.ids().iter().enumerate();
    ids.map(|(row, id)| (*id, row)).collect()
}

/// Rows of the sample, from a fixed seed.
fn sample(block: &Block) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut rows = index::sample(&mut random, block.len(), SAMPLE.min(block.len())).into_vec();
    rows.sort_unstable();
    rows
}
