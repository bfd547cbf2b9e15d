//! Stage keys, the lock, and opening run folders.

use std::{collections::BTreeMap, fs};

use prospect_common::Error;
use serde_json::json;

use super::{begin, fresh};
use crate::{RunFolder, stage_key};

#[test]
fn keys_depend_on_values_not_on_spelling() {
    let key = |text: &str| {
        let parameters: serde_json::Value = serde_json::from_str(text).unwrap();
        stage_key("scan", 1, &parameters, &BTreeMap::new())
    };
    let base = key(r#"{"a": 1, "b": {"c": [1, 2], "d": "x"}}"#);
    assert_eq!(base, key(r#"{ "b": {"d": "x", "c": [1,2]}, "a":1 }"#));
    assert_eq!(base.len(), 32);
    for other in [
        r#"{"a": 1.5, "b": {"c": [1, 2], "d": "x"}}"#,
        r#"{"a": 1, "b": {"c": [2, 1], "d": "x"}}"#,
        r#"{"a": 1, "b": {"c": [1, 2], "d": "y"}}"#,
        r#"{"a": "1", "b": {"c": [1, 2], "d": "x"}}"#,
        r#"{"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": null}"#,
    ] {
        assert_ne!(base, key(other), "{other}");
    }
    let none = BTreeMap::new();
    assert_ne!(
        stage_key("scan", 1, &json!({}), &none),
        stage_key("scan", 2, &json!({}), &none)
    );
    assert_ne!(
        stage_key("scan", 1, &json!({}), &none),
        stage_key("scam", 1, &json!({}), &none)
    );
    let needs = BTreeMap::from([("scan".to_string(), "1".to_string())]);
    assert_ne!(
        stage_key("x", 1, &json!({}), &none),
        stage_key("x", 1, &json!({}), &needs)
    );
}

#[test]
fn a_key_is_the_hash_of_its_canonical_json() {
    let needs = BTreeMap::from([("scan".to_string(), "k".to_string())]);
    let found = stage_key("extract", 1, &json!({"b": "x\n", "a": [1, 2.5]}), &needs);
    let text = r#"["extract",1,{"a":[1,2.5],"b":"x\n"},{"scan":"k"}]"#;
    assert_eq!(found, blake3::hash(text.as_bytes()).to_hex().as_str()[..32]);
}

#[test]
fn the_lock_has_one_holder_and_ends_with_it() {
    let (_keep, run) = fresh();
    let lock = run.lock("prospect run").unwrap();
    assert_eq!(lock.abandoned_by(), None);
    let Err(Error::Locked { holder, .. }) = run.lock("prospect clean") else {
        panic!("locked twice");
    };
    let pid = format!("pid {} on ", std::process::id());
    assert!(
        holder.starts_with(&pid) && holder.ends_with("prospect run"),
        "{holder}"
    );
    drop(lock);
    assert_eq!(fs::read(run.path("lock")).unwrap(), b"");
    // A killed process leaves its name, but no lock of the operating system.
    fs::write(run.path("lock"), "pid 1 on node7: prospect run\x1b[2J\n").unwrap();
    let lock = run.lock("prospect run").unwrap();
    assert_eq!(
        lock.abandoned_by(),
        Some("pid 1 on node7: prospect run\\u{1b}[2J")
    );
}

#[test]
fn the_lock_holds_without_its_file() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    std::fs::remove_file(run.path("lock")).unwrap();
    assert!(matches!(run.lock("test"), Err(Error::Locked { .. })));
    drop(lock);
    run.lock("test").unwrap();
}

#[test]
fn a_writer_holds_the_lock() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    drop(lock);
    assert!(matches!(run.lock("test"), Err(Error::Locked { .. })));
    drop(stage);
    run.lock("test").unwrap();
}

#[test]
fn opening_requires_an_existing_folder() {
    let folder = tempfile::tempdir().unwrap();
    let missing = RunFolder::open(folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, Error::Missing { .. }));
    fs::write(folder.path().join("file"), b"").unwrap();
    assert!(matches!(
        RunFolder::open(folder.path().join("file")),
        Err(Error::Invalid { .. })
    ));
    let run = RunFolder::create(folder.path().join("a/b")).unwrap();
    assert!(run.manifest().unwrap().stages.is_empty());
}

#[test]
fn only_one_stage_can_be_open() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let first = begin(&run, &lock, json!({})).unwrap();
    assert!(begin(&run, &lock, json!({})).is_err());
    drop(first);
    begin(&run, &lock, json!({})).unwrap();
}
