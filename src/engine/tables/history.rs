//! Comparison of runs: findings by path, and the table `changes`.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use prospect_common::{Result, text::escaped};
use prospect_findings::changes::{Change, FindingByPath, Rules, diff};
use prospect_store::{Manifest, RunFolder};

use super::files::files;
use crate::{
    Context,
    schema::{changes, images, issues},
};

/// The findings of a run, in the order of its table `issues`.
///
/// # Errors
/// The run has no such table: its audit has not run.
pub fn findings(run: &RunFolder, manifest: &Manifest) -> Result<Vec<FindingByPath>> {
    let mut named = HashSet::new();
    for batch in run.rows(manifest, (issues::image_id, issues::other_id)) {
        for (id, other) in batch?.iter() {
            named.extend([Some(id), other].into_iter().flatten());
        }
    }
    let files = files(run, manifest, |id, _| named.contains(&id))?;
    let columns = (
        issues::image_id,
        issues::kind,
        issues::score,
        issues::flagged,
        issues::evidence,
        issues::other_id,
        issues::reviewed,
    );
    let mut found = Vec::new();
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        let path_of = |id: u32| {
            let path = files.get(&id).map(|file| file.path.clone());
            path.ok_or_else(|| {
                batch.unexpected("images of the table images", format!("image {id}"))
            })
        };
        for (id, kind, score, flagged, evidence, other, reviewed) in batch.iter() {
            found.push(FindingByPath {
                path: path_of(id)?,
                kind: kind.to_string(),
                other_path: other.map(path_of).transpose()?,
                score,
                flagged,
                reviewed: reviewed.map(str::to_string),
                evidence: evidence.to_string(),
            });
        }
    }
    Ok(found)
}

/// Changes since the run in `[run] previous`; `None` without such a run or if it has no findings.
pub fn since_previous(ctx: &Context, now: &[FindingByPath]) -> Result<Option<Vec<Change>>> {
    let Some((run, manifest)) = previous(ctx)? else {
        return Ok(None);
    };
    Ok(Some(diff(
        &findings(&run, &manifest)?,
        now,
        Rules::default(),
    )))
}

/// Digest of the previous run's findings, for the key of the stage that calls [`since_previous`].
pub fn previous_digest(ctx: &Context) -> Result<Option<String>> {
    let Some((_, manifest)) = previous(ctx)? else {
        return Ok(None);
    };
    let mut hasher = blake3::Hasher::new();
    for table in [images::NAME, issues::NAME] {
        for (_, file) in manifest.table_files(table) {
            hasher.update(file.blake3.as_bytes());
        }
    }
    Ok(Some(hasher.finalize().to_hex()[..16].to_string()))
}

/// The previous run, if configured and with findings.
fn previous(ctx: &Context) -> Result<Option<(RunFolder, Manifest)>> {
    let Some(folder) = &ctx.config.run.previous else {
        return Ok(None);
    };
    let run = RunFolder::at(folder)?;
    let manifest = run.manifest()?;
    if !manifest.has(issues::NAME) {
        tracing::warn!(
            "{}: no findings to compare with",
            escaped(&folder.display().to_string())
        );
        return Ok(None);
    }
    Ok(Some((run, manifest)))
}

/// Table `changes`, in the order given.
pub fn changes(changes: &[Change]) -> Result<RecordBatch> {
    let text = |of: fn(&Change) -> &str| changes.iter().map(|change| Some(of(change))).collect();
    changes::Columns {
        path: text(|change| &change.path),
        kind: text(|change| &change.kind),
        other_path: (changes.iter().map(|change| change.other_path.as_deref())).collect(),
        change: text(|change| change.change.name()),
        score_before: changes.iter().map(|change| change.score_before).collect(),
        score: changes.iter().map(|change| change.score).collect(),
        evidence: text(|change| &change.evidence),
    }
    .batch()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Cancel, Progress, ProgressKind};
    use arrow::array::{
        BooleanArray, Float32Array, Int16Array, Int32Array, StringArray, UInt64Array,
    };
    use prospect_config::Config;
    use prospect_findings::changes::ChangeKind;
    use prospect_testing::add_tables;

    /// (image, kind, score, other image, reviewed)
    type Issue<'i> = (u32, &'i str, f32, Option<u32>, Option<&'i str>);

    /// A run of the images `paths` with these findings.
    fn write(run: &RunFolder, paths: &[&str], found: &[Issue]) {
        let n = paths.len();
        let digests = paths.iter().map(|path| Some(format!("digest of {path}")));
        let images = images::Columns {
            image_id: (0..n as u32).collect(),
            path: paths.iter().copied().map(Some).collect(),
            digest: digests.collect(),
            width: Int32Array::new_null(n),
            height: Int32Array::new_null(n),
            orientation: Int16Array::new_null(n),
            label: Int32Array::new_null(n),
            label_name: StringArray::new_null(n),
            split: StringArray::new_null(n),
            error: StringArray::new_null(n),
            warning: StringArray::new_null(n),
            brightness: Float32Array::new_null(n),
            contrast: Float32Array::new_null(n),
            sharpness: Float32Array::new_null(n),
            entropy: Float32Array::new_null(n),
            saturation: Float32Array::new_null(n),
            warmth: Float32Array::new_null(n),
            tint: Float32Array::new_null(n),
            phash: UInt64Array::new_null(n),
        };
        let n = found.len();
        let found = issues::Columns {
            image_id: found.iter().map(|issue| issue.0).collect(),
            kind: found.iter().map(|issue| Some(issue.1)).collect(),
            score: found.iter().map(|issue| issue.2).collect(),
            flagged: BooleanArray::from(vec![true; n]),
            suggested_label: Int32Array::new_null(n),
            evidence: vec![Some("because"); n].into(),
            rank: vec![1; n].into(),
            other_id: found.iter().map(|issue| issue.3).collect(),
            reviewed: found.iter().map(|issue| issue.4).collect(),
            note: StringArray::new_null(n),
        };
        let written = [
            ("scan", images::NAME, images.batch()),
            ("audit", issues::NAME, found.batch()),
        ];
        for (stage, table, batch) in written {
            add_tables(run, stage, &[(table, batch.unwrap())]);
        }
    }

    #[test]
    fn findings_are_matched_by_path_when_ids_shift() {
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
        let ctx = Context::new(&config, &now, &[], &progress, &cancel);
        let found = findings(&now, &now.manifest().unwrap()).unwrap();
        assert_eq!(
            (found[1].path.as_str(), found[1].other_path.as_deref()),
            ("b", Some("d"))
        );
        let changed = since_previous(&ctx, &found).unwrap().unwrap();
        let short: Vec<_> = changed
            .iter()
            .map(|change| (change.path.as_str(), change.kind.as_str(), change.change))
            .collect();
        assert_eq!(
            short,
            [
                ("a", "dark", ChangeKind::New),
                ("b", "label", ChangeKind::Worse)
            ]
        );
        let batch = changes(&changed).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (2, 7));
        assert!(previous_digest(&ctx).unwrap().is_some());
    }

    #[test]
    fn run_without_findings_is_not_compared() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(dir.path().join("now")).unwrap();
        let manifest = run.manifest().unwrap();
        assert!(
            findings(&run, &manifest)
                .unwrap_err()
                .to_string()
                .contains("table issues")
        );
        for (previous, is_named) in [("", false), ("previous = \"nowhere\"\n", true)] {
            let text = format!("[run]\ndir = \"now\"\n{previous}[images]\ndir = \"images\"\n");
            let config = Config::parse(&dir.path().join("pipeline.toml"), &text, &[]).unwrap();
            assert_eq!(config.run.previous.is_some(), is_named);
            let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
            let ctx = Context::new(&config, &run, &[], &progress, &cancel);
            assert_eq!(since_previous(&ctx, &[]).unwrap(), None);
            assert_eq!(previous_digest(&ctx).unwrap(), None);
        }
    }
}
