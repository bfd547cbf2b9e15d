use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Float32Array, Int16Array, Int32Array, ListArray, RecordBatch, StringArray,
        UInt32Array,
    },
    datatypes::Float16Type,
};
use half::f16;
use prospect_testing::{Fake, FakeImage, add_tables};

use super::*;

/// Images by label, predicted class and probability; `None` if the label is not a class of the network.
fn fake(network: &[&str], images: &[(&str, i32, Option<f32>)]) -> Fake {
    let number = |name: &str| {
        ["cat", "dog"]
            .iter()
            .position(|known| *known == name)
            .unwrap()
    };
    let fake = Fake {
        images: (images.iter().enumerate())
            .map(|(id, (label, ..))| FakeImage {
                path: format!("{id}.png"),
                label: Some((number(label) as i32, label.to_string())),
                error: None,
                picture: None,
            })
            .collect(),
        network_classes: network.iter().map(|name| name.to_string()).collect(),
        predictions: images.iter().map(|&(_, pred, p)| (pred, p)).collect(),
        part_size: 3,
        ..Fake::default()
    };
    fake.write();
    fake
}

fn gathered(fake: &Fake) -> Classes {
    fake.read(&[], |ctx, manifest| Classes::of_run(ctx, manifest).unwrap())
}

fn cells(classes: &Classes) -> Vec<(usize, usize, u64, Vec<u32>)> {
    let cells = classes.cells.iter();
    cells
        .map(|cell| (cell.from, cell.to, cell.n, cell.images.clone()))
        .collect()
}

#[test]
fn a_matrix_by_hand() {
    let fake = fake(
        &["eel", "dog", "cat"],
        &[
            ("cat", 2, Some(0.9)),
            ("cat", 2, Some(0.6)),
            ("cat", 1, Some(0.3)),
            ("cat", 1, Some(0.8)),
            ("cat", 0, Some(0.5)),
            ("dog", 1, Some(0.7)),
            ("dog", 1, None),
        ],
    );
    let found = gathered(&fake);
    assert_eq!(found.source, Some(Source::Network));
    assert_eq!(found.other_classes, ["eel"]);
    let tally = |at: usize| {
        let tally = found.classes[at].tally;
        (tally.images, tally.evaluated, tally.correct)
    };
    assert_eq!((tally(0), tally(1)), ((5, 5, 2), (2, 1, 1)));
    assert_eq!(found.overall().accuracy(), Some(0.5));
    // Correct predictions: least confident first; mistakes: most confident first.
    let expected = [
        (0, 0, 2, vec![1, 0]),
        (0, 1, 2, vec![3, 2]),
        (0, 2, 1, vec![4]),
        (1, 1, 1, vec![5]),
    ];
    assert_eq!(cells(&found), expected);
    // Mistakes come before correct predictions.
    assert_eq!(images(&found.cells), [3, 2, 4, 1, 0, 5]);
}

#[test]
fn the_probe_stands_in_for_a_network_without_the_labels() {
    let fake = fake(
        &["x", "y"],
        &[("cat", 0, None), ("dog", 0, None), ("dog", 1, None)],
    );
    let found = gathered(&fake);
    assert_eq!((found.source, found.cells.len()), (None, 0));
    assert_eq!(found.classes[1].tally.interval(), None);
    let rows = RecordBatch::try_from_iter([
        (
            "image_id",
            Arc::new(UInt32Array::from(vec![0, 1, 2])) as ArrayRef,
        ),
        ("pred", Arc::new(Int32Array::from(vec![0, 0, 1]))),
        ("p_pred", Arc::new(Float32Array::from(vec![0.9, 0.8, 0.7]))),
        ("p_label", Arc::new(Float32Array::from(vec![0.9, 0.1, 0.7]))),
    ]);
    add_tables(&fake.run(), "probe", &[("probe", rows.unwrap())]);
    let found = gathered(&fake);
    assert_eq!(found.source, Some(Source::Probe));
    assert_eq!(
        cells(&found),
        [(0, 0, 1, vec![0]), (1, 1, 1, vec![2]), (1, 0, 1, vec![1])]
    );
}

#[test]
fn mean_maps_weight_every_image_equally() {
    let fake = fake(
        &["dog", "cat"],
        &[("cat", 1, Some(0.5)), ("dog", 0, Some(0.5))],
    );
    // Class, map of one row and two columns. The network's class 1 is the cat.
    let maps = [
        (1, [0.0, 2.0]),
        (1, [4.0, -4.0]),
        (1, [0.0, 0.0]),
        (0, [0.5, 0.25]),
        (7, [1.0, 1.0]),
    ];
    let n = maps.len();
    let lists = maps
        .iter()
        .map(|(_, map)| Some(map.map(|value| Some(f16::from_f32(value)))));
    let words = |word: &str| -> ArrayRef { Arc::new(StringArray::from(vec![word; n])) };
    let classes = Int32Array::from_iter_values(maps.iter().map(|map| map.0));
    let lists = ListArray::from_iter_primitive::<Float16Type, _, _>(lists);
    let rows = RecordBatch::try_from_iter([
        ("class_kind", words("label")),
        ("layer", words("last")),
        ("method", words("gradcam")),
        ("class", Arc::new(classes)),
        ("height", Arc::new(Int16Array::from(vec![1; n]))),
        ("width", Arc::new(Int16Array::from(vec![2; n]))),
        ("map", Arc::new(lists)),
    ]);
    add_tables(&fake.run(), "explain", &[("explanations", rows.unwrap())]);
    let found = gathered(&fake);
    assert_eq!(found.map_of.as_deref(), Some("gradcam at last"));
    let map = |at: usize| found.classes[at].map.clone().unwrap();
    assert_eq!((map(0).values, map(0).images), (vec![0.5, 0.5], 2));
    assert_eq!((map(1).values, map(1).images), (vec![1.0, 0.5], 1));
    assert_eq!((map(0).height, map(0).width), (1, 2));
    assert_eq!(mean_map(&map(1))["values"], "/4A=");
}

#[test]
fn a_class_keeps_its_most_frequent_predictions() {
    let names: Vec<String> = (0..60).map(|class| format!("other {class}")).collect();
    let mut network: Vec<&str> = names.iter().map(String::as_str).collect();
    network.extend(["cat", "dog"]);
    // Once correct, once for each other class, twice for the last.
    let mut images = vec![
        ("cat", 60, Some(0.5)),
        ("cat", 59, Some(0.5)),
        ("dog", 61, Some(0.5)),
    ];
    images.extend((0..60).map(|class| ("cat", class, Some(0.5))));
    let found = gathered(&fake(&network, &images));
    let of_cat: Vec<&Cell> = found.cells.iter().filter(|cell| cell.from == 0).collect();
    assert_eq!(of_cat.len(), 25);
    assert_eq!(found.other_classes[of_cat[0].to - 2], "other 59");
    assert!(
        of_cat.iter().any(|cell| cell.to == 0),
        "the correct cell is kept"
    );
    assert_eq!(found.classes[0].tally.evaluated, 62);
}
