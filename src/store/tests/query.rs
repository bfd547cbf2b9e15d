//! SQL queries, and their results read back by third-party parsers.

use std::{fs, io::Write};

use polars::prelude::{DataFrame, NamedFrom, Series};
use serde_json::{Value, json};

use super::{begin, features, fresh, noise, write_all};
use crate::{Format, RunFolder, query, render, render_to};

fn run_of(n_parts: usize) -> (tempfile::TempDir, RunFolder) {
    let (keep, run) = fresh();
    write_all(&run, n_parts);
    (keep, run)
}

fn lines(run: &RunFolder, sql: &str) -> Vec<Value> {
    let text = render(&mut query(run, sql).unwrap(), Format::JsonLines).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn error(run: &RunFolder, sql: &str) -> String {
    query(run, sql).unwrap_err().to_string()
}

#[test]
fn tables_are_queried_by_name() {
    let (_keep, run) = run_of(3);
    for (table, rows) in [
        ("images", 120),
        ("features", 120),
        ("units", 240),
        ("predictions", 120),
    ] {
        let answer = lines(&run, &format!("select count(*) as n from {table}"));
        assert_eq!(answer, [json!({"n": rows})], "{table}");
    }
    let answer = lines(
        &run,
        "select i.label_name, count(*) as n, max(p.pred) as top from images i \
         join predictions p on i.image_id = p.image_id where i.label is not null \
         group by i.label_name order by i.label_name",
    );
    // By row in a part of 40, labels cycle through 0 1 2 none, and predictions through 0..9: every class meets all labels.
    assert_eq!(
        answer,
        [
            json!({"label_name": "cat", "n": 30, "top": 8}),
            json!({"label_name": "dog", "n": 30, "top": 9}),
            json!({"label_name": "owl", "n": 30, "top": 8}),
        ]
    );
}

#[test]
fn nested_columns_round_trip_as_json_lines() {
    let (_keep, run) = run_of(2);
    let rows = lines(
        &run,
        "select image_id, vector from features where image_id >= 79",
    );
    let expected: Vec<f32> = (79 * 16..80 * 16).map(noise).collect();
    assert_eq!(rows.len(), 1);
    let found: Vec<f32> = rows[0]["vector"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect();
    assert_eq!(found, expected);

    let rows = lines(
        &run,
        "select * from units where image_id = 41 order by layer",
    );
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["layer"], "features.3");
    let expected: Vec<f32> = (6..12)
        .map(|i| half::f16::from_f32(noise(i + 40)).to_f32())
        .collect();
    let found: Vec<f32> = rows[0]["max"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect();
    assert_eq!(found, expected);
    assert_eq!(rows[0]["argmax"], json!([6, 7, 8, 9, 10, 11]));
    assert_eq!(rows[1]["argmax"].as_array().unwrap().len(), 9);

    let rows = lines(&run, "select top5 from predictions where image_id = 1");
    let top5 = rows[0]["top5"].as_array().unwrap();
    assert_eq!(top5.len(), 5);
    assert_eq!(top5[1]["class"], 6);
    assert_eq!(top5[1]["p"].as_f64().unwrap() as f32, noise(6));
}

#[test]
fn scalars_of_every_type_round_trip() {
    let (_keep, run) = run_of(1);
    let rows = lines(&run, "select * from images order by image_id limit 7");
    assert_eq!(rows[6]["phash"], json!(u64::MAX - 6));
    assert_eq!(rows[6]["orientation"], 6);
    assert_eq!(rows[6]["error"], "truncated JPEG");
    assert_eq!(rows[0]["error"], Value::Null);
    assert_eq!(rows[0]["clipped"], true);
    assert_eq!(rows[4]["path"], "cat/\u{1b}[31mred\u{7}, \"4\".jpg");
    assert_eq!(rows[1]["brightness"].as_f64().unwrap() as f32, noise(1));
}

#[test]
fn csv_has_no_formulas() {
    let (_keep, run) = run_of(1);
    let sql = "select '=1+1' as \"@name\", '-5' as b, -5 as c, -0.5 as d, 'a=b' as e";
    let text = render(&mut query(&run, sql).unwrap(), Format::Csv).unwrap();
    assert_eq!(text, "'@name,b,c,d,e\r\n'=1+1,'-5,-5,-0.5,a=b\r\n");
    let text = render(&mut query(&run, sql).unwrap(), Format::JsonLines).unwrap();
    assert!(text.contains("\"=1+1\""), "{text}");
}

#[test]
fn csv_round_trips_through_another_parser() {
    let (_keep, run) = run_of(1);
    let sql = "select path, label_name, brightness, phash, '' as nothing from images \
               where image_id in (3, 4) order by image_id";
    let text = render(&mut query(&run, sql).unwrap(), Format::Csv).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(
        reader.headers().unwrap(),
        &["path", "label_name", "brightness", "phash", "nothing"][..]
    );
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(&rows[1][0], "cat/\u{1b}[31mred\u{7}, \"4\".jpg");
    assert_eq!((&rows[0][1], &rows[1][1]), ("", "cat"));
    assert_eq!(rows[1][2].parse::<f32>().unwrap(), noise(4));
    assert_eq!(rows[1][3].parse::<u64>().unwrap(), u64::MAX - 4);
    // Null differs from empty text.
    assert!(text.contains(",,") && text.ends_with("\"\"\r\n"), "{text}");

    let sql = "select top5, logits from predictions limit 1";
    let text = render(&mut query(&run, sql).unwrap(), Format::Csv).unwrap();
    let row = csv::Reader::from_reader(text.as_bytes())
        .records()
        .next()
        .unwrap()
        .unwrap();
    let top5: Value = serde_json::from_str(&row[0]).unwrap();
    assert_eq!(top5[1]["class"], 1);
    let logits: Vec<f32> = serde_json::from_str(&row[1]).unwrap();
    assert_eq!(logits, (0..10).map(noise).collect::<Vec<_>>());
}

#[test]
fn control_characters_in_file_names_do_not_reach_the_terminal() {
    let (_keep, run) = run_of(1);
    let frame = query(&run, "select path as \"p\u{1b}[2J\", path from images").unwrap();
    for format in [Format::Table, Format::Csv, Format::JsonLines] {
        let mut bytes = Vec::new();
        render_to(&frame, format, Some(100), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let bad = |c: &char| c.is_control() && !"\r\n".contains(*c);
        assert!(!text.chars().any(|c| bad(&c)), "{text}");
        assert!(text.contains("1b") && text.contains("[31mred"), "{text}");
    }
    let turned = Series::new("path".into(), ["a\u{202e}gpj.exe", "b\u{9b}31m"]);
    let mut frame = DataFrame::new_infer_height(vec![turned.into()]).unwrap();
    for format in [Format::Table, Format::JsonLines] {
        let text = render(&mut frame, format).unwrap();
        assert!(!text.contains(['\u{202e}', '\u{9b}']), "{text}");
    }
}

#[test]
fn a_table_reports_omitted_rows_and_columns() {
    let (_keep, run) = run_of(3);
    let frame = query(&run, "select * from images order by image_id").unwrap();
    let mut bytes = Vec::new();
    render_to(&frame, Format::Table, Some(80), &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.lines().take(52).all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("showing 50 of 120 rows;"), "{text}");
    assert!(text.contains("columns not shown: "), "{text}");
    assert!(text.trim_end().ends_with("clipped"), "{text}");

    let mut frame = query(&run, "select image_id, vector from features limit 1").unwrap();
    let text = render(&mut frame, Format::Table).unwrap();
    let expected = "\
image_id  vector
────────  ─────────────────────────────────────────────────────
       0  [0.618034, ";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains(", … 16 values]\n1 row\n"), "{text}");
}

#[test]
fn numbers_are_rounded_only_for_people() {
    let numbers = [0.1 + 0.2, 1234567.891, 1e-9, -2.0, f64::NAN, 0.0, 1e300];
    let mut frame =
        DataFrame::new_infer_height(vec![Series::new("x".into(), numbers).into()]).unwrap();
    let text = render(&mut frame, Format::Table).unwrap();
    let cells: Vec<&str> = text.lines().skip(2).map(str::trim).collect();
    assert_eq!(
        cells,
        [
            "0.3",
            "1234568",
            "1.00000e-9",
            "-2",
            "NaN",
            "0",
            "1.00000e300",
            "7 rows"
        ]
    );
    let text = render(&mut frame, Format::Csv).unwrap();
    assert!(text.contains("0.30000000000000004") && text.contains("NaN"));
    let text = render(&mut frame, Format::JsonLines).unwrap();
    let values: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values[0]["x"], 0.1 + 0.2);
    assert_eq!(values[4]["x"], Value::Null);
    assert_eq!(values[6]["x"], 1e300);
}

#[test]
fn unknown_names_get_suggestions() {
    let (_keep, run) = run_of(1);
    let text = error(&run, "select * from image");
    assert!(
        text.contains("image") && text.contains("features, images, predictions, units"),
        "{text}"
    );
    let text = error(&run, "select lable from images");
    assert!(
        text.contains("lable") && text.contains("columns of images: image_id, path"),
        "{text}"
    );
    let text = error(
        &run,
        "select i.path from images i join features f on i.image_id = f.imageid",
    );
    assert!(
        text.contains("columns of features: image_id, vector"),
        "{text}"
    );
    let text = error(&run, "describe image");
    assert!(text.contains("\ntables: "), "{text}");
    let (_keep, empty) = fresh();
    let text = error(&empty, "select * from images");
    assert!(text.contains("prospect run"), "{text}");
}

#[test]
fn unsupported_statements_get_a_short_message() {
    let (_keep, run) = run_of(1);
    for sql in [
        "selct * from images",
        "",
        "-- only a comment",
        "drop table images",
        "delete from images",
        "insert into images values (1)",
        "select 1; select 2",
        "select 1 from",
        "select exists (select 1)",
        "select u.max[1] from units u",
        "select top5[1].class from predictions",
        "select max(max) from units",
        "select nothing(path) from images",
        "explain",
    ] {
        let text = error(&run, sql);
        assert!(!text.is_empty() && text.len() < 400, "{sql}: {text}");
        assert!(
            !text.contains("Span") && !text.contains("plan:"),
            "{sql}: {text}"
        );
    }
    assert!(error(&run, "select u.max[1] from units u").contains("array_get"));
    assert_eq!(lines(&run, "select count(*) as n from images")[0]["n"], 40);
}

#[test]
fn half_floats_work_in_expressions() {
    let (_keep, run) = run_of(1);
    let rows = lines(
        &run,
        "select array_mean(max) as m from units where layer = 'layer4' limit 1",
    );
    let halves = (0..9).map(|i| half::f16::from_f32(noise(i)).to_f64());
    let expected = halves.sum::<f64>() / 9.0;
    assert!((rows[0]["m"].as_f64().unwrap() - expected).abs() < 1e-6);
    let rows = lines(
        &run,
        "select array_get(max, 2) as second from units limit 1",
    );
    assert_eq!(
        rows[0]["second"].as_f64().unwrap() as f32,
        half::f16::from_f32(noise(1)).to_f32()
    );
}

#[test]
fn describe_lists_columns_and_types() {
    let (_keep, run) = run_of(1);
    let rows = lines(&run, "/* what is\nin it? */ DESCRIBE features;");
    assert_eq!(
        rows,
        [
            json!({"column": "image_id", "type": "u32"}),
            json!({"column": "vector", "type": "array[f32, 16]"}),
        ]
    );
    assert_eq!(lines(&run, "-- all\nshow tables").len(), 4);
}

#[test]
fn only_committed_parts_count() {
    let (_keep, run) = fresh();
    let lock = run.lock("test").unwrap();
    let stage = begin(&run, &lock, json!({})).unwrap();
    let mut writer = stage.part(0).unwrap();
    writer.write("features", &features(0..5, 2)).unwrap();
    stage.commit(writer).unwrap();
    let mut open = stage.part(1).unwrap();
    open.write("features", &features(5..9, 2)).unwrap();
    let stray = run.path("tables/features/part-00007.parquet");
    fs::copy(run.path("tables/features/part-00000.parquet"), stray).unwrap();
    assert_eq!(
        lines(&run, "select count(*) as n from features"),
        [json!({"n": 5})]
    );
    assert!(error(&run, "select * from images").contains("\ntables: features"));
}

#[test]
fn folder_names_are_not_patterns() {
    let keep = tempfile::tempdir().unwrap();
    let run = RunFolder::create(keep.path().join("a=1 [x] *?%20é")).unwrap();
    write_all(&run, 2);
    assert_eq!(
        lines(&run, "select count(*) as n from images"),
        [json!({"n": 80})]
    );
}

#[test]
fn a_closed_pipe_is_an_error_not_a_panic() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (_keep, run) = run_of(1);
    let frame = query(&run, "select path from images").unwrap();
    assert!(render_to(&frame, Format::Csv, None, &mut Closed).is_err());
}
