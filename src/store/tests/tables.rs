//! Tables round-trip, have reproducible bytes, and are verified.

use std::{
    fs::{self, File},
    io,
    path::Path,
    thread,
};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Int32Type, UInt32Type},
    error::ArrowError,
};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    basic::{Compression, Encoding},
    errors::ParquetError,
};
use proptest::prelude::*;
use prospect_common::{Error, Result};
use serde_json::json;

use super::{
    begin, begin_as, contents, features, fresh, images, key, predictions, units, write_all,
};
use crate::{
    MAX_ROW_GROUP_ROWS, ProblemKind, RunFolder, TableReader, remove_stage, table_file::read_error,
    verify,
};

fn all(reader: TableReader) -> RecordBatch {
    let batches: Vec<RecordBatch> = reader.collect::<Result<_>>().unwrap();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn every_type_round_trips() {
    let (_keep, run) = fresh();
    write_all(&run, 2);
    let manifest = run.manifest().unwrap();
    assert_eq!(
        run.tables(&manifest),
        ["features", "images", "predictions", "units"]
    );
    assert_eq!(all(run.read(&manifest, "images").part(0)), images(0..40));
    assert_eq!(
        all(run.read(&manifest, "predictions").part(1)),
        predictions(40..80)
    );
    assert_eq!(all(run.read(&manifest, "features")), features(0..80, 16));
    let one = all(run.read(&manifest, "units").part(1).only("layer", "layer4"));
    assert_eq!(one, units("layer4", 40..80, 9));
    assert_eq!(run.read(&manifest, "units").rows(), 160);
}

#[test]
fn columns_come_in_the_requested_order() {
    let (_keep, run) = fresh();
    write_all(&run, 1);
    let manifest = run.manifest().unwrap();
    let reader = run
        .read(&manifest, "units")
        .columns(&["max", "layer"])
        .only("image_id", 7);
    let batch = all(reader);
    let names: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["max", "layer"]);
    assert_eq!(batch.num_rows(), 2);
    let layers = batch.column(1).as_string::<i32>();
    assert_eq!((layers.value(0), layers.value(1)), ("features.3", "layer4"));
}

#[test]
fn the_same_rows_give_the_same_bytes_with_any_number_of_threads() {
    let (_keep, one) = fresh();
    write_all(&one, 4);
    let (_keep, many) = fresh();
    let lock = many.lock("test").unwrap();
    let stage = begin(&many, &lock, json!({"part_size": 40})).unwrap();
    thread::scope(|scope| {
        for part in (0..4).rev() {
            let stage = &stage;
            scope.spawn(move || {
                let ids = part as u32 * 40..part as u32 * 40 + 40;
                let mut writer = stage.part(part).unwrap();
                writer
                    .file(&format!("pictures/units/{part}.png"), &[part as u8; 100])
                    .unwrap();
                writer
                    .write("predictions", &predictions(ids.clone()))
                    .unwrap();
                writer
                    .write("units", &units("features.3", ids.clone(), 6))
                    .unwrap();
                writer
                    .write("units", &units("layer4", ids.clone(), 9))
                    .unwrap();
                writer
                    .write("features", &features(ids.clone(), 16))
                    .unwrap();
                writer.write("images", &images(ids)).unwrap();
                stage.commit(writer).unwrap();
            });
        }
    });
    stage.finish(None, json!(null)).unwrap();
    assert_eq!(contents(one.root()), contents(many.root()));
}

#[test]
fn file_layout_lets_readers_skip() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    let mut writer = stage.part(0).unwrap();
    writer.write("features", &features(0..60_000, 3)).unwrap();
    writer
        .write("features", &features(60_000..60_010, 3))
        .unwrap();
    stage.commit(writer).unwrap();
    let path = &run.files(&run.manifest().unwrap(), "features")[0];
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let footer = file.metadata();
    let rows: Vec<i64> = footer
        .row_groups()
        .iter()
        .map(|group| group.num_rows())
        .collect();
    assert_eq!(
        rows,
        [
            MAX_ROW_GROUP_ROWS as i64,
            MAX_ROW_GROUP_ROWS as i64,
            10_000,
            10
        ]
    );
    assert_eq!(footer.file_metadata().created_by(), Some("prospect"));
    let entries = footer.file_metadata().key_value_metadata().unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(names, ["prospect.key", "prospect.stage", "ARROW:schema"]);
    assert_eq!(entries[0].value.as_deref(), Some(key(&json!({})).as_str()));
    for group in footer.row_groups() {
        let (id, vector) = (group.column(0), group.column(1));
        assert!(matches!(id.compression(), Compression::ZSTD(_)));
        assert!(id.statistics().is_some());
        assert!(vector.statistics().is_none());
        let plain = [Encoding::PLAIN, Encoding::RLE];
        assert!(vector.encodings().all(|encoding| plain.contains(&encoding)));
    }
}

#[test]
fn row_groups_without_the_value_are_not_read() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    let mut writer = stage.part(0).unwrap();
    for (i, layer) in ["layer1", "layer2", "layer3"].iter().enumerate() {
        let start = i as u32 * 50;
        writer
            .write("units", &units(layer, start..start + 50, 400))
            .unwrap();
    }
    stage.commit(writer).unwrap();
    let manifest = run.manifest().unwrap();
    // Corrupt the pages of the first and last groups: reading them would fail.
    let path = run.files(&manifest, "units").remove(0);
    let footer = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let (start, length) = footer.metadata().row_group(1).column(0).byte_range();
    let end = footer.metadata().row_group(2).column(0).byte_range().0;
    let mut bytes = fs::read(&path).unwrap();
    assert!(start > 1000 && length > 0);
    bytes[4..start as usize].fill(0xff);
    bytes[end as usize..end as usize + 1000].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let by_text = all(run.read(&manifest, "units").only("layer", "layer2"));
    assert_eq!(by_text, units("layer2", 50..100, 400));
    let by_number = all(run.read(&manifest, "units").only("image_id", 60u32));
    assert_eq!(by_number.num_rows(), 1);
    let none: Vec<_> = run
        .read(&manifest, "units")
        .only("layer", "layer9")
        .collect();
    assert!(none.is_empty());
    let mut corrupt = run.read(&manifest, "units").only("layer", "layer1");
    let error = corrupt.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("prospect verify"), "{error}");
    assert!(corrupt.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn only_agrees_with_a_full_scan(
        groups in prop::collection::vec(prop::collection::vec(-3i32..4, 1..6), 1..5),
        wanted in -4i64..5,
    ) {
        let (_keep, run) = fresh();
        let lock = run.lock("test").unwrap();
        let stage = begin(&run, &lock, json!({})).unwrap();
        let mut writer = stage.part(0).unwrap();
        let mut expected = 0;
        for group in &groups {
            let column = std::sync::Arc::new(arrow::array::Int32Array::from(group.clone()));
            let batch = RecordBatch::try_from_iter([("class", column as _)]).unwrap();
            writer.write("classes", &batch).unwrap();
            expected += group.iter().filter(|value| i64::from(**value) == wanted).count();
        }
        stage.commit(writer).unwrap();
        let found: Vec<i32> = run
            .read(&run.manifest().unwrap(), "classes")
            .only("class", wanted)
            .flat_map(|batch| batch.unwrap().column(0).as_primitive::<Int32Type>().values().to_vec())
            .collect();
        prop_assert!(found.iter().all(|value| i64::from(*value) == wanted));
        prop_assert_eq!(found.len(), expected);
    }
}

#[test]
fn unsigned_values_above_the_signed_range_are_found() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    let mut writer = stage.part(0).unwrap();
    writer
        .write("features", &features(u32::MAX - 9..u32::MAX, 1))
        .unwrap();
    stage.commit(writer).unwrap();
    let manifest = run.manifest().unwrap();
    let batch = all(run
        .read(&manifest, "features")
        .only("image_id", u32::MAX - 3));
    assert_eq!(
        batch.column(0).as_primitive::<UInt32Type>().values(),
        &[u32::MAX - 3]
    );
}

#[test]
fn an_empty_batch_creates_the_table() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    let mut writer = stage.part(0).unwrap();
    writer.write("features", &features(0..0, 4)).unwrap();
    stage.commit(writer).unwrap();
    let manifest = run.manifest().unwrap();
    assert_eq!(run.tables(&manifest), ["features"]);
    assert_eq!(run.read(&manifest, "features").count(), 0);
}

#[test]
fn read_errors_are_specific() {
    let (_keep, run) = fresh();
    write_all(&run, 1);
    let manifest = run.manifest().unwrap();
    let error = |mut reader: TableReader| reader.next().unwrap().unwrap_err().to_string();
    let missing = error(run.read(&manifest, "neighbors"));
    assert!(missing.starts_with("table neighbors in "), "{missing}");
    let column = error(run.read(&manifest, "features").columns(&["vektor"]));
    assert!(column.contains("image_id, vector"), "{column}");
    let kind = error(run.read(&manifest, "features").only("vector", 3));
    assert!(kind.contains("column vector"), "{kind}");
    let path = &run.files(&manifest, "features")[0];
    fs::write(path, b"PAR1").unwrap();
    assert!(error(run.read(&manifest, "features")).contains("4 bytes"));
    fs::remove_file(path).unwrap();
    assert!(matches!(
        run.read(&manifest, "features").next(),
        Some(Err(Error::Io { .. }))
    ));
}

#[test]
fn an_io_error_below_the_reader_stays_one() {
    let below: ArrowError = ParquetError::from(io::Error::from_raw_os_error(5)).into();
    let error = read_error(Path::new("x.parquet"))(below.into());
    assert!(matches!(&error, Error::Io { source, .. } if source.raw_os_error() == Some(5)));
    let other: ArrowError = ParquetError::General("cut (short)".to_string()).into();
    let error = read_error(Path::new("x.parquet"))(other.into());
    assert!(matches!(&error, Error::Invalid { .. }));
}

#[test]
fn parts_of_a_table_must_agree_even_after_a_restart() {
    let (_keep, run) = fresh();
    write_all(&run, 1);
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({"part_size": 40})).unwrap();
    let mut writer = stage.part(1).unwrap();
    writer.write("features", &features(40..80, 16)).unwrap();
    let error = writer
        .write("features", &features(40..80, 17))
        .unwrap_err()
        .to_string();
    assert!(error.contains("column vector"), "{error}");
    drop(writer);
    let names: Vec<String> = contents(run.root()).into_keys().collect();
    assert!(
        !names
            .iter()
            .any(|name| name.contains("00001") || name.ends_with(".tmp")),
        "{names:?}"
    );
}

#[test]
fn a_table_belongs_to_one_stage() {
    let (_keep, run) = fresh();
    write_all(&run, 1);
    let lock = run.lock("test").unwrap();
    let stage = begin_as(&run, &lock, "neighbors", json!({})).unwrap();
    let error = stage
        .part(5)
        .unwrap()
        .write("features", &features(0..1, 16))
        .unwrap_err();
    assert!(error.to_string().contains("extract"), "{error}");
    drop(stage);
    assert_eq!(verify(&run, &run.manifest().unwrap()), []);
}

#[test]
fn a_stage_with_missing_parts_does_not_finish() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    stage.set_parts_total(2).unwrap();
    stage.commit(stage.part(1).unwrap()).unwrap();
    assert!(stage.finish(None, json!(null)).is_err());
    stage.commit(stage.part(0).unwrap()).unwrap();
    assert!(stage.part(0).is_err());
    stage
        .finish(Some("digest".into()), json!({"n": 1}))
        .unwrap();
    let record = &run.manifest().unwrap().stages["extract"];
    assert!(record.complete);
    assert_eq!(record.dependency_key(), "digest");
}

#[test]
fn a_new_key_removes_the_old_files_and_nothing_else() {
    let (_keep, run) = fresh();
    write_all(&run, 2);
    fs::write(run.path("tables/features/notes.txt"), b"mine").unwrap();
    fs::write(run.path("pictures/units/mine.png"), b"mine").unwrap();
    fs::create_dir(run.path("tables/other")).unwrap();
    fs::write(run.path("tables/other/part-00000.parquet"), b"mine").unwrap();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({"part_size": 80})).unwrap();
    assert!(!stage.has_part(0));
    let left: Vec<String> = contents(run.root()).into_keys().collect();
    assert_eq!(
        left,
        [
            "pictures/units/mine.png",
            "tables/features/notes.txt",
            "tables/other/part-00000.parquet",
        ]
    );
}

#[test]
fn a_lost_file_costs_only_its_part() {
    let (_keep, run) = fresh();
    write_all(&run, 3);
    let before = contents(run.root());
    fs::remove_file(run.path("tables/features/part-00001.parquet")).unwrap();
    fs::write(run.path("pictures/units/2.png"), b"cut").unwrap();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({"part_size": 40})).unwrap();
    let present: Vec<bool> = (0..3).map(|part| stage.has_part(part)).collect();
    assert_eq!(present, [true, false, false]);
    drop((stage, lock));
    assert!(!run.path("tables/images/part-00001.parquet").exists());
    write_all(&run, 3);
    assert_eq!(contents(run.root()), before);
}

#[test]
fn a_removed_stage_leaves_nothing() {
    let (_keep, run) = fresh();
    write_all(&run, 2);
    let lock = run.lock("test").unwrap();
    remove_stage(&run, &lock, "extract").unwrap();
    assert!(run.manifest().unwrap().stages.is_empty());
    assert!(contents(run.root()).is_empty());
}

#[test]
fn verify_finds_each_kind_of_damage() {
    let (_keep, run) = fresh();
    write_all(&run, 2);
    let manifest = run.manifest().unwrap();
    assert_eq!(verify(&run, &manifest), []);
    let found = |run: &RunFolder| -> Vec<(ProblemKind, String)> {
        let manifest = run.manifest().unwrap();
        verify(run, &manifest)
            .into_iter()
            .map(|p| (p.kind, p.to_string()))
            .collect()
    };
    let features = run.path("tables/features/part-00000.parquet");
    let bytes = fs::read(&features).unwrap();

    let mut flipped = bytes.clone();
    flipped[100] ^= 1;
    fs::write(&features, &flipped).unwrap();
    let problems = found(&run);
    assert!(matches!(&problems[..], [(ProblemKind::Damaged, text)] if text.contains("BLAKE3")));

    fs::write(&features, &bytes[..bytes.len() - 1]).unwrap();
    let problems = found(&run);
    assert!(matches!(&problems[..], [(ProblemKind::Damaged, text)] if text.contains("bytes")));

    fs::remove_file(&features).unwrap();
    assert_eq!(found(&run)[0].0, ProblemKind::Missing);

    fs::write(&features, &bytes).unwrap();
    fs::write(run.path("pictures/more.png"), b"").unwrap();
    fs::write(run.path("tables/features/part-00009.parquet"), b"").unwrap();
    let problems = found(&run);
    assert_eq!(problems.len(), 2);
    assert!(
        problems
            .iter()
            .all(|(kind, _)| *kind == ProblemKind::Unlisted)
    );
    fs::remove_file(run.path("pictures/more.png")).unwrap();
    fs::remove_file(run.path("tables/features/part-00009.parquet")).unwrap();

    // Manifests whose rows or key disagree with an intact file.
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::to_value(&manifest).unwrap();
        change(&mut json["stages"]["extract"]);
        fs::write(run.path("manifest.json"), json.to_string()).unwrap();
        found(&run)
    };
    let rows = edit(&|stage| stage["parts"]["0"]["files"][0]["rows"] = json!(41));
    assert!(matches!(&rows[..], [(ProblemKind::Damaged, text)] if text.contains("41 rows")));
    let key = edit(&|stage| stage["key"] = json!("0"));
    assert_eq!(key.len(), 8);
    assert!(key[0].1.contains("prospect.key"));
    let total = edit(&|stage| stage["parts_total"] = json!(3));
    assert_eq!(total[0].0, ProblemKind::Incomplete);
}
