//! Duplicates among the compared pairs, and their groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{BooleanArray, RecordBatch, StringArray};
use prospect_analysis::audit::duplicates::{
    groups::groups,
    orientation::Orientation,
    picture::{Comparison, Similarity},
    threshold::{self, min_local},
};
use prospect_common::{Result, text};
use prospect_engine::{Context, schema::duplicates, tables::features::FeatureReader};
use prospect_store::Manifest;
use serde_json::{Value, json};

use super::{
    candidates::{Candidate, Images},
    tables::{ComparedPair, DuplicateKind},
};

/// Minimum overall similarity of copies, which includes their colours.
const MIN_OVERALL: f32 = 0.9;
/// For larger groups of identical files, only the pairs with the first file are listed.
const MAX_ALL_PAIRS: usize = 8;
/// Feature vectors in memory at a time, in addition to those of the duplicates.
const VECTORS: usize = 8192;

/// A row of `duplicates`.
struct Pair {
    a: u32,
    b: u32,
    kind: DuplicateKind,
    orientation: Orientation,
    similarity: f32,
    group: u32,
}

/// All duplicate pairs and their groups.
pub struct Duplicates {
    pairs: Vec<Pair>,
    /// Minimum similarity of near-copies in the least similar quarter of the blocks.
    min_local: f64,
}

impl Duplicates {
    pub fn new(
        images: &Images,
        compared: &[ComparedPair],
        max_distance: Option<f64>,
    ) -> Duplicates {
        let of_threshold = compared.iter().filter_map(|row| {
            let found = row.found?;
            let can_be_copy = found.similarity.overall >= MIN_OVERALL;
            Some(threshold::Compared {
                a: row.pair.a,
                b: row.pair.b,
                local: if can_be_copy {
                    found.similarity.local
                } else {
                    0.0
                },
                wrong_way: found.wrong_way,
            })
        });
        let of_threshold: Vec<threshold::Compared> = of_threshold.collect();
        let min_local = min_local(images.len(), &of_threshold);
        let near = compared.iter().filter_map(|row| {
            let (distance, found) = (row.pair.distance.zip(max_distance), row.found?);
            let Similarity { overall, local } = found.similarity;
            let is_copy = f64::from(local) >= min_local
                && overall >= MIN_OVERALL
                && distance.is_none_or(|(distance, max)| f64::from(distance) <= max);
            is_copy.then_some((row.pair, found))
        });
        let near: Vec<(Candidate, Comparison)> = near.collect();
        let of_near = near.iter().map(|(pair, _)| (pair.a, pair.b));
        let of_files = images
            .copies
            .iter()
            .flat_map(|ids| ids[1..].iter().map(|id| (ids[0], *id)));
        let group_of = groups(of_near.chain(of_files));
        let group = |id: u32| group_of.get(&id).copied().unwrap_or(id);
        let mut pairs: Vec<Pair> = (near.iter())
            .map(|(pair, found)| Pair {
                a: pair.a,
                b: pair.b,
                kind: found.orientation.into(),
                orientation: found.orientation,
                similarity: found.similarity.overall,
                group: group(pair.a),
            })
            .collect();
        for ids in &images.copies {
            let of_first = ids[1..].iter().map(|b| (ids[0], *b));
            let mut listed: Vec<(u32, u32)> = of_first.collect();
            if ids.len() <= MAX_ALL_PAIRS {
                let others = (1..ids.len()).flat_map(|i| (i + 1..ids.len()).map(move |j| (i, j)));
                listed.extend(others.map(|(i, j)| (ids[i], ids[j])));
            }
            pairs.extend(listed.into_iter().map(|(a, b)| Pair {
                a,
                b,
                kind: DuplicateKind::Exact,
                orientation: Orientation::Upright,
                similarity: 1.0,
                group: group(ids[0]),
            }));
        }
        pairs.sort_by_key(|pair| (pair.a, pair.b));
        Duplicates { pairs, min_local }
    }

    pub fn table(
        &self,
        ctx: &Context,
        manifest: &Manifest,
        images: &Images,
    ) -> Result<RecordBatch> {
        let pairs = &self.pairs;
        let distances = self.distances(ctx, manifest)?;
        let bits = |pair: &Pair| images.hash_bits(pair.a, pair.b, pair.orientation);
        let flags = |of: fn(&Images, u32, u32) -> bool| -> BooleanArray {
            let flags = pairs.iter().map(|pair| of(images, pair.a, pair.b));
            flags.map(Some).collect()
        };
        duplicates::Columns {
            image_a: pairs.iter().map(|pair| pair.a).collect(),
            image_b: pairs.iter().map(|pair| pair.b).collect(),
            kind: StringArray::from_iter_values(pairs.iter().map(|pair| pair.kind.name())),
            phash_distance: (pairs.iter().map(|pair| Some(bits(pair)? as i16))).collect(),
            feature_distance: distances.into(),
            similarity: pairs.iter().map(|pair| pair.similarity).collect(),
            group_id: pairs.iter().map(|pair| pair.group).collect(),
            label_conflict: flags(Images::labels_differ),
            cross_split: flags(Images::splits_differ),
        }
        .batch()
    }

    /// Cosine distance of each pair, if both images have features.
    fn distances(&self, ctx: &Context, manifest: &Manifest) -> Result<Vec<Option<f32>>> {
        let wanted: BTreeSet<u32> = (self.pairs.iter())
            .flat_map(|pair| [pair.a, pair.b])
            .collect();
        let mut vectors: HashMap<u32, Vec<f32>> = HashMap::new();
        for features in FeatureReader::new(ctx.run, manifest, VECTORS) {
            let features = features?;
            ctx.cancel.check()?;
            let rows = features.values.chunks_exact(features.dimension.max(1));
            let rows = features.image_ids.iter().zip(rows);
            let rows = rows.filter(|(id, _)| wanted.contains(id));
            vectors.extend(rows.map(|(id, vector)| (*id, vector.to_vec())));
        }
        let distance = |pair: &Pair| {
            let (a, b) = (vectors.get(&pair.a)?, vectors.get(&pair.b)?);
            Some(cosine_distance(a, b))
        };
        Ok(self.pairs.iter().map(distance).collect())
    }

    pub fn summary(&self, images: &Images) -> Value {
        let count = |keep: &dyn Fn(&Pair) -> bool| self.pairs.iter().filter(|p| keep(p)).count();
        let sizes = self.group_sizes();
        json!({
            "images": images.len(),
            "groups": sizes.len(),
            "largest_group": sizes.values().max().copied().unwrap_or(0),
            "images_in_groups": sizes.values().sum::<usize>(),
            "exact_pairs": count(&|pair| pair.kind == DuplicateKind::Exact),
            "near_pairs": count(&|pair| pair.kind == DuplicateKind::Near),
            "mirrored_pairs": count(&|pair| pair.kind == DuplicateKind::Mirrored),
            "rotated_pairs": count(&|pair| pair.kind == DuplicateKind::Rotated),
            "label_conflicts": count(&|pair| images.labels_differ(pair.a, pair.b)),
            "cross_split_pairs": count(&|pair| images.splits_differ(pair.a, pair.b)),
            "min_local_similarity": self.min_local,
        })
    }

    fn group_sizes(&self) -> BTreeMap<u32, usize> {
        let members: BTreeSet<(u32, u32)> = (self.pairs.iter())
            .flat_map(|pair| [(pair.group, pair.a), (pair.group, pair.b)])
            .collect();
        let mut sizes = BTreeMap::new();
        for (group, _) in members {
            *sizes.entry(group).or_insert(0) += 1;
        }
        sizes
    }

    pub fn line(&self) -> String {
        let sizes = self.group_sizes();
        format!(
            "{} images in {} duplicate groups; similarity in each part from {:.3}",
            text::count(sizes.values().sum::<usize>() as u64),
            text::count(sizes.len() as u64),
            self.min_local,
        )
    }
}

/// 1 - cos, without cancellation for near vectors; 1 if either vector is zero.
fn cosine_distance(a: &[f32], b: &[f32]) -> f32 {
    let length = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let (of_a, of_b) = (length(a), length(b));
    if of_a == 0.0 || of_b == 0.0 {
        return 1.0;
    }
    let squares = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) / of_a - f64::from(*b) / of_b).powi(2));
    (squares.sum::<f64>() / 2.0) as f32
}
