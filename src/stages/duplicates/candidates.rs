//! Candidate pairs: images near in perceptual hash or in feature space.

use std::collections::{BTreeMap, HashMap};

use prospect_analysis::audit::duplicates::{hashes::near_hashes, orientation::Orientation};
use prospect_common::{Result, statistics::upper_median};
use prospect_engine::{
    Context,
    progress::Bar,
    schema::{features, images, neighbors},
    tables::cosine::Cosines,
};
use prospect_store::Manifest;

/// Orientations in which hashes are compared. Either of two pictures is turned, so one of two opposite quarter turns is enough.
const ORIENTATIONS: [Orientation; 7] = [
    Orientation::Upright,
    Orientation::Mirrored,
    Orientation::Rotated90,
    Orientation::Rotated180,
    Orientation::Mirrored90,
    Orientation::Mirrored180,
    Orientation::Mirrored270,
];
/// Candidate pairs per image by its hash, in each orientation.
const MAX_BY_HASH: usize = 16;
/// Standard deviation of luma below which a picture's hash is noise.
const MIN_CONTRAST: f64 = 0.01;
/// Rank of the neighbour whose median distance is the limit for candidates: images seldom have this many duplicates.
const LIMIT_RANK: usize = 5;
/// Rows in memory at a time.
const BATCH_ROWS: usize = 65_536;

/// Each image's hash, label, split and exact copies, from table `images`.
pub struct Images {
    /// By image id.
    rows: Vec<Image>,
    /// Names of the splits; images hold indices into them.
    splits: Vec<String>,
    /// Groups of two or more identical files, ids ascending.
    pub copies: Vec<Vec<u32>>,
}

#[derive(Debug, Clone, Default)]
struct Image {
    /// None without enough contrast.
    phash: Option<u64>,
    label: Option<i32>,
    split: Option<usize>,
    /// Lowest id among the identical files.
    first: u32,
}

impl Images {
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Images> {
        let mut images = Images {
            rows: Vec::new(),
            splits: Vec::new(),
            copies: Vec::new(),
        };
        let mut by_digest: HashMap<String, Vec<u32>> = HashMap::new();
        let columns = (
            images::image_id,
            images::digest,
            images::label,
            images::split,
            images::error,
            images::contrast,
            images::phash,
        );
        for batch in ctx.run.rows(manifest, columns) {
            let batch = batch?;
            for (id, digest, label, split, error, contrast, phash) in batch.iter() {
                if id as usize != images.len() {
                    let expected = format!("image id {}", images.len());
                    return Err(batch.unexpected(expected, id.to_string()));
                }
                let has_contrast = contrast.is_some_and(|std| f64::from(std) >= MIN_CONTRAST);
                let split = split.map(|split| images.split_index(split));
                images.rows.push(Image {
                    phash: phash.filter(|_| has_contrast),
                    label,
                    split,
                    first: id,
                });
                if let (Some(digest), None) = (digest, error) {
                    by_digest.entry(digest.to_string()).or_default().push(id);
                }
            }
        }
        images.copies = by_digest
            .into_values()
            .filter(|ids| ids.len() > 1)
            .collect();
        images.copies.sort_unstable();
        for ids in &images.copies {
            for id in ids {
                images.rows[*id as usize].first = ids[0];
            }
        }
        Ok(images)
    }

    fn split_index(&mut self, name: &str) -> usize {
        match self.splits.iter().position(|known| known == name) {
            Some(place) => place,
            None => {
                self.splits.push(name.to_string());
                self.splits.len() - 1
            }
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    fn first(&self, id: u32) -> Option<u32> {
        self.rows.get(id as usize).map(|image| image.first)
    }

    /// Hamming distance of two images' hashes, the first one turned.
    pub fn hash_bits(&self, a: u32, b: u32, orientation: Orientation) -> Option<u32> {
        let hash = |id: u32| self.rows.get(id as usize).and_then(|image| image.phash);
        Some((orientation.of_hash(hash(a)?) ^ hash(b)?).count_ones())
    }

    /// Whether both have a label and the labels differ.
    pub fn labels_differ(&self, a: u32, b: u32) -> bool {
        differ(self.rows[a as usize].label, self.rows[b as usize].label)
    }

    /// Whether both have a split and the splits differ.
    pub fn splits_differ(&self, a: u32, b: u32) -> bool {
        differ(self.rows[a as usize].split, self.rows[b as usize].split)
    }
}

fn differ<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    a.is_some() && b.is_some() && a != b
}

/// Two images, `a` < `b`, each the first of its identical files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub a: u32,
    pub b: u32,
    /// Cosine distance, if one is a nearest neighbour of the other.
    pub distance: Option<f32>,
}

/// All candidates, in order, and the cosine distance limit for neighbours: `duplicate_distance`, or else the median distance to
/// the fifth neighbour. No limit without neighbours.
pub fn find(
    ctx: &Context,
    manifest: &Manifest,
    images: &Images,
    bar: &Bar,
) -> Result<(Vec<Candidate>, Option<f64>)> {
    let mut found: BTreeMap<(u32, u32), Option<f32>> = BTreeMap::new();
    let (near, limit) = by_neighbors(ctx, manifest, images)?;
    found.extend(near);
    let (ids, hashes): (Vec<u32>, Vec<u64>) = (0..)
        .zip(&images.rows)
        .filter(|(id, image)| *id == image.first)
        .filter_map(|(id, image)| Some((id, image.phash?)))
        .unzip();
    for orientation in ORIENTATIONS {
        let pairs = near_hashes(&hashes, orientation, MAX_BY_HASH, |done| {
            bar.advance((done / ORIENTATIONS.len()) as u64);
            ctx.cancel.check()
        })?;
        for pair in pairs {
            let pair = (ids[pair.a as usize], ids[pair.b as usize]);
            found.entry(pair).or_insert(None);
        }
    }
    let candidates = (found.into_iter())
        .map(|((a, b), distance)| Candidate { a, b, distance })
        .collect();
    Ok((candidates, limit))
}

type Near = BTreeMap<(u32, u32), Option<f32>>;

/// Neighbours within the limit; identical files count as the first of them.
fn by_neighbors(
    ctx: &Context,
    manifest: &Manifest,
    images: &Images,
) -> Result<(Near, Option<f64>)> {
    if !manifest.has(neighbors::NAME) || !manifest.has(features::NAME) {
        return Ok((Near::new(), None));
    }
    let cosines = Cosines::read(ctx, manifest, images.len())?;
    let mut near: Vec<(f32, u32, u32)> = Vec::new();
    let mut at_rank = Vec::new();
    let columns = (
        neighbors::image_id,
        neighbors::neighbor_id,
        neighbors::distance,
    );
    // Current image and its neighbours so far: a batch may end within an image.
    let mut current: (u32, usize) = (u32::MAX, 0);
    for batch in ctx.run.rows(manifest, columns).batch_rows(BATCH_ROWS) {
        let batch = batch?;
        ctx.cancel.check()?;
        for (id, neighbor, distance) in batch.iter() {
            let (Some(a), Some(b)) = (images.first(id), images.first(neighbor)) else {
                return Err(batch.unexpected("known image ids", "an unknown one"));
            };
            if a == b {
                continue;
            }
            let distance = cosines.distance(id, neighbor, distance);
            current = (id, if current.0 == id { current.1 + 1 } else { 1 });
            if current.1 == LIMIT_RANK {
                at_rank.push(distance);
            }
            near.push((distance, a.min(b), a.max(b)));
        }
    }
    at_rank.sort_by(f32::total_cmp);
    let median = upper_median(&at_rank).map(f64::from);
    let limit = ctx.config.audit.duplicate_distance.or(median);
    let mut pairs = Near::new();
    for (distance, a, b) in near {
        if limit.is_none_or(|limit| f64::from(distance) <= limit) {
            let least = pairs.entry((a, b)).or_insert(Some(distance));
            *least = least.map(|least| least.min(distance));
        }
    }
    Ok((pairs, limit))
}
