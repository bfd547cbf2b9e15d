//! Perceptual hashes that differ in few bits, by multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012).
//!
//! Of 64 bits in five pieces, at most nine of which differ, one piece differs in one bit at most. So each piece has a table of its
//! own, in which 14 places are looked up: for a million photos some thousand comparisons each, not a million.

use prospect_common::Result;
use rayon::prelude::*;

/// Hashes that differ in more bits are not found: where photos of different things begin to be among them.
pub const MOST_BITS: u32 = 9;
/// Bits that differ between a picture's hash and its mirror image's, median aside: frequencies that are odd from left to right
/// change their sign. See [`prospect_dataset::image::Quality::phash`].
pub const MIRROR: u64 = 0x5555_5555_5555_5555;

const PIECES: usize = 5;
/// Of the last piece one is always 0.
const PIECE_BITS: u32 = 13;
const PLACES: usize = 1 << PIECE_BITS;
/// Bits that differ in the piece in which the fewest do.
const FEWEST_BITS: u32 = MOST_BITS / PIECES as u32;

/// Two places in the list of hashes, `a` before `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NearHashes {
    pub a: u32,
    pub b: u32,
    /// Bits that differ: as they are, or, of mirrored pairs, after one is mirrored.
    pub bits: u32,
}

/// Pairs of hashes that differ in at most [`MOST_BITS`], in order; of each hash the `most` nearest, ties by place, so that a pair
/// is among them where it is near for either. `flip` ([`MIRROR`] or 0) is applied to one of the two.
///
/// # Errors
/// Those of `tick`, which is called now and then with how many hashes are done.
pub fn near_hashes(
    hashes: &[u64],
    flip: u64,
    most: usize,
    tick: impl Fn(usize) -> Result<()> + Sync,
) -> Result<Vec<NearHashes>> {
    const CHUNK: usize = 1024;
    let tables: Vec<Table> = (0..PIECES).map(|piece| Table::new(hashes, piece)).collect();
    let masks: Vec<u64> = (0..PLACES as u64)
        .filter(|mask| mask.count_ones() <= FEWEST_BITS)
        .collect();
    let chunks = hashes.par_chunks(CHUNK).enumerate();
    let found = chunks.map(|(chunk, queries)| {
        let mut pairs = Vec::new();
        let mut near: Vec<(u32, u32)> = Vec::new();
        for (at, &hash) in queries.iter().enumerate() {
            let own = (chunk * CHUNK + at) as u32;
            near.clear();
            search(&tables, &masks, hash ^ flip, |bits, place| {
                if place != own {
                    near.push((bits, place));
                }
            });
            if near.len() > most {
                near.select_nth_unstable(most);
                near.truncate(most);
            }
            pairs.extend(near.iter().map(|&(bits, place)| NearHashes {
                a: own.min(place),
                b: own.max(place),
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

/// Gives every hash within reach once: through the first piece in which few enough bits differ.
fn search(tables: &[Table], masks: &[u64], query: u64, mut found: impl FnMut(u32, u32)) {
    for (piece, table) in tables.iter().enumerate() {
        let own = piece_of(query, piece);
        for mask in masks {
            for &(hash, place) in table.at(own ^ mask) {
                let different = hash ^ query;
                let bits = different.count_ones();
                if bits <= MOST_BITS
                    && (0..piece)
                        .all(|earlier| piece_of(different, earlier).count_ones() > FEWEST_BITS)
                {
                    found(bits, place);
                }
            }
        }
    }
}

fn piece_of(hash: u64, piece: usize) -> u64 {
    hash >> (PIECE_BITS * piece as u32) & (PLACES as u64 - 1)
}

/// The hashes with their places, by the value of one piece.
struct Table {
    /// Where each value's entries begin; one more than there are values.
    starts: Vec<u32>,
    entries: Vec<(u64, u32)>,
}

impl Table {
    fn new(hashes: &[u64], piece: usize) -> Table {
        let mut starts = vec![0u32; PLACES + 1];
        for &hash in hashes {
            starts[piece_of(hash, piece) as usize + 1] += 1;
        }
        for value in 0..PLACES {
            starts[value + 1] += starts[value];
        }
        let mut next = starts.clone();
        let mut entries = vec![(0, 0); hashes.len()];
        for (place, &hash) in hashes.iter().enumerate() {
            let next = &mut next[piece_of(hash, piece) as usize];
            entries[*next as usize] = (hash, place as u32);
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
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Hashes, a third of which are others with some bits changed.
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
            hashes.push(
                hash ^ if random.random_range(0..4) == 0 {
                    MIRROR
                } else {
                    0
                },
            );
        }
        hashes
    }

    #[test]
    fn finds_what_comparing_all_pairs_finds() {
        let hashes = hashes(700);
        for flip in [0, MIRROR] {
            let mut expected = Vec::new();
            for a in 0..hashes.len() {
                for b in a + 1..hashes.len() {
                    let bits = (hashes[a] ^ flip ^ hashes[b]).count_ones();
                    if bits <= MOST_BITS {
                        let (a, b) = (a as u32, b as u32);
                        expected.push(NearHashes { a, b, bits });
                    }
                }
            }
            assert!(expected.len() > 50);
            let found = near_hashes(&hashes, flip, usize::MAX, |_| Ok(())).unwrap();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn keeps_the_nearest_of_many() {
        let hashes: Vec<u64> = (0..12).map(|n| (1u64 << n) - 1).collect();
        let found = near_hashes(&hashes, 0, 1, |_| Ok(())).unwrap();
        let pairs: Vec<_> = found.iter().map(|pair| (pair.a, pair.b)).collect();
        let chain: Vec<_> = (0..11).map(|a| (a, a + 1)).collect();
        assert_eq!(pairs, chain);
        assert!(found.iter().all(|pair| pair.bits == 1));
        assert!(near_hashes(&[5], 0, 1, |_| Ok(())).unwrap().is_empty());
    }
}
