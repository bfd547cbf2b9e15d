//! What a stage keeps of before while it writes under another key.

use std::fs;

use serde_json::{Value, json};

use super::{
    contents,
    crash::{PARTS, check_readable, fill, live, live_until},
    fresh, key,
};
use crate::{RunFolder, RunLock, StageRecord, StageWriter, remove_stage, verify};

fn list(number: u64) -> Value {
    json!({ "dim": 4, "list": number })
}

/// Opens stage `extract` for another list of images, of which rows hold as long as `dim` is the same.
fn begin(run: &RunFolder, lock: &RunLock, parameters: &Value) -> StageWriter {
    let wanted = StageRecord {
        key: key(parameters),
        version: 1,
        parameters: parameters.clone(),
        ..StageRecord::default()
    };
    let holds = |record: &StageRecord| record.parameters["dim"] == parameters["dim"];
    StageWriter::begin_keeping(run, lock, "extract", wanted, &holds).unwrap()
}

fn live_keeping(run: &RunFolder, parameters: &Value, parts: usize) {
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

/// Rows of `features` that can be read, and under which key.
fn kept(run: &RunFolder) -> Option<(String, usize)> {
    let earlier = run.manifest().unwrap().earlier("extract")?;
    let rows = run.read(&earlier, "features");
    let rows: usize = rows.map(|batch| batch.unwrap().num_rows()).sum();
    Some((earlier.stages["extract"].key.clone(), rows))
}

#[test]
fn a_kill_while_old_rows_are_kept_is_made_good() {
    let (_keep, clean) = fresh();
    live(&clean, &list(2), &[0, 1, 2]);
    let expected = contents(clean.root());
    let mut moments = 0;
    for n in 1.. {
        let (_keep, run) = fresh();
        live(&run, &list(1), &[0, 1, 2]);
        if !live_until(n, || live_keeping(&run, &list(2), PARTS)) {
            break;
        }
        moments += 1;
        check_readable(&run);
        // All old rows are there until all new ones are.
        let manifest = run.manifest().unwrap();
        let record = &manifest.stages["extract"];
        if record.key == key(&list(2)) && record.parts.len() < PARTS {
            assert_eq!(
                kept(&run),
                Some((key(&list(1)), 15)),
                "killed at moment {n}"
            );
        } else {
            assert_eq!(record.rows("features"), 15, "killed at moment {n}");
        }
        live_keeping(&run, &list(2), PARTS);
        assert_eq!(contents(run.root()), expected, "killed at moment {n}");
        assert_eq!(
            verify(&run, &run.manifest().unwrap()),
            [],
            "killed at moment {n}"
        );
        assert!(!run.path("previous").exists());
    }
    assert!(moments > 100, "{moments}");
}

#[test]
fn what_has_most_rows_is_kept() {
    let (_keep, run) = fresh();
    // Of a first run that was cut off, what there is.
    live_keeping(&run, &list(1), 2);
    live_keeping(&run, &list(2), 0);
    assert_eq!(kept(&run), Some((key(&list(1)), 10)));
    // Less than that is no reason to let it go, more is.
    live_keeping(&run, &list(2), 1);
    live_keeping(&run, &list(3), 2);
    assert_eq!(kept(&run), Some((key(&list(1)), 10)));
    live_keeping(&run, &list(3), 2);
    {
        let lock = run.lock("test").unwrap();
        let stage = begin(&run, &lock, &list(3));
        fill(&stage, 2, &list(3));
    }
    live_keeping(&run, &list(4), 1);
    assert_eq!(kept(&run), Some((key(&list(3)), 15)));
    assert_eq!(verify(&run, &run.manifest().unwrap()), []);
    // Back to a list of before: its rows are kept under the same key as the new ones.
    live_keeping(&run, &list(3), 1);
    assert_eq!(kept(&run), Some((key(&list(3)), 15)));
    live_keeping(&run, &list(3), PARTS);
    assert_eq!(kept(&run), None);
    assert!(!run.path("previous").exists());
    // Nothing is kept where nothing holds.
    live_keeping(&run, &json!({ "dim": 2 }), 1);
    assert_eq!(kept(&run), None);
}

#[test]
fn kept_files_go_with_the_stage_and_lost_ones_are_not_missed() {
    let (_keep, run) = fresh();
    live_keeping(&run, &list(1), PARTS);
    live_keeping(&run, &list(2), 1);
    let manifest = run.manifest().unwrap();
    let files: Vec<_> = manifest.all_files().map(|(.., file)| file).collect();
    let lost = files
        .iter()
        .find(|file| file.path.starts_with("previous/"))
        .unwrap();
    fs::remove_file(run.path(&lost.path)).unwrap();
    assert_eq!(verify(&run, &manifest).len(), 1);
    live_keeping(&run, &list(2), 1);
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
fn a_manifest_cannot_keep_what_is_not_its_own() {
    let (_keep, run) = fresh();
    live_keeping(&run, &list(1), 1);
    live_keeping(&run, &list(2), 1);
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
