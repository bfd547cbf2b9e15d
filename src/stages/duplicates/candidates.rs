//! Pairs of images that are worth decoding.

use std::collections::{BTreeMap, HashMap};

use prospect_analysis::audit::duplicates::hashes::{MIRROR, near_hashes};
use prospect_common::{Result, statistics::upper_median};
use prospect_engine::{
    Context,
    progress::Bar,
    schema::{features, images, neighbors},
    tables::cosine::Cosines,
};
use prospect_store::Manifest;

/// Pairs that an image brings by its hash, either way round.
const MAX_BY_HASH: usize = 16;
/// Standard deviation of luma under which a picture's hash is that of noise.
const MIN_CONTRAST: f64 = 0.01;
/// The neighbour whose distance, in the median of all images, pairs have to undercut: duplicates seldom come in so many.
const USUAL_NEIGHBOR: usize = 5;
/// Rows in memory at a time.
const BATCH_ROWS: usize = 65_536;

/// What is known of each image without looking at it.
pub struct Images {
    /// By image id.
    rows: Vec<Image>,
    /// The classes of the dataset's labels and splits are compared, never shown.
    splits: Vec<String>,
    /// Images that are the same file, lowest id first; only where there are several.
    pub copies: Vec<Vec<u32>>,
}

#[derive(Debug, Clone, Default)]
struct Image {
    /// None where there is nothing to hash.
    phash: Option<u64>,
    label: Option<i32>,
    split: Option<usize>,
    /// The lowest id of those with the very same file.
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
                    let expected = format!("image {}, ids being ranks", images.len());
                    return Err(batch.unexpected(expected, format!("image {id}")));
                }
                let seen = contrast.is_some_and(|seen| f64::from(seen) >= MIN_CONTRAST);
                let split = split.map(|split| images.split(split));
                images.rows.push(Image {
                    phash: phash.filter(|_| seen),
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

    fn split(&mut self, name: &str) -> usize {
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

    /// Bits in which two hashes differ, one of them mirrored if that is asked for.
    pub fn hash_bits(&self, a: u32, b: u32, mirrored: bool) -> Option<u32> {
        let hash = |id: u32| self.rows.get(id as usize).and_then(|image| image.phash);
        let flip = if mirrored { MIRROR } else { 0 };
        Some((hash(a)? ^ hash(b)? ^ flip).count_ones())
    }

    /// Whether both have labels, and different ones.
    pub fn labels_differ(&self, a: u32, b: u32) -> bool {
        differ(self.rows[a as usize].label, self.rows[b as usize].label)
    }

    /// Whether both are in splits, and different ones.
    pub fn splits_differ(&self, a: u32, b: u32) -> bool {
        differ(self.rows[a as usize].split, self.rows[b as usize].split)
    }
}

fn differ<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    a.is_some() && b.is_some() && a != b
}

/// Two images, `a` before `b`, neither of them a copy of a file before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub a: u32,
    pub b: u32,
    /// Cosine distance, where one is among the other's nearest neighbours.
    pub distance: Option<f32>,
}

/// All candidates, in order, and the cosine distance that neighbours had to undercut: `duplicate_distance`, or else the median
/// distance to the fifth neighbour. None where there are no neighbours.
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
    for flip in [0, MIRROR] {
        let pairs = near_hashes(&hashes, flip, MAX_BY_HASH, |done| {
            bar.advance(done as u64 / 2);
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

/// Neighbours nearer than the limit; copies of a file stand for its first.
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
    let mut usual = Vec::new();
    let columns = (
        neighbors::image_id,
        neighbors::neighbor_id,
        neighbors::distance,
    );
    // Of the image that is being read: a batch may end in the middle of one.
    let mut own: (u32, usize) = (u32::MAX, 0);
    for batch in ctx.run.rows(manifest, columns).batch_rows(BATCH_ROWS) {
        let batch = batch?;
        ctx.cancel.check()?;
        for (id, neighbor, distance) in batch.iter() {
            let (Some(a), Some(b)) = (images.first(id), images.first(neighbor)) else {
                return Err(batch.unexpected("ids of images", "others"));
            };
            if a == b {
                continue;
            }
            let distance = cosines.distance(id, neighbor, distance);
            own = (id, if own.0 == id { own.1 + 1 } else { 1 });
            if own.1 == USUAL_NEIGHBOR {
                usual.push(distance);
            }
            near.push((distance, a.min(b), a.max(b)));
        }
    }
    usual.sort_by(f32::total_cmp);
    let found = upper_median(&usual).map(f64::from);
    let limit = ctx.config.audit.duplicate_distance.or(found);
    let mut pairs = Near::new();
    for (distance, a, b) in near {
        if limit.is_none_or(|limit| f64::from(distance) <= limit) {
            let known = pairs.entry((a, b)).or_insert(Some(distance));
            *known = known.map(|known| known.min(distance));
        }
    }
    Ok((pairs, limit))
}
