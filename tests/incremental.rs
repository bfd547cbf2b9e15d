//! Runs on a folder that grew, shrank and changed: what is known is taken over, and the tables are those of a run from scratch.

mod common;

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use common::project::{CLASSES, Project, draw};

/// Adds 7 images, changes 2, deletes 3, moves 1 to another class and makes a copy of 1; gives the 9 that are new content.
fn change_images(project: &Project) -> Vec<PathBuf> {
    let at = |path: &str| project.folder.path().join("images").join(path);
    let mut new = Vec::new();
    for index in 100..107 {
        // Before, between and behind the others.
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
fn only_new_images_run_and_the_tables_are_those_of_a_run_from_scratch() {
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
        // With other batches and parts than before.
        run(
            "after",
            &[
                "--set",
                "run.previous=before",
                "--set",
                "model.batch_size=4",
            ],
        );
        for name in ["same", "after"] {
            assert_eq!(project.contents(name), expected, "{name}, {maps}");
            project.finish(name, &["verify"]);
            assert!(!project.run_folder(name).join("previous").exists());
            let through = new.len() as u64;
            let extract = project.told(name, "extract");
            assert_eq!(extract["images"], 95, "{name}");
            assert_eq!(extract["through_the_network"], through, "{name}, {maps}");
            assert_eq!(extract["taken_from_before"], 95 - through);
            // The unreadable one is tried again.
            assert_eq!(project.told(name, "scan")["decoded"], new.len() as u64 + 1);
        }
        assert!(
            !project
                .told("scratch", "extract")
                .contains_key("taken_from_before")
        );
    }
}

#[test]
fn nothing_but_new_images_is_read_for_the_network() {
    let project = Project::new();
    project.finish("run", &["run", "extract"]);
    let new = change_images(&project);
    project.finish("scratch", &["run", "extract"]);
    project.finish("run", &["run", "scan"]);
    // From here on, every other image is rubbish, which the listing does not see.
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
    // Cut into other parts, nothing runs at all.
    project.finish("run", &["run", "extract", "--set", "extract.part_size=30"]);
    assert_eq!(project.told("run", "extract")["through_the_network"], 0);
}

#[test]
fn killed_while_rows_are_taken_over_the_tables_are_the_same() {
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
    let whole = started.elapsed();
    let expected = project.contents("scratch");
    let mut kills = 0;
    for round in 0..rounds {
        let run = format!("killed-{round}");
        for moment in 0..4u32 {
            let share = ((round * 7 + moment * 13) % 40) as f64 / 40.0;
            let mut child = project.start(&run, &["run", "extract"]);
            thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
            kills += u32::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        project.finish(&run, &["run", "extract"]);
        assert_eq!(project.contents(&run), expected, "round {round}");
        project.finish(&run, &["verify"]);
        // What was not lost in a kill was not computed twice.
        assert_eq!(project.told(&run, "extract")["through_the_network"], 9);
    }
    assert!(kills > rounds, "{kills}");
}
