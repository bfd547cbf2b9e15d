//! Audit of an index: recall, unreachable points, and their repair.

use std::collections::HashMap;

use prospect_common::Result;
use rand::{SeedableRng, rngs::StdRng, seq::index};

use super::{
    Neighbor,
    exact::{Block, Search, Tick, between},
    hnsw::Index,
    lists::Nearest,
};

/// Sample size of the recall, which needs exact search.
const SAMPLE: usize = 1000;
const SEED: u64 = 1;
/// Maximum ef.
const MAX_EF: usize = 1024;
/// Rows per tick.
const STRIP: usize = 1024;

/// Quality of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// Size of the candidate list of a search.
    pub ef: usize,
    /// Fraction of true neighbours found, in a sample.
    pub recall: f64,
    pub sample: usize,
    /// Fraction of rows that find themselves or an exact copy.
    pub self_recall: f64,
    /// Number of rows that are not reachable through links.
    pub unreachable: usize,
    /// Number of rows searched exactly, because they are unreachable or do not find themselves.
    pub repaired: usize,
}

/// Neighbour graph from an index, repaired.
pub struct RepairedGraph {
    /// One list per row of the block.
    pub nearest: Vec<Nearest>,
    /// Whether each row was searched exactly.
    pub exact: Vec<bool>,
    pub audit: Audit,
}

/// The smallest ef at which `index` finds at least `min_recall` of the true neighbours of a seeded sample of the block's rows, or
/// the largest one tried: (ef, recall, sample size).
pub fn choose_ef(
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
        let (mut hits, mut total) = (0, 0);
        for ((row, ids), truth) in sample.iter().zip(found).zip(&truth) {
            // Ties with the last true neighbour count as hits.
            let radius = truth.last().map_or(f32::NEG_INFINITY, |last| last.distance);
            let near = nearest_of(block, *row, &ids, &rows, k);
            hits += (near.items().iter())
                .filter(|one| one.distance <= radius)
                .count();
            total += truth.len();
        }
        let recall = if total == 0 {
            1.0
        } else {
            hits as f64 / total as f64
        };
        if recall >= min_recall || 2 * ef > MAX_EF {
            return Ok((ef, recall, sample.len()));
        }
        ef *= 2;
    }
}

/// The k nearest neighbours of every row of `block` by `index`, with the results of [`choose_ef`]. Rows that are unreachable or
/// do not find themselves are searched exactly and offered to all others.
pub fn graph(
    index: &Index,
    block: &Block,
    k: usize,
    (ef, recall, sample): (usize, f64, usize),
    tick: &Tick,
) -> Result<RepairedGraph> {
    let n = block.len();
    let rows = rows_by_id(block);
    let mut nearest = Vec::with_capacity(n);
    let mut lost = vec![false; n];
    let mut lost_by_search = 0;
    for start in (0..n).step_by(STRIP) {
        let part: Vec<usize> = (start..(start + STRIP).min(n)).collect();
        let found = index.search(&block.pick(&part)?, k + 1, ef);
        for (row, ids) in part.iter().zip(found) {
            let near = nearest_of(block, *row, &ids, &rows, k);
            let has_copy = (near.items().first()).is_some_and(|one| one.distance == 0.0);
            let is_incomplete = near.items().len() < k.min(n - 1);
            if is_incomplete || !ids.contains(&block.ids()[*row]) && !has_copy {
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
    let self_found = n - lost_by_search;
    Ok(RepairedGraph {
        nearest,
        exact: lost,
        audit: Audit {
            ef,
            recall,
            sample,
            self_recall: if n == 0 {
                1.0
            } else {
                self_found as f64 / n as f64
            },
            unreachable,
            repaired,
        },
    })
}

/// Searches the lost rows exactly, and offers them to all others, which cannot find them.
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

/// The nearest of the rows with these ids to `row`, excluding itself.
fn nearest_of(
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

/// Rows of the sample, with a fixed seed.
fn sample(block: &Block) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut rows = index::sample(&mut random, block.len(), SAMPLE.min(block.len())).into_vec();
    rows.sort_unstable();
    rows
}
