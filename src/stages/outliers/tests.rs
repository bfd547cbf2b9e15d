use std::{collections::BTreeMap, fs};

use arrow::array::RecordBatch;
use prospect_config::Config;
use prospect_engine::{
    progress::{Cancel, Progress, ProgressKind},
    schema::{features, neighbors},
};
use prospect_findings::{Finding, Kind};
use prospect_output::picture::{self, Picture};
use prospect_store::{RunFolder, declare::Lists};

use super::*;
use crate::scan;

/// Two classes of striped pictures, one of them dark, and what is not a picture.
struct Case {
    dir: tempfile::TempDir,
}

const IMAGES: usize = 40;

impl Case {
    fn new() -> Case {
        let case = Case {
            dir: tempfile::tempdir().unwrap(),
        };
        for at in 0..IMAGES {
            let mut picture = Picture::filled(60, 60, [90, 140, 200]);
            let colour = if at == 7 {
                [40, 45, 50]
            } else {
                [240, 200, 30]
            };
            for stripe in 0..6 {
                picture.paste(&Picture::filled(5, 60, colour), stripe * 10, 0);
                if at == 7 {
                    picture.paste(&Picture::filled(5, 60, [0, 2, 3]), stripe * 10 + 5, 0);
                }
            }
            let class = if at < IMAGES / 2 { "cat" } else { "dog" };
            case.write(
                &format!("{class}/{at:02}.png"),
                &picture::png(&picture).unwrap(),
            );
        }
        case.write("dog/zz.png", b"no image");
        case
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let file = self.dir.path().join("images").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    fn with<T>(&self, act: impl FnOnce(&Context) -> T) -> T {
        let text = "[images]\ndir = \"images\"\nmax_bad_fraction = 1.0\n[neighbors]\nmetric = \"cosine\"\n";
        let config = Config::parse(&self.dir.path().join("pipeline.toml"), text, &[]).unwrap();
        let run = RunFolder::create(self.dir.path().join("run")).unwrap();
        let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
        act(&Context::new(&config, &run, &progress, &cancel))
    }

    /// Scans; takes directions at these angles for features, and one neighbour each, so far away.
    fn prepare(&self, angles: &[f32], distances: &[f32]) {
        self.with(|ctx| {
            let lock = ctx.run.lock("test").unwrap();
            prospect_engine::run(ctx, &lock, &[scan::STAGE], &[], &mut |_| {}).unwrap();
        });
        let n = angles.len();
        let values = angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]);
        let features = features::Columns {
            image_id: (0..n as u32).collect(),
            vector: Lists::new(values.collect(), 2),
        };
        self.stage("extract", features::NAME, features.batch().unwrap());
        let neighbors = neighbors::Columns {
            image_id: (0..n as u32).collect(),
            rank: vec![1; n].into(),
            neighbor_id: (0..n as u32).map(|id| (id + 1) % n as u32).collect(),
            distance: distances.to_vec().into(),
            exact: vec![true; n].into(),
        };
        self.stage("neighbors", neighbors::NAME, neighbors.batch().unwrap());
    }

    fn stage(&self, name: &str, table: &str, batch: RecordBatch) {
        self.with(|ctx| {
            let lock = ctx.run.lock("test").unwrap();
            let (key, needs) = ("key".to_string(), BTreeMap::new());
            let writer =
                StageWriter::begin(ctx.run, &lock, name, 1, key, json!({}), needs).unwrap();
            let mut part = writer.part(0).unwrap();
            part.write(table, &batch).unwrap();
            writer.commit(part).unwrap();
            writer.finish(None, json!({})).unwrap();
        });
    }

    fn run(&self) -> (Value, Vec<Row>, Vec<Finding>) {
        self.with(|ctx| {
            let lock = ctx.run.lock("test").unwrap();
            let (key, needs) = ("key".to_string(), BTreeMap::new());
            let writer = StageWriter::begin(ctx.run, &lock, STAGE.name, 1, key, json!({}), needs);
            let mut writer = writer.unwrap();
            let outcome = (STAGE.run)(ctx, &mut writer).unwrap();
            let manifest = ctx.run.manifest().unwrap();
            let rows = tables::read(ctx.run, &manifest).unwrap();
            (outcome.summary, rows, findings(ctx, &manifest).unwrap())
        })
    }
}

#[test]
fn images_far_from_all_or_from_their_class_are_told() {
    let case = Case::new();
    // All cats are alike and so are all dogs; but cat 3 is like a dog, and dog 30 has no neighbour nearby.
    let mut angles = [[0.0; IMAGES / 2], [1.5; IMAGES / 2]].concat();
    angles[3] = 1.5f32;
    let mut distances: Vec<f32> = (0..IMAGES)
        .map(|at| 0.05 + 0.001 * (at % 7) as f32)
        .collect();
    distances[30] = 0.6;
    case.prepare(&angles, &distances);
    let (summary, rows, findings) = case.run();
    let flagged: Vec<u32> = (rows.iter())
        .filter(|row| row.flagged())
        .map(|row| row.image_id)
        .collect();
    assert_eq!(flagged, [3, 30]);
    assert!(rows[30].score < 0.5 && rows[30].class_score > Some(0.5));
    assert!(rows[3].score > 0.5 && rows[3].class_score < Some(0.5));
    assert!((rows[3].class_distance.unwrap() - (1.0 - 1.5f32.cos())).abs() < 1e-5);
    assert_eq!(rows[4].class_distance, Some(0.0));
    assert_eq!(summary["flagged"], 2);

    let of = |id, kind| {
        let mut found = findings
            .iter()
            .filter(|f| (f.image_id, f.kind) == (id, kind));
        found.next().map_or("", |finding| finding.evidence.as_str())
    };
    assert!(of(30, Kind::Outlier).starts_with("its nearest images are 0.600 away"));
    assert!(of(3, Kind::Outlier).starts_with("the nearest of class cat are 0.929 away"));
    assert!(of(7, Kind::Dark).starts_with("mean brightness 0.0"));
    assert!(of(40, Kind::Unreadable).starts_with("cannot be read: not an image"));
    assert_eq!(
        findings.iter().filter(|finding| finding.flagged).count(),
        4,
        "{findings:?}"
    );
}

#[test]
fn without_neighbours_bad_photos_are_told_all_the_same() {
    let case = Case::new();
    case.with(|ctx| {
        let lock = ctx.run.lock("test").unwrap();
        prospect_engine::run(ctx, &lock, &[scan::STAGE], &[], &mut |_| {}).unwrap();
    });
    let (summary, rows, findings) = case.run();
    assert!(rows.is_empty());
    assert_eq!(summary["flagged"], 0);
    let kinds: Vec<Kind> = (findings.iter().filter(|finding| finding.flagged))
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(kinds, [Kind::Unreadable, Kind::Dark]);
}
