//! A writer killed at every moment of its work, and what the next one makes of it.

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
    /// Moments left until this thread's writer is killed; 0 from then on.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Called by the store wherever a kill would leave something else on disk. A killed writer does nothing any more:
/// its destructors come here too, and get no further.
pub(crate) fn moment() {
    let left = LEFT.get();
    if left > 0 {
        LEFT.set(left - 1);
    }
    if left <= 1 && !thread::panicking() {
        panic::resume_unwind(Box::new("killed"));
    }
}

/// Whether the writer on this thread has been killed.
pub(crate) fn is_killed() -> bool {
    LEFT.get() == 0
}

pub(super) const PARTS: usize = 3;

/// One process's life: goes on with the stage, the missing parts in the order given.
pub(super) fn live(run: &RunFolder, parameters: &Value, order: &[usize]) {
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
    // The other key writes another table and other pictures.
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

/// A life that is killed at the `n`-th moment; says whether it came to that.
pub(super) fn live_until(n: u64, life: impl FnOnce()) -> bool {
    LEFT.set(n);
    let outcome = panic::catch_unwind(AssertUnwindSafe(life));
    let killed = is_killed();
    LEFT.set(u64::MAX);
    if !killed {
        outcome.unwrap();
    }
    killed
}

/// What a reader may rely on at any time: the manifest can be read, and all that it names is there.
pub(super) fn check_readable(run: &RunFolder) {
    let manifest = run.manifest().unwrap();
    let problems = verify(run, &manifest);
    let bad: Vec<_> = problems
        .iter()
        .filter(|p| p.kind != ProblemKind::Unnamed)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_kill_at_any_moment_is_made_good() {
    let (_keep, clean) = fresh();
    live(&clean, &json!({"dim": 4}), &[0, 1, 2]);
    let expected = contents(clean.root());
    assert_eq!(expected.len(), PARTS * 4);

    let mut moments = 0;
    for n in 1.. {
        let (_keep, run) = fresh();
        if !live_until(n, || live(&run, &json!({"dim": 4}), &[0, 1, 2])) {
            break;
        }
        moments += 1;
        check_readable(&run);
        live(&run, &json!({"dim": 4}), &[0, 1, 2]);
        assert_eq!(contents(run.root()), expected, "killed at moment {n}");
        assert_eq!(
            verify(&run, &run.manifest().unwrap()),
            [],
            "killed at moment {n}"
        );
    }
    // Each part alone renames four files and writes the manifest twice.
    assert!(moments > PARTS * 6 * 2, "{moments}");
}

#[test]
fn a_kill_during_a_change_of_key_is_made_good() {
    let (_keep, clean) = fresh();
    live(&clean, &json!({"dim": 2}), &[0, 1, 2]);
    let expected = contents(clean.root());

    for n in 1.. {
        let (_keep, run) = fresh();
        live(&run, &json!({"dim": 4}), &[0, 1, 2]);
        if !live_until(n, || live(&run, &json!({"dim": 2}), &[0, 1, 2])) {
            break;
        }
        check_readable(&run);
        live(&run, &json!({"dim": 2}), &[0, 1, 2]);
        assert_eq!(contents(run.root()), expected, "killed at moment {n}");
        assert_eq!(
            verify(&run, &run.manifest().unwrap()),
            [],
            "killed at moment {n}"
        );
        assert!(!run.path("tables/units").exists());
    }
}

#[test]
fn finished_parts_are_not_written_again() {
    let (_keep, run) = fresh();
    let parameters = json!({"dim": 4});
    live(&run, &parameters, &[0, 1, 2]);
    let before = run.manifest().unwrap();
    live(&run, &parameters, &[0, 1, 2]);
    assert_eq!(run.manifest().unwrap(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_mix_of_kills_keys_and_orders_ends_in_the_same_tables(
        lives in prop::collection::vec(
            (1u64..160, prop::bool::ANY, Just(vec![0usize, 1, 2]).prop_shuffle()),
            0..5,
        ),
        last in Just(vec![0usize, 1, 2]).prop_shuffle(),
    ) {
        let (_keep, clean) = fresh();
        live(&clean, &json!({"dim": 4}), &[0, 1, 2]);
        let (_keep, run) = fresh();
        for (n, other_key, order) in lives {
            let dim = if other_key { 2 } else { 4 };
            live_until(n, || live(&run, &json!({"dim": dim}), &order));
            check_readable(&run);
        }
        live(&run, &json!({"dim": 4}), &last);
        prop_assert_eq!(contents(run.root()), contents(clean.root()));
        prop_assert_eq!(verify(&run, &run.manifest().unwrap()), vec![]);
    }
}
