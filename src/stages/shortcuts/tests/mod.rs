mod marks;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float32Array, Int16Array, Int32Array, RecordBatch, StringArray,
        UInt32Array,
    },
    datatypes::{Float64Type, Int32Type, UInt32Type},
};
use prospect_output::picture::Picture;
use prospect_testing::{Fake, FakeImage, FakeLayer, replace_tables, vectors};
use serde_json::{Value, json};

use super::STAGE;

/// Forty labelled images, alternating between two classes.
fn fake(layers: Vec<FakeLayer>) -> Fake {
    let image = |id: usize| FakeImage {
        path: format!("{id:02}.png"),
        label: Some((id as i32 % 2, ["cat", "dog"][id % 2].into())),
        error: None,
        picture: None,
    };
    Fake {
        images: (0..40).map(image).collect(),
        layers,
        network_classes: vec!["a".into(), "b".into()],
        predictions: vec![(0, None); 40],
        part_size: 16,
        ..Fake::default()
    }
}

/// Replaces the tables of a stage.
fn write(fake: &Fake, stage: &str, tables: &[(&str, RecordBatch)]) {
    replace_tables(&fake.run(), stage, json!({}), tables);
}

/// Adds metadata columns to `images`.
fn add_columns(fake: &Fake, columns: Vec<(&str, ArrayRef)>) {
    let run = fake.run();
    let manifest = run.manifest().unwrap();
    let one = |table: &str| run.read(&manifest, table).next().unwrap().unwrap();
    let (images, classes) = (one("images"), one("classes"));
    let mut all: Vec<(String, ArrayRef)> = (images.schema().fields().iter())
        .zip(images.columns())
        .map(|(field, column)| (field.name().clone(), Arc::clone(column)))
        .filter(|(name, _)| !columns.iter().any(|(own, _)| own == name))
        .collect();
    all.extend(
        columns
            .into_iter()
            .map(|(name, column)| (name.to_string(), column)),
    );
    let images = RecordBatch::try_from_iter_with_nullable(
        all.into_iter().map(|(name, column)| (name, column, true)),
    );
    write(
        fake,
        "scan",
        &[("images", images.unwrap()), ("classes", classes)],
    );
}

/// Writes a probe that is correct on all images but `wrong`.
fn write_probe(fake: &Fake, wrong: &[usize]) {
    let n = fake.images.len();
    let label = |id: usize| id as i32 % 2;
    let predicted = (0..n).map(|id| label(id) ^ i32::from(wrong.contains(&id)));
    let p = (0..n).map(|id| if wrong.contains(&id) { 0.2 } else { 0.9 });
    let rows = RecordBatch::try_from_iter([
        (
            "image_id",
            Arc::new(UInt32Array::from_iter_values(0..n as u32)) as ArrayRef,
        ),
        ("source", Arc::new(StringArray::from(vec!["probe"; n]))),
        ("fold", Arc::new(Int16Array::from(vec![0; n]))),
        ("pred", Arc::new(Int32Array::from_iter_values(predicted))),
        ("p_label", Arc::new(Float32Array::from_iter_values(p))),
    ]);
    write(fake, "probe", &[("probe", rows.unwrap())]);
}

fn rows(fake: &Fake, table: &str) -> Option<RecordBatch> {
    let run = fake.run();
    let manifest = run.manifest().unwrap();
    if !run.tables(&manifest).iter().any(|name| name == table) {
        return None;
    }
    let batches: Vec<RecordBatch> = (run.read(&manifest, table)).map(Result::unwrap).collect();
    let schema = batches.first()?.schema();
    Some(arrow::compute::concat_batches(&schema, &batches).unwrap())
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = rows.column_by_name(name).unwrap().as_string::<i32>();
    column
        .iter()
        .map(|text| text.unwrap_or("-").to_string())
        .collect()
}

fn numbers(rows: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    let column = rows.column_by_name(name).unwrap();
    column.as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn attributes_are_compared_with_labels_and_accuracy() {
    let fake = fake(Vec::new());
    fake.write();
    let camera = (0..40).map(|id| match id % 4 {
        1 => Some("old"),
        _ if id == 38 => None,
        _ => Some("new"),
    });
    let serial = (0..40).map(|id| format!("no {id}"));
    add_columns(
        &fake,
        vec![
            ("camera", Arc::new(StringArray::from_iter(camera))),
            ("serial", Arc::new(StringArray::from_iter_values(serial))),
            (
                "room",
                Arc::new(Int32Array::from_iter_values((0..40).map(|id| id / 20))),
            ),
            (
                "brightness",
                Arc::new(Float32Array::from_iter_values(
                    (0..40).map(|id| (id % 2 * 50 + id) as f32),
                )),
            ),
            ("width", Arc::new(Int32Array::from(vec![32; 40]))),
            (
                "height",
                Arc::new(Int32Array::from_iter_values(
                    (0..40).map(|id| if id < 20 { 32 } else { 64 }),
                )),
            ),
        ],
    );
    write_probe(&fake, &[1, 5, 9, 3]);
    fake.run_stage(&STAGE, &["audit.permutations=199"]).unwrap();

    let found = rows(&fake, "associations").unwrap();
    let names = texts(&found, "attribute");
    assert_eq!(names[..2], ["brightness", "camera"]);
    // A column with a single value, or a different one for each image, is no attribute.
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, ["aspect", "brightness", "camera", "height", "room"]);
    assert_eq!(texts(&found, "kind")[..2], ["quality", "metadata"]);
    assert_eq!(texts(&found, "top_value")[1], "old");
    assert_eq!(texts(&found, "top_label_name")[1], "dog");
    // All 10 images of the old camera are dogs; of all 39 images, 20 are.
    assert!((numbers(&found, "lift")[1].unwrap() - 39.0 / 20.0).abs() < 1e-12);
    let support = found
        .column_by_name("support")
        .unwrap()
        .as_primitive::<UInt32Type>();
    assert_eq!(support.value(1), 10);
    let (p, q) = (numbers(&found, "p_value"), numbers(&found, "q_value"));
    // Five attributes; the camera is second best. Of 10 photos, 4.9 are expected to be cats: too few for the G-test.
    assert_eq!(
        (p[1], &*texts(&found, "test")[1]),
        (Some(1.0 / 201.0), "permutation")
    );
    assert!((q[1].unwrap() - 2.5 / 201.0).abs() < 1e-12);
    let room = names.iter().position(|name| name == "room").unwrap();
    assert!(p[room].unwrap() > 0.5 && numbers(&found, "nmi")[room].unwrap() < 1e-9);
    assert!(numbers(&found, "ami")[room].unwrap() < 0.0);

    let groups = rows(&fake, "groups").unwrap();
    let label = groups
        .column_by_name("label")
        .unwrap()
        .as_primitive::<Int32Type>();
    let at = |value: &str, of: Option<i32>| {
        let (attributes, values) = (texts(&groups, "attribute"), texts(&groups, "value"));
        let fits = |row: &usize| {
            let found = label.is_valid(*row).then(|| label.value(*row));
            attributes[*row] == "camera" && values[*row] == value && found == of
        };
        (0..groups.num_rows()).find(fits).unwrap()
    };
    let old = at("old", None);
    assert_eq!(numbers(&groups, "accuracy")[old], Some(0.7));
    assert_eq!(numbers(&groups, "rest")[old], Some(28.0 / 29.0));
    // Of 39 images 4 are wrong; 3 or 4 of them among 10: (C(10, 3) 29 + C(10, 4)) / C(39, 4).
    let p = numbers(&groups, "p_value")[old].unwrap();
    assert!((p - (120.0 * 29.0 + 210.0) / 82_251.0).abs() < 1e-12, "{p}");
    assert!((numbers(&groups, "accuracy_low")[old].unwrap() - 0.396_778).abs() < 1e-5);
    let worst = groups.column_by_name("worst").unwrap().as_boolean();
    assert!(worst.value(old) && worst.value(at("old", Some(1))) && !worst.value(at("new", None)));
    assert_eq!(texts(&groups, "source")[old], "probe");
}

#[test]
fn attributes_can_be_chosen() {
    let fake = fake(Vec::new());
    fake.write();
    let halves: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..40).map(|id| ["x", "y"][id / 20]),
    ));
    add_columns(
        &fake,
        vec![("left", Arc::clone(&halves)), ("right", halves)],
    );
    fake.run_stage(&STAGE, &["audit.attributes=[\"right\"]"])
        .unwrap();
    assert_eq!(
        texts(&rows(&fake, "associations").unwrap(), "attribute"),
        ["right"]
    );
    let groups = rows(&fake, "groups").unwrap();
    assert!(
        numbers(&groups, "accuracy").iter().all(Option::is_none),
        "no predictions"
    );
    assert_eq!(texts(&groups, "source")[0], "-");
    let error = fake
        .run_stage(&STAGE, &["audit.attributes=[\"middle\"]"])
        .unwrap_err();
    assert!(error.to_string().contains("no column middle"), "{error}");
}

#[test]
fn without_labels_no_tables_are_written() {
    let mut fake = fake(Vec::new());
    for image in &mut fake.images {
        image.label = None;
    }
    fake.write();
    let summary: Value = fake.run_stage(&STAGE, &[]).unwrap();
    assert!(
        rows(&fake, "associations").is_none() && rows(&fake, "groups").is_none(),
        "{summary}"
    );
}
