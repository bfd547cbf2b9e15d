//! `prospect similar` from outside: images of a run, other files, duplicates, errors.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A dataset of stripes and discs with copies of one image, and its run.
fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..12u32 {
        let class = ["disc", "stripes"][index as usize % 2];
        let picture = image::RgbImage::from_fn(24 + index, 20 + index % 5, |x, y| {
            let inside = match class {
                "disc" => (x as i32 - 12).pow(2) + (y as i32 - 10).pow(2) < 30 + 8 * index as i32,
                _ => (x + index) % (3 + index / 2) < 2,
            };
            let value = if inside { 200 } else { 30 };
            image::Rgb([value, value / (1 + index as u8 % 3), 10 * index as u8])
        });
        let path = photos(&folder).join(class).join(format!("{index:02}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
    }
    let copy = |from: &str, to: &str| fs::copy(photos(&folder).join(from), folder.path().join(to));
    copy("disc/04.png", "photos/disc/copy.png").unwrap();
    copy("disc/04.png", "photos/stripes/wrong.png").unwrap();
    copy("stripes/05.png", "new.png").unwrap();
    fs::write(photos(&folder).join("disc/bad.png"), "not a picture").unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/residual.pt2");
    let config = format!(
        "[images]\ndir = \"photos\"\nmax_bad_fraction = 0.5\n[model]\npath = {model:?}\ndevice = \"cpu\"\n[neighbors]\nk = 3\n"
    );
    fs::write(folder.path().join("pipeline.toml"), config).unwrap();
    let (status, _, err) = prospect(&folder, &["run", "-q", "neighbors"]);
    assert_eq!(status, 0, "{err}");
    folder
}

fn photos(folder: &TempDir) -> PathBuf {
    folder.path().join("photos")
}

fn prospect(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_prospect"))
        .current_dir(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn json(folder: &TempDir, arguments: &[&str]) -> Value {
    let arguments = [&["similar", "-q", "--format", "json"], arguments].concat();
    let (status, out, err) = prospect(folder, &arguments);
    assert_eq!(status, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// Paths and distances of the first answer.
fn near(answer: &Value) -> Vec<(String, f64)> {
    let hits = answer["answers"][0]["neighbors"].as_array().unwrap();
    hits.iter()
        .map(|hit| {
            let path = hit["path"].as_str().unwrap();
            (path.to_string(), hit["distance"].as_f64().unwrap())
        })
        .collect()
}

#[test]
fn images_inside_and_outside_the_run_are_searched() {
    let folder = project();
    let (status, out, err) = prospect(&folder, &["similar", "-q", "disc/04.png"]);
    assert_eq!((status, err.as_str()), (0, ""));
    for piece in [
        "among 14 images",
        "disc/04.png (#2), label disc",
        "disc/copy.png",
        "stripes/wrong.png",
        "share its label",
        "wrote similar.png",
    ] {
        assert!(out.contains(piece), "{piece}: {out}");
    }
    let sheet = image::open(folder.path().join("similar.png")).unwrap();
    assert!(sheet.width() > 1000 && sheet.height() > 200);

    // The copies come first, in order of their ids; the run's graph has three neighbours per image.
    let stored = json(&folder, &["#2", "-k", "3"]);
    assert_eq!(stored["answers"][0]["method"], "stored_graph");
    assert_eq!(stored["sheets"], Value::Array(vec![]));
    let near_stored = near(&stored);
    assert_eq!(near_stored[0], ("disc/copy.png".to_string(), 0.0));
    assert_eq!(near_stored[1], ("stripes/wrong.png".to_string(), 0.0));
    assert!(near_stored[2].1 > 0.0);
    let searched = json(&folder, &["photos/disc/04.png", "-k", "3", "--exact"]);
    assert_eq!(searched["answers"][0]["method"], "exact_search");
    assert_eq!(near(&searched), near_stored);

    // A copy outside the run finds the image itself.
    let new = json(&folder, &["new.png", "-k", "2", "-o", "sheets/new.png"]);
    let query = &new["answers"][0]["query"];
    assert_eq!(
        (&query["image_id"], &query["label"]),
        (&Value::Null, &Value::Null)
    );
    let found = near(&new);
    assert_eq!(found[0].0, "stripes/05.png");
    assert!(found[0].1 < 1e-4 && found[1].1 > 1e-3, "{found:?}");
    assert_eq!(new["sheets"][0], "sheets/new.png");
    assert!(folder.path().join("sheets/new.png").exists());
}

#[test]
fn failed_queries_are_reported_and_the_others_answered() {
    let folder = project();
    fs::write(folder.path().join("junk.png"), "not a picture").unwrap();
    let arguments = ["junk.png", "disc/bad.png", "#2", "nothing.png", "#77"];
    let arguments = [&["similar", "-q", "--format", "csv"][..], &arguments].concat();
    let (status, out, err) = prospect(&folder, &arguments);
    assert_eq!(status, 65, "{err}");
    assert_eq!(out.lines().count(), 1 + 10, "{out}");
    assert!(
        out.lines()
            .skip(1)
            .all(|line| line.starts_with("disc/04.png,2,disc,"))
    );
    for line in [
        "error: junk.png: not an image",
        "error: disc/bad.png: could not be read",
        "error: nothing.png: neither a path in the run",
        "error: #77: no image with this id in the run",
    ] {
        assert!(err.contains(line), "{line}: {err}");
    }
    assert!(!folder.path().join("similar.png").exists());

    // Another network is an error; images of the run need none.
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plain.pt2");
    let other = format!("model.path={other:?}");
    let (status, _, err) = prospect(&folder, &["similar", "new.png", "--set", &other]);
    assert!(
        status == 65 && err.contains("computed the run's features"),
        "{err}"
    );
    let config = folder.path().join("pipeline.toml");
    let text = fs::read_to_string(&config).unwrap();
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("path"))
        .collect();
    fs::write(&config, without.join("\n")).unwrap();
    let (status, _, err) = prospect(&folder, &["similar", "-q", "#2"]);
    assert_eq!(status, 0, "{err}");
    let (status, _, err) = prospect(&folder, &["similar", "-q", "new.png"]);
    assert!(status == 2 && err.contains("[model] path"), "{err}");

    for command in [
        &["similar"][..],
        &["similar", "#2", "-k", "0"],
        &["similar", "#2", "-k", "x"],
    ] {
        assert_eq!(prospect(&folder, command).0, 2);
    }
    fs::remove_dir_all(folder.path().join("runs")).unwrap();
    let (status, _, err) = prospect(&folder, &["similar", "#2"]);
    assert!(status == 2 && err.contains("prospect run"), "{err}");
}
