//! `prospect export` on a test run, read back without the target tools; tests/read_exports.py opens it with them.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use common::project::{CLASSES, Project};

struct Exporter {
    project: Project,
}

impl Exporter {
    /// A run of all stages, with splits.
    fn new() -> Exporter {
        let project = Project::new();
        let mut metadata = "file_name,split\n".to_string();
        for index in 0..90 {
            let split = if index < 60 { "train" } else { "test" };
            metadata += &format!("{}/{index:03}.png,{split}\n", CLASSES[index % 3]);
        }
        fs::write(project.folder.path().join("metadata.csv"), metadata).unwrap();
        let config = project.folder.path().join("pipeline.toml");
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("[images]\n", "[images]\nmetadata = \"metadata.csv\"\n");
        fs::write(&config, text).unwrap();
        let exporter = Exporter { project };
        exporter.project.finish(&exporter.run(), &["run"]);
        exporter
    }

    fn run(&self) -> String {
        self.path("run").display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.project.folder.path().join(name)
    }

    fn output(&self, arguments: &[&str]) -> (i32, String, String) {
        let arguments = [&["export"], arguments].concat();
        let Output {
            status,
            stdout,
            stderr,
        } = self
            .project
            .prospect(&self.run(), &arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn export(&self, arguments: &[&str]) -> Value {
        let (status, out, err) = self.output(&[arguments, &["--json"]].concat());
        assert_eq!(status, 0, "{arguments:?}: {err}");
        serde_json::from_str(&out).unwrap()
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Relative paths of all files.
fn files(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    let mut names: Vec<String> = files
        .map(|entry| {
            entry
                .path()
                .strip_prefix(folder)
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_format_is_written_reproducibly() {
    let exporter = Exporter::new();
    for format in [
        "labels",
        "huggingface",
        "fiftyone",
        "coco",
        "cleanlab",
        "tensorboard",
        "embedding-atlas",
    ] {
        let done = exporter.export(&[format]);
        assert_eq!(done["rows"], 90, "{format}: {done}");
        let folder = exporter.path(&format!("run/export/{format}"));
        assert_eq!(done["path"], folder.to_str().unwrap());
        let names = files(&folder);
        assert_eq!(done["files"], names.len() as u64 - 1, "{names:?}");
        assert!(
            done["open"]
                .as_str()
                .unwrap()
                .contains(folder.to_str().unwrap()),
            "{done}"
        );
        let remarks = done["remarks"].to_string();
        assert!(remarks.contains("skipped 1 unreadable image"), "{remarks}");
        let contents = |names: &[String]| -> Vec<Vec<u8>> {
            let all = names
                .iter()
                .map(|name| fs::read(folder.join(name)).unwrap());
            all.collect()
        };
        let before = contents(&names);
        exporter.export(&[format]);
        assert_eq!(files(&folder), names);
        assert!(contents(&names) == before, "{format} differs");
    }
    let left: Vec<_> = fs::read_dir(exporter.path("run/export")).unwrap().collect();
    assert_eq!(left.len(), 7);

    let folder = exporter.path("run/export/huggingface");
    let names = files(&folder);
    let of = |split: &str| names.iter().filter(|name| name.starts_with(split)).count();
    assert_eq!((of("train/"), of("test/")), (61, 31));
    let images = json(&exporter.path("run/export/coco/annotations.json"));
    assert_eq!(images["images"].as_array().unwrap().len(), 90);
    assert_eq!(images["categories"].as_array().unwrap().len(), 3);
    let samples = json(&exporter.path("run/export/fiftyone/samples.json"));
    for sample in samples["samples"].as_array().unwrap() {
        assert!(Path::new(sample["filepath"].as_str().unwrap()).is_file());
        assert!(
            sample["probe"]["label"].is_string() && sample["umap_x"].is_number(),
            "{sample}"
        );
    }
    let tensors = fs::read_to_string(exporter.path("run/export/tensorboard/tensors.tsv")).unwrap();
    assert_eq!(tensors.lines().count(), 90);
    // The sprite has the thumbnails, in the order of the images.
    let sprite = exporter.path("run/export/tensorboard/sprite.png");
    let sprite = image::open(sprite).unwrap().to_rgb8();
    assert_eq!(sprite.dimensions(), (480, 480));
    assert!(sprite.pixels().any(|pixel| pixel.0 != [128; 3]));
}

#[test]
fn failed_exports_are_reported_and_leave_nothing() {
    let exporter = Exporter::new();
    let fails = |arguments: &[&str], status: i32, expected: &str| {
        let (found, out, err) = exporter.output(arguments);
        assert_eq!(found, status, "{arguments:?}: {out} {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
    };
    let inside = exporter.path("images/export").display().to_string();
    fails(&["coco", "--out", &inside], 2, "inside the image folder");
    let theirs = exporter.path("theirs").display().to_string();
    fs::create_dir(&theirs).unwrap();
    fs::write(exporter.path("theirs/thesis.txt"), "").unwrap();
    fails(
        &["coco", "--out", &theirs],
        65,
        "found a folder with other files",
    );
    fails(
        &["coco", "--points", "5"],
        2,
        "--points applies to tensorboard",
    );
    assert_eq!(files(Path::new(&theirs)), ["thesis.txt"]);
    assert!(!exporter.path("run/export").exists());

    exporter
        .project
        .finish(&exporter.run(), &["clean", "probe", "--yes"]);
    fails(&["cleanlab"], 2, "table probe in ");
    fails(&["cleanlab"], 2, "create it with `prospect run probe`");
    let done = exporter.export(&[
        "coco",
        "--out",
        &exporter.path("new/coco").display().to_string(),
    ]);
    assert!(
        done["remarks"]
            .to_string()
            .contains("without probe, label_scores, issues"),
        "{done}"
    );

    // After a new scan, the old features are out of date.
    fs::remove_file(exporter.path("images/disc/000.png")).unwrap();
    exporter.project.finish(&exporter.run(), &["run", "scan"]);
    fails(&["tensorboard"], 2, "table features of the latest scan");
    let points = exporter.export(&["huggingface"]);
    assert_eq!(points["rows"], 89);
}

#[test]
fn samples_are_evenly_spaced() {
    let exporter = Exporter::new();
    let done = exporter.export(&["tensorboard", "--points", "7", "--thumbnails", "0"]);
    assert_eq!(done["rows"], 7);
    let metadata = exporter.path("run/export/tensorboard/metadata.tsv");
    let metadata = fs::read_to_string(metadata).unwrap();
    let ids: Vec<u32> = (metadata.lines().skip(1))
        .map(|line| line.split('\t').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(ids.len(), 7);
    assert!(
        ids.windows(2)
            .all(|pair| (12..=15).contains(&(pair[1] - pair[0]))),
        "{ids:?}"
    );
    assert!(!exporter.path("run/export/tensorboard/sprite.png").exists());
}
