//! Exact search: products of blocks of rows preselect pairs, whose distances are then computed directly.
//!
//! `|a|² + |b|² - 2ab` suffers from cancellation for long and close vectors, so it only rules pairs out, with a bound on its
//! rounding error (Higham 2002, section 3.1: `γ_d |a|·|b|`); the ranking uses distances computed from differences. So the result
//! does not depend on block size, order and number of threads.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use prospect_common::Result;
use prospect_model::device::Device;
use rayon::prelude::*;

use super::{
    Graph, Neighbor,
    block::{LANES, TILE},
    lists::Nearest,
};
use crate::space::{
    linalg::products::{Tile, one_thread_each},
    neighbors::Metric,
};

pub use super::block::Block;

/// Rows per matrix product on other devices.
const STRIP: usize = 4096;
/// Candidates beyond k that other devices select, so that rounding rarely requires a full comparison.
const EXTRA_CANDIDATES: usize = 12;
/// Progress callback with finished and total steps; an error stops the search.
pub type Tick<'a> = dyn Fn(u64, u64) -> Result<()> + Sync + 'a;

/// The nearest neighbours of each row within a block.
pub fn within(block: &Block, k: usize, tick: &Tick) -> Result<Vec<Nearest>> {
    if !block.on_cpu() {
        return within_on_device(block, k, tick);
    }
    let found = Lists::new(block, k);
    let n = block.strips();
    // Each pair once, ordered so that consecutive pairs rarely share a strip.
    let pairs: Vec<(usize, usize)> = (0..=n / 2)
        .flat_map(|offset| (0..n).map(move |at| (at, (at + offset) % n, offset)))
        .filter(|(at, _, offset)| 2 * offset != n || *at < n / 2)
        .map(|(at, other, _)| (at, other))
        .collect();
    tiles(&pairs, tick, |(i, j), tile| {
        let dots = block
            .rows
            .products(block.strip(i), &block.rows, block.strip(j), tile)?;
        if i == j {
            let mut own = found.strip(i);
            scan(dots, (block, i, &mut own), (block, j, None));
        } else {
            // The lower strip is always locked first, which avoids deadlocks.
            let mut low = found.strip(i.min(j));
            let mut high = found.strip(i.max(j));
            let (first, second) = if i < j {
                (&mut *low, &mut *high)
            } else {
                (&mut *high, &mut *low)
            };
            scan(dots, (block, i, first), (block, j, Some(second)));
        }
        Ok(())
    })?;
    Ok(found.finish())
}

/// Like [`within`], with candidates selected on the device; also works on the CPU.
pub(super) fn within_on_device(block: &Block, k: usize, tick: &Tick) -> Result<Vec<Nearest>> {
    let found = Lists::new(block, k);
    found.select_on_device(block, block, tick)?;
    Ok(found.finish())
}

/// For each row of two blocks, its nearest neighbours in the other block.
pub fn between(a: &Block, b: &Block, k: usize, tick: &Tick) -> Result<[Vec<Nearest>; 2]> {
    let (of_a, of_b) = (Lists::new(a, k), Lists::new(b, k));
    if !a.on_cpu() {
        of_a.select_on_device(a, b, tick)?;
        of_b.select_on_device(b, a, tick)?;
    } else {
        tiles(&cross(a, b), tick, |(i, j), tile| {
            let dots = a.rows.products(a.strip(i), &b.rows, b.strip(j), tile)?;
            let (mut rows, mut columns) = (of_a.strip(i), of_b.strip(j));
            scan(dots, (a, i, &mut rows), (b, j, Some(&mut columns)));
            Ok(())
        })?;
    }
    Ok([of_a.finish(), of_b.finish()])
}

/// The nearest neighbours of each row of `vectors`, `[n, dimension]`.
pub fn graph(
    vectors: &[f32],
    dimension: usize,
    k: usize,
    metric: Metric,
    device: Device,
    tick: &Tick,
) -> Result<Graph> {
    let n = vectors.len().checked_div(dimension).unwrap_or(0);
    let k = k.min(n.saturating_sub(1));
    let block = Block::new((0..n as u32).collect(), vectors, dimension, metric, device)?;
    let lists = within(&block, k, tick)?;
    Ok(Graph {
        k,
        neighbors: lists.into_iter().flat_map(Vec::from).collect(),
    })
}

/// The nearest neighbours of a few queries in successive blocks.
pub struct Search {
    queries: Block,
    found: Lists,
}

impl Search {
    /// Queries do not find rows with their own id.
    pub fn new(queries: Block, k: usize) -> Search {
        let found = Lists::new(&queries, k);
        Search { queries, found }
    }

    /// Searches a block with the queries' dimension and metric; ids must differ from those of earlier blocks.
    pub fn add(&self, block: &Block) -> Result<()> {
        if !self.queries.on_cpu() {
            return self
                .found
                .select_on_device(&self.queries, block, &|_, _| Ok(()));
        }
        let pairs = cross(&self.queries, block);
        tiles(&pairs, &|_, _| Ok(()), |(i, j), tile| {
            let (rows, columns) = (self.queries.strip(i), block.strip(j));
            let dots = (self.queries.rows).products(rows, &block.rows, columns, tile)?;
            let mut rows = self.found.strip(i);
            scan(dots, (&self.queries, i, &mut rows), (block, j, None));
            Ok(())
        })
    }

    /// One list per query, nearest first.
    pub fn finish(self) -> Vec<Vec<Neighbor>> {
        self.found.finish().into_iter().map(Vec::from).collect()
    }
}

/// Pairs of strips of two blocks, ordered so that consecutive pairs rarely share a strip.
fn cross(a: &Block, b: &Block) -> Vec<(usize, usize)> {
    let (rows, columns) = (a.strips(), b.strips());
    (0..columns)
        .flat_map(|offset| (0..rows).map(move |i| (i, (i + offset) % columns)))
        .collect()
}

/// Processes tiles on all cores, each with its own memory.
fn tiles(
    pairs: &[(usize, usize)],
    tick: &Tick,
    work: impl Fn((usize, usize), &mut Tile) -> Result<()> + Sync,
) -> Result<()> {
    let done = AtomicU64::new(0);
    one_thread_each(|| {
        (pairs.par_iter()).try_for_each_init(
            || Tile::new(TILE * TILE),
            |tile, pair| {
                work(*pair, tile)?;
                tick(done.fetch_add(1, Ordering::Relaxed) + 1, pairs.len() as u64)
            },
        )
    })
}

/// Current nearest neighbours of a block's rows, by strips.
struct Lists {
    strips: Vec<Mutex<Strip>>,
    k: usize,
}

struct Strip {
    nearest: Vec<Nearest>,
    /// Current [`Block::min_product`] of each row.
    min_products: Vec<f32>,
}

impl Lists {
    fn new(block: &Block, k: usize) -> Lists {
        let strips = (0..block.strips()).map(|at| {
            let rows = block.strip(at);
            let empty = Nearest::new(k);
            Mutex::new(Strip {
                min_products: (rows.clone())
                    .map(|row| block.min_product(row, empty.radius()))
                    .collect(),
                nearest: vec![empty; rows.len()],
            })
        });
        Lists {
            strips: strips.collect(),
            k,
        }
    }

    fn strip(&self, at: usize) -> MutexGuard<'_, Strip> {
        // A strip stays consistent if the thread that locked it panics between offers.
        (self.strips[at].lock()).unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(self) -> Vec<Nearest> {
        let strips = self.strips.into_iter();
        strips
            .flat_map(|strip| {
                strip
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner)
                    .nearest
            })
            .collect()
    }

    /// Selects candidates on the device and computes their distances. A row for which the products do not rule out all other rows
    /// is compared with every row.
    fn select_on_device(&self, rows: &Block, among: &Block, tick: &Tick) -> Result<()> {
        let (n, m) = (rows.len(), among.len());
        let n_candidates = (self.k + EXTRA_CANDIDATES).min(m);
        if n == 0 || n_candidates == 0 {
            return Ok(());
        }
        let offsets: Vec<f32> = among.half_norms.iter().map(|half| 2.0 * half).collect();
        for start in (0..n).step_by(STRIP) {
            let part = start..(start + STRIP).min(n);
            let (indices, scores) =
                (rows.rows).smallest(part.clone(), &among.rows, &offsets, n_candidates)?;
            let strips = start / TILE..part.end.div_ceil(TILE);
            strips.into_par_iter().for_each(|at| {
                let mut strip = self.strip(at);
                let first = at * TILE;
                for (index, list) in strip.nearest.iter_mut().enumerate() {
                    let row = first + index;
                    let own = (row - start) * n_candidates..(row - start + 1) * n_candidates;
                    let selected = &indices[own.clone()];
                    for j in selected {
                        measure(list, (rows, row), (among, *j as usize));
                    }
                    let best_unselected = -scores[own.end - 1] / 2.0;
                    if n_candidates < m && best_unselected >= rows.min_product(row, list.radius()) {
                        for j in (0..m).filter(|j| !selected.contains(&(*j as i64))) {
                            measure(list, (rows, row), (among, j));
                        }
                    }
                }
            });
            tick(part.end as u64, n as u64)?;
        }
        Ok(())
    }
}

/// Offers row `j` of `among` to the list of row `i`, unless their ids are equal.
fn measure(list: &mut Nearest, (rows, i): (&Block, usize), (among, j): (&Block, usize)) {
    let id = among.ids[j];
    if id != rows.ids[i] {
        let distance = rows.distance(i, among, j);
        list.offer(Neighbor { id, distance });
    }
}

/// Offers the pairs that the products of a tile do not rule out to the lists of the rows and, if given, of the columns.
fn scan(
    dots: &[f32],
    (a, i, rows): (&Block, usize, &mut Strip),
    (b, j, mut columns): (&Block, usize, Option<&mut Strip>),
) {
    let (first_row, across) = (a.strip(i).start, b.strip(j));
    let width = across.len();
    let halves = &b.half_norms[across.clone()];
    for (r, dots) in dots.chunks_exact(width).enumerate() {
        let row = first_row + r;
        let half = a.half_norms[row];
        let mut start = 0;
        while start < width {
            let end = (start + LANES).min(width);
            let min = rows.min_products[r];
            let near = match &columns {
                None => any(&dots[start..end], &halves[start..end], |dot, half| {
                    dot - half >= min
                }),
                Some(columns) => {
                    any(&dots[start..end], &halves[start..end], |dot, half| {
                        dot - half >= min
                    }) | any(
                        &dots[start..end],
                        &columns.min_products[start..end],
                        |dot, min| dot - half >= min,
                    )
                }
            };
            if near {
                for c in start..end {
                    let column = across.start + c;
                    let for_row = dots[c] - halves[c] >= rows.min_products[r];
                    let for_column = (columns.as_ref())
                        .is_some_and(|columns| dots[c] - half >= columns.min_products[c]);
                    if !(for_row || for_column) || a.ids[row] == b.ids[column] {
                        continue;
                    }
                    let distance = a.distance(row, b, column);
                    if for_row {
                        rows.offer(r, (a, row), (b.ids[column], distance));
                    }
                    if for_column && let Some(columns) = &mut columns {
                        columns.offer(c, (b, column), (a.ids[row], distance));
                    }
                }
            }
            start = end;
        }
    }
}

impl Strip {
    fn offer(&mut self, at: usize, (block, row): (&Block, usize), (id, distance): (u32, f32)) {
        let list = &mut self.nearest[at];
        let neighbor = Neighbor { id, distance };
        if list.accepts(&neighbor) {
            list.offer(neighbor);
            self.min_products[at] = block.min_product(row, list.radius());
        }
    }
}

/// Whether the test holds for any pair; branch-free, so that it vectorises.
#[inline(always)]
fn any(a: &[f32], b: &[f32], test: impl Fn(f32, f32) -> bool) -> bool {
    (a.iter().zip(b)).fold(false, |found, (a, b)| found | test(*a, *b))
}
