//! Runs on a changed image folder reuse known images and write the tables of a run from scratch.

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use common::project::{CLASSES, Project, draw};

const AUDIT: [&str; 3] = ["tables/issues", "tables/changes", "pictures/audit"];

/// Adds 7 images, changes 2, deletes 3, moves 1 to another class and copies 1; returns the 9 with new content.
fn change_images(project: &Project) -> Vec<PathBuf> {
    let at = |path: &str| project.folder.path().join("images").join(path);
    let mut new = Vec::new();
    for index in 100..107 {
        // Sorted before, between and after the others.
        let names = [
            format!("a{index}"),
            format!("045-{index}"),
            format!("z{index}"),
        ];
        new.push(at(&format!(
            "{}/{}.png",
            CLASSES[index % 3],
            names[index % 2 + index % 3 / 2]
        )));
        draw(&new[new.len() - 1], index);
    }
    for index in [5, 40] {
        new.push(at(&format!("{}/{index:03}.png", CLASSES[index % 3])));
        draw(&new[new.len() - 1], index + 300);
    }
    for gone in ["disc/000.png", "noise/044.png", "stripes/088.png"] {
        fs::remove_file(at(gone)).unwrap();
    }
    fs::rename(at("disc/030.png"), at("noise/030.png")).unwrap();
    fs::copy(at("disc/033.png"), at("disc/033-copy.png")).unwrap();
    new
}

#[test]
fn only_new_images_are_processed_and_tables_equal_a_run_from_scratch() {
    for inline in [false, true] {
        let project = Project::new();
        let maps = format!("explain.maps={}", if inline { "inline" } else { "stored" });
        let set = [
            "--set",
            &maps,
            "--set",
            "explain.classes=[\"predicted\", \"labelled\"]",
        ];
        let run =
            |name: &str, more: &[&str]| project.finish(name, &[&["run"], &set[..], more].concat());
        run("same", &[]);
        run("before", &[]);
        let new = change_images(&project);
        run("scratch", &[]);
        let expected = project.contents("scratch");
        run("same", &[]);
        run("after", &["--set", "run.previous=before"]);
        for name in ["same", "after"] {
            // run.previous is part of the audit's key, and so of its tables' footers.
            let is_compared =
                |path: &PathBuf| name == "same" || !AUDIT.iter().any(|it| path.starts_with(it));
            let differ = |(path, digest): (PathBuf, String)| {
                (is_compared(&path) && expected.get(&path) != Some(&digest)).then_some(path)
            };
            let found = project.contents(name);
            assert!(
                found
                    .keys()
                    .filter(|path| is_compared(path))
                    .eq(expected.keys().filter(|path| is_compared(path)))
            );
            let different: Vec<PathBuf> = found.into_iter().filter_map(differ).collect();
            assert!(different.is_empty(), "{name}, {maps}: {different:?}");
            let issues = "select * from issues order by kind, rank, image_id";
            assert_eq!(
                project.rows(name, issues),
                project.rows("scratch", issues),
                "{name}"
            );
            project.finish(name, &["verify"]);
            assert!(!project.run_folder(name).join("previous").exists());
            let n_new = new.len() as u64;
            let extract = project.summary(name, "extract");
            assert_eq!(extract["images"], 95, "{name}");
            assert_eq!(extract["through_the_network"], n_new, "{name}, {maps}");
            assert_eq!(extract["reused"], 95 - n_new);
            // The unreadable image is tried again.
            assert_eq!(project.summary(name, "scan")["decoded"], n_new + 1);
        }
        assert!(!project.summary("scratch", "extract").contains_key("reused"));
    }
}

#[test]
fn extract_reads_only_new_images() {
    let project = Project::new();
    project.finish("run", &["run", "extract"]);
    let new = change_images(&project);
    project.finish("scratch", &["run", "extract"]);
    project.finish("run", &["run", "scan"]);
    // Overwrite all other images, keeping size and modification time, so that the scan does not notice.
    for entry in walkdir::WalkDir::new(project.folder.path().join("images")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() && !new.iter().any(|path| path == entry.path()) {
            let status = entry.metadata().unwrap();
            fs::write(entry.path(), vec![0; status.len() as usize]).unwrap();
            let file = fs::File::options().write(true).open(entry.path()).unwrap();
            file.set_modified(status.modified().unwrap()).unwrap();
        }
    }
    project.finish("run", &["run", "extract"]);
    assert_eq!(project.contents("run"), project.contents("scratch"));
    // Another part size needs no forward pass.
    project.finish("run", &["run", "extract", "--set", "extract.part_size=30"]);
    assert_eq!(project.summary("run", "extract")["through_the_network"], 0);
}

#[test]
fn kills_while_rows_are_reused_leave_the_tables_unchanged() {
    let project = Project::new();
    project.finish("old", &["run", "extract"]);
    let copy = |name: &str| {
        let (from, to) = (project.run_folder("old"), project.run_folder(name));
        for entry in walkdir::WalkDir::new(&from) {
            let entry = entry.unwrap();
            let to = to.join(entry.path().strip_prefix(&from).unwrap());
            if entry.file_type().is_dir() {
                fs::create_dir_all(to).unwrap();
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    };
    let rounds = 6;
    for round in 0..rounds {
        copy(&format!("killed-{round}"));
    }
    change_images(&project);
    let started = Instant::now();
    project.finish("scratch", &["run", "extract"]);
    let duration = started.elapsed();
    let expected = project.contents("scratch");
    let mut kills = 0;
    for round in 0..rounds {
        let run = format!("killed-{round}");
        for moment in 0..4u32 {
            // At most half: a busy machine may have slowed the measured run down.
            let share = ((round * 7 + moment * 13) % 40) as f64 / 80.0;
            let mut child = project.start(&run, &["run", "extract"]);
            thread::sleep(Duration::from_secs_f64(duration.as_secs_f64() * share));
            kills += u32::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        project.finish(&run, &["run", "extract"]);
        assert_eq!(project.contents(&run), expected, "round {round}");
        project.finish(&run, &["verify"]);
        // Finished parts are not computed again.
        assert_eq!(project.summary(&run, "extract")["through_the_network"], 9);
    }
    assert!(kills > rounds, "{kills}");
}

/// One run of jobs/nightly.sh; its exit status and output.
fn night(project: &Project, name: &str, max_new: u32) -> (i32, String) {
    let mut command = nightly(project);
    command
        .env("PROSPECT_NIGHT", name)
        .env("PROSPECT_MAX_NEW", max_new.to_string());
    finish(&mut command)
}

/// jobs/nightly.sh for tonight.
fn nightly(project: &Project) -> Command {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("jobs/nightly.sh");
    let mut command = Command::new("bash");
    command
        .arg(script)
        .args(["-c", "pipeline.toml", "--set", "project.methods=[\"pca\"]"])
        .current_dir(project.folder.path())
        .env("PROSPECT", env!("CARGO_BIN_EXE_prospect"))
        .env("PROSPECT_KEEP", "2")
        .env(
            "PROSPECT_TEXTFILE",
            project.folder.path().join("prospect.prom"),
        );
    command
}

fn finish(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(printed).unwrap(),
    )
}

#[test]
fn nightly_run_reports_new_findings_and_deletes_old_runs() {
    let project = Project::new();
    let at = |path: &str| project.folder.path().join(path);
    assert_eq!(night(&project, "2026-11-20", 0), (0, String::new()));
    assert_eq!(night(&project, "2026-11-21", 0), (0, String::new()));
    // The same picture with two labels.
    fs::copy(at("images/disc/033.png"), at("images/noise/copy.png")).unwrap();
    let (status, printed) = night(&project, "2026-11-22", 0);
    assert_eq!(status, 3, "{printed}");
    assert!(
        printed.contains("## New: ") && printed.contains("noise/copy.png"),
        "{printed}"
    );
    let read = |path: &str| fs::read_to_string(at(path)).unwrap();
    assert_eq!(read("runs/nightly/latest/summary.md"), printed);
    let json: Value = serde_json::from_str(&read("runs/nightly/2026-11-22/summary.json")).unwrap();
    let new = json["since"]["new"].as_u64().unwrap();
    assert!(
        new > 0 && json["through_the_network"] == 0 && json["reused"] == 91,
        "{json}"
    );
    assert!(read("prospect.prom").contains(&format!("change=\"new\"}} {new}\n")));
    // A limit at the number of new findings passes; reviewed findings are no longer new.
    assert_eq!(night(&project, "2026-11-22", new as u32).0, 0);
    for change in json["since"]["changes"].as_array().unwrap() {
        let [path, kind] = ["path", "kind"].map(|name| change[name].as_str().unwrap());
        project.finish(
            "runs/nightly/2026-11-22",
            &["review", "add", path, kind, "ok"],
        );
    }
    let (status, printed) = night(&project, "2026-11-22", 0);
    assert_eq!(status, 0, "{printed}");
    // Two complete runs are kept.
    assert!(!at("runs/nightly/2026-11-20").exists());
    assert!(at("runs/nightly/2026-11-21/summary.json").exists());
    // A second run at the same time is refused, and errors keep their exit status.
    let lock = fs::File::open(at("runs/nightly/.nightly.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(night(&project, "2026-11-23", 0).0, 75);
    drop(lock);
    fs::rename(at("images"), at("gone")).unwrap();
    let (status, printed) = night(&project, "2026-11-23", 0);
    assert!(
        status == 2 && printed.contains("images"),
        "{status}: {printed}"
    );
    assert!(at("runs/nightly/2026-11-22/summary.json").exists());
}

#[test]
fn a_failed_night_is_not_resumed_for_ever() {
    let project = Project::new();
    let at = |path: &str| project.folder.path().join(path);
    assert_eq!(night(&project, "2020-01-01", 0), (0, String::new()));
    fs::rename(at("images/disc"), at("disc")).unwrap();
    fs::create_dir(at("images/disc")).unwrap();
    for number in 0..30 {
        fs::write(at(&format!("images/disc/{number}.png")), "no picture").unwrap();
    }
    assert_eq!(night(&project, "2020-01-02", 0).0, 65);
    assert_eq!(
        fs::read_to_string(at("runs/nightly/logs/2020-01-02.failed")).unwrap(),
        "65\n"
    );
    fs::remove_dir_all(at("images/disc")).unwrap();
    fs::rename(at("disc"), at("images/disc")).unwrap();
    let (status, printed) = finish(&mut nightly(&project));
    assert_eq!(status, 0, "{printed}");
    assert!(!at("runs/nightly/2020-01-02").exists());
    assert!(!at("runs/nightly/logs/2020-01-02.failed").exists());
    // An interrupted one is.
    assert!(at("runs/nightly/latest/summary.json").exists());
    let night = fs::canonicalize(at("runs/nightly/latest")).unwrap();
    fs::rename(&night, at("runs/nightly/2020-01-03")).unwrap();
    fs::remove_file(at("runs/nightly/2020-01-03/summary.json")).unwrap();
    assert_eq!(finish(&mut nightly(&project)), (0, String::new()));
    assert!(at("runs/nightly/2020-01-03/summary.json").exists());
}

#[test]
fn a_full_disk_costs_old_nights_only() {
    let project = Project::new();
    let at = |path: &str| project.folder.path().join(path);
    for name in ["2020-01-01", "2020-01-02"] {
        assert_eq!(night(&project, name, 0), (0, String::new()));
    }
    // A stand-in that has no space while the first night is there.
    let full = format!(
        "#!/bin/sh\nif [ \"$1\" = run ] && [ -e runs/nightly/2020-01-01 ]; then echo 'writing failed: No space left'; exit 74; fi\n\
         exec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_prospect")
    );
    fs::write(at("full.sh"), full).unwrap();
    fs::set_permissions(at("full.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = nightly(&project);
    command
        .env("PROSPECT", at("full.sh"))
        .env("PROSPECT_NIGHT", "2020-01-03");
    assert_eq!(finish(&mut command), (0, String::new()));
    let nights = ["2020-01-01", "2020-01-02", "2020-01-03"];
    let there = nights.map(|name| at(&format!("runs/nightly/{name}")).exists());
    assert_eq!(there, [false, true, true]);
}

#[test]
fn reviewed_labels_take_effect_in_the_next_run() {
    let project = Project::new();
    let at = |path: &str| project.folder.path().join(path);
    let json = |arguments: &[&str]| -> Value {
        let printed = project.finish("run", &[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap()
    };
    fs::rename(at("images/disc/033.png"), at("images/noise/033.png")).unwrap();
    project.finish("run", &["run"]);
    let next = json(&["review", "next", "-n", "500"]);
    assert!(next["estimate"].is_null(), "{next}");
    let images = next["images"].as_array().unwrap();
    assert_eq!(images.len(), 90);
    let moved = images.iter().find(|image| image["path"] == "noise/033.png");
    assert_eq!(moved.unwrap()["label"], "noise", "{next}");
    let sampled = images
        .iter()
        .filter(|image| image["sampled"] == true)
        .count();
    let asked = fs::read_to_string(at("reviews.csv")).unwrap_or_default();
    assert_eq!(asked.matches(",asked,").count(), sampled, "{asked}");
    // Images asked for are no decisions: nothing is out of date.
    let decisions = project.decisions("run", &[]);
    assert!(decisions.values().all(|decision| decision == "reuse"));

    let fix = ["review", "add", "noise/033.png", "label", "fix", "--label"];
    for (label, expected) in [
        ("disk", "did you mean `disc`"),
        ("noise", "the verdict is ok"),
    ] {
        let output = project
            .prospect("run", &[&fix[..], &[label]].concat())
            .output();
        let error = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(error.contains(expected), "{error}");
    }
    project.finish("run", &[&fix[..], &["disc"]].concat());
    project.finish("run", &["review", "add", "disc/000.png", "label", "fix"]);
    project.finish("run", &["review", "add", "disc/003.png", "label", "ok"]);
    let decisions = project.decisions("run", &[]);
    for stage in ["scan", "extract", "neighbors", "duplicates", "probe"] {
        assert_eq!(decisions[stage], "reuse", "{decisions:?}");
    }
    assert_eq!(decisions["labels"], "run");
    project.finish("run", &["run"]);
    let rows = project.rows(
        "run",
        "select path, reviewed, flagged from images natural join label_scores where reviewed is not null order by path",
    );
    assert!(
        rows.contains("disc/003.png,ok,false") && rows.contains("noise/033.png,fix,false"),
        "{rows}"
    );
    let message = json(&["summary"])["reviews"]["message"].to_string();
    assert!(
        message.contains("wrong labels") || message.contains("all labels"),
        "{message}"
    );

    let exported = json(&["export", "labels"]);
    assert_eq!(exported["rows"], 89);
    assert!(
        exported["remarks"]
            .to_string()
            .contains("1 label corrected and 1 label confirmed"),
        "{exported}"
    );
    let labels = fs::read_to_string(at("run/export/labels/labels.csv")).unwrap();
    assert!(labels.contains("noise/033.png,noise,disc,fix,"), "{labels}");
    assert!(!labels.contains("disc/000.png"), "{labels}");
    let discs = fs::read_dir(at("run/export/labels/images/disc/000")).unwrap();
    assert_eq!(discs.count(), 29);
}
