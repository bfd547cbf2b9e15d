use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{BooleanArray, Float32Array, Int16Array, RecordBatch, UInt32Array};
use prospect_engine::tables::columns::{Columns, integer, number, table, text};
use prospect_store::RunFolder;
use prospect_testing::{Fake, FakeImage};

use super::*;

/// Images by label (number, name), prediction and whether the network knows the label, with neighbours.
struct Case {
    fake: Fake,
    neighbors: Vec<(u32, u32)>,
}

type Image<'a> = (Option<(i32, &'a str)>, i32, bool);

impl Case {
    fn new(network: &[&str], images: &[Image], neighbors: &[(u32, u32)]) -> Case {
        let fake = Fake {
            dir: tempfile::tempdir().unwrap(),
            images: (images.iter().enumerate())
                .map(|(id, (label, ..))| FakeImage {
                    path: format!("{id}.png"),
                    label: label.map(|(number, name)| (number, name.to_string())),
                    error: None,
                    picture: None,
                })
                .collect(),
            layers: Vec::new(),
            network_classes: network.iter().map(|name| name.to_string()).collect(),
            predictions: (images.iter())
                .map(|&(_, pred, known)| (pred, known.then_some(0.5)))
                .collect(),
            part_size: 3,
        };
        fake.write();
        let case = Case {
            fake,
            neighbors: neighbors.to_vec(),
        };
        case.write_neighbors();
        case
    }

    fn write_neighbors(&self) {
        let run = self.fake.run();
        let lock = run.lock("test").unwrap();
        let (key, needs) = ("key".to_string(), BTreeMap::new());
        let writer =
            StageWriter::begin(&run, &lock, "neighbors", 1, key, json!({}), needs).unwrap();
        let of = |side: fn(&(u32, u32)) -> u32| {
            Arc::new(UInt32Array::from_iter_values(
                self.neighbors.iter().map(side),
            ))
        };
        let n = self.neighbors.len();
        let batch = table([
            ("image_id", of(|edge| edge.0), false),
            ("rank", Arc::new(Int16Array::from(vec![1; n])), false),
            ("neighbor_id", of(|edge| edge.1), false),
            (
                "distance",
                Arc::new(Float32Array::from(vec![0.5; n])),
                false,
            ),
            ("exact", Arc::new(BooleanArray::from(vec![true; n])), false),
        ]);
        let mut part = writer.part(0).unwrap();
        part.write("neighbors", &batch.unwrap()).unwrap();
        writer.commit(part).unwrap();
        writer.finish(None, json!({})).unwrap();
    }

    fn run(&self) -> (RunFolder, Value) {
        let summary = self.fake.run_stage(&STAGE, &[]).unwrap();
        (self.fake.run(), summary)
    }
}

fn only_batch(run: &RunFolder, name: &str) -> Option<RecordBatch> {
    let manifest = run.manifest().unwrap();
    let mut batches = run.read(&manifest, name);
    let first = batches.next()?.unwrap();
    assert!(batches.next().is_none());
    Some(first)
}

/// number, name, number, name, count, share
type Row = (i64, String, i64, String, i64, f64);

fn rows(run: &RunFolder, name: &str, names: [&str; 6]) -> Vec<Row> {
    let Some(batch) = only_batch(run, name) else {
        return Vec::new();
    };
    let columns = Columns::of(run, name, &batch);
    let numbers = [0, 2, 4].map(|at| columns.integers(names[at]).unwrap());
    let texts = [1, 3].map(|at| columns.texts(names[at]).unwrap());
    let shares = columns.numbers(names[5]).unwrap();
    (0..batch.num_rows())
        .map(|row| {
            let word = |at: usize| text(&texts[at], row).unwrap().to_string();
            let [a, b, count] = [0, 1, 2].map(|at| integer(&numbers[at], row).unwrap());
            (a, word(0), b, word(1), count, number(&shares, row).unwrap())
        })
        .collect()
}

const CONFUSION: [&str; 6] = [
    "label",
    "label_name",
    "pred",
    "pred_name",
    "images",
    "share",
];
const OVERLAP: [&str; 6] = ["class_a", "name_a", "class_b", "name_b", "edges", "share"];

fn row(a: i64, of_a: &str, b: i64, of_b: &str, count: i64, share: f64) -> Row {
    (a, of_a.to_string(), b, of_b.to_string(), count, share)
}

/// The dataset numbers its classes 0 cat, 1 dog, 2 yak; the network 0 bus, 1 dog, 2 cat.
fn three_classes() -> Case {
    let (cat, dog, yak) = (Some((0, "cat")), Some((1, "dog")), Some((2, "yak")));
    let images = [
        (cat, 2, true),
        (cat, 2, true),
        (cat, 1, true),
        (cat, 0, true),
        (dog, 1, true),
        (yak, 0, false),
        (None, 1, false),
    ];
    let edges = [
        (0, 1),
        (0, 2),
        (0, 4),
        (1, 5),
        (4, 0),
        (4, 6),
        (5, 4),
        (6, 0),
    ];
    Case::new(&["bus", "dog", "cat"], &images, &edges)
}

#[test]
fn labels_and_predictions_are_matched_by_name() {
    let case = three_classes();
    let (run, summary) = case.run();
    assert_eq!(
        rows(&run, "confusion", CONFUSION),
        [
            row(1, "dog", 1, "dog", 1, 1.0),
            row(0, "cat", 0, "bus", 1, 0.25),
            row(0, "cat", 1, "dog", 1, 0.25),
            row(0, "cat", 2, "cat", 2, 0.5),
        ]
    );
    assert_eq!(summary["judged_images"], 5);
    assert_eq!(summary["accuracy"], 0.6);
    assert_eq!(summary["labels_unknown_to_the_network"], 1);
    let most = &summary["most_confused"][0];
    assert_eq!(
        (&most["label"], &most["as"]),
        (&json!("cat"), &json!("bus"))
    );
}

#[test]
fn overlap_counts_edges_between_labelled_images() {
    let case = three_classes();
    let (run, summary) = case.run();
    // Of cat's four edges two stay, one ends in dog, one in yak; image 6 has no label.
    assert_eq!(
        rows(&run, "class_overlap", OVERLAP),
        [
            row(0, "cat", 0, "cat", 2, 0.5),
            row(0, "cat", 1, "dog", 1, 0.25),
            row(0, "cat", 2, "yak", 1, 0.25),
            row(1, "dog", 0, "cat", 1, 1.0),
            row(2, "yak", 1, "dog", 1, 1.0),
        ]
    );
    assert_eq!(summary["labelled_edges"], 6);
    assert_eq!(summary["neighbors_of_own_class"], 2.0 / 6.0);
}

fn pictures(run: &RunFolder) -> Vec<String> {
    let manifest = run.manifest().unwrap();
    let parts = manifest.stages["confusion"].parts.values();
    let files = parts.flat_map(|part| &part.files);
    let pictures = files.filter(|file| file.table.is_none());
    pictures.map(|file| file.path.clone()).collect()
}

#[test]
fn there_are_pictures_of_what_there_is() {
    let case = three_classes();
    let (run, _) = case.run();
    let both = ["confusion", "overlap"].map(|name| format!("pictures/confusion/{name}.png"));
    assert_eq!(pictures(&run), both);
    for path in &both {
        let picture = image::open(run.path(path)).unwrap();
        assert!(picture.width() >= 1000 && picture.height() > 300);
    }
    // The network knows none of the labels, or two of its classes have the label's name.
    let images = [(Some((0, "cat")), 1, false), (Some((0, "cat")), 0, false)];
    for network in [["bus", "dog"], ["cat", "cat"]] {
        let case = Case::new(&network, &images, &[(0, 1), (1, 0)]);
        let (run, summary) = case.run();
        assert_eq!(rows(&run, "confusion", CONFUSION), []);
        assert_eq!(summary["accuracy"], Value::Null);
        assert_eq!(pictures(&run), both[1..]);
        let alone = row(0, "cat", 0, "cat", 2, 1.0);
        assert_eq!(rows(&run, "class_overlap", OVERLAP), [alone]);
    }
}

#[test]
fn without_labels_the_tables_are_empty() {
    let images = [(None, 0, false), (None, 0, false)];
    let case = Case::new(&["cat"], &images, &[(0, 1)]);
    let (run, summary) = case.run();
    let manifest = run.manifest().unwrap();
    for name in ["confusion", "class_overlap"] {
        assert!(run.tables(&manifest).iter().any(|table| table == name));
        assert!(only_batch(&run, name).is_none());
    }
    assert!(pictures(&run).is_empty());
    assert_eq!(summary["judged_images"], 0);
}

#[test]
fn a_network_without_names_has_numbered_ones() {
    let images = [
        (Some((0, "class 3")), 3, true),
        (Some((1, "other")), 7, false),
    ];
    let case = Case::new(&[], &images, &[]);
    let (run, _) = case.run();
    let expected = row(0, "class 3", 3, "class 3", 1, 1.0);
    assert_eq!(rows(&run, "confusion", CONFUSION), [expected]);
}

#[test]
fn again_gives_the_same_files() {
    let digests = |run: &RunFolder| {
        let manifest = run.manifest().unwrap();
        let parts = manifest.stages["confusion"].parts.values();
        let files: Vec<String> = parts
            .flat_map(|part| &part.files)
            .map(|file| file.blake3.clone())
            .collect();
        files
    };
    let case = three_classes();
    let (run, summary) = case.run();
    let before = digests(&run);
    // Finished parts stay, and the summary is told again.
    let (run, again) = case.run();
    assert_eq!((digests(&run), again), (before.clone(), summary));
    let another = three_classes();
    let (other, _) = another.run();
    assert_eq!(digests(&other), before);
}
