//! Nearest perceptual hashes in Hamming space, by multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012).
//!
//! If two 64-bit hashes of five substrings differ in at most nine bits, one substring differs in at most one bit. So each
//! substring has a hash table, in which 14 buckets are looked up: for a million photos about a thousand comparisons per photo.

use prospect_common::Result;
use rayon::prelude::*;

use super::orientation::Orientation;

/// Maximum Hamming distance; beyond it, photos of different things begin to match.
pub const MAX_BITS: u32 = 9;

const SUBSTRINGS: usize = 5;
/// One bit of the last substring is always 0.
const SUBSTRING_BITS: u32 = 13;
const BUCKETS: usize = 1 << SUBSTRING_BITS;
/// Maximum Hamming distance in the closest substring.
const SUBSTRING_MAX_BITS: u32 = MAX_BITS / SUBSTRINGS as u32;

/// A pair of similar hashes: indices `a` < `b` into the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NearHashes {
    pub a: u32,
    pub b: u32,
    /// Hamming distance, after turning one of them.
    pub bits: u32,
}

/// Pairs of hashes that differ in at most [`MAX_BITS`], sorted: the `max_neighbors` nearest of each hash, ties by index, so a
/// pair needs to be near for one of the two only. One of the two is turned, either one.
///
/// # Errors
/// Those of `tick`, which is called with the number of hashes processed since the last call.
pub fn near_hashes(
    hashes: &[u64],
    orientation: Orientation,
    max_neighbors: usize,
    tick: impl Fn(usize) -> Result<()> + Sync,
) -> Result<Vec<NearHashes>> {
    const CHUNK: usize = 1024;
    let tables: Vec<Table> = (0..SUBSTRINGS)
        .map(|position| Table::new(hashes, position))
        .collect();
    let masks: Vec<u64> = (0..BUCKETS as u64)
        .filter(|mask| mask.count_ones() <= SUBSTRING_MAX_BITS)
        .collect();
    let chunks = hashes.par_chunks(CHUNK).enumerate();
    let found = chunks.map(|(chunk, queries)| {
        let mut pairs = Vec::new();
        let mut near: Vec<(u32, u32)> = Vec::new();
        for (at, &hash) in queries.iter().enumerate() {
            let own = (chunk * CHUNK + at) as u32;
            near.clear();
            search(&tables, &masks, orientation.of_hash(hash), |bits, index| {
                if index != own {
                    near.push((bits, index));
                }
            });
            if near.len() > max_neighbors {
                near.select_nth_unstable(max_neighbors);
                near.truncate(max_neighbors);
            }
            pairs.extend(near.iter().map(|&(bits, index)| NearHashes {
                a: own.min(index),
                b: own.max(index),
                bits,
            }));
        }
        tick(queries.len())?;
        Ok(pairs)
    });
    let mut pairs = found.collect::<Result<Vec<_>>>()?.concat();
    pairs.par_sort_unstable();
    pairs.dedup();
    Ok(pairs)
}

/// Reports every hash within [`MAX_BITS`] once: through the first substring within its own limit.
fn search(tables: &[Table], masks: &[u64], query: u64, mut report: impl FnMut(u32, u32)) {
    for (position, table) in tables.iter().enumerate() {
        let own = substring(query, position);
        for mask in masks {
            for &(hash, index) in table.at(own ^ mask) {
                let different = hash ^ query;
                let bits = different.count_ones();
                if bits <= MAX_BITS
                    && (0..position).all(|earlier| {
                        substring(different, earlier).count_ones() > SUBSTRING_MAX_BITS
                    })
                {
                    report(bits, index);
                }
            }
        }
    }
}

fn substring(hash: u64, position: usize) -> u64 {
    hash >> (SUBSTRING_BITS * position as u32) & (BUCKETS as u64 - 1)
}

/// Hashes and their indices, by the value of one substring.
struct Table {
    /// Start of each value's entries, and the end of the last.
    starts: Vec<u32>,
    entries: Vec<(u64, u32)>,
}

impl Table {
    fn new(hashes: &[u64], position: usize) -> Table {
        let mut starts = vec![0u32; BUCKETS + 1];
        for &hash in hashes {
            starts[substring(hash, position) as usize + 1] += 1;
        }
        for value in 0..BUCKETS {
            starts[value + 1] += starts[value];
        }
        let mut next = starts.clone();
        let mut entries = vec![(0, 0); hashes.len()];
        for (index, &hash) in hashes.iter().enumerate() {
            let next = &mut next[substring(hash, position) as usize];
            entries[*next as usize] = (hash, index as u32);
            *next += 1;
        }
        Table { starts, entries }
    }

    fn at(&self, value: u64) -> &[(u64, u32)] {
        let value = value as usize;
        &self.entries[self.starts[value] as usize..self.starts[value + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Random hashes, a third of which are others with some bits flipped.
    fn hashes(n: usize) -> Vec<u64> {
        let mut random = StdRng::seed_from_u64(7);
        let mut hashes: Vec<u64> = Vec::with_capacity(n);
        while hashes.len() < n {
            let near = !hashes.is_empty() && random.random_range(0..3) == 0;
            let mut hash = if near {
                hashes[random.random_range(0..hashes.len())]
            } else {
                random.random()
            };
            for _ in 0..if near { random.random_range(0..16) } else { 0 } {
                hash ^= 1 << random.random_range(0..64);
            }
            let orientation = Orientation::ALL[random.random_range(0..Orientation::ALL.len())];
            hashes.push(orientation.of_hash(hash));
        }
        hashes
    }

    #[test]
    fn equals_a_comparison_of_all_pairs() {
        let hashes = hashes(4000);
        for orientation in Orientation::ALL {
            let turned: Vec<u64> = (hashes.iter())
                .map(|hash| orientation.of_hash(*hash))
                .collect();
            let mut expected = Vec::new();
            for a in 0..hashes.len() {
                for b in a + 1..hashes.len() {
                    let of = |a: usize, b: usize| (turned[a] ^ hashes[b]).count_ones();
                    for bits in BTreeSet::from([of(a, b), of(b, a)]) {
                        if bits > MAX_BITS {
                            continue;
                        }
                        let (a, b) = (a as u32, b as u32);
                        expected.push(NearHashes { a, b, bits });
                    }
                }
            }
            assert!(expected.len() > 50);
            let found = near_hashes(&hashes, orientation, usize::MAX, |_| Ok(())).unwrap();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn keeps_only_the_nearest() {
        let hashes: Vec<u64> = (0..12).map(|n| (1u64 << n) - 1).collect();
        let found = near_hashes(&hashes, Orientation::Upright, 1, |_| Ok(())).unwrap();
        let pairs: Vec<_> = found.iter().map(|pair| (pair.a, pair.b)).collect();
        let chain: Vec<_> = (0..11).map(|a| (a, a + 1)).collect();
        assert_eq!(pairs, chain);
        assert!(found.iter().all(|pair| pair.bits == 1));
        assert!(
            near_hashes(&[5], Orientation::Upright, 1, |_| Ok(()))
                .unwrap()
                .is_empty()
        );
    }
}
