//! Space for a run, and the number of images.

use prospect_common::Error;

use super::*;

#[test]
fn run_that_does_not_fit_is_refused_before_any_work() {
    let bench = Bench::new();
    assert_eq!(bench.estimates(&[]), [(3, 3000, 0); 3]);
    let error = bench.run_within(&[], 8999).unwrap_err();
    assert_eq!(error.exit_code(), 74);
    let message = error.to_string();
    for words in [
        "about 8.8 KiB",
        "only 8.8 KiB is free",
        "extract (stage ",
        "another [run] dir",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert!(done().is_empty());
    bench.run_within(&[], 9000).unwrap();
    assert_eq!(done(), ALL_PARTS);
    assert_eq!(bench.estimates(&[]), [(0, 0, 0); 3]);
    bench.run_within(&[], 0).unwrap();
}

#[test]
fn deleted_and_finished_output_needs_no_space() {
    let bench = Bench::new();
    bench.run(&[], &[]).unwrap();
    // Another k: the old patches are deleted first.
    let [_, _, (rows, bytes, replaced)] = bench.estimates(&["patches.k=4"])[..] else {
        panic!("three stages");
    };
    assert_eq!((rows, bytes), (3, 3000));
    assert!((100..3000).contains(&replaced), "{replaced}");
    let error = bench.run_within(&["patches.k=4"], 2999 - replaced);
    assert!(matches!(error, Err(Error::NoSpace { needed, .. }) if needed == 3000 - replaced));
    bench.run_within(&["patches.k=4"], 3000 - replaced).unwrap();

    let bench = Bench::new();
    behaviour(|behaviour| behaviour.stop_after = 1);
    assert!(bench.run(&[], &[]).is_err());
    // Two of three parts are done; their rows give the bytes per row.
    let per_row = bench.with(&[], |ctx| {
        let manifest = ctx.run.manifest().unwrap();
        let files = manifest.table_files("extract").map(|(_, file)| file.bytes);
        files.sum::<u64>() / 2
    });
    assert_eq!(
        bench.estimates(&[]),
        [(0, 0, 0), (1, per_row, 0), (3, 3000, 0)]
    );
}

#[test]
fn images_are_counted_in_the_table_if_it_exists() {
    let bench = Bench::new();
    let images = |bench: &Bench| {
        let plan = bench.with(&[], |ctx| plan(ctx, &[])).unwrap();
        plan.images.unwrap()
    };
    assert_eq!(
        (images(&bench).n, images(&bench).source),
        (3, "folder listing")
    );
    bench.run(&[], &["scan"]).unwrap();
    assert_eq!(
        (images(&bench).n, images(&bench).source),
        (3, "table images")
    );
}

#[test]
fn stages_that_stay_as_they_are_need_no_space() {
    let bench = Bench::new();
    bench.run(&[], &[]).unwrap();
    // The scan runs again, and finds the same images.
    behaviour(|behaviour| behaviour.touched = 1);
    bench.run_within(&[], 3000).unwrap();
    assert_eq!(done(), ["scan 0"]);
    // If it finds others, the next stage is checked when its turn comes.
    behaviour(|behaviour| (behaviour.touched, behaviour.found) = (2, 2));
    DONE.with_borrow_mut(Vec::clear);
    let error = bench.with(&[], |ctx| {
        let lock = ctx.run.lock("test").unwrap();
        let free = || if done().is_empty() { 3000 } else { 0 };
        run_within(ctx, &lock, &[], &free, &mut |_| {}).unwrap_err()
    });
    assert!(
        matches!(
            error,
            Error::NoSpace {
                stage: "extract",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(done(), ["scan 0"]);
}
