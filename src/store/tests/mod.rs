//! Tests, and sample tables with every column type in use.

pub(super) mod crash;
mod declared;
mod hostile;

mod keys;
mod previous;
mod query;
mod tables;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, FixedSizeListArray, Float16Array, Float32Array, Int16Array,
        Int32Array, ListArray, RecordBatch, StringArray, StructArray, UInt16Array, UInt32Array,
        UInt64Array,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields},
};
use half::f16;
use prospect_common::Result;
use serde_json::{Value, json};

use super::{RunFolder, RunLock, StageWriter, stage_key};

fn key(parameters: &Value) -> String {
    stage_key("extract", 1, parameters, &BTreeMap::new())
}

/// Opens stage `extract` under the key of `parameters`.
fn begin(run: &RunFolder, lock: &RunLock, parameters: Value) -> Result<StageWriter> {
    begin_as(run, lock, "extract", parameters)
}

fn begin_as(run: &RunFolder, lock: &RunLock, name: &str, parameters: Value) -> Result<StageWriter> {
    let key = key(&parameters);
    StageWriter::begin(run, lock, name, 1, key, parameters, BTreeMap::new())
}

fn fresh() -> (tempfile::TempDir, RunFolder) {
    // In memory if possible: the tests sync a lot.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let run = RunFolder::create(folder.path().join("run")).unwrap();
    (folder, run)
}

/// A reproducible number in 0..1 for index `i`.
fn noise(i: usize) -> f32 {
    let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((x ^ (x >> 29)) >> 40) as f32 / (1u64 << 24) as f32
}

fn named(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let nullable = |name: &str| ["label", "label_name", "error", "p_label"].contains(&name);
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, array)| (name, array, nullable(name))),
    )
    .unwrap()
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, false))
}

fn fixed(dim: usize, values: ArrayRef) -> ArrayRef {
    let field = item(values.data_type().clone());
    Arc::new(FixedSizeListArray::new(field, dim as i32, values, None))
}

fn ragged(length: usize, values: ArrayRef) -> ArrayRef {
    let rows = values.len() / length;
    let offsets = OffsetBuffer::from_lengths(vec![length; rows]);
    Arc::new(ListArray::new(
        item(values.data_type().clone()),
        offsets,
        values,
        None,
    ))
}

/// image_id, vector FixedSizeList<f32, dim>.
fn features(ids: std::ops::Range<u32>, dim: usize) -> RecordBatch {
    let n = ids.len() * dim;
    let start = ids.start as usize * dim;
    let values: Float32Array = (start..start + n).map(noise).collect::<Vec<f32>>().into();
    named(vec![
        ("image_id", Arc::new(UInt32Array::from_iter_values(ids))),
        ("vector", fixed(dim, Arc::new(values))),
    ])
}

/// layer, image_id, max and mean List<f16>, argmax List<u16>.
fn units(layer: &str, ids: std::ops::Range<u32>, channels: usize) -> RecordBatch {
    let n = ids.len();
    let halves = |shift: usize| -> ArrayRef {
        let values = (0..n * channels).map(|i| f16::from_f32(noise(i + shift)));
        ragged(channels, Arc::new(Float16Array::from_iter_values(values)))
    };
    let places = (0..n * channels).map(|i| (i % 3136) as u16);
    named(vec![
        ("layer", Arc::new(StringArray::from(vec![layer; n]))),
        (
            "image_id",
            Arc::new(UInt32Array::from_iter_values(ids.clone())),
        ),
        ("max", halves(ids.start as usize)),
        ("mean", halves(7 + ids.start as usize)),
        (
            "argmax",
            ragged(channels, Arc::new(UInt16Array::from_iter_values(places))),
        ),
    ])
}

/// image_id, pred i32, p_pred f32, p_label f32?, top5 List<Struct<class i32, p f32>>, logits FixedSizeList<f32, 10>.
fn predictions(ids: std::ops::Range<u32>) -> RecordBatch {
    let n = ids.len();
    let members: Fields = vec![
        Field::new("class", DataType::Int32, false),
        Field::new("p", DataType::Float32, false),
    ]
    .into();
    let classes: Int32Array = (0..5 * n as i32).map(|i| i % 10).collect::<Vec<_>>().into();
    let p: Float32Array = (0..5 * n).map(noise).collect::<Vec<_>>().into();
    let top5 = StructArray::new(members, vec![Arc::new(classes), Arc::new(p)], None);
    let logits: Float32Array = (0..10 * n).map(noise).collect::<Vec<_>>().into();
    named(vec![
        ("image_id", Arc::new(UInt32Array::from_iter_values(ids))),
        (
            "pred",
            Arc::new(Int32Array::from_iter_values(
                (0..n).map(|i| (i % 10) as i32),
            )),
        ),
        (
            "p_pred",
            Arc::new(Float32Array::from_iter_values((0..n).map(noise))),
        ),
        (
            "p_label",
            Arc::new(
                (0..n)
                    .map(|i| (i % 3 > 0).then(|| noise(i)))
                    .collect::<Float32Array>(),
            ),
        ),
        ("top5", ragged(5, Arc::new(top5))),
        ("logits", fixed(10, Arc::new(logits))),
    ])
}

/// Scalars of every type, with and without nulls; some paths are hostile to terminals.
fn images(ids: std::ops::Range<u32>) -> RecordBatch {
    let n = ids.len();
    let paths = ids.clone().map(|id| match id % 5 {
        4 => format!("cat/\u{1b}[31mred\u{7}, \"{id}\".jpg"),
        _ => format!("dog/{id:04}.jpg"),
    });
    let label = |i: usize| (i % 4 != 3).then_some((i % 4) as i32);
    let names = ["cat", "dog", "owl"];
    named(vec![
        (
            "image_id",
            Arc::new(UInt32Array::from_iter_values(ids.clone())),
        ),
        ("path", Arc::new(StringArray::from_iter_values(paths))),
        ("width", Arc::new(Int32Array::from(vec![640; n]))),
        ("orientation", Arc::new(Int16Array::from(vec![6; n]))),
        ("label", Arc::new((0..n).map(label).collect::<Int32Array>())),
        (
            "label_name",
            Arc::new(
                (0..n)
                    .map(|i| label(i).map(|l| names[l as usize]))
                    .collect::<StringArray>(),
            ),
        ),
        (
            "error",
            Arc::new(
                (0..n)
                    .map(|i| (i % 7 == 6).then_some("truncated JPEG"))
                    .collect::<StringArray>(),
            ),
        ),
        (
            "brightness",
            Arc::new(Float32Array::from_iter_values((0..n).map(noise))),
        ),
        (
            "phash",
            Arc::new(UInt64Array::from_iter_values(
                ids.map(|id| u64::MAX - u64::from(id)),
            )),
        ),
        (
            "clipped",
            Arc::new(BooleanArray::from_iter((0..n).map(|i| Some(i % 2 == 0)))),
        ),
    ])
}

/// Writes a small run: `n_parts` parts of 40 images.
fn write_all(run: &RunFolder, n_parts: usize) {
    let lock = run.lock("test").unwrap();
    let stage = begin(run, &lock, json!({"part_size": 40})).unwrap();
    stage.set_parts_total(n_parts).unwrap();
    for part in 0..n_parts {
        if stage.has_part(part) {
            continue;
        }
        let ids = part as u32 * 40..part as u32 * 40 + 40;
        let mut writer = stage.part(part).unwrap();
        writer.write("images", &images(ids.clone())).unwrap();
        writer
            .write("features", &features(ids.clone(), 16))
            .unwrap();
        writer
            .write("units", &units("features.3", ids.clone(), 6))
            .unwrap();
        writer
            .write("units", &units("layer4", ids.clone(), 9))
            .unwrap();
        writer.write("predictions", &predictions(ids)).unwrap();
        writer
            .file(&format!("pictures/units/{part}.png"), &[part as u8; 100])
            .unwrap();
        stage.commit(writer).unwrap();
    }
    stage.finish(None, json!({"images": n_parts * 40})).unwrap();
}

/// Every file under `folder` with its contents, except the manifest and the lock.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else if !["manifest.json", "lock"].contains(&name.as_str()) {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, "", &mut found);
    found
}
