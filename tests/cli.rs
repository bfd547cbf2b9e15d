//! The binary from outside: exit statuses, messages, streams.

use std::{
    fs, io,
    path::Path,
    process::{Command, Output, Stdio},
};

use prospect::store::RunFolder;

fn prospect(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prospect"));
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

fn output(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = prospect(folder, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A folder with a configuration and an empty image folder.
fn folder(settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    let text = format!("[images]\ndir = \"photos\"\n{settings}");
    fs::write(folder.path().join("pipeline.toml"), text).unwrap();
    folder
}

#[test]
fn usage_errors_exit_with_2_and_go_to_standard_error() {
    let folder = folder("");
    for arguments in [
        &["frobnicate"][..],
        &["run", "--frobnicate"],
        &["clean"],
        &["query"],
        &["run", "-q", "-v"],
        &[],
    ] {
        let (status, out, err) = output(folder.path(), arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
    let (status, out, err) = output(folder.path(), &["--help"]);
    assert_eq!((status, err.as_str()), (0, ""));
    for command in [
        "run", "plan", "status", "verify", "query", "clean", "doctor",
    ] {
        assert!(out.contains(&format!("\n  {command} ")), "{command}");
    }
}

#[test]
fn all_configuration_errors_are_reported_together() {
    let folder = folder("labls = \"none\"\n[model]\nbatch_size = 0\n");
    let (status, out, err) = output(folder.path(), &["status", "--set", "patches.k=none"]);
    assert_eq!((status, out.as_str()), (2, ""));
    for expected in [
        "error: pipeline.toml:3:1: unknown key `labls`",
        "pipeline.toml:5:14: [model] batch_size",
        "--set: [patches] k",
    ] {
        assert!(err.contains(expected), "{err}");
    }
}

#[test]
fn missing_configurations_and_runs_suggest_a_fix() {
    let folder = folder("");
    let (status, _, err) = output(folder.path(), &["run", "-c", "other.toml"]);
    assert_eq!(status, 2);
    assert!(err.contains("other.toml") && err.contains("-c"), "{err}");
    for command in [
        &["status"][..],
        &["verify"],
        &["query", "select 1"],
        &["clean", "all"],
    ] {
        let (status, _, err) = output(folder.path(), command);
        assert_eq!(status, 2, "{err}");
        assert!(err.contains("prospect run"), "{err}");
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn unknown_stages_write_nothing() {
    let folder = folder("");
    for command in ["run", "plan"] {
        let (status, _, err) = output(folder.path(), &[command, "scna"]);
        assert_eq!(status, 2);
        assert!(
            err.contains("unknown stage \"scna\" (did you mean `scan`?)"),
            "{err}"
        );
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn warnings_reach_the_terminal_and_the_log() {
    let folder = folder("max_bad_fraction = 1.0\n");
    let at = |path: &str| folder.path().join("photos").join(path);
    fs::create_dir_all(at(".thumbnails")).unwrap();
    fs::write(at("1.png"), b"no image").unwrap();
    fs::write(at(".thumbnails/1.png"), b"no image").unwrap();
    let (status, _, err) = output(folder.path(), &["run", "scan"]);
    assert_eq!(status, 0, "{err}");
    let hidden = "left out: 1 image in hidden or system folders, such as .thumbnails/1.png";
    assert!(err.contains("WARN") && err.contains(hidden), "{err}");
    assert!(err.contains("1.png: not an image"), "{err}");
    let logs = fs::read_dir(folder.path().join("runs/default/logs")).unwrap();
    let logs = logs.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let log = logs.collect::<String>();
    assert!(
        log.contains(hidden) && log.contains("\"level\":\"WARN\""),
        "{log}"
    );
}

#[test]
fn locked_runs_exit_with_75() {
    let folder = folder("");
    let run = RunFolder::create(folder.path().join("runs/default")).unwrap();
    let lock = run.lock("a test").unwrap();
    let (status, _, err) = output(folder.path(), &["run", "scan"]);
    assert_eq!(status, 75, "{err}");
    assert!(
        err.contains(&format!("pid {}", std::process::id())),
        "{err}"
    );
    let (status, _, err) = output(folder.path(), &["status"]);
    assert_eq!(status, 0, "{err}");
    drop(lock);
}

#[test]
fn clean_asks_for_confirmation() {
    let folder = folder("");
    let logs = folder.path().join("runs/default/logs");
    fs::create_dir_all(&logs).unwrap();
    let log = logs.join("20261123T000000Z-run.jsonl");
    fs::write(&log, "{}\n").unwrap();
    let (status, out, _) = output(folder.path(), &["clean", "--dry-run", "logs"]);
    assert_eq!(status, 0);
    assert!(out.contains("1 file") && log.exists(), "{out}");
    let (status, _, err) = output(folder.path(), &["clean", "logs"]);
    assert_eq!(status, 2);
    assert!(err.contains("--yes") && log.exists(), "{err}");
    let (status, _, err) = output(folder.path(), &["clean", "--yes", "logs"]);
    assert_eq!(status, 0, "{err}");
    assert!(!log.exists());
}

#[test]
fn closed_pipes_are_quiet() {
    let folder = folder("");
    RunFolder::create(folder.path().join("runs/default")).unwrap();
    for arguments in [&["status"][..], &["status", "--json"], &["--help"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let child = prospect(folder.path(), arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "",
            "{arguments:?}"
        );
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn control_characters_in_the_configuration_are_escaped() {
    let folder = folder("[run]\ndir = \"runs/a\\u001b[2Jb\"\n");
    RunFolder::create(folder.path().join("runs/a\u{1b}[2Jb")).unwrap();
    for command in [
        &["status"][..],
        &["doctor"],
        &["query", "select * from nothing"],
    ] {
        let (_, out, err) = output(folder.path(), command);
        assert!(
            !out.contains('\u{1b}') && !err.contains('\u{1b}'),
            "{out}{err}"
        );
    }
}

#[test]
fn explain_draws_any_image_and_skips_unreadable_ones() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/residual.pt2");
    let folder = folder(&format!("[model]\npath = {model:?}\ndevice = \"cpu\"\n"));
    let save = |name: &str, width, height| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let picture = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 9) as u8, 90])
        });
        picture.save(path).unwrap();
    };
    save("photos/striped/a.png", 40, 20);
    save("elsewhere/a.png", 18, 30);
    fs::write(folder.path().join("bad.png"), "not a picture").unwrap();

    let files = [
        "explain",
        "photos/striped/a.png",
        "bad.png",
        "elsewhere/a.png",
    ];
    let set = [
        "-o", "out", "--guided", "--method", "gradcam", "--method", "hirescam",
    ];
    let (status, out, err) = output(folder.path(), &[&files[..], &set].concat());
    assert_eq!(status, 65, "{err}");
    assert!(err.contains("error: bad.png: not an image"), "{err}");
    let rows: Vec<&str> = out.lines().skip(1).collect();
    assert!(
        rows.iter()
            .any(|row| row.contains("striped (") && row.contains("label)")),
        "{out}"
    );
    assert!(
        rows.iter()
            .all(|row| !row.contains("elsewhere") || !row.contains("label)")),
        "{out}"
    );
    let open = |name: &str| {
        image::open(folder.path().join("out").join(name))
            .unwrap()
            .to_rgb8()
    };
    let (first, second) = (open("a.explain.png"), open("a-2.explain.png"));
    // Photo, two methods and the guided panel, for one class.
    assert_eq!(second.width(), 4 * (300 + 10) + 10);
    assert!(first.width() >= second.width());
    assert!(!folder.path().join("runs").exists(), "no run is needed");

    let class = [
        "explain",
        "elsewhere/a.png",
        "--class",
        "#0",
        "--class",
        "square",
    ];
    let (status, out, _) = output(folder.path(), &class);
    assert_eq!((status, out.lines().count()), (0, 3), "{out}");
    assert!(out.contains("round") && out.contains("square"), "{out}");
    for (wrong, hint) in [
        (["--class", "squre"], "square"),
        (["--method", "cams"], "gradcam++"),
        (["--layer", "nothing"], "similar: "),
    ] {
        let arguments = [&["explain", "elsewhere/a.png"][..], &wrong].concat();
        let (status, _, err) = output(folder.path(), &arguments);
        assert!(status == 2 && err.contains(hint), "{status} {err}");
    }
}
