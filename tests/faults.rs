//! Faults that pass: reads that fail, and images that change after the scan.

mod common;

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Output},
    sync::OnceLock,
};

use common::project::Project;

/// The library that makes calls fail, see tests/faults/shim.c.
fn shim() -> &'static PathBuf {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c");
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", source, "-ldl", "-o"])
            .arg(&library)
            .status();
        assert!(built.unwrap().success());
        library
    })
}

/// Runs a command, of whose `calls` below `under` the `nth` fail; with 0, all.
fn with_fault(
    project: &Project,
    run: &str,
    arguments: &[&str],
    (under, calls, nth): (&str, &str, &str),
) -> Output {
    fault_command(project, run, arguments, (under, calls, nth))
        .output()
        .unwrap()
}

fn fault_command(
    project: &Project,
    run: &str,
    arguments: &[&str],
    (under, calls, nth): (&str, &str, &str),
) -> Command {
    let under = project.folder.path().canonicalize().unwrap().join(under);
    let mut command = project.prospect(run, arguments);
    command
        .env("LD_PRELOAD", shim())
        .env("FAULT_UNDER", under)
        .env("FAULT_CALLS", calls)
        .env("FAULT_NTH", nth);
    command
}

const ERRORS: &str = "select path, error from images where error is not null order by path";

#[test]
fn a_picture_that_could_not_be_read_is_read_by_the_next_run() {
    let project = Project::new();
    project.finish("calm", &["run", "labels"]);
    let fault = ("images/disc/003.png", "read", "0");
    let output = with_fault(&project, "run", &["run", "extract"], fault);
    assert!(output.status.success(), "{output:?}");
    let errors = project.rows("run", ERRORS);
    assert!(
        errors.contains("disc/003.png,cannot be read: Input/output error"),
        "{errors}"
    );
    assert_eq!(project.summary("run", "scan")["unread"], 1);
    assert_eq!(project.summary("run", "scan")["bad"], 2);
    // Nothing but the part of the scan runs again while it stays unreadable.
    let output = with_fault(&project, "run", &["run", "extract"], fault);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(project.summary("run", "scan")["unread"], 1);
    assert_eq!(project.decisions("run", &["extract"])["scan"], "resume");

    project.finish("run", &["run", "labels"]);
    assert!(!project.summary("run", "scan").contains_key("unread"));
    for table in ["images", "features", "label_scores"] {
        let sql = format!("select * from {table} order by image_id");
        assert_eq!(
            project.rows("run", &sql),
            project.rows("calm", &sql),
            "{table}"
        );
    }
    assert_eq!(project.decisions("run", &["labels"])["scan"], "reuse");
}

#[test]
fn clean_works_on_a_full_disk() {
    const ENOSPC: &str = "28";
    let project = Project::new();
    project.finish("run", &["run", "extract"]);
    // As if deleting files made room: only the lock's line and the first manifest cannot be written.
    let fault = ("run", "write", "1,2");
    let output = fault_command(&project, "run", &["clean", "--yes", "extract"], fault)
        .env("FAULT_ERRNO", ENOSPC)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!project.run_folder("run").join("tables/features").exists());
    assert_eq!(project.decisions("run", &["extract"])["scan"], "reuse");
    project.finish("run", &["run", "extract"]);
}

#[test]
fn too_many_unreadable_pictures_stop_a_run_only_while_they_are() {
    let project = Project::new();
    let output = with_fault(
        &project,
        "run",
        &["run", "scan"],
        ("images/disc", "read", "0"),
    );
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    project.finish("run", &["run", "scan"]);
    assert_eq!(project.summary("run", "scan")["bad"], 1);
}

#[test]
fn pictures_that_change_unseen_after_the_scan_are_scanned_again() {
    let project = Project::new();
    project.finish("run", &["run", "scan"]);
    // Other contents of the same size and time: a valid picture, and an invalid one.
    let path = |name: &str| project.folder.path().join("images").join(name);
    let replace = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let file = File::open(path(name)).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let mut bytes = fs::read(path(name)).unwrap();
        change(&mut bytes);
        fs::write(path(name), bytes).unwrap();
        let file = File::options().write(true).open(path(name)).unwrap();
        file.set_modified(modified).unwrap();
    };
    replace("disc/000.png", &|bytes| bytes.push(0));
    project.finish("run", &["run", "scan"]);
    replace("disc/000.png", &|bytes| *bytes.last_mut().unwrap() = 1);
    replace("noise/002.png", &|bytes| bytes.fill(7));
    assert_eq!(project.decisions("run", &["scan"])["scan"], "reuse");
    project.finish("run", &["run", "extract"]);
    let errors = project.rows("run", ERRORS);
    assert!(errors.contains("noise/002.png,\"not an image"), "{errors}");
    assert_eq!(project.summary("run", "extract")["images"], 89);
    let decisions = project.decisions("run", &["extract"]);
    assert!(
        decisions.values().all(|decision| decision == "reuse"),
        "{decisions:?}"
    );
    // Only pictures of the report need these again.
    project.finish("run", &["run", "audit"]);
    for number in (1..90).step_by(3) {
        replace(&format!("stripes/{number:03}.png"), &|bytes| bytes.fill(7));
    }
    let all_may_be_bad = ["--set", "images.max_bad_fraction=1.0"];
    project.finish("run", &[&["run", "report"], &all_may_be_bad[..]].concat());
    let errors = project.rows("run", ERRORS);
    assert!(
        errors.contains("stripes/001.png,\"not an image"),
        "{errors}"
    );
    let decisions = project.decisions("run", &all_may_be_bad);
    assert!(
        decisions.values().all(|decision| decision == "reuse"),
        "{decisions:?}"
    );
}

#[test]
fn a_run_goes_on_without_a_picture_that_only_the_scan_can_read() {
    let project = Project::new();
    project.finish("calm", &["run"]);
    // The scan reads twice, up to the end of the file; extract is the third to read, three times.
    let fault = ("images/disc/003.png", "read", "3,6,9");
    let output = with_fault(&project, "run", &["run"], fault);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(project.summary("run", "extract")["images"], 89);
    assert_eq!(project.summary("run", "extract")["unread"], 1);
    project.finish("run", &["run"]);
    assert_eq!(project.contents("run"), project.contents("calm"));
}

/// A failed call of any kind leaves nothing behind that the next run does not mend. `PROSPECT_FAULTS=all` fails each of the first 200
/// calls of each kind in turn, otherwise a few of them.
#[test]
fn a_failed_call_leaves_no_trace_after_the_next_run() {
    let project = Project::new();
    let stages = ["run", "extract"];
    project.finish("calm", &stages);
    let calm = project.contents("calm");
    let all = std::env::var("PROSPECT_FAULTS").is_ok_and(|value| value == "all");
    for (calls, few) in [
        ("read", [1, 40, 150]),
        ("write", [1, 30, 77]),
        ("fsync", [1, 14, 40]),
        ("rename", [1, 9, 20]),
    ] {
        let chosen: Vec<u64> = if all {
            (1..=200).collect()
        } else {
            few.to_vec()
        };
        for nth in chosen {
            let run = format!("{calls}-{nth}");
            let below = format!("{run}:{}/images", project.folder.path().display());
            let output = with_fault(&project, &run, &stages, (&below, calls, &nth.to_string()));
            let status = output.status.code();
            assert!(matches!(status, Some(0 | 2 | 65 | 74)), "{run}: {output:?}");
            project.finish(&run, &stages);
            assert_eq!(project.contents(&run), calm, "{run}: after {output:?}");
            project.finish(&run, &["verify"]);
            fs::remove_dir_all(project.run_folder(&run)).unwrap();
        }
    }
}
