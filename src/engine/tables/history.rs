//! What runs are compared by: the findings of a run, its images by path, and the table `changes`.

use std::{collections::HashMap, sync::Arc};

use arrow::array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray};
use prospect_common::{Result, text::escaped};
use prospect_findings::changes::{Change, Found, Rules, diff};
use prospect_store::{Manifest, RunFolder};

use super::columns::{Columns, integer, number, table, text};
use crate::Context;

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
        let flagged = columns.booleans("flagged")?;
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

/// What has become of the findings of the run that `[run] previous` names; none where it names none, or one without findings.
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
    if !manifest.has(ISSUES) {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{BooleanArray, UInt32Array};
    use serde_json::json;

    use super::*;
    use crate::progress::{Cancel, Progress, ProgressKind};
    use prospect_config::Config;
    use prospect_findings::changes::Became;
    use prospect_store::StageWriter;

    /// (image, kind, score, other image, reviewed)
    type Issue<'i> = (u32, &'i str, f32, Option<u32>, Option<&'i str>);

    /// A run of the images `paths` with these findings.
    fn write(run: &RunFolder, paths: &[&str], issues: &[Issue]) {
        let lock = run.lock("test").unwrap();
        let begin = |name: &str| {
            let needs = BTreeMap::new();
            StageWriter::begin(run, &lock, name, 1, name.to_string(), json!({}), needs).unwrap()
        };
        let ids = 0..paths.len() as u32;
        let texts = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let digests: Vec<String> = paths
            .iter()
            .map(|path| format!("digest of {path}"))
            .collect();
        let images = table([
            (
                "image_id",
                Arc::new(UInt32Array::from_iter_values(ids)) as ArrayRef,
                false,
            ),
            (
                "path",
                texts(paths.iter().copied().map(Some).collect()),
                false,
            ),
            (
                "digest",
                texts(digests.iter().map(|text| Some(text.as_str())).collect()),
                true,
            ),
        ]);
        let flagged = BooleanArray::from(vec![true; issues.len()]);
        let found = table([
            (
                "image_id",
                Arc::new(UInt32Array::from_iter_values(
                    issues.iter().map(|issue| issue.0),
                )) as ArrayRef,
                false,
            ),
            (
                "kind",
                texts(issues.iter().map(|issue| Some(issue.1)).collect()),
                false,
            ),
            (
                "score",
                Arc::new(Float32Array::from_iter_values(
                    issues.iter().map(|issue| issue.2),
                )),
                false,
            ),
            ("flagged", Arc::new(flagged), false),
            (
                "evidence",
                texts(vec![Some("because"); issues.len()]),
                false,
            ),
            (
                "other_id",
                Arc::new(UInt32Array::from_iter(issues.iter().map(|issue| issue.3))),
                true,
            ),
            (
                "reviewed",
                texts(issues.iter().map(|issue| issue.4).collect()),
                true,
            ),
        ]);
        for (stage, table, batch) in [("scan", "images", images), ("audit", ISSUES, found)] {
            let writer = begin(stage);
            let mut part = writer.part(0).unwrap();
            part.write(table, &batch.unwrap()).unwrap();
            writer.commit(part).unwrap();
            writer.finish(None, json!({})).unwrap();
        }
    }

    #[test]
    fn findings_are_known_again_by_path_though_ids_shift() {
        let dir = tempfile::tempdir().unwrap();
        let run = |name: &str| RunFolder::create(dir.path().join(name)).unwrap();
        let (before, now) = (run("before"), run("now"));
        write(
            &before,
            &["b", "c", "d"],
            &[
                (0, "label", 0.5, None, None),
                (0, "leak", 0.1, Some(2), None),
                (1, "dark", 0.2, None, Some("ok")),
            ],
        );
        write(
            &now,
            &["a", "b", "d"],
            &[
                (1, "label", 0.2, None, None),
                (1, "leak", 0.1, Some(2), None),
                (0, "dark", 0.3, None, None),
            ],
        );
        let text = "[run]\ndir = \"now\"\nprevious = \"before\"\n[images]\ndir = \"images\"\n";
        let config = Config::parse(&dir.path().join("pipeline.toml"), text, &[]).unwrap();
        let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
        let ctx = Context::new(&config, &now, &progress, &cancel);
        let found = findings(&now, &now.manifest().unwrap()).unwrap();
        assert_eq!(
            (found[1].path.as_str(), found[1].other_path.as_deref()),
            ("b", Some("d"))
        );
        let told = since_previous(&ctx, &found).unwrap().unwrap();
        let short: Vec<_> = told
            .iter()
            .map(|change| (change.path.as_str(), change.kind.as_str(), change.change))
            .collect();
        assert_eq!(
            short,
            [("a", "dark", Became::New), ("b", "label", Became::Worse)]
        );
        let batch = changes(&told).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (2, 7));
        assert!(previous_digest(&ctx).unwrap().is_some());
        let known = images(&now, &now.manifest().unwrap()).unwrap();
        assert_eq!(known["d"].digest.as_deref(), Some("digest of d"));
    }

    #[test]
    fn a_run_without_findings_is_nothing_to_compare_with() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(dir.path().join("now")).unwrap();
        let manifest = run.manifest().unwrap();
        assert!(
            findings(&run, &manifest)
                .unwrap_err()
                .to_string()
                .contains("table images")
        );
        for (previous, is_named) in [("", false), ("previous = \"nowhere\"\n", true)] {
            let text = format!("[run]\ndir = \"now\"\n{previous}[images]\ndir = \"images\"\n");
            let config = Config::parse(&dir.path().join("pipeline.toml"), &text, &[]).unwrap();
            assert_eq!(config.run.previous.is_some(), is_named);
            let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
            let ctx = Context::new(&config, &run, &progress, &cancel);
            assert_eq!(since_previous(&ctx, &[]).unwrap(), None);
            assert_eq!(previous_digest(&ctx).unwrap(), None);
        }
    }
}
