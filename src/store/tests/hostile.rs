//! Malicious run folders: nothing outside them is read, written or deleted.

use std::{fs, os::unix::fs::symlink, path::Path};

use prospect_common::Error;
use serde_json::{Value, json};

use super::{begin, begin_as, contents, features, fresh, noise, write_all};
use crate::{RunFolder, query, remove_stage, verify};

/// A manifest whose stage `extract` lists one file; `change` makes it hostile.
fn manifest(change: impl FnOnce(&mut Value)) -> Value {
    let mut stage = json!({
        "key": "old", "version": 1, "parameters": {}, "needs": {}, "parts_total": 1, "complete": true,
        "result": null, "summary": null,
        "parts": {"0": {"seconds": 0.0, "files": [
            {"table": null, "path": "pictures/a.png", "rows": 0, "bytes": 4, "blake3": ""}
        ]}},
    });
    change(&mut stage);
    json!({"format": 1, "stages": {"extract": stage}})
}

fn set_path(path: &str) -> Value {
    manifest(|stage| stage["parts"]["0"]["files"][0]["path"] = json!(path))
}

/// Checks that everything that opens such a folder refuses it and leaves the file beside it alone.
fn refused(run: &RunFolder, outside: &Path, text: &str, expected: &str) {
    fs::write(run.path("manifest.json"), text).unwrap();
    let error = run.manifest().unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    let lock = run.lock("test").unwrap();
    assert!(begin(run, &lock, json!({})).is_err());
    assert!(remove_stage(run, &lock, "extract").is_err());
    assert_eq!(fs::read(outside).unwrap(), b"safe");
    assert_eq!(fs::read_to_string(run.path("manifest.json")).unwrap(), text);
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    let (keep, run) = fresh();
    let outside = keep.path().join("outside");
    fs::write(&outside, b"safe").unwrap();
    let absolute = outside.to_str().unwrap();
    for (path, expected) in [
        ("../outside", "may leave"),
        ("pictures/../../outside", "may leave"),
        ("pictures/./a", "may leave"),
        ("pictures//a", "may leave"),
        (absolute, "may leave"),
        ("", "may leave"),
        ("manifest.json", "outside tables/"),
        ("lock", "outside tables/"),
        (".git/config", "outside tables/"),
        ("pictures", "top-level folder"),
        ("pictures\\..\\..\\outside", "backslash"),
        ("pictures/a\0b", "control"),
        ("pictures/a.png.prospect.tmp", "temporary"),
        ("tables/features/part-00000.parquet", "no table"),
    ] {
        refused(&run, &outside, &set_path(path).to_string(), expected);
    }
    let long = format!("pictures/{}", "a".repeat(2000));
    refused(&run, &outside, &set_path(&long).to_string(), "2009 bytes");
    for folders in ["..", "/", "pictures/../..", "tables/../../run"] {
        let text = manifest(|stage| stage["folders"] = json!([folders])).to_string();
        refused(&run, &outside, &text, "may leave");
        let text = manifest(|stage| stage["pending"] = json!([folders])).to_string();
        refused(&run, &outside, &text, "may leave");
    }
    let pending =
        manifest(|stage| stage["pending"] = json!(["tables/features/part-00000.parquet"]));
    refused(&run, &outside, &pending.to_string(), "outside the tables");
}

#[test]
fn table_files_have_a_fixed_path() {
    let (keep, run) = fresh();
    let outside = keep.path().join("outside");
    fs::write(&outside, b"safe").unwrap();
    for (table, path) in [
        ("features", "tables/images/part-00000.parquet"),
        ("features", "tables/features/part-00001.parquet"),
        ("features", "pictures/a.png"),
        ("../tables/features", "tables/features/part-00000.parquet"),
    ] {
        let text = manifest(|stage| {
            let file = &mut stage["parts"]["0"]["files"][0];
            file["path"] = json!(path);
            file["table"] = json!(table);
        });
        refused(&run, &outside, &text.to_string(), "as part 0 of table");
    }
    let twice = manifest(|stage| {
        let file = stage["parts"]["0"]["files"][0].clone();
        stage["parts"]["1"] = json!({"seconds": 0.0, "files": [file]});
    });
    refused(&run, &outside, &twice.to_string(), "twice");
}

#[test]
fn invalid_manifests_are_reported() {
    let (keep, run) = fresh();
    let outside = keep.path().join("outside");
    fs::write(&outside, b"safe").unwrap();
    let future = json!({"format": 2, "stages": {}, "shards": []}).to_string();
    refused(&run, &outside, &future, "format 2");
    let mut unknown = manifest(|_| {});
    unknown["stages"]["extract"]["partz"] = json!({});
    refused(&run, &outside, &unknown.to_string(), "partz");
    for text in ["", "{", "[]", "{\"format\": -1}", "\u{0}\u{0}"] {
        refused(&run, &outside, text, "a manifest written by prospect");
    }
    let deep = "[".repeat(100_000);
    refused(&run, &outside, &deep, "a manifest written by prospect");
    fs::remove_file(run.path("manifest.json")).unwrap();
    fs::create_dir(run.path("manifest.json")).unwrap();
    assert!(run.manifest().is_err());
}

#[test]
fn links_are_not_followed() {
    let (keep, run) = fresh();
    let outside = keep.path().join("victim");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a.png"), b"safe").unwrap();
    fs::write(outside.join("part-00000.parquet"), b"safe").unwrap();
    let unharmed = || {
        assert_eq!(
            contents(&outside).into_values().collect::<Vec<_>>(),
            [b"safe", b"safe"]
        );
    };

    // The folder of a file to delete.
    symlink(&outside, run.path("pictures")).unwrap();
    fs::write(run.path("manifest.json"), manifest(|_| {}).to_string()).unwrap();
    let lock = run.lock("test").unwrap();
    let error = begin(&run, &lock, json!({})).err().unwrap().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert!(!verify(&run, &run.manifest().unwrap()).is_empty());
    unharmed();
    drop(lock);

    // The folder of a table to sweep and to write.
    for inner in [false, true] {
        let (_keep, run) = fresh();
        if inner {
            fs::create_dir(run.path("tables")).unwrap();
            symlink(&outside, run.path("tables/features")).unwrap();
        } else {
            symlink(&outside, run.path("tables")).unwrap();
        }
        let lock = run.lock("test").unwrap();
        let stage = begin(&run, &lock, json!({})).unwrap();
        let mut part = stage.part(0).unwrap();
        assert!(part.write("features", &features(0..1, 1)).is_err());
        drop((part, stage));
        let swept = manifest(|stage| {
            stage["folders"] = json!(["tables/features"]);
            stage["parts"] = json!({});
        });
        fs::write(run.path("manifest.json"), swept.to_string()).unwrap();
        assert!(begin(&run, &lock, json!({})).is_err());
        unharmed();
    }

    // The lock file, which is overwritten.
    let (_keep, run) = fresh();
    symlink(outside.join("a.png"), run.path("lock")).unwrap();
    assert!(matches!(run.lock("test"), Err(Error::Invalid { .. })));
    unharmed();

    // A temporary file placed where the writer will create one.
    let (_keep, run) = fresh();
    fs::create_dir_all(run.path("pictures")).unwrap();
    symlink(
        outside.join("a.png"),
        run.path("pictures/b.png.prospect.tmp"),
    )
    .unwrap();
    symlink(
        outside.join("a.png"),
        run.path("manifest.json.prospect.tmp"),
    )
    .unwrap();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    let mut part = stage.part(0).unwrap();
    part.file("pictures/b.png", b"new").unwrap();
    stage.commit(part).unwrap();
    assert_eq!(fs::read(run.path("pictures/b.png")).unwrap(), b"new");
    unharmed();
}

#[test]
fn a_folder_in_place_of_a_file_is_an_error() {
    let (_keep, run) = fresh();
    fs::create_dir_all(run.path("pictures/a.png/deep")).unwrap();
    fs::write(run.path("manifest.json"), manifest(|_| {}).to_string()).unwrap();
    let lock = run.lock("test").unwrap();
    assert!(matches!(
        begin(&run, &lock, json!({})),
        Err(Error::Io { .. })
    ));
    assert!(run.path("pictures/a.png/deep").exists());
}

#[test]
fn names_from_stages_are_checked() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    for name in ["", "../x", "A", "a b", "a/b"] {
        assert!(begin_as(&run, &lock, name, json!({})).is_err(), "{name}");
    }
    let stage = begin(&run, &lock, json!({})).unwrap();
    let mut part = stage.part(0).unwrap();
    for name in ["", "..", "a/b", "a.b", &"a".repeat(65)] {
        assert!(part.write(name, &features(0..1, 1)).is_err(), "{name}");
    }
    for path in [
        "a.png",
        "../a.png",
        "/a.png",
        "tables/features/part-00000.parquet",
        "manifest.json",
    ] {
        assert!(part.file(path, b"").is_err(), "{path}");
    }
    part.file("pictures/a.png", b"").unwrap();
    assert!(part.file("pictures/a.png", b"").is_err());
    stage.commit(part).unwrap();
    assert!(stage.part(1).unwrap().file("pictures/a.png", b"").is_err());
    let (_keep, other) = fresh();
    drop(stage);
    assert!(begin(&other, &lock, json!({})).is_err());
}

#[test]
fn an_unreadable_file_does_not_stop_verify() {
    let (_keep, run) = fresh();
    write_all(&run, 1);
    let mut text: Value =
        serde_json::from_str(&fs::read_to_string(run.path("manifest.json")).unwrap()).unwrap();
    // Garbage with a valid checksum.
    let garbage = b"PAR1 garbage garbage \xff\xff\xff\x7fPAR1";
    fs::write(run.path("tables/features/part-00000.parquet"), garbage).unwrap();
    let file = &mut text["stages"]["extract"]["parts"]["0"]["files"][0];
    assert_eq!(file["table"], "features");
    file["bytes"] = json!(garbage.len());
    file["blake3"] = json!(blake3::hash(garbage).to_hex().as_str());
    fs::write(run.path("manifest.json"), text.to_string()).unwrap();
    let problems = verify(&run, &run.manifest().unwrap());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].path, "tables/features/part-00000.parquet");
}

/// Flips bits of a table's file and reads it in both ways. Damage may go unnoticed here (`verify` finds it) but must not crash
/// the process.
#[test]
fn damaged_tables_are_errors_not_panics() {
    let (_keep, run) = fresh();
    write_all(&run, 1);
    let manifest = run.manifest().unwrap();
    let mut refused = 0;
    for table in run.tables(&manifest) {
        let path = run.files(&manifest, &table).remove(0);
        let bytes = fs::read(&path).unwrap();
        for i in 0..150 {
            let mut damaged = bytes.clone();
            // Half of the flips hit the footer, at the end of the file.
            let reach = if i % 2 == 0 {
                bytes.len()
            } else {
                bytes.len().min(1500)
            };
            let place = bytes.len() - 1 - (noise(i) * reach as f32) as usize;
            damaged[place] ^= 1 << (i % 8);
            fs::write(&path, damaged).unwrap();
            let reader = run.read(&manifest, &table).only("image_id", 3);
            refused += usize::from(reader.collect::<Result<Vec<_>, _>>().is_err());
            refused += usize::from(query(&run, &format!("select * from {table}")).is_err());
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(refused > 400, "{refused}");
}
