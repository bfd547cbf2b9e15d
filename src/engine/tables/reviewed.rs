//! Labels that a person has reviewed.

use std::collections::{BTreeMap, HashMap};

use prospect_common::Result;
use prospect_config::Config;
use prospect_findings::review::{OF_LABELS, Reviews, Verdict};
use prospect_store::{Manifest, RunFolder};
use serde_json::{Value, json};

use super::{
    classes::{ClassNames, labels},
    files::files,
};

/// A reviewed label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReviewedLabel {
    pub verdict: Verdict,
    /// The right class; `None` if only known to be another one.
    pub class: Option<i32>,
    /// Whether `prospect review next` asked for it.
    pub sampled: bool,
}

/// The reviewed labels, by image id. Reviews of images that have changed since are left out.
pub fn reviewed_labels(
    config: &Config,
    run: &RunFolder,
    manifest: &Manifest,
) -> Result<BTreeMap<u32, ReviewedLabel>> {
    let reviews = Reviews::read(&config.reviews_path())?;
    let mut found = BTreeMap::new();
    if (reviews.iter()).all(|review| !OF_LABELS.contains(&review.kind)) {
        return Ok(found);
    }
    let names = ClassNames::read(run, manifest)?.dataset;
    let classes: HashMap<&str, i32> = names.iter().map(|(n, name)| (name.as_str(), *n)).collect();
    let given = labels(run, manifest)?;
    let is_reviewed =
        |_, path: &str| (OF_LABELS.iter()).any(|kind| reviews.about(path, *kind).is_some());
    for (image_id, file) in files(run, manifest, is_reviewed)? {
        let mut found_of =
            (OF_LABELS.iter()).map(|kind| reviews.find(&file.path, *kind, file.digest.as_deref()));
        let review = found_of.find_map(|review| review);
        let Some((review, given)) = review.zip(given.get(image_id as usize).copied().flatten())
        else {
            continue;
        };
        let class = match (review.verdict, &review.label) {
            (Verdict::Ok, _) => Some(given),
            (_, Some(name)) => classes.get(name.as_str()).copied(),
            (_, None) => None,
        };
        if let Some(name) = review.label.as_ref().filter(|_| class.is_none()) {
            tracing::warn!("{}: unknown label {name:?} in the reviews", file.path);
        }
        let label = ReviewedLabel {
            verdict: review.verdict,
            class,
            sampled: review.sampled,
        };
        found.insert(image_id, label);
    }
    Ok(found)
}

/// The reviews of labels as a stage's parameter, in no particular order of the file.
pub fn parameter(config: &Config) -> Result<Value> {
    let reviews = Reviews::read(&config.reviews_path())?;
    let of_labels = (reviews.iter()).filter(|review| OF_LABELS.contains(&review.kind));
    let mut rows: Vec<String> = of_labels
        .map(|review| {
            let verdict = review.verdict.name();
            let kind = review.kind.name();
            json!([review.path, kind, verdict, review.digest, review.label]).to_string()
        })
        .collect();
    rows.sort_unstable();
    let digest = blake3::hash(rows.join("\n").as_bytes()).to_hex();
    Ok(json!({ "n": rows.len(), "digest": digest[..16] }))
}
