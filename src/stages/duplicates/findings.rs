//! Findings of redundant copies, label conflicts and leaks between splits.

use std::collections::BTreeMap;

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
    label_conflict: bool,
    cross_split: bool,
}

/// What the evidence quotes of an image.
#[derive(Default)]
struct Image {
    path: String,
    label: Option<String>,
    split: Option<String>,
}

/// All findings are flagged. A copy has one, about the most similar earlier image. Of two copies with different labels, each has
/// one: either may be wrong. Of two in different splits, the one outside `train` has it, or else the later one.
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
        for (kind, image_id, other_id) in about(pair, &images) {
            let score = 1.0 - pair.similarity;
            let before = best.get(&(image_id, kind));
            if before.is_none_or(|before| score < before.score) {
                let finding = Finding {
                    image_id,
                    kind,
                    score,
                    flagged: true,
                    suggested_label: None,
                    other_id: Some(other_id),
                    evidence: sentence(kind, pair, &images[&image_id], &images[&other_id]),
                };
                best.insert((image_id, kind), finding);
            }
        }
    }
    Ok(best.into_values().collect())
}

/// Kind, image and other image of each finding of a pair.
fn about(pair: &Pair, images: &BTreeMap<u32, Image>) -> Vec<(Kind, u32, u32)> {
    let (a, b) = (pair.a, pair.b);
    let copy = match pair.kind {
        DuplicateKind::Exact => Kind::DuplicateExact,
        DuplicateKind::Near | DuplicateKind::Mirrored => Kind::DuplicateNear,
    };
    let mut found = vec![(copy, b, a)];
    if pair.label_conflict {
        found.extend([(Kind::DuplicateLabel, a, b), (Kind::DuplicateLabel, b, a)]);
    }
    if pair.cross_split {
        let trains = |id: &u32| images[id].split.as_deref() == Some("train");
        let (leaked, other) = if trains(&b) && !trains(&a) {
            (a, b)
        } else {
            (b, a)
        };
        found.push((Kind::Leak, leaked, other));
    }
    found
}

fn sentence(kind: Kind, pair: &Pair, own: &Image, other: &Image) -> String {
    let path = escaped(&other.path);
    let mut figures = format!("similarity {:.3}", pair.similarity);
    if let Some(bits) = pair.bits {
        figures += &format!(", {bits} of 64 hash bits differ");
    }
    let same = match pair.kind {
        DuplicateKind::Exact => format!("the same file as {path}"),
        DuplicateKind::Mirrored => format!("the same picture as {path}, mirrored ({figures})"),
        DuplicateKind::Near => format!("the same picture as {path} ({figures})"),
    };
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
        _ => same,
    }
}

fn read(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Pair>> {
    let columns = (
        duplicates::image_a,
        duplicates::image_b,
        duplicates::kind,
        duplicates::phash_distance,
        duplicates::similarity,
        duplicates::label_conflict,
        duplicates::cross_split,
    );
    let mut pairs = Vec::new();
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for (a, b, kind, bits, similarity, label_conflict, cross_split) in batch.iter() {
            let unknown = |message: String| batch.unexpected("a kind of duplicate", message);
            pairs.push(Pair {
                a,
                b,
                kind: kind.parse().map_err(unknown)?,
                bits,
                similarity,
                label_conflict,
                cross_split,
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
    );
    for batch in run.rows(manifest, columns) {
        for (id, path, label, split) in batch?.iter() {
            if let Some(image) = images.get_mut(&id) {
                *image = Image {
                    path: path.to_string(),
                    label: label.map(str::to_string),
                    split: split.map(str::to_string),
                };
            }
        }
    }
    Ok(())
}
