//! Tables kept from a stage's previous key while it runs again.

use std::fs;

use serde_json::{Value, json};

use super::{
    contents,
    crash::{PARTS, check_readable, fill, killed_at, run_stage},
    fresh, key,
};
use crate::{RunFolder, RunLock, StageRecord, StageWriter, remove_stage, verify};

fn list(number: u64) -> Value {
    json!({ "dim": 4, "list": number })
}

/// Opens stage `extract` for another image list; rows are reusable if `dim` is unchanged.
fn begin(run: &RunFolder, lock: &RunLock, parameters: &Value) -> StageWriter {
    let wanted = StageRecord {
        key: key(parameters),
        version: 1,
        parameters: parameters.clone(),
        ..StageRecord::default()
    };
    let reusable = |record: &StageRecord| record.parameters["dim"] == parameters["dim"];
    StageWriter::begin_keeping(run, lock, "extract", wanted, &reusable).unwrap()
}

fn run_keeping(run: &RunFolder, parameters: &Value, parts: usize) {
    let lock = run.lock("test").unwrap();
    let stage = begin(run, &lock, parameters);
    stage.set_parts_total(PARTS).unwrap();
    for part in 0..parts {
        if !stage.has_part(part) {
            fill(&stage, part, parameters);
        }
    }
    if parts == PARTS {
        stage.finish(None, json!(null)).unwrap();
    }
}

/// The previous key and its readable rows of `features`.
fn kept(run: &RunFolder) -> Option<(String, usize)> {
    let previous = run.manifest().unwrap().previous("extract")?;
    let rows = run.read(&previous, "features");
    let rows: usize = rows.map(|batch| batch.unwrap().num_rows()).sum();
    Some((previous.stages["extract"].key.clone(), rows))
}

#[test]
fn a_crash_while_previous_rows_are_kept_is_recovered_from() {
    let (_keep, clean) = fresh();
    run_stage(&clean, &list(2), &[0, 1, 2]);
    let expected = contents(clean.root());
    let mut crashes = 0;
    for n in 1.. {
        let (_keep, run) = fresh();
        run_stage(&run, &list(1), &[0, 1, 2]);
        if !killed_at(n, || run_keeping(&run, &list(2), PARTS)) {
            break;
        }
        crashes += 1;
        check_readable(&run);
        // All old rows exist until all new ones do.
        let manifest = run.manifest().unwrap();
        let record = &manifest.stages["extract"];
        if record.key == key(&list(2)) && record.parts.len() < PARTS {
            assert_eq!(kept(&run), Some((key(&list(1)), 15)), "killed at point {n}");
        } else {
            assert_eq!(record.rows("features"), 15, "killed at point {n}");
        }
        run_keeping(&run, &list(2), PARTS);
        assert_eq!(contents(run.root()), expected, "killed at point {n}");
        assert_eq!(
            verify(&run, &run.manifest().unwrap()),
            [],
            "killed at point {n}"
        );
        assert!(!run.path("previous").exists());
    }
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn the_record_with_most_rows_is_kept() {
    let (_keep, run) = fresh();
    // The finished parts of an interrupted first run.
    run_keeping(&run, &list(1), 2);
    run_keeping(&run, &list(2), 0);
    assert_eq!(kept(&run), Some((key(&list(1)), 10)));
    // A record with fewer rows does not replace it; one with more does.
    run_keeping(&run, &list(2), 1);
    run_keeping(&run, &list(3), 2);
    assert_eq!(kept(&run), Some((key(&list(1)), 10)));
    run_keeping(&run, &list(3), 2);
    {
        let lock = run.lock("test").unwrap();
        let stage = begin(&run, &lock, &list(3));
        fill(&stage, 2, &list(3));
    }
    run_keeping(&run, &list(4), 1);
    assert_eq!(kept(&run), Some((key(&list(3)), 15)));
    assert_eq!(verify(&run, &run.manifest().unwrap()), []);
    // Back to an earlier list: its rows are kept under the same key as the new ones.
    run_keeping(&run, &list(3), 1);
    assert_eq!(kept(&run), Some((key(&list(3)), 15)));
    run_keeping(&run, &list(3), PARTS);
    assert_eq!(kept(&run), None);
    assert!(!run.path("previous").exists());
    // Nothing is kept if nothing is reusable.
    run_keeping(&run, &json!({ "dim": 2 }), 1);
    assert_eq!(kept(&run), None);
}

#[test]
fn kept_files_are_removed_with_the_stage_and_may_be_lost() {
    let (_keep, run) = fresh();
    run_keeping(&run, &list(1), PARTS);
    run_keeping(&run, &list(2), 1);
    let manifest = run.manifest().unwrap();
    let files: Vec<_> = manifest.all_files().map(|(.., file)| file).collect();
    let lost = files
        .iter()
        .find(|file| file.path.starts_with("previous/"))
        .unwrap();
    fs::remove_file(run.path(&lost.path)).unwrap();
    assert_eq!(verify(&run, &manifest).len(), 1);
    run_keeping(&run, &list(2), 1);
    assert_eq!(kept(&run), Some((key(&list(1)), 10)));
    assert_eq!(verify(&run, &run.manifest().unwrap()), []);
    let lock = run.lock("test").unwrap();
    remove_stage(&run, &lock, "extract").unwrap();
    assert!(
        contents(run.root()).is_empty(),
        "{:?}",
        contents(run.root()).keys()
    );
}

#[test]
fn previous_files_have_a_fixed_path() {
    let (_keep, run) = fresh();
    run_keeping(&run, &list(1), 1);
    run_keeping(&run, &list(2), 1);
    let path = run.path("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let key = key(&list(1));
    let kept = format!("previous/{key}/features/part-00000.parquet");
    assert!(text.contains(&kept));
    for other in [
        "tables/features/part-00000.parquet",
        "previous/features/part-00000.parquet",
        "previous/../../features/part-00000.parquet",
        "pictures/a.png",
    ] {
        fs::write(&path, text.replace(&kept, other)).unwrap();
        assert!(run.manifest().is_err(), "{other}");
    }
}
