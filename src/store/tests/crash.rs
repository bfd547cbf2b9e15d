//! Kills a writer at every crash point and checks that the next one recovers.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    thread,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{begin, contents, features, fresh, units};
use crate::{ProblemKind, RunFolder, StageWriter, verify};

thread_local! {
    /// Crash points left until this thread's writer is killed; then 0.
    static REMAINING: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Called by the store wherever a crash would leave a different state on disk. A killed writer does nothing more: its destructors
/// stop here too.
pub(crate) fn crash_point() {
    let remaining = REMAINING.get();
    if remaining > 0 {
        REMAINING.set(remaining - 1);
    }
    if remaining <= 1 && !thread::panicking() {
        panic::resume_unwind(Box::new("killed"));
    }
}

/// Whether the writer on this thread has been killed.
pub(crate) fn is_killed() -> bool {
    REMAINING.get() == 0
}

pub(super) const PARTS: usize = 3;

/// Resumes the stage in a new process, writing the missing parts in the given order.
pub(super) fn run_stage(run: &RunFolder, parameters: &Value, order: &[usize]) {
    let lock = run.lock("test").unwrap();
    let stage = begin(run, &lock, parameters.clone()).unwrap();
    stage.set_parts_total(PARTS).unwrap();
    for part in order
        .iter()
        .filter(|part| !stage.has_part(**part))
        .copied()
        .collect::<Vec<_>>()
    {
        fill(&stage, part, parameters);
    }
    stage.finish(None, json!(null)).unwrap();
}

pub(super) fn fill(stage: &StageWriter, part: usize, parameters: &Value) {
    let dim = parameters["dim"].as_u64().unwrap() as usize;
    let start = part as u32 * 5;
    let mut writer = stage.part(part).unwrap();
    writer
        .write("features", &features(start..start + 5, dim))
        .unwrap();
    // The other key lacks this table and these pictures.
    if dim == 4 {
        writer
            .write("units", &units("layer4", start..start + 5, 3))
            .unwrap();
        writer
            .file(&format!("pictures/a/{part}.png"), b"four")
            .unwrap();
    }
    writer
        .file(&format!("pictures/{part}.png"), &[dim as u8; 9])
        .unwrap();
    stage.commit(writer).unwrap();
}

/// Runs `process` and kills it at the `n`-th crash point; false if it ended before.
pub(super) fn killed_at(n: u64, process: impl FnOnce()) -> bool {
    REMAINING.set(n);
    let outcome = panic::catch_unwind(AssertUnwindSafe(process));
    let killed = is_killed();
    REMAINING.set(u64::MAX);
    if !killed {
        outcome.unwrap();
    }
    killed
}

/// Checks what readers rely on at all times: the manifest is readable and all listed files exist.
pub(super) fn check_readable(run: &RunFolder) {
    let manifest = run.manifest().unwrap();
    let problems = verify(run, &manifest);
    let bad: Vec<_> = problems
        .iter()
        .filter(|p| p.kind != ProblemKind::Unlisted)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_crash_at_any_point_is_recovered_from() {
    let (_keep, clean) = fresh();
    run_stage(&clean, &json!({"dim": 4}), &[0, 1, 2]);
    let expected = contents(clean.root());
    assert_eq!(expected.len(), PARTS * 4);

    let mut crashes = 0;
    for n in 1.. {
        let (_keep, run) = fresh();
        if !killed_at(n, || run_stage(&run, &json!({"dim": 4}), &[0, 1, 2])) {
            break;
        }
        crashes += 1;
        check_readable(&run);
        run_stage(&run, &json!({"dim": 4}), &[0, 1, 2]);
        assert_eq!(contents(run.root()), expected, "killed at point {n}");
        assert_eq!(
            verify(&run, &run.manifest().unwrap()),
            [],
            "killed at point {n}"
        );
    }
    // Each part renames four files and writes the manifest twice.
    assert!(crashes > PARTS * 6 * 2, "{crashes}");
}

#[test]
fn a_crash_during_a_key_change_is_recovered_from() {
    let (_keep, clean) = fresh();
    run_stage(&clean, &json!({"dim": 2}), &[0, 1, 2]);
    let expected = contents(clean.root());

    for n in 1.. {
        let (_keep, run) = fresh();
        run_stage(&run, &json!({"dim": 4}), &[0, 1, 2]);
        if !killed_at(n, || run_stage(&run, &json!({"dim": 2}), &[0, 1, 2])) {
            break;
        }
        check_readable(&run);
        run_stage(&run, &json!({"dim": 2}), &[0, 1, 2]);
        assert_eq!(contents(run.root()), expected, "killed at point {n}");
        assert_eq!(
            verify(&run, &run.manifest().unwrap()),
            [],
            "killed at point {n}"
        );
        assert!(!run.path("tables/units").exists());
    }
}

#[test]
fn finished_parts_are_not_written_again() {
    let (_keep, run) = fresh();
    let parameters = json!({"dim": 4});
    run_stage(&run, &parameters, &[0, 1, 2]);
    let before = run.manifest().unwrap();
    run_stage(&run, &parameters, &[0, 1, 2]);
    assert_eq!(run.manifest().unwrap(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_mix_of_crashes_keys_and_orders_ends_in_the_same_tables(
        runs in prop::collection::vec(
            (1u64..160, prop::bool::ANY, Just(vec![0usize, 1, 2]).prop_shuffle()),
            0..5,
        ),
        last in Just(vec![0usize, 1, 2]).prop_shuffle(),
    ) {
        let (_keep, clean) = fresh();
        run_stage(&clean, &json!({"dim": 4}), &[0, 1, 2]);
        let (_keep, run) = fresh();
        for (n, other_key, order) in runs {
            let dim = if other_key { 2 } else { 4 };
            killed_at(n, || run_stage(&run, &json!({"dim": dim}), &order));
            check_readable(&run);
        }
        run_stage(&run, &json!({"dim": 4}), &last);
        prop_assert_eq!(contents(run.root()), contents(clean.root()));
        prop_assert_eq!(verify(&run, &run.manifest().unwrap()), vec![]);
    }
}
