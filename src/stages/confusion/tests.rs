use prospect_engine::schema::neighbors;
use prospect_store::{RunFolder, Selection};
use prospect_testing::{Fake, FakeImage, add_tables};

use super::*;

/// Images, each with label (number, name), prediction and whether the network knows the label, and neighbour edges.
struct Case {
    fake: Fake,
    neighbors: Vec<(u32, u32)>,
}

type Image<'a> = (Option<(i32, &'a str)>, i32, bool);

impl Case {
    fn new(network: &[&str], images: &[Image], neighbors: &[(u32, u32)]) -> Case {
        let fake = Fake {
            images: (images.iter().enumerate())
                .map(|(id, (label, ..))| FakeImage {
                    path: format!("{id}.png"),
                    label: label.map(|(number, name)| (number, name.to_string())),
                    error: None,
                    picture: None,
                })
                .collect(),
            network_classes: network.iter().map(|name| name.to_string()).collect(),
            predictions: (images.iter())
                .map(|&(_, pred, known)| (pred, known.then_some(0.5)))
                .collect(),
            part_size: 3,
            ..Fake::default()
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
        let edges = &self.neighbors;
        let batch = neighbors::Columns {
            image_id: edges.iter().map(|edge| edge.0).collect(),
            rank: vec![1; edges.len()].into(),
            neighbor_id: edges.iter().map(|edge| edge.1).collect(),
            distance: vec![0.5; edges.len()].into(),
            exact: vec![true; edges.len()].into(),
        }
        .batch();
        let tables = [(neighbors::NAME, batch.unwrap())];
        add_tables(&self.fake.run(), "neighbors", &tables);
    }

    fn run(&self) -> (RunFolder, Value) {
        let summary = self.fake.run_stage(&STAGE, &[]).unwrap();
        (self.fake.run(), summary)
    }
}

/// number, name, number, name, count, share
type Row = (i32, String, i32, String, u32, f32);

fn confused(run: &RunFolder) -> Vec<Row> {
    let columns = (
        confusion::label,
        confusion::label_name,
        confusion::pred,
        confusion::pred_name,
        confusion::images,
        confusion::share,
    );
    rows(run, columns)
}

fn overlapping(run: &RunFolder) -> Vec<Row> {
    let columns = (
        class_overlap::class_a,
        class_overlap::name_a,
        class_overlap::class_b,
        class_overlap::name_b,
        class_overlap::edges,
        class_overlap::share,
    );
    rows(run, columns)
}

fn rows<S>(run: &RunFolder, columns: S) -> Vec<Row>
where
    S: for<'a> Selection<Values<'a> = (i32, &'a str, i32, &'a str, u32, f32)>,
{
    let mut rows = Vec::new();
    for batch in run.rows(&run.manifest().unwrap(), columns) {
        let batch = batch.unwrap();
        let cells = batch.iter();
        rows.extend(cells.map(|(a, of_a, b, of_b, n, share)| row(a, of_a, b, of_b, n, share)));
    }
    rows
}

fn row(a: i32, of_a: &str, b: i32, of_b: &str, count: u32, share: f32) -> Row {
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
        confused(&run),
        [
            row(1, "dog", 1, "dog", 1, 1.0),
            row(0, "cat", 0, "bus", 1, 0.25),
            row(0, "cat", 1, "dog", 1, 0.25),
            row(0, "cat", 2, "cat", 2, 0.5),
        ]
    );
    assert_eq!(summary["evaluated_images"], 5);
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
    // Of cat's four edges, two lead to cat, one to dog, one to yak; image 6 has no label.
    assert_eq!(
        overlapping(&run),
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
fn pictures_are_drawn_of_tables_with_rows() {
    let case = three_classes();
    let (run, _) = case.run();
    let both = ["confusion", "overlap"].map(|name| format!("pictures/confusion/{name}.png"));
    assert_eq!(pictures(&run), both);
    for path in &both {
        let picture = image::open(run.path(path)).unwrap();
        assert!(picture.width() >= 1000 && picture.height() > 300);
    }
    // The network knows none of the labels, or two of its classes share the label's name.
    let images = [(Some((0, "cat")), 1, false), (Some((0, "cat")), 0, false)];
    for network in [["bus", "dog"], ["cat", "cat"]] {
        let case = Case::new(&network, &images, &[(0, 1), (1, 0)]);
        let (run, summary) = case.run();
        assert_eq!(confused(&run), []);
        assert_eq!(summary["accuracy"], Value::Null);
        assert_eq!(pictures(&run), both[1..]);
        let alone = row(0, "cat", 0, "cat", 2, 1.0);
        assert_eq!(overlapping(&run), [alone]);
    }
}

#[test]
fn without_labels_the_tables_are_empty() {
    let images = [(None, 0, false), (None, 0, false)];
    let case = Case::new(&["cat"], &images, &[(0, 1)]);
    let (run, summary) = case.run();
    let manifest = run.manifest().unwrap();
    for name in [confusion::NAME, class_overlap::NAME] {
        assert!(run.tables(&manifest).iter().any(|table| table == name));
    }
    assert!(confused(&run).is_empty() && overlapping(&run).is_empty());
    assert!(pictures(&run).is_empty());
    assert_eq!(summary["evaluated_images"], 0);
}

#[test]
fn a_network_without_class_names_has_numbered_classes() {
    let images = [
        (Some((0, "class 3")), 3, true),
        (Some((1, "other")), 7, false),
    ];
    let case = Case::new(&[], &images, &[]);
    let (run, _) = case.run();
    let expected = row(0, "class 3", 3, "class 3", 1, 1.0);
    assert_eq!(confused(&run), [expected]);
}

#[test]
fn a_second_run_gives_the_same_files() {
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
    // Finished parts are kept; the summary is the same.
    let (run, again) = case.run();
    assert_eq!((digests(&run), again), (before.clone(), summary));
    let another = three_classes();
    let (other, _) = another.run();
    assert_eq!(digests(&other), before);
}
