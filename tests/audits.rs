//! The named queries on a run with known answers, and `prospect query` from outside.

#[path = "audits/tables.rs"]
mod tables;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use prospect::{
    queries::audits::{Audit, Catalog, Kind},
    stages::writer_of,
    store::{self, Format, RunFolder},
};

/// A project folder with a run that lacks some tables.
fn project(left_out: &[&str]) -> (tempfile::TempDir, RunFolder) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    let text = "[run]\ndir = \"run\"\n[images]\ndir = \"photos\"\n";
    fs::write(folder.path().join("pipeline.toml"), text).unwrap();
    let run = RunFolder::create(folder.path().join("run")).unwrap();
    tables::write(&run, left_out);
    (folder, run)
}

fn csv(run: &RunFolder, audit: &Audit, given: &[String]) -> String {
    let bound = audit.bind(given).unwrap();
    let frame = store::query(run, &bound.sql);
    let mut frame = frame.unwrap_or_else(|error| panic!("{}: {error}", audit.name));
    store::render(&mut frame, Format::Csv)
        .unwrap()
        .replace("\r\n", "\n")
}

/// `prospect query ARGUMENTS` in a project folder: exit status, standard output and error.
fn query(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_prospect"))
        .current_dir(folder)
        .arg("query")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn every_query_gives_the_known_answer() {
    let (_keep, run) = project(&[]);
    let catalog = Catalog::default();
    // Each section is a name with parameters, and the result as CSV.
    let sections = include_str!("audits/answers.txt").split("## ").skip(1);
    let mut n_cases: BTreeMap<&str, u32> = BTreeMap::new();
    for section in sections {
        let (head, expected) = section.split_once('\n').unwrap();
        let mut words = head.split_whitespace();
        let name = words.next().unwrap();
        let given: Vec<String> = words.map(String::from).collect();
        let found = csv(&run, &catalog.find(name).unwrap(), &given);
        assert_eq!(found.trim(), expected.trim(), "{head}");
        *n_cases.entry(name).or_default() += 1;
    }
    for name in catalog.names().unwrap() {
        let audit = catalog.find(&name).unwrap();
        let n = n_cases.get(&*name).copied().unwrap_or(0);
        let min = if audit.parameters.is_empty() { 1 } else { 2 };
        assert!(n >= min, "{name} has {n} cases");
    }
}

#[test]
fn every_required_table_has_a_stage() {
    let catalog = Catalog::default();
    for name in catalog.names().unwrap() {
        for table in catalog.find(&name).unwrap().needs {
            assert!(writer_of(&table).is_some(), "{name}: {table}");
        }
    }
    assert_eq!(writer_of("label_scores").unwrap().name, "labels");
    assert_eq!(writer_of("attributes").unwrap().name, "scan");
    assert!(writer_of("no_table").is_none());
}

#[test]
fn parameters_cannot_inject_sql() {
    let (_keep, run) = project(&[]);
    let catalog = Catalog::default();
    let hostile = [
        "' or 1=1 --",
        "x' union select * from images --",
        "\\' or 1=1 --",
        "'; drop table images; --",
        "$rows",
        "*/ or 1=1 /*",
    ];
    for name in catalog.names().unwrap() {
        let audit = catalog.find(&name).unwrap();
        for parameter in &audit.parameters {
            if !matches!(parameter.kind, Kind::Text | Kind::Class) {
                continue;
            }
            let parameter = &parameter.name;
            for value in hostile {
                let found = csv(&run, &audit, &[format!("{parameter}={value}")]);
                assert_eq!(
                    found.lines().count(),
                    1,
                    "{name} {parameter}={value}: {found}"
                );
            }
        }
    }
    let leaks = catalog.find("leaks").unwrap();
    assert_eq!(csv(&run, &leaks, &["kind=exact".into()]).lines().count(), 2);
    // A class name with a quote is found.
    let found = csv(
        &run,
        &catalog.find("hubs").unwrap(),
        &["class=odd's".into()],
    );
    assert!(
        found.contains("odd's/1.jpg") && found.lines().count() == 2,
        "{found}"
    );
}

#[test]
fn queries_run_from_the_command_line() {
    let (folder, _run) = project(&[]);
    let (status, out, err) = query(
        folder.path(),
        &[
            "confident_contradictions",
            "-p",
            "class=cat",
            "-p",
            "sure=0.7",
            "--format",
            "json",
        ],
    );
    assert_eq!(status, 0, "{err}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["path"], &rows[0]["probe_says"]),
        (&"cats/3.jpg".into(), &"dog".into())
    );
    let (_, empty, _) = query(folder.path(), &["leaks", "-pkind=near", "--format", "json"]);
    assert_eq!(empty, "[\n]\n");

    let (status, out, err) = query(
        folder.path(),
        &["leaks", "--format", "parquet", "--output", "leaks.parquet"],
    );
    assert_eq!((status, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("wrote 1 row to leaks.parquet"), "{err}");
    let file = fs::File::open(folder.path().join("leaks.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 10).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches[0].num_rows(), 1);
    assert_eq!(batches[0].schema().field(1).name(), "path");
    query(
        folder.path(),
        &["leaks", "--format", "csv", "-o", "leaks.csv"],
    );
    let saved = fs::read_to_string(folder.path().join("leaks.csv")).unwrap();
    assert!(
        saved.contains("cats/0.jpg") && saved.lines().count() == 2,
        "{saved}"
    );

    // SQL opens any Parquet file by path, unless told not to.
    let sql = "select count(*) as n from READ_parquet('leaks.parquet')";
    let (status, out, err) = query(folder.path(), &[sql, "--format", "csv"]);
    assert_eq!((status, out.as_str()), (0, "n\r\n1\r\n"), "{err}");
    let (status, out, err) = query(folder.path(), &[sql, "--tables-only"]);
    assert_eq!((status, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("read_parquet reads files by path"), "{err}");
    let (status, _, err) = query(folder.path(), &["select path from images", "--tables-only"]);
    assert_eq!(status, 0, "{err}");

    let (_, out, _) = query(folder.path(), &["--list"]);
    assert!(
        out.contains("\nleaks ") && out.contains("Which pictures are in two splits at once?"),
        "{out}"
    );
    assert!(
        out.contains("\nfindings ") && out.contains(", odd_aspect, "),
        "{out}"
    );
    let (_, out, _) = query(folder.path(), &["--show", "leaks"]);
    assert_eq!(out, include_str!("../jobs/audits/leaks.sql"));
    let (status, out, _) = query(
        folder.path(),
        &[
            "select count(*) as n from attributes where attribute = 'season'",
            "--format",
            "csv",
        ],
    );
    assert_eq!((status, out.as_str()), (0, "n\r\n11\r\n"));
    let (_, out, _) = query(folder.path(), &["describe attributes", "--format", "csv"]);
    assert!(
        out.contains("attribute,str") && out.contains("image_id,u32"),
        "{out}"
    );
    let sql =
        "-- param n integer = 3 : how many\nselect image_id from images order by image_id limit $n";
    fs::write(folder.path().join("own.sql"), sql).unwrap();
    let (_, out, _) = query(
        folder.path(),
        &["own", "--audits", ".", "--format", "csv", "-p", "n=2"],
    );
    assert_eq!(out, "image_id\r\n0\r\n1\r\n");
}

#[test]
fn errors_suggest_a_fix() {
    let (folder, _run) = project(&["label_scores", "confident_joint", "changes"]);
    for (arguments, expected) in [
        (
            &["leeks"][..],
            "unknown query leeks (did you mean `leaks`?)",
        ),
        (
            &["leaks", "-p", "knd=near"],
            "no such parameter (did you mean `kind`?); it has kind text = '', rows integer = 200",
        ),
        (
            &["leaks", "-p", "rows=few"],
            "-p rows: expected a whole number, found \"few\" (maximum number of rows)",
        ),
        (&["leaks", "-p", "rows"], "expected NAME=VALUE"),
        (
            &["worklist", "-p", "kind=lable"],
            "-p kind: expected a kind of finding (expected one of label, ambiguous, duplicate_exact, ",
        ),
        (
            &["hubs", "-p", "class=catt"],
            "unknown class \"catt\" (did you mean `cat`?); the classes are cat, dog, odd's",
        ),
        (
            &["label_swaps"],
            "table confident_joint, needed by query label_swaps, is missing; stage labels wrote no",
        ),
        (
            &["new_since_last_night"],
            "changes is written only if [run] previous names an earlier run's folder",
        ),
        (&["select $n from images"], "$n is not declared"),
        (
            &["select 1 from images", "-p", "n=1"],
            "the statement has no parameters",
        ),
        (
            &["leaks", "--format", "parquet"],
            "--format parquet needs --output FILE",
        ),
        (
            &["dead_units", "--sheet", "x.png"],
            "the result has layer, unit, greatest_value",
        ),
        (&["--list", "--audits", "nowhere"], "nowhere"),
    ] {
        let (status, out, err) = query(folder.path(), arguments);
        assert!(
            status != 0 && err.contains(expected),
            "{arguments:?}: {status} {out} {err}"
        );
    }
    let (folder, run) = project(&[]);
    let lock = run.lock("test").unwrap();
    store::remove_stage(&run, &lock, "labels").unwrap();
    store::remove_stage(&run, &lock, "probe").unwrap();
    let (status, _, err) = query(folder.path(), &["both_detectors_agree"]);
    assert_eq!(status, 2);
    assert!(
        err.contains("create it with `prospect run labels probe`"),
        "{err}"
    );
}

#[test]
fn images_in_results_are_drawn_on_sheets() {
    let (folder, run) = project(&["images"]);
    // Real files with their digests; one is deleted again.
    let save = |name: &str| {
        let path = folder.path().join("photos").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(40, 20, image::Rgb([200, 0, 0]))
            .save(&path)
            .unwrap();
        blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string()
    };
    let names = ["cats/0.jpg", "cats/1.jpg", "cats/2.jpg", "dogs/3.jpg"]
        .map(|name| name.replace("jpg", "png"));
    let digests: Vec<String> = names.iter().map(|name| save(name)).collect();
    fs::remove_file(folder.path().join("photos/cats/2.png")).unwrap();
    tables::write_images(&run, &names, &digests);

    let sql =
        "select image_a as image_id, image_b as other_id, kind from duplicates where image_b < 4";
    let (status, out, err) = query(
        folder.path(),
        &[sql, "--sheet", "new/pairs.png", "--format", "csv"],
    );
    assert_eq!(
        (status, out.as_str()),
        (0, "image_id,other_id,kind\r\n0,2,exact\r\n"),
        "{err}"
    );
    assert!(err.contains("wrote new/pairs.png"), "{err}");
    assert!(
        err.contains("warning: cats/2.png is not on the sheet: "),
        "{err}"
    );
    let sheet = image::open(folder.path().join("new/pairs.png"))
        .unwrap()
        .to_rgb8();
    let reds = |from: u32, to: u32| {
        let inside = sheet
            .enumerate_pixels()
            .filter(|(x, ..)| (from..to).contains(x));
        inside.filter(|(.., pixel)| pixel.0 == [200, 0, 0]).count()
    };
    let half = sheet.width() / 2;
    assert!(reds(0, half) > 1000 && reds(half, sheet.width()) == 0);

    // By path alone, and too many for one sheet.
    let sql = "select path, label_name from images union all select 'gone.png' as path, 'x' as label_name from images where image_id = 0";
    let (status, _, err) = query(folder.path(), &[sql, "--sheet", "paths.png"]);
    assert_eq!(status, 0, "{err}");
    assert!(
        err.contains("warning: gone.png is not on the sheet: no row in the table images"),
        "{err}"
    );
    let many = "select a.image_id from images a cross join patches b cross join patches c";
    let (status, _, err) = query(
        folder.path(),
        &[
            many, "--sheet", "many.png", "-o", "many.csv", "--format", "csv",
        ],
    );
    assert_eq!(status, 0, "{err}");
    assert!(folder.path().join("many-2.png").exists(), "{err}");
}
