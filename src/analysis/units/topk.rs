//! The top K images of each unit, collected while the dataset streams by.
//!
//! Order: descending value, ties by ascending image id. An image occurs in a unit's list at most once, with its maximum
//! (ties: the smallest position). NaN is ignored; infinities are not; -0 counts as 0.
//!
//! A hit is dropped only if K other images beat it, and lists only improve. So the lists of any shards, merged in any order and
//! grouping, equal the top K of a full sort, as the tests check.

use std::cmp::Ordering;

use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

/// Units per task: their thresholds fill a few vector registers and one cache line of f16.
const CHUNK_UNITS: usize = 64;

/// One image in a unit's list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The unit's maximum activation in this image.
    pub value: f32,
    pub image_id: u32,
    /// Position in the unit's feature map: `row * width + col`.
    pub position: u32,
}

/// Better first.
fn rank_order(a: &Hit, b: &Hit) -> Ordering {
    // NaN is rejected by `offer`, so values always compare.
    b.value
        .partial_cmp(&a.value)
        .unwrap_or(Ordering::Equal)
        .then(a.image_id.cmp(&b.image_id))
        .then(a.position.cmp(&b.position))
}

/// The top K hits of one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct TopK {
    k: usize,
    /// Sorted, best first; for small K, insertion is faster than a heap.
    hits: Vec<Hit>,
}

impl TopK {
    /// An empty list for the top `k`.
    pub fn new(k: usize) -> TopK {
        TopK {
            k,
            hits: Vec::new(),
        }
    }

    /// Whether the list has K images, so that a new hit must beat the last.
    pub fn is_full(&self) -> bool {
        self.hits.len() >= self.k
    }

    /// Offers the unit's maximum activation in one image; returns whether the list changed.
    pub fn offer(&mut self, image_id: u32, value: f32, position: u32) -> bool {
        if value.is_nan() || self.k == 0 {
            return false;
        }
        let hit = Hit {
            // Turns -0 into 0, so that equal values have equal bits.
            value: value + 0.0,
            image_id,
            position,
        };
        if self.is_full()
            && self
                .hits
                .last()
                .is_some_and(|w| rank_order(&hit, w).is_gt())
        {
            return false;
        }
        if let Some(old) = self.hits.iter().position(|h| h.image_id == image_id) {
            if rank_order(&hit, &self.hits[old]).is_ge() {
                return false;
            }
            self.hits.remove(old);
        }
        self.hits.truncate(self.k - 1);
        let at = self.hits.partition_point(|h| rank_order(h, &hit).is_lt());
        self.hits.insert(at, hit);
        true
    }

    /// Merges another shard's list. Associative and commutative for equal K.
    pub fn merge(&mut self, other: TopK) {
        for hit in other.hits {
            self.offer(hit.image_id, hit.value, hit.position);
        }
    }

    /// The hits, best first.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// The hits, best first.
    pub fn into_sorted(self) -> Vec<Hit> {
        self.hits
    }
}

/// A number type of stored activations.
pub trait Activation: Copy + Send + Sync {
    /// Converts a slice to f32 exactly, into a slice of the same length.
    fn widen(values: &[Self], out: &mut [f32]);
}

impl Activation for f32 {
    fn widen(values: &[f32], out: &mut [f32]) {
        out.copy_from_slice(values);
    }
}

impl Activation for f16 {
    fn widen(values: &[f16], out: &mut [f32]) {
        values.convert_to_f32_slice(out);
    }
}

/// The top K of every unit of a layer, updated by blocks of images.
#[derive(Debug, Clone)]
pub struct LayerTopK {
    n_units: usize,
    chunks: Vec<Chunk>,
    /// The highest image id seen: a later image that ties with the last value of a full list loses.
    last_image_id: Option<u32>,
}

/// Consecutive units, with thresholds that reject most rows of a block in a few vector instructions.
#[derive(Debug, Clone)]
struct Chunk {
    units: Vec<TopK>,
    /// The last value of each unit's list; -inf while the list is not full.
    thresholds: Vec<f32>,
    n_full: usize,
}

impl LayerTopK {
    /// Empty lists for `n_units` units.
    pub fn new(n_units: usize, k: usize) -> LayerTopK {
        let chunks = (0..n_units)
            .step_by(CHUNK_UNITS)
            .map(|first| {
                let len = CHUNK_UNITS.min(n_units - first);
                Chunk {
                    units: vec![TopK::new(k); len],
                    thresholds: vec![f32::NEG_INFINITY; len],
                    n_full: if k == 0 { len } else { 0 },
                }
            })
            .collect();
        LayerTopK {
            n_units,
            chunks,
            last_image_id: None,
        }
    }

    /// Number of units.
    pub fn n_units(&self) -> usize {
        self.n_units
    }

    /// Offers a block: `values` and `positions` are `[n_images, n_units]`, row-major, one row per entry of `image_ids`.
    ///
    /// Fastest if image ids ascend within and across blocks, as in tables; correct in any order.
    ///
    /// # Panics
    /// If the lengths disagree.
    pub fn offer_block<T: Activation, P: Copy + Into<u32> + Sync>(
        &mut self,
        image_ids: &[u32],
        values: &[T],
        positions: &[P],
    ) {
        let n_units = self.n_units;
        assert_eq!(
            values.len(),
            image_ids.len() * n_units,
            "values are [n_images, n_units]"
        );
        assert_eq!(
            positions.len(),
            values.len(),
            "positions are [n_images, n_units]"
        );
        let last_before = self.last_image_id;
        self.chunks
            .par_iter_mut()
            .enumerate()
            .for_each(|(index, chunk)| {
                let first = index * CHUNK_UNITS;
                let len = chunk.units.len();
                let mut row_values = [0.0_f32; CHUNK_UNITS];
                let row_values = &mut row_values[..len];
                let mut last_id = last_before;
                for (row, &image_id) in image_ids.iter().enumerate() {
                    let at = row * n_units + first;
                    T::widen(&values[at..at + len], row_values);
                    let later = last_id.is_none_or(|last| image_id > last);
                    if !chunk.rejects(row_values, later) {
                        chunk.offer(image_id, row_values, &positions[at..at + len]);
                    }
                    last_id = last_id.max(Some(image_id));
                }
            });
        self.last_image_id = last_before.max(image_ids.iter().max().copied());
    }

    /// Merges another shard's lists.
    ///
    /// # Panics
    /// If the numbers of units differ.
    pub fn merge(&mut self, other: LayerTopK) {
        assert_eq!(self.n_units, other.n_units, "lists of one layer");
        self.last_image_id = self.last_image_id.max(other.last_image_id);
        for (chunk, other) in self.chunks.iter_mut().zip(other.chunks) {
            for (unit, list) in other.units.into_iter().enumerate() {
                for hit in list.into_sorted() {
                    chunk.offer_one(unit, hit.image_id, hit.value, hit.position);
                }
            }
        }
    }

    /// One list per unit, best first.
    pub fn into_sorted(self) -> Vec<Vec<Hit>> {
        self.chunks
            .into_iter()
            .flat_map(|chunk| chunk.units)
            .map(TopK::into_sorted)
            .collect()
    }
}

impl Chunk {
    /// Whether the row changes no unit's list; `later` if its image id is higher than all ids seen.
    fn rejects(&self, row_values: &[f32], later: bool) -> bool {
        if self.n_full < self.units.len() {
            return false;
        }
        // A branch-free fold compiles to vector compares; NaN compares false.
        let pairs = row_values.iter().zip(&self.thresholds);
        if later {
            !pairs.fold(false, |any, (value, threshold)| any | (value > threshold))
        } else {
            !pairs.fold(false, |any, (value, threshold)| any | (value >= threshold))
        }
    }

    fn offer<P: Copy + Into<u32>>(&mut self, image_id: u32, row_values: &[f32], positions: &[P]) {
        for (unit, (&value, &position)) in row_values.iter().zip(positions).enumerate() {
            // Values below the threshold cannot enter; it is -inf until the list is full.
            if value >= self.thresholds[unit] {
                self.offer_one(unit, image_id, value, position.into());
            }
        }
    }

    fn offer_one(&mut self, unit: usize, image_id: u32, value: f32, position: u32) {
        let list = &mut self.units[unit];
        let was_full = list.is_full();
        if list.offer(image_id, value, position) && list.is_full() {
            self.n_full += usize::from(!was_full);
            self.thresholds[unit] = list
                .hits()
                .last()
                .map_or(f32::NEG_INFINITY, |hit| hit.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reference implementation: every image's best offer, sorted, the first k.
    fn full_sort(offers: &[(u32, f32, u32)], k: usize) -> Vec<Hit> {
        let mut best: std::collections::BTreeMap<u32, (f32, u32)> = Default::default();
        for &(image_id, value, position) in offers.iter().filter(|o| !o.1.is_nan()) {
            let entry = best.entry(image_id).or_insert((value, position));
            if value > entry.0 || (value == entry.0 && position < entry.1) {
                *entry = (value, position);
            }
        }
        let mut all: Vec<Hit> = best
            .into_iter()
            .map(|(image_id, (value, position))| Hit {
                value,
                image_id,
                position,
            })
            .collect();
        // A stable sort over ascending ids keeps ties in id order.
        all.sort_by(|a, b| b.value.partial_cmp(&a.value).unwrap());
        all.truncate(k);
        all
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            6 => (-3i8..4).prop_map(f32::from),
            2 => -1e4_f32..1e4,
            1 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
            1 => Just(-0.0_f32),
        ]
    }

    fn offers(max: usize) -> impl Strategy<Value = Vec<(u32, f32, u32)>> {
        prop::collection::vec((0u32..20, value(), 0u32..6), 0..max)
    }

    fn list(offers: &[(u32, f32, u32)], k: usize) -> TopK {
        let mut list = TopK::new(k);
        for &(image_id, value, position) in offers {
            list.offer(image_id, value, position);
        }
        list
    }

    fn merged(mut a: TopK, b: TopK) -> TopK {
        a.merge(b);
        a
    }

    proptest! {
        #[test]
        fn any_sharding_equals_a_full_sort(
            offers in offers(120),
            shards in prop::collection::vec(0usize..5, 120),
            k in 0usize..12,
            backwards: bool,
        ) {
            let mut parts = vec![Vec::new(); 5];
            for (offer, &shard) in offers.iter().zip(&shards) {
                parts[shard].push(*offer);
            }
            let mut lists: Vec<TopK> = parts.iter().map(|p| list(p, k)).collect();
            if backwards {
                lists.reverse();
            }
            let merged = lists.into_iter().reduce(merged).unwrap().into_sorted();
            prop_assert_eq!(merged, full_sort(&offers, k));
        }

        #[test]
        fn merging_is_associative_and_commutative(
            a in offers(40), b in offers(40), c in offers(40), k in 1usize..8,
        ) {
            let (a, b, c) = (list(&a, k), list(&b, k), list(&c, k));
            prop_assert_eq!(merged(a.clone(), b.clone()), merged(b.clone(), a.clone()));
            prop_assert_eq!(
                merged(merged(a.clone(), b.clone()), c.clone()),
                merged(a, merged(b, c))
            );
        }

        #[test]
        fn blocks_equal_a_full_sort_per_unit(
            n_units in prop_oneof![1usize..6, 60usize..70, Just(130)],
            image_ids in prop::collection::vec(0u32..40, 0..40),
            ascending: bool,
            split in 0usize..40,
            seed in prop::collection::vec((value(), 0u16..9), 64),
            k in 0usize..6,
            as_half: bool,
        ) {
            let mut image_ids = image_ids;
            if ascending {
                image_ids.sort_unstable();
            }
            let cells = image_ids.len() * n_units;
            // A stride coprime to the seed's length scatters the seed over the block.
            let picked = |cell: usize| seed[(cell * 37 + cell / 64) % seed.len()];
            let halves: Vec<f16> = (0..cells).map(|c| f16::from_f32(picked(c).0)).collect();
            let values: Vec<f32> = halves.iter().map(|v| v.to_f32()).collect();
            let positions: Vec<u16> = (0..cells).map(|c| picked(c).1).collect();

            let split = split.min(image_ids.len());
            let feed = |layer: &mut LayerTopK, rows: std::ops::Range<usize>| {
                let cells = rows.start * n_units..rows.end * n_units;
                if as_half {
                    layer.offer_block(&image_ids[rows], &halves[cells.clone()], &positions[cells]);
                } else {
                    layer.offer_block(&image_ids[rows], &values[cells.clone()], &positions[cells]);
                }
            };
            let mut streamed = LayerTopK::new(n_units, k);
            feed(&mut streamed, 0..split);
            feed(&mut streamed, split..image_ids.len());
            let mut first = LayerTopK::new(n_units, k);
            feed(&mut first, 0..split);
            let mut sharded = LayerTopK::new(n_units, k);
            feed(&mut sharded, split..image_ids.len());
            sharded.merge(first);

            let (streamed, sharded) = (streamed.into_sorted(), sharded.into_sorted());
            for unit in 0..n_units {
                let offers: Vec<_> = image_ids.iter().enumerate()
                    .map(|(row, &id)| (id, values[row * n_units + unit], u32::from(positions[row * n_units + unit])))
                    .collect();
                let expected = full_sort(&offers, k);
                prop_assert_eq!(&streamed[unit], &expected);
                prop_assert_eq!(&sharded[unit], &expected);
            }
        }
    }

    #[test]
    fn ties_go_to_the_smaller_image_id_and_nan_is_ignored() {
        let list = list(
            &[
                (7, 1.0, 0),
                (3, 1.0, 5),
                (5, f32::NAN, 0),
                (9, 2.0, 1),
                (1, 1.0, 2),
            ],
            3,
        );
        let ids: Vec<u32> = list.hits().iter().map(|h| h.image_id).collect();
        assert_eq!(ids, [9, 1, 3]);
    }

    #[test]
    fn an_image_is_listed_once_with_its_best_cell() {
        let list = list(
            &[
                (1, 1.0, 4),
                (1, 3.0, 9),
                (1, 3.0, 2),
                (1, 2.0, 0),
                (2, 0.5, 0),
            ],
            3,
        );
        assert_eq!(
            list.into_sorted(),
            [
                Hit {
                    value: 3.0,
                    image_id: 1,
                    position: 2
                },
                Hit {
                    value: 0.5,
                    image_id: 2,
                    position: 0
                },
            ]
        );
    }
}
