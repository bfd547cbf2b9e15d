use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, UInt32Array};
use prospect_engine::schema::{classes, features, images};
use prospect_store::{RunFolder, declare::Lists};
use prospect_testing::{Project, add_tables, run_stage};
use serde_json::Value;

use super::*;

/// A run folder with feature vectors, some of them copies.
struct Fake {
    project: Project,
    dimension: usize,
    vectors: Vec<Vec<f32>>,
}

impl Fake {
    fn new(n: usize, dimension: usize) -> Fake {
        let value = |row: usize, x: usize| {
            // Every seventh row is a copy of the one before it.
            let row = if row % 7 == 6 { row - 1 } else { row };
            let mixed = (row * 7919 + x * 104_729 + row * x * 31) % 1009;
            mixed as f32 / 1009.0
        };
        Fake {
            project: Project::new("[images]\ndir = \".\"\n[neighbors]\nmetric = \"l2\"\n"),
            dimension,
            vectors: (0..n)
                .map(|row| (0..dimension).map(|x| value(row, x)).collect())
                .collect(),
        }
    }

    /// Writes the tables of scan and extract.
    fn write(&self, run: &RunFolder) {
        let n = self.vectors.len() as u32;
        let ids: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..n));
        let labels = Int32Array::from_iter((0..n).map(|id| (id % 5 != 4).then_some(id as i32 % 2)));
        let labels: ArrayRef = Arc::new(labels);
        let columns = [(images::image_id.name, ids), (images::label.name, labels)];
        let images = RecordBatch::try_from_iter(columns).unwrap();
        let classes = classes::Columns {
            class: vec![0, 1].into(),
            name: vec!["a", "b"].into(),
            source: vec!["dataset", "dataset"].into(),
        };
        let tables = [
            (images::NAME, images),
            (classes::NAME, classes.batch().unwrap()),
        ];
        add_tables(run, "scan", &tables);

        let ids: Vec<usize> = (0..self.vectors.len()).collect();
        for ids in ids.chunks(64) {
            let values = ids.iter().flat_map(|id| self.vectors[*id].iter().copied());
            let batch = features::Columns {
                image_id: ids.iter().map(|id| *id as u32).collect(),
                vector: Lists::new(values.collect(), self.dimension),
            };
            let tables = [(features::NAME, batch.batch().unwrap())];
            add_tables(run, "extract", &tables);
        }
    }

    /// Runs the stage in its own run folder.
    fn run(&self, name: &str, set: &[&str]) -> (RunFolder, Value) {
        let run = self.project.run(name);
        if run.manifest().unwrap().stages.is_empty() {
            self.write(&run);
        }
        let summary = (self.project).with(name, set, |ctx| run_stage(ctx, &STAGE).unwrap());
        (run, summary)
    }
}

type Row = (u32, i16, u32, f32);

fn rows(run: &RunFolder) -> Vec<Row> {
    let columns = (
        neighbors::image_id,
        neighbors::rank,
        neighbors::neighbor_id,
        neighbors::distance,
    );
    (run.rows(&run.manifest().unwrap(), columns))
        .flat_map(|batch| batch.unwrap().iter().collect::<Vec<Row>>())
        .collect()
}

#[test]
fn several_blocks_give_the_same_rows_as_one() {
    let fake = Fake::new(700, 12);
    let (whole, summary) = fake.run("whole", &["neighbors.k=7"]);
    assert_eq!(summary["method"], "exact");
    assert_eq!(summary["images"], 700);
    let expected = rows(&whole);
    assert_eq!(expected.len(), 700 * 7);
    for size in ["100", "256", "699"] {
        let set = [
            "neighbors.k=7".to_string(),
            format!("neighbors.block_size={size}"),
        ];
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let (blocks, _) = fake.run(&format!("blocks-{size}"), &set);
        assert_eq!(rows(&blocks), expected, "{size}");
    }
    // The copy's nearest neighbour is its original, at distance 0.
    let copy = expected
        .iter()
        .find(|row| row.0 == 6 && row.1 == 1)
        .unwrap();
    assert_eq!((copy.2, copy.3), (5, 0.0));
}

#[test]
fn an_index_finds_nearly_all_neighbours_and_reports_its_recall() {
    let fake = Fake::new(700, 12);
    let (exact, _) = fake.run("exact", &["neighbors.k=7", "neighbors.method=exact"]);
    let (run, summary) = fake.run("index", &["neighbors.k=7", "neighbors.method=hnsw"]);
    assert_eq!(summary["method"], "hnsw");
    assert!(summary["recall"].as_f64().unwrap() >= 0.99);
    assert_eq!(summary["unreachable"], 0);
    let (expected, found) = (rows(&exact), rows(&run));
    assert_eq!(found.len(), expected.len());
    let same = found.iter().filter(|row| expected.contains(row)).count();
    assert!(same as f64 >= 0.98 * expected.len() as f64);
    // The saved index can be loaded.
    let index = load_index(&run, &run.manifest().unwrap()).unwrap();
    assert_eq!(index.len(), 700);
}

#[test]
fn low_recall_falls_back_to_exact_search() {
    let fake = Fake::new(300, 5);
    let (exact, _) = fake.run("exact", &["neighbors.k=5"]);
    // A recall of 1 is the strictest requirement.
    let set = [
        "neighbors.k=5",
        "neighbors.method=hnsw",
        "neighbors.min_recall=1.0",
    ];
    let (run, summary) = fake.run("index", &set);
    if summary["method"] == "exact" {
        assert!(summary["recall"].as_f64().unwrap() < 1.0);
    }
    assert_eq!(rows(&run).len(), rows(&exact).len());
}

#[test]
fn non_finite_vectors_are_left_out_and_counted() {
    let mut fake = Fake::new(50, 4);
    fake.vectors[3][1] = f32::NAN;
    fake.vectors[20][0] = f32::INFINITY;
    fake.vectors[21][2] = 1e30;
    for set in [
        &["neighbors.k=5"][..],
        &["neighbors.k=5", "neighbors.block_size=7"],
    ] {
        let (run, summary) = fake.run(&format!("{}", set.len()), set);
        assert_eq!(
            (&summary["images"], &summary["left_out"]),
            (&json!(47), &json!(3))
        );
        let rows = rows(&run);
        assert_eq!(rows.len(), 47 * 5);
        assert!(rows.iter().all(|row| ![3, 20, 21].contains(&row.0)));
        assert!(rows.iter().all(|row| ![3, 20, 21].contains(&row.2)));
    }
}

#[test]
fn few_or_no_images() {
    for (n, expected) in [(0, 0), (1, 0), (2, 2), (3, 6)] {
        let fake = Fake::new(n, 4);
        for set in [
            &[][..],
            &["neighbors.block_size=1"],
            &["neighbors.method=hnsw"],
        ] {
            let (run, summary) = fake.run(&format!("run{}", set.concat()), set);
            assert_eq!(rows(&run).len(), expected, "{n} {set:?}");
            assert_eq!(summary["images"], n, "{set:?}");
        }
    }
}
