//! Declared tables: round trips, and errors that name the table, column and type of an altered file.

use arrow::{
    array::{
        ArrayRef, Float16Array, Float32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
    },
    datatypes::Float16Type,
};

use super::*;
use crate::declare::Lists;

crate::table! {
    /// Sightings of birds.
    pub mod birds = "birds", "sighting", [10.0, 5.0] {
        image_id: u32,
        /// In English.
        name: Text,
        weight: Option<f32>,
        wings: List<f16>,
    }
}

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().map(|value| f16::from_f32(*value)).collect()
}

fn lists(values: &[f32], length: usize) -> Lists<Float16Type> {
    Lists::new(halves(values), length)
}

fn written(batch: &RecordBatch) -> (tempfile::TempDir, RunFolder) {
    let (folder, run) = fresh();
    let lock = run.lock("test").unwrap();
    let writer = begin(&run, &lock, json!({})).unwrap();
    let mut part = writer.part(0).unwrap();
    part.write(birds::NAME, batch).unwrap();
    writer.commit(part).unwrap();
    writer.finish(None, json!({})).unwrap();
    (folder, run)
}

#[test]
fn tables_round_trip() {
    let batch = birds::Columns {
        image_id: [3, 9].into_iter().collect(),
        name: StringArray::from_iter_values(["wren", "rook"]),
        weight: [Some(9.5), None].into_iter().collect(),
        wings: lists(&[1.0, 2.0, 3.0, 4.0], 2),
    }
    .batch()
    .unwrap();
    let (_folder, run) = written(&batch);
    let manifest = run.manifest().unwrap();
    let columns = (birds::name, birds::weight, birds::wings, birds::image_id);
    let mut seen = Vec::new();
    for batch in run.rows(&manifest, columns) {
        for (name, weight, wings, id) in batch.unwrap().iter() {
            let wings: Vec<f32> = wings.iter().map(|wing| wing.to_f32()).collect();
            seen.push((name.to_string(), weight, wings, id));
        }
    }
    let expected = [
        ("wren".to_string(), Some(9.5), vec![1.0, 2.0], 3),
        ("rook".to_string(), None, vec![3.0, 4.0], 9),
    ];
    assert_eq!(seen, expected);
    let rooks = (run.rows(&manifest, (birds::image_id,))).only(birds::name, "rook");
    let ids: Vec<u32> = rooks
        .flat_map(|batch| batch.unwrap().columns().0.values().to_vec())
        .collect();
    assert_eq!(ids, [9]);
}

#[test]
fn list_lengths_are_checked() {
    let batch = birds::Columns {
        image_id: [3].into_iter().collect(),
        name: StringArray::from_iter_values(["wren"]),
        weight: [None].into_iter().collect(),
        wings: lists(&[1.0, 0.5], 2),
    };
    let (_folder, run) = written(&batch.batch().unwrap());
    let manifest = run.manifest().unwrap();
    let batch = run
        .rows(&manifest, (birds::wings,))
        .next()
        .unwrap()
        .unwrap();
    let (wings,) = batch.columns();
    assert_eq!(wings.to_f32(), [1.0, 0.5]);
    assert!(batch.check_length(wings, 2).is_ok());
    let error = batch.check_length(wings, 3).unwrap_err();
    assert!(error.to_string().contains("lists of 3"), "{error}");
}

#[test]
fn lists_without_values_have_rows() {
    let batch = birds::Columns {
        image_id: [3, 9].into_iter().collect(),
        name: StringArray::from_iter_values(["egg", "egg"]),
        weight: [None, None].into_iter().collect(),
        wings: Lists::empty(2),
    };
    let (_folder, run) = written(&batch.batch().unwrap());
    let manifest = run.manifest().unwrap();
    for batch in run.rows(&manifest, (birds::wings,)) {
        let batch = batch.unwrap();
        assert_eq!(batch.len(), 2);
        assert!(batch.iter().all(|(wings,)| wings.is_empty()));
    }
}

#[test]
fn tables_describe_themselves() {
    let columns: Vec<(&str, &str, bool, &str)> = (birds::TABLE.columns.iter())
        .map(|column| (column.name, column.kind, column.nullable, column.doc.trim()))
        .collect();
    let expected = [
        ("image_id", "u32", false, ""),
        ("name", "text", false, "In English."),
        ("weight", "f32", true, ""),
        ("wings", "list of f16", false, ""),
    ];
    assert_eq!(columns, expected);
    assert_eq!(birds::TABLE.doc.trim(), "Sightings of birds.");
}

#[test]
fn altered_files_are_reported_with_table_column_and_type() {
    let ids: ArrayRef = Arc::new(UInt32Array::from(vec![3, 9]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["wren", "rook"]));
    let weights: ArrayRef = Arc::new(Float32Array::from(vec![9.5, 500.0]));
    let wings = ragged(1, Arc::new(Float16Array::from(halves(&[1.0, 2.0]))));
    let intact = [
        ("image_id", ids),
        ("name", names),
        ("weight", weights),
        ("wings", wings),
    ];
    let altered: [(usize, ArrayRef, &str); 5] = [
        (0, Arc::new(Int64Array::from(vec![3, 9])), "Int64"),
        (
            0,
            Arc::new(UInt32Array::from(vec![Some(3), None])),
            "1 nulls",
        ),
        (1, Arc::new(Float32Array::from(vec![1.0, 2.0])), "Float32"),
        (2, Arc::new(StringArray::from(vec!["a", "b"])), "Utf8"),
        (
            3,
            ragged(1, Arc::new(Float32Array::from(vec![1.0, 2.0]))),
            "Float32",
        ),
    ];
    for (at, array, found) in altered {
        let mut columns = intact.to_vec();
        columns[at].1 = array;
        let (_folder, run) = written(&RecordBatch::try_from_iter(columns).unwrap());
        let manifest = run.manifest().unwrap();
        let all = (birds::image_id, birds::name, birds::weight, birds::wings);
        let error = run.rows(&manifest, all).next().unwrap().err().unwrap();
        let message = error.to_string();
        for part in ["tables/birds", intact[at].0, found] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let (_folder, run) = written(&RecordBatch::try_from_iter(intact[..2].to_vec()).unwrap());
    let manifest = run.manifest().unwrap();
    let error = run.rows(&manifest, (birds::weight,)).next().unwrap().err();
    assert!(error.unwrap().to_string().contains("a column weight"));
}

#[test]
fn writing_undeclared_types_is_an_internal_error() {
    let columns = |weights: usize, wings| birds::Columns {
        image_id: [3, 9].into_iter().collect(),
        name: StringArray::from_iter_values(["wren", "rook"]),
        weight: vec![1.0; weights].into_iter().collect(),
        wings,
    };
    let good = || lists(&[1.0, 2.0], 1);
    assert!(columns(2, good()).batch().is_ok());
    let short = columns(1, good()).batch().unwrap_err();
    let odd = columns(2, lists(&[1.0, 2.0, 3.0], 2)).batch().unwrap_err();
    for error in [short, odd] {
        assert_eq!(error.exit_code(), 101, "{error}");
    }
}
