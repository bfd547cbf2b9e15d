use std::fs;

use prospect_engine::schema::{features, neighbors};
use prospect_findings::{Finding, Kind};
use prospect_output::picture::{self, Picture};
use prospect_store::declare::Lists;
use prospect_testing::{Project, add_tables, run_stage};

use super::*;
use crate::scan;

/// Two classes of striped pictures, one picture dark, and one file that is not an image.
struct Case(Project);

const IMAGES: usize = 40;

impl Case {
    fn new() -> Case {
        let project = Project::new("[images]\ndir = \"images\"\nmax_bad_fraction = 1.0\n")
            .with_stages(&[scan::STAGE]);
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
            let path = format!("images/{class}/{at:02}.png");
            project.write(&path, picture::png(&picture).unwrap());
        }
        project.write("images/dog/zz.png", b"no image");
        Case(project)
    }

    fn scan(&self) {
        self.0.update("run", &[], "scan").unwrap();
    }

    /// Scans; writes unit vectors at these angles as features, and one neighbour per image at the given distance.
    fn prepare(&self, angles: &[f32], distances: &[f32]) {
        self.scan();
        let n = angles.len();
        let values = angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]);
        let features = features::Columns {
            image_id: (0..n as u32).collect(),
            vector: Lists::new(values.collect(), 2),
        };
        let run = self.0.run("run");
        let tables = [(features::NAME, features.batch().unwrap())];
        add_tables(&run, "extract", &tables);
        let neighbors = neighbors::Columns {
            image_id: (0..n as u32).collect(),
            rank: vec![1; n].into(),
            neighbor_id: (0..n as u32).map(|id| (id + 1) % n as u32).collect(),
            distance: distances.to_vec().into(),
            exact: vec![true; n].into(),
        };
        let tables = [(neighbors::NAME, neighbors.batch().unwrap())];
        add_tables(&run, "neighbors", &tables);
    }

    fn run(&self) -> (Value, Vec<Row>, Vec<Finding>) {
        self.0.with("run", &[], |ctx| {
            let summary = run_stage(ctx, &STAGE).unwrap();
            let manifest = ctx.run.manifest().unwrap();
            let rows = tables::read(ctx.run, &manifest).unwrap();
            (summary, rows, findings(ctx, &manifest).unwrap())
        })
    }
}

#[test]
fn outliers_of_the_dataset_and_of_their_class_are_reported() {
    let case = Case::new();
    // All cats are alike, and so are all dogs, except that cat 3 looks like a dog and dog 30 is far from its neighbour.
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
fn bad_photos_are_reported_without_neighbours() {
    let case = Case::new();
    case.scan();
    let (summary, rows, findings) = case.run();
    assert!(rows.is_empty());
    assert_eq!(summary["flagged"], 0);
    let kinds: Vec<Kind> = (findings.iter().filter(|finding| finding.flagged))
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(kinds, [Kind::Unreadable, Kind::Dark]);
}

#[test]
fn a_damaged_file_is_a_finding_with_what_it_lost() {
    let case = Case::new();
    let whole = fs::read(case.0.path("images/cat/00.png")).unwrap();
    case.0.write("images/dog/zz.png", &whole[..whole.len() / 2]);
    case.scan();
    let (_, _, findings) = case.run();
    let damaged: Vec<&Finding> = (findings.iter())
        .filter(|finding| finding.kind == Kind::Damaged)
        .collect();
    assert_eq!(damaged.len(), 1);
    let evidence = &damaged[0].evidence;
    assert!(
        evidence.starts_with("read as far as it goes: "),
        "{evidence}"
    );
    assert!(
        damaged[0].flagged && evidence.contains("black from row"),
        "{evidence}"
    );
    assert!(
        findings
            .iter()
            .all(|finding| finding.kind != Kind::Unreadable)
    );
}
