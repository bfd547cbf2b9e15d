//! Scanned folders with duplicates; features and neighbours are synthetic.

use std::{collections::BTreeSet, fs};

use prospect_engine::schema::{features, neighbors};
use prospect_findings::{Finding, Kind};
use prospect_output::picture::{self, Picture};
use prospect_store::declare::Lists;
use prospect_testing::{Project, add_tables, run_stage};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::scan;

/// A picture of random boxes.
fn scene(seed: u64) -> Picture {
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Picture::filled(200, 160, [120, 130, 125]);
    for size in (4..60).rev() {
        let colour = [0; 3].map(|_: u8| random.random());
        let patch = Picture::filled(size, random.random_range(size / 2..=size), colour);
        let (left, top) = (random.random_range(0..190), random.random_range(0..150));
        scene.paste(&patch, left, top);
    }
    scene
}

/// A crop, given in fractions of width and height, resized.
fn crop(of: &Picture, [left, top, right, bottom]: [f32; 4], width: u32, height: u32) -> Picture {
    let mut crop = Picture::filled(width, height, [0; 3]);
    for y in 0..height {
        for x in 0..width {
            let source = |at: u32, size: u32, low: f32, high: f32, whole: u32| {
                let fraction = low + (high - low) * (at as f32 + 0.5) / size as f32;
                (fraction * whole as f32) as u32
            };
            let (column, row) = (
                source(x, width, left, right, of.width),
                source(y, height, top, bottom, of.height),
            );
            let pixel = of.at(column, row).unwrap();
            crop.paste(&Picture::filled(1, 1, pixel), x, y);
        }
    }
    crop
}

struct Folder {
    project: Project,
    paths: BTreeSet<String>,
}

impl Folder {
    fn new() -> Folder {
        Folder {
            project: Project::new("[images]\ndir = \"images\"\nmax_bad_fraction = 1.0\n[neighbors]\nmetric = \"l2\"\n")
                .with_stages(&[scan::STAGE]),
            paths: BTreeSet::new(),
        }
    }

    fn write(&mut self, path: &str, bytes: &[u8]) {
        self.project.write(&format!("images/{path}"), bytes);
        self.paths.insert(path.to_string());
    }

    fn draw(&mut self, path: &str, picture: &Picture) {
        self.write(path, &picture::png(picture).unwrap());
    }

    fn id(&self, path: &str) -> u32 {
        self.paths.iter().position(|known| known == path).unwrap() as u32
    }

    fn scan(&self) {
        (self.project.update("run", &[], "scan")).unwrap();
    }

    /// Writes feature vectors of two dimensions, and neighbours.
    fn write_features(&self, vectors: &[[f32; 2]], neighbors: &[(u32, u32, f32)]) {
        let batch = features::Columns {
            image_id: (0..vectors.len() as u32).collect(),
            vector: Lists::new(vectors.as_flattened().to_vec(), 2),
        };
        let run = self.project.run("run");
        let tables = [(features::NAME, batch.batch().unwrap())];
        add_tables(&run, "extract", &tables);
        let n = neighbors.len();
        let batch = neighbors::Columns {
            image_id: neighbors.iter().map(|row| row.0).collect(),
            rank: vec![1; n].into(),
            neighbor_id: neighbors.iter().map(|row| row.1).collect(),
            distance: neighbors.iter().map(|row| row.2).collect(),
            exact: vec![true; n].into(),
        };
        let tables = [(neighbors::NAME, batch.batch().unwrap())];
        add_tables(&run, "neighbors", &tables);
    }

    fn find(&self, set: &[&str]) -> Value {
        self.project
            .with("run", set, |ctx| run_stage(ctx, &STAGE).unwrap())
    }

    fn findings(&self) -> Vec<Finding> {
        self.project.with("run", &[], |ctx| {
            findings(ctx, &ctx.run.manifest().unwrap()).unwrap()
        })
    }

    /// a, b, kind, group, label conflict, cross split
    fn pairs(&self) -> Vec<(u32, u32, String, u32, bool, bool)> {
        let run = self.project.run("run");
        let mut found = Vec::new();
        let columns = (
            duplicates::image_a,
            duplicates::image_b,
            duplicates::kind,
            duplicates::group_id,
            duplicates::label_conflict,
            duplicates::cross_split,
            duplicates::similarity,
        );
        for batch in run.rows(&run.manifest().unwrap(), columns) {
            for (a, b, kind, group, conflict, split, similarity) in batch.unwrap().iter() {
                assert!((0.93..=1.0).contains(&similarity));
                found.push((a, b, kind.to_string(), group, conflict, split));
            }
        }
        found
    }
}

#[test]
fn copies_are_found_by_their_hashes() {
    let mut folder = Folder::new();
    for seed in 0..12 {
        folder.draw(&format!("train/cat/{seed:02}.png"), &scene(seed));
    }
    let whole = [0.0, 0.0, 1.0, 1.0];
    folder.draw("train/cat/copy.png", &scene(3));
    folder.draw("test/dog/small.png", &crop(&scene(3), whole, 150, 120));
    folder.draw(
        "train/cat/flipped.png",
        &crop(&scene(5), [1.0, 0.0, 0.0, 1.0], 200, 160),
    );
    let turned = &scene(7);
    let mut upside = Picture::filled(160, 200, [0; 3]);
    for (x, y) in (0..160).flat_map(|x| (0..200).map(move |y| (x, y))) {
        let pixel = turned.at(y, 159 - x).unwrap();
        upside.paste(&Picture::filled(1, 1, pixel), x, y);
    }
    folder.draw("train/cat/turned.png", &upside);
    folder.write("train/cat/bad 1.png", b"no image");
    folder.write("train/cat/bad 2.png", b"no image");
    folder.draw("train/cat/blank 1.png", &Picture::filled(50, 50, [9; 3]));
    folder.draw("train/cat/blank 2.png", &Picture::filled(50, 60, [9; 3]));
    folder.scan();
    let summary = folder.find(&[]);
    let [original, copy, small] = [
        "train/cat/03.png",
        "train/cat/copy.png",
        "test/dog/small.png",
    ]
    .map(|path| folder.id(path));
    let [mirrored, flipped] =
        ["train/cat/05.png", "train/cat/flipped.png"].map(|path| folder.id(path));
    let [rotated, turned] =
        ["train/cat/07.png", "train/cat/turned.png"].map(|path| folder.id(path));
    assert_eq!(small, 0);
    let row =
        |a, b, kind: &str, group, conflict, split| (a, b, kind.to_string(), group, conflict, split);
    let expected = [
        row(small, original, "near", small, true, true),
        row(original, copy, "exact", small, false, false),
        row(mirrored, flipped, "mirrored", mirrored, false, false),
        row(rotated, turned, "rotated", rotated, false, false),
    ];
    assert_eq!(folder.pairs(), expected);
    assert_eq!(summary["groups"], 3);
    assert_eq!(summary["images_in_groups"], 7);
    assert_eq!(summary["label_conflicts"], 1);

    let reported: Vec<(u32, Kind, String)> = (folder.findings().into_iter())
        .map(|finding| (finding.image_id, finding.kind, finding.evidence))
        .collect();
    let of = |id, kind| {
        let mut found = (reported.iter()).filter(|finding| finding.0 == id && finding.1 == kind);
        found.next().map_or("", |finding| finding.2.as_str())
    };
    assert_eq!(
        of(copy, Kind::DuplicateExact),
        "the same file as train/cat/03.png"
    );
    let conflict = of(small, Kind::DuplicateLabel);
    assert!(
        conflict.starts_with("the same picture as train/cat/03.png (similarity 0.9"),
        "{conflict}"
    );
    assert!(
        conflict.ends_with("but labelled cat there and dog here"),
        "{conflict}"
    );
    assert!(of(original, Kind::DuplicateLabel).ends_with("dog there and cat here"));
    let leak = of(small, Kind::Leak);
    assert!(
        leak.ends_with("which is in split train, this one in test"),
        "{leak}"
    );
    assert!(of(flipped, Kind::DuplicateNear).contains("05.png, mirrored ("));
    assert!(of(turned, Kind::DuplicateNear).contains("07.png, rotated ("));
    // The exact copy is paired with the original alone, but conflicts with the small one as well.
    let indirect = of(copy, Kind::DuplicateLabel);
    assert!(
        indirect.starts_with("a copy of a copy of test/dog/small.png"),
        "{indirect}"
    );
    assert_eq!(reported.len(), 8, "{reported:?}");
}

#[test]
fn every_member_of_a_group_has_its_conflicts() {
    // Eight equal files in test, and one in train with another label.
    let mut folder = Folder::new();
    for seed in 0..4 {
        folder.draw(&format!("train/cat/{seed}.png"), &scene(seed));
    }
    for at in 0..9 {
        folder.draw(&format!("test/dog/{at}.png"), &scene(2));
    }
    folder.scan();
    folder.find(&[]);
    let findings = folder.findings();
    let of = |kind| {
        let found = findings.iter().filter(|finding| finding.kind == kind);
        found.map(|finding| finding.image_id).collect::<Vec<u32>>()
    };
    let copies: Vec<u32> = (0..9)
        .map(|at| folder.id(&format!("test/dog/{at}.png")))
        .collect();
    let original = folder.id("train/cat/2.png");
    assert_eq!(of(Kind::Leak), copies);
    assert_eq!(
        of(Kind::DuplicateLabel),
        [&copies[..], &[original]].concat()
    );
    // Only the first of so many equal files is paired with the others, but all of them are known to be equal.
    for finding in &findings {
        let evidence = &finding.evidence;
        assert!(evidence.starts_with("the same file as "), "{evidence}");
    }
}

#[test]
fn a_cropped_copy_is_found_among_neighbours() {
    let mut folder = Folder::new();
    for seed in 0..6 {
        folder.draw(&format!("{seed}.png"), &scene(seed));
    }
    folder.draw(
        "cropped.png",
        &crop(&scene(2), [0.09, 0.02, 0.99, 0.92], 180, 144),
    );
    folder.scan();
    folder.find(&[]);
    assert!(folder.pairs().is_empty());
    let vectors = [
        [1.0, 0.0],
        [0.0, 1.0],
        [1.0, 1.0],
        [3.0, 1.0],
        [1.0, 3.0],
        [2.0, 1.0],
        [1.0, 1.1],
    ];
    let (original, cropped) = (folder.id("2.png"), folder.id("cropped.png"));
    folder.write_features(&vectors, &[(original, cropped, 0.1), (0, 1, 2f32.sqrt())]);
    let summary = folder.find(&["audit.duplicate_distance=0.5"]);
    assert_eq!(summary["neighbor_distance"], 0.5);
    let expected = [(
        original,
        cropped,
        "near".to_string(),
        original,
        false,
        false,
    )];
    assert_eq!(folder.pairs(), expected);
    // Beyond the configured distance.
    folder.find(&["audit.duplicate_distance=0.0001"]);
    assert!(folder.pairs().is_empty());
}

#[test]
fn a_killed_run_resumes_to_the_same_tables() {
    let mut folder = Folder::new();
    for seed in 0..5 {
        folder.draw(&format!("{seed}.png"), &scene(seed));
        folder.draw(
            &format!("{seed} again.png"),
            &crop(&scene(seed), [0.0, 0.0, 1.0, 1.0], 160, 128),
        );
    }
    folder.scan();
    folder.find(&[]);
    let file = (folder.project).path("run/tables/duplicates/part-00001.parquet");
    let before = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    folder.find(&[]);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(folder.pairs().len(), 5);
}
