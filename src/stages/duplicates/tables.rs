//! What was compared, and what of it is a duplicate.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, RecordBatch, StringArray, UInt32Array,
};
use prospect_analysis::audit::duplicates::{
    groups::groups,
    threshold::{MOST, least_similarity},
};
use prospect_common::{Result, names, text};
use prospect_engine::{
    Context,
    tables::{
        columns::{Columns, integer, number, table},
        features::FeatureReader,
    },
};
use prospect_store::{Manifest, RunFolder};
use serde_json::{Value, json};

use super::{
    candidates::{Candidate, Images},
    compare::Comparer,
};

pub const CANDIDATES: &str = "duplicate_candidates";
/// How alike a group's members are to its centre at least, when each is a copy of one of them.
const ALIKE_TO_CENTRE: f32 = 0.85;
/// Of more copies of a file, only the pairs with the first are told.
const ALL_PAIRS: usize = 8;
/// Feature vectors in memory at a time, besides those of duplicates.
const VECTORS: usize = 8192;

/// A pair and how alike its pictures are; none where one of them could not be decoded or shows next to nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    pub pair: Candidate,
    pub similarity: Option<f32>,
    pub mirrored: Option<f32>,
}

impl Compared {
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Compared>> {
        let mut found = Vec::new();
        for batch in run.read(manifest, CANDIDATES) {
            let batch = batch?;
            let columns = Columns::of(run, CANDIDATES, &batch);
            let [a, b] = ["image_a", "image_b"].map(|name| columns.integers(name));
            let (a, b) = (a?, b?);
            let [distance, similarity, mirrored] =
                ["feature_distance", "similarity", "mirrored_similarity"]
                    .map(|name| columns.numbers(name));
            let (distance, similarity, mirrored) = (distance?, similarity?, mirrored?);
            for row in 0..batch.num_rows() {
                let id = |of| integer(of, row).and_then(|id| u32::try_from(id).ok());
                let figure = |of| number(of, row).map(|figure| figure as f32);
                let (Some(a), Some(b)) = (id(&a), id(&b)) else {
                    return Err(columns.unexpected("ids of images", "others"));
                };
                found.push(Compared {
                    pair: Candidate {
                        a,
                        b,
                        distance: figure(&distance),
                    },
                    similarity: figure(&similarity),
                    mirrored: figure(&mirrored),
                });
            }
        }
        Ok(found)
    }

    /// As it is or mirrored, whichever is more alike.
    fn best(&self) -> Option<f32> {
        Some(self.similarity?.max(self.mirrored?))
    }

    fn kind(&self) -> Kind {
        if self.mirrored > self.similarity {
            Kind::Mirrored
        } else {
            Kind::Near
        }
    }
}

/// The rows of `duplicate_candidates`.
pub fn candidates(compared: &[Compared]) -> Result<RecordBatch> {
    let ids = |of: fn(&Compared) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(compared.iter().map(of)))
    };
    let figures = |of: fn(&Compared) -> Option<f32>| -> ArrayRef {
        Arc::new(compared.iter().map(of).collect::<Float32Array>())
    };
    table([
        ("image_a", ids(|row| row.pair.a), false),
        ("image_b", ids(|row| row.pair.b), false),
        ("feature_distance", figures(|row| row.pair.distance), true),
        ("similarity", figures(|row| row.similarity), true),
        ("mirrored_similarity", figures(|row| row.mirrored), true),
    ])
}

names! {
    /// What makes two pictures duplicates.
    enum Kind {
        Exact = "exact",
        Near = "near",
        Mirrored = "mirrored",
    }
}

/// A row of `duplicates`.
struct Pair {
    a: u32,
    b: u32,
    kind: Kind,
    similarity: f32,
    group: u32,
}

/// The duplicates among all that was compared.
pub struct Found {
    pairs: Vec<Pair>,
    /// From this on two pictures are one.
    least_similarity: f64,
    /// Pairs that are alike, but whose images ended in different groups.
    apart: usize,
}

impl Found {
    /// `compare` says how alike two images are that were no candidates.
    pub fn new(
        images: &Images,
        compared: &[Compared],
        most_distance: Option<f64>,
        compare: impl FnOnce(&BTreeSet<u32>) -> Result<Comparer>,
    ) -> Result<Found> {
        let seen: Vec<f32> = compared.iter().filter_map(Compared::best).collect();
        let least_similarity = least_similarity(&seen);
        let is_near = |row: &&Compared| {
            let distance = row.pair.distance.zip(most_distance);
            (row.best()).is_some_and(|best| f64::from(best) >= least_similarity)
                && distance.is_none_or(|(distance, most)| f64::from(distance) <= most)
        };
        let near: Vec<&Compared> = compared.iter().filter(is_near).collect();
        let of_pair = |row: &Compared| (row.pair.a, row.pair.b, row.best().unwrap_or(0.0));
        let alike: Vec<(u32, u32, f32)> = near.iter().map(|row| of_pair(row)).collect();
        let ids: BTreeSet<u32> = alike.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
        let known: HashMap<(u32, u32), f32> = (compared.iter())
            .filter(|row| ids.contains(&row.pair.a) && ids.contains(&row.pair.b))
            .map(|row| ((row.pair.a, row.pair.b), row.best().unwrap_or(0.0)))
            .collect();
        let mut comparer = compare(&ids)?;
        let group_of = groups(&alike, |a, b| {
            let known = known.get(&(a, b)).copied();
            Ok(known.unwrap_or_else(|| comparer.similarity(a, b)) >= ALIKE_TO_CENTRE)
        })?;
        let group = |id: u32| group_of.get(&id).copied().unwrap_or(id);
        let mut pairs = Vec::new();
        let mut apart = 0;
        for row in near {
            let Candidate { a, b, .. } = row.pair;
            if group(a) == group(b) {
                pairs.push(Pair {
                    a,
                    b,
                    kind: row.kind(),
                    similarity: row.best().unwrap_or(0.0),
                    group: group(a),
                });
            } else {
                apart += 1;
            }
        }
        for ids in &images.copies {
            let of_first = ids[1..].iter().map(|b| (ids[0], *b));
            let mut told: Vec<(u32, u32)> = of_first.collect();
            if ids.len() <= ALL_PAIRS {
                let others = (1..ids.len()).flat_map(|i| (i + 1..ids.len()).map(move |j| (i, j)));
                told.extend(others.map(|(i, j)| (ids[i], ids[j])));
            }
            pairs.extend(told.into_iter().map(|(a, b)| Pair {
                a,
                b,
                kind: Kind::Exact,
                similarity: 1.0,
                group: group(ids[0]),
            }));
        }
        pairs.sort_by_key(|pair| (pair.a, pair.b));
        Ok(Found {
            pairs,
            least_similarity,
            apart,
        })
    }

    pub fn table(
        &self,
        ctx: &Context,
        manifest: &Manifest,
        images: &Images,
    ) -> Result<RecordBatch> {
        let pairs = &self.pairs;
        let distances = self.distances(ctx, manifest)?;
        let ids = |of: fn(&Pair) -> u32| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(pairs.iter().map(of)))
        };
        let bits = pairs.iter().map(|pair| {
            let mirrored = pair.kind == Kind::Mirrored;
            images
                .hash_bits(pair.a, pair.b, mirrored)
                .map(|bits| bits as i16)
        });
        let flags = |of: fn(&Images, u32, u32) -> bool| -> ArrayRef {
            let flags = pairs.iter().map(|pair| Some(of(images, pair.a, pair.b)));
            Arc::new(BooleanArray::from_iter(flags))
        };
        let kinds = pairs.iter().map(|pair| pair.kind.name());
        let similarities = pairs.iter().map(|pair| pair.similarity);
        table([
            ("image_a", ids(|pair| pair.a), false),
            ("image_b", ids(|pair| pair.b), false),
            (
                "kind",
                Arc::new(StringArray::from_iter_values(kinds)),
                false,
            ),
            (
                "phash_distance",
                Arc::new(bits.collect::<Int16Array>()),
                true,
            ),
            (
                "feature_distance",
                Arc::new(Float32Array::from(distances)),
                true,
            ),
            (
                "similarity",
                Arc::new(Float32Array::from_iter_values(similarities)),
                false,
            ),
            ("group_id", ids(|pair| pair.group), false),
            ("label_conflict", flags(Images::labels_differ), false),
            ("cross_split", flags(Images::splits_differ), false),
        ])
    }

    /// Cosine distances of the features, where both images have some.
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
            "exact_pairs": count(&|pair| pair.kind == Kind::Exact),
            "near_pairs": count(&|pair| pair.kind == Kind::Near),
            "mirrored_pairs": count(&|pair| pair.kind == Kind::Mirrored),
            "pairs_between_groups": self.apart,
            "label_conflicts": count(&|pair| images.labels_differ(pair.a, pair.b)),
            "cross_split_pairs": count(&|pair| images.splits_differ(pair.a, pair.b)),
            "least_similarity": self.least_similarity,
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
        let from = match self.least_similarity < MOST {
            true => format!("alike from {:.3}", self.least_similarity),
            false => "different pictures are too alike here for near-copies to be told".into(),
        };
        format!(
            "{} images in {} groups of duplicates; {from}",
            text::count(sizes.values().sum::<usize>() as u64),
            text::count(sizes.len() as u64),
        )
    }
}

/// 1 - cos, without the cancellation between near vectors; 1 where one has no direction.
fn cosine_distance(a: &[f32], b: &[f32]) -> f32 {
    let length = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let (of_a, of_b) = (length(a), length(b));
    if of_a == 0.0 || of_b == 0.0 {
        return 1.0;
    }
    let apart = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) / of_a - f64::from(*b) / of_b).powi(2));
    (apart.sum::<f64>() / 2.0) as f32
}
