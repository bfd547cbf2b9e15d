//! Images that a stage cannot read as scanned.

use super::*;

const FIRST: [&str; 4] = ["scan 0", "extract 0", "extract 1", "extract 2"];
const AGAIN: [&str; 2] = ["scan 0", "extract 1"];

#[test]
fn images_that_a_stage_cannot_read_are_scanned_again_in_the_same_run() {
    let bench = Bench::new();
    behaviour(|behaviour| behaviour.unread = 1);
    let done = bench.run(&[], &[]).unwrap();
    assert_eq!(done, [&FIRST[..], &AGAIN, &["patches 0"]].concat());
    assert!(bench.run(&[], &[]).unwrap().is_empty());
}

#[test]
fn a_run_goes_on_without_an_image_that_stays_unreadable_and_the_next_one_tries_again() {
    let bench = Bench::new();
    behaviour(|behaviour| behaviour.unread = 3);
    let done = bench.run(&[], &[]).unwrap();
    let expected = [&FIRST[..], &AGAIN, &AGAIN, &["patches 0"]].concat();
    assert_eq!(done, expected);
    assert_eq!(bench.plan(&[], &[])[0], "scan resume 0 of Some(1), 1 lost");
    // The stages after it are based on all images then.
    let done = bench.run(&[], &[]).unwrap();
    assert_eq!(done, [&AGAIN[..], &["patches 0"]].concat());
    assert!(bench.run(&[], &[]).unwrap().is_empty());
}
