//! Findings of redundant copies, label conflicts and leaks between splits.

use std::collections::{BTreeMap, BTreeSet};

use prospect_common::{Result, text::escaped};
use prospect_engine::{
    Context,
    schema::{duplicates, images},
};
use prospect_findings::{Finding, Kind};
use prospect_store::{Manifest, RunFolder};

use super::tables::DuplicateKind;

/// A row of `duplicates`.
struct Pair {
    a: u32,
    b: u32,
    kind: DuplicateKind,
    bits: Option<i16>,
    similarity: f32,
    group: u32,
}

/// What the evidence quotes of an image.
#[derive(Default)]
struct Image {
    path: String,
    label: Option<String>,
    split: Option<String>,
    digest: Option<String>,
}

/// All findings are flagged. A copy has one, about the most similar earlier image. Every member of a group with different labels
/// has one: any may be wrong. So has every member outside `train` of a group with images in several splits.
pub fn findings(ctx: &Context, manifest: &Manifest) -> Result<Vec<Finding>> {
    if !manifest.has(duplicates::NAME) {
        return Ok(Vec::new());
    }
    let pairs = read(ctx.run, manifest)?;
    let mut images: BTreeMap<u32, Image> = (pairs.iter())
        .flat_map(|pair| [pair.a, pair.b])
        .map(|id| (id, Image::default()))
        .collect();
    read_images(ctx.run, manifest, &mut images)?;
    let mut best: BTreeMap<(u32, Kind), Finding> = BTreeMap::new();
    for pair in &pairs {
        let copy = match pair.kind {
            DuplicateKind::Exact => Kind::DuplicateExact,
            _ => Kind::DuplicateNear,
        };
        let both = [(pair.a, pair.b), (pair.b, pair.a)];
        let of_label = both.map(|(own, other)| (Kind::DuplicateLabel, own, other));
        let of_split = both.map(|(own, other)| (Kind::Leak, own, other));
        let copies = [(copy, pair.b, pair.a)];
        for (kind, image_id, other_id) in copies.into_iter().chain(of_label).chain(of_split) {
            let (own, other) = (&images[&image_id], &images[&other_id]);
            if !is_about(kind, own, other, image_id > other_id) {
                continue;
            }
            let score = 1.0 - pair.similarity;
            let before = best.get(&(image_id, kind));
            if before.is_none_or(|before| score < before.score) {
                let same = same(pair, other);
                let finding = finding(kind, (image_id, own), (other_id, other), score, &same);
                best.insert((image_id, kind), finding);
            }
        }
    }
    for members in groups(&pairs).into_values() {
        add_indirect(&members, &images, &mut best);
    }
    Ok(best.into_values().collect())
}

/// Adds label conflicts and leaks of members that are paired with none of the conflicting images: copies of copies, and identical
/// files of large groups.
fn add_indirect(
    members: &BTreeSet<u32>,
    images: &BTreeMap<u32, Image>,
    best: &mut BTreeMap<(u32, Kind), Finding>,
) {
    // The first of each label and split stands for all: large groups are not searched for every member.
    let mut known = BTreeSet::new();
    let is_first = |id: &&u32| known.insert((&images[*id].label, &images[*id].split));
    let firsts: Vec<&u32> = members.iter().filter(is_first).collect();
    for kind in [Kind::DuplicateLabel, Kind::Leak] {
        for id in members {
            if best.contains_key(&(*id, kind)) {
                continue;
            }
            let own = &images[id];
            let conflicts = |other: &&u32| is_about(kind, own, &images[*other], *id > **other);
            if let Some(other_id) = firsts.iter().copied().find(conflicts) {
                let other = &images[other_id];
                let (relation, score) = if own.digest.is_some() && own.digest == other.digest {
                    ("the same file as", 0.0)
                } else {
                    // Only as certain as the least similar step on the way.
                    let steps = [Kind::DuplicateNear, Kind::DuplicateExact].into_iter();
                    let scores = steps.filter_map(|kind| Some(best.get(&(*id, kind))?.score));
                    ("a copy of a copy of", scores.fold(0.0, f32::max))
                };
                let same = format!("{relation} {}", escaped(&other.path));
                let finding = finding(kind, (*id, own), (*other_id, other), score, &same);
                best.insert((*id, kind), finding);
            }
        }
    }
}

/// The members of each group.
fn groups(pairs: &[Pair]) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut groups: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for pair in pairs {
        groups
            .entry(pair.group)
            .or_default()
            .extend([pair.a, pair.b]);
    }
    groups
}

/// Whether a copy is a finding of this kind. Of two splits, the image outside `train` is leaked, or else the later one.
fn is_about(kind: Kind, own: &Image, other: &Image, is_later: bool) -> bool {
    let differ = |own: &Option<String>, other: &Option<String>| {
        own.is_some() && other.is_some() && own != other
    };
    let trains = |image: &Image| image.split.as_deref() == Some("train");
    match kind {
        Kind::DuplicateLabel => differ(&own.label, &other.label),
        Kind::Leak => {
            differ(&own.split, &other.split) && !trains(own) && (trains(other) || is_later)
        }
        _ => true,
    }
}

fn finding(
    kind: Kind,
    (image_id, own): (u32, &Image),
    (other_id, other): (u32, &Image),
    score: f32,
    same: &str,
) -> Finding {
    Finding {
        image_id,
        kind,
        score,
        flagged: true,
        suggested_label: None,
        other_id: Some(other_id),
        evidence: sentence(kind, own, other, same),
    }
}

/// "the same picture as train/1.png (similarity 0.981, 4 of 64 hash bits differ)"
fn same(pair: &Pair, other: &Image) -> String {
    let path = escaped(&other.path);
    let mut figures = format!("similarity {:.3}", pair.similarity);
    if let Some(bits) = pair.bits {
        figures += &format!(", {bits} of 64 hash bits differ");
    }
    match pair.kind {
        DuplicateKind::Exact => format!("the same file as {path}"),
        DuplicateKind::Mirrored | DuplicateKind::Rotated => {
            format!("the same picture as {path}, {} ({figures})", pair.kind)
        }
        DuplicateKind::Near => format!("the same picture as {path} ({figures})"),
    }
}

fn sentence(kind: Kind, own: &Image, other: &Image, same: &str) -> String {
    let word = |word: &Option<String>| match word {
        Some(word) => escaped(word).into_owned(),
        None => "nothing".into(),
    };
    match kind {
        Kind::DuplicateLabel => format!(
            "{same}, but labelled {} there and {} here",
            word(&other.label),
            word(&own.label)
        ),
        Kind::Leak => format!(
            "{same}, which is in split {}, this one in {}",
            word(&other.split),
            word(&own.split)
        ),
        _ => same.to_string(),
    }
}

fn read(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Pair>> {
    let columns = (
        duplicates::image_a,
        duplicates::image_b,
        duplicates::kind,
        duplicates::phash_distance,
        duplicates::similarity,
        duplicates::group_id,
    );
    let mut pairs = Vec::new();
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for (a, b, kind, bits, similarity, group) in batch.iter() {
            let unknown = |message: String| batch.unexpected("a kind of duplicate", message);
            pairs.push(Pair {
                a,
                b,
                kind: kind.parse().map_err(unknown)?,
                bits,
                similarity,
                group,
            });
        }
    }
    Ok(pairs)
}

fn read_images(
    run: &RunFolder,
    manifest: &Manifest,
    images: &mut BTreeMap<u32, Image>,
) -> Result<()> {
    let columns = (
        images::image_id,
        images::path,
        images::label_name,
        images::split,
        images::digest,
    );
    for batch in run.rows(manifest, columns) {
        for (id, path, label, split, digest) in batch?.iter() {
            if let Some(image) = images.get_mut(&id) {
                *image = Image {
                    path: path.to_string(),
                    label: label.map(str::to_string),
                    split: split.map(str::to_string),
                    digest: digest.map(str::to_string),
                };
            }
        }
    }
    Ok(())
}
