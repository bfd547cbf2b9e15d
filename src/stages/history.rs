//! What runs are compared by: the findings of a run, its images by path, and the table `changes`.

use std::{collections::HashMap, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, RecordBatch, StringArray};

use super::{
    Context,
    columns::{Columns, integer, number, table, text},
};
use crate::{
    changes::{Change, Found, Rules, diff},
    error::Result,
    store::{Manifest, RunFolder},
    text::escaped,
};

/// The table of findings.
const ISSUES: &str = "issues";

/// An image as commands that know only its path need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub image_id: u32,
    /// BLAKE3 of its bytes; none where they could not be read.
    pub digest: Option<String>,
}

/// The images of a run by path.
pub fn images(run: &RunFolder, manifest: &Manifest) -> Result<HashMap<String, Known>> {
    let mut found = HashMap::new();
    for batch in (run.read(manifest, "images")).columns(&["image_id", "path", "digest"]) {
        let batch = batch?;
        let columns = Columns::of(run, "images", &batch);
        let (paths, digests) = (columns.texts("path")?, columns.texts("digest")?);
        for (row, image_id) in columns.image_ids()?.into_iter().enumerate() {
            let digest = text(&digests, row).map(str::to_string);
            let path = text(&paths, row).unwrap_or_default().to_string();
            found.insert(path, Known { image_id, digest });
        }
    }
    Ok(found)
}

/// The findings of a run, in the order of its table `issues`.
///
/// # Errors
/// The run has no such table: its audit has not run.
pub fn findings(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Found>> {
    let mut paths: HashMap<u32, String> = HashMap::new();
    for (path, known) in images(run, manifest)? {
        paths.insert(known.image_id, path);
    }
    let names = [
        "image_id", "kind", "score", "flagged", "evidence", "other_id", "reviewed",
    ];
    let mut found = Vec::new();
    for batch in run.read(manifest, ISSUES).columns(&names) {
        let batch = batch?;
        let columns = Columns::of(run, ISSUES, &batch);
        let (kinds, evidence) = (columns.texts("kind")?, columns.texts("evidence")?);
        let (scores, others) = (columns.numbers("score")?, columns.integers("other_id")?);
        let reviewed = columns.texts("reviewed")?;
        let flagged = columns.column("flagged")?;
        let flagged = flagged
            .as_boolean_opt()
            .ok_or_else(|| columns.unexpected("true or false in column flagged", "another type"))?;
        let path_of = |id: u32| {
            let path = paths.get(&id).cloned();
            path.ok_or_else(|| {
                columns.unexpected("images of the table images", format!("image {id}"))
            })
        };
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            let other = integer(&others, row).and_then(|id| u32::try_from(id).ok());
            found.push(Found {
                path: path_of(id)?,
                kind: text(&kinds, row).unwrap_or_default().to_string(),
                other_path: other.map(path_of).transpose()?,
                score: number(&scores, row).map_or(1.0, |score| score as f32),
                flagged: flagged.is_valid(row) && flagged.value(row),
                reviewed: text(&reviewed, row).map(str::to_string),
                evidence: text(&evidence, row).unwrap_or_default().to_string(),
            });
        }
    }
    Ok(found)
}

/// What has become of the findings of the run that [run] previous names; none where it names none, or one without findings.
pub fn since_previous(ctx: &Context, now: &[Found]) -> Result<Option<Vec<Change>>> {
    let Some((run, manifest)) = previous(ctx)? else {
        return Ok(None);
    };
    Ok(Some(diff(
        &findings(&run, &manifest)?,
        now,
        Rules::default(),
    )))
}

/// What decides the outcome of [`since_previous`] besides the present findings, for the key of the stage that calls it.
pub fn previous_digest(ctx: &Context) -> Result<Option<String>> {
    let Some((_, manifest)) = previous(ctx)? else {
        return Ok(None);
    };
    let mut hasher = blake3::Hasher::new();
    for table in ["images", ISSUES] {
        for (_, file) in manifest.table_files(table) {
            hasher.update(file.blake3.as_bytes());
        }
    }
    Ok(Some(hasher.finalize().to_hex()[..16].to_string()))
}

/// The earlier run, if one is named that has findings.
fn previous(ctx: &Context) -> Result<Option<(RunFolder, Manifest)>> {
    let Some(folder) = &ctx.config.run.previous else {
        return Ok(None);
    };
    let run = RunFolder::at(folder)?;
    let manifest = run.manifest()?;
    if manifest.table_files(ISSUES).next().is_none() {
        tracing::warn!(
            "{}: no findings there to compare with",
            escaped(&folder.display().to_string())
        );
        return Ok(None);
    }
    Ok(Some((run, manifest)))
}

/// Table `changes`, in the order given.
pub fn changes(changes: &[Change]) -> Result<RecordBatch> {
    let texts = |of: &dyn Fn(&Change) -> Option<&str>| -> ArrayRef {
        Arc::new(StringArray::from_iter(changes.iter().map(of)))
    };
    let scores = |of: fn(&Change) -> Option<f32>| -> ArrayRef {
        Arc::new(Float32Array::from_iter(changes.iter().map(of)))
    };
    table([
        ("path", texts(&|change| Some(&change.path)), false),
        ("kind", texts(&|change| Some(&change.kind)), false),
        (
            "other_path",
            texts(&|change| change.other_path.as_deref()),
            true,
        ),
        ("change", texts(&|change| Some(change.change.name())), false),
        ("score_before", scores(|change| change.score_before), true),
        ("score", scores(|change| change.score), true),
        ("evidence", texts(&|change| Some(&change.evidence)), false),
    ])
}
