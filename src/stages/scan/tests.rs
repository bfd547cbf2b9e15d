//! Scans of folders with bad files, and checks of the tables.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Float32Type, Float64Type, Int16Type, Int32Type, UInt32Type, UInt64Type},
};
use image::{ImageFormat, Rgb, RgbImage};
use prospect_common::{Error, Result};
use prospect_engine::{Event, progress::Cancel};
use prospect_testing::golden;

use super::STAGE;

struct Project(prospect_testing::Project);

impl Project {
    fn new() -> Project {
        let settings = "[images]\ndir = \"images\"\nmax_bad_fraction = 1.0\n";
        let project = prospect_testing::Project::new(settings).with_stages(&[STAGE]);
        fs::create_dir(project.path("images")).unwrap();
        Project(project)
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.0.write(&format!("images/{path}"), bytes);
    }

    fn scan_until(&self, settings: &[&str], cancel: &Cancel) -> Result<serde_json::Value> {
        self.0.with_cancel("run", settings, cancel, |ctx| {
            prospect_engine::run(ctx, &ctx.run.lock("test")?, &[], &mut |_| {})?;
            let record = &ctx.run.manifest()?.stages["scan"];
            let mut summary = record.summary.clone();
            summary["result"] = record.result.clone().into();
            Ok(summary)
        })
    }

    fn scan(&self, settings: &[&str]) -> Result<serde_json::Value> {
        self.scan_until(settings, &Cancel::default())
    }

    fn table(&self, name: &str) -> RecordBatch {
        let run = self.0.run("run");
        let batches: Vec<RecordBatch> = run
            .read(&run.manifest().unwrap(), name)
            .collect::<Result<_>>()
            .unwrap();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    /// Error of each row, by path.
    fn errors(&self) -> BTreeMap<String, Option<String>> {
        let table = self.table("images");
        let (paths, errors) = (texts(&table["path"]), texts(&table["error"]));
        paths.into_iter().map(Option::unwrap).zip(errors).collect()
    }
}

fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    column
        .as_string::<i32>()
        .iter()
        .map(|text| text.map(str::to_string))
        .collect()
}

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    picture(width, height, ImageFormat::Png)
}

#[test]
fn the_rows_are_those_of_the_listing_and_metadata_that_the_record_names() {
    let project = Project::new();
    let images = project.0.path("images");
    for name in ["a.png", "b.png"] {
        project.write(name, png(8, 6));
    }
    let settings = [
        "images.metadata=\"labels.csv\"",
        "images.labels=\"metadata\"",
    ];
    let first = "file_name,label\na.png,cat\nb.png,dog\n";
    project.0.write("labels.csv", first);
    let labels = project.0.path("labels.csv");
    let scan = |change: &dyn Fn()| {
        project
            .0
            .with_cancel(
                "run",
                &settings,
                &Cancel::default(),
                |ctx| -> Result<serde_json::Value> {
                    prospect_engine::run(ctx, &ctx.run.lock("test")?, &[], &mut |event| {
                        if let Event::Decided { .. } = event {
                            change();
                        }
                    })?;
                    Ok(ctx.run.manifest()?.stages["scan"].parameters.clone())
                },
            )
            .unwrap()
    };
    let names = || texts(&project.table("images")["label_name"]);
    let some = |names: &[&str]| -> Vec<Option<String>> {
        names.iter().map(|name| Some(name.to_string())).collect()
    };
    // Both change after the parameters were taken and before the scan starts.
    let parameters = scan(&|| {
        fs::write(images.join("0.png"), png(8, 6)).unwrap();
        let second = "file_name,label\n0.png,cow\na.png,cow\nb.png,cow\n";
        fs::write(&labels, second).unwrap();
    });
    assert_eq!(parameters["files"]["n"], 2);
    let digest = blake3::hash(first.as_bytes()).to_hex();
    assert_eq!(parameters["metadata"], digest.as_str());
    assert_eq!(names(), some(&["cat", "dog"]));

    let parameters = scan(&|| {});
    assert_eq!(parameters["files"]["n"], 3);
    assert_eq!(names(), some(&["cow", "cow", "cow"]));
}

#[test]
fn every_unreadable_file_has_a_row_with_its_error() {
    let project = Project::new();
    let good = png(40, 30);
    project.write("good.png", &good);
    project.write("empty.jpg", "");
    project.write("text.jpg", "hello\u{1b}[31m");
    project.write("cut.png", &good[..good.len() / 2]);
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    project.write("crc.png", &flipped);
    // Signature, then a header chunk of 60000x60000 in 8-bit RGB with a valid checksum.
    let mut bomb =
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
    bomb.extend([0x0f, 0xb0, 0xe2, 0x15]);
    bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    project.write("bomb.png", &bomb);
    project.write("new\nline \u{1b}[2J.png", &good);
    project.write("<script>.png", &good);
    project.write("png in disguise.jpg", &good);
    let images = project.0.path("images");
    fs::write(images.join(std::ffi::OsStr::from_bytes(b"\xfe.png")), &good).unwrap();
    symlink("loop.png", images.join("loop.png")).unwrap();
    symlink(&images, images.join("around")).unwrap();
    project.write("readme.txt", "not an image");

    let summary = project.scan(&[]).unwrap();
    let errors = project.errors();
    let error = |path: &str| errors[path].as_deref().unwrap_or("");
    assert_eq!(summary["images"], 11);
    assert_eq!(summary["bad"], 6);
    assert_eq!(summary["damaged"], 1);
    assert_eq!(summary["other_files"], 1);
    for path in [
        "good.png",
        "new\nline \u{1b}[2J.png",
        "<script>.png",
        "png in disguise.jpg",
    ] {
        assert_eq!(errors[path], None);
    }
    assert_eq!(error("empty.jpg"), "empty file");
    assert_eq!(
        error("text.jpg"),
        "not an image: starts with \"hello\\x1b[3\"; jpeg, png, webp, bmp, gif and tiff are read"
    );
    assert_eq!(errors["cut.png"], None);
    let warnings = project.table("images");
    let warnings = texts(&warnings["warning"]);
    let warnings: Vec<&String> = warnings.iter().flatten().collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("black from row"), "{warnings:?}");
    assert!(
        error("crc.png").starts_with("corrupt png"),
        "{}",
        error("crc.png")
    );
    assert_eq!(
        error("bomb.png"),
        "60000x60000 is over max_pixels = 178956970"
    );
    assert_eq!(error("%FE.png"), "file name is not UTF-8");
    assert!(error("loop.png").starts_with("cannot be read"));

    let table = project.table("images");
    let paths = texts(&table["path"]);
    let at = |path: &str| {
        paths
            .iter()
            .position(|own| own.as_deref() == Some(path))
            .unwrap()
    };
    let ids = table["image_id"].as_primitive::<UInt32Type>();
    assert_eq!(ids.values(), &(0..11).collect::<Vec<u32>>()[..]);
    let width = table["width"].as_primitive::<Int32Type>();
    assert_eq!(
        (width.value(at("good.png")), width.value(at("bomb.png"))),
        (40, 60_000)
    );
    assert!(width.is_null(at("text.jpg")));
    let digest = blake3::hash(&good).to_hex().to_string();
    assert_eq!(texts(&table["digest"])[at("good.png")], Some(digest));
    assert_eq!(texts(&table["digest"])[at("loop.png")], None);
    assert!(
        table["phash"]
            .as_primitive::<UInt64Type>()
            .is_null(at("crc.png"))
    );
    assert!(
        table["sharpness"]
            .as_primitive::<Float32Type>()
            .value(at("good.png"))
            > 0.0
    );
    assert_eq!(
        table["orientation"]
            .as_primitive::<Int16Type>()
            .value(at("good.png")),
        1
    );
}

#[test]
fn too_many_bad_images_are_an_error_after_the_table_is_written() {
    let project = Project::new();
    project.write("a.png", png(4, 4));
    project.write("b.png", "no");
    let error = project.scan(&["images.max_bad_fraction=0.4"]).unwrap_err();
    assert!(matches!(
        error,
        Error::TooManyBad {
            bad: 1,
            total: 2,
            ..
        }
    ));
    assert_eq!(error.exit_code(), 65);
    assert_eq!(project.errors().len(), 2);
    // With a higher limit, no image is read again.
    let file = project.0.path("run/tables/images/part-00000.parquet");
    let before = fs::read(&file).unwrap();
    project.scan(&["images.max_bad_fraction=0.5"]).unwrap();
    let after = fs::read(&file).unwrap();
    assert_eq!(before, after);
}

#[test]
fn labels_and_splits_come_from_folders() {
    let project = Project::new();
    for path in [
        "train/hat/1.png",
        "test/dress/2.png",
        "train/dress/3.png",
        "train/4.png",
    ] {
        project.write(path, png(5, 5));
    }
    let summary = project.scan(&[]).unwrap();
    assert_eq!(
        (summary["labelled"].as_u64(), summary["classes"].as_u64()),
        (Some(3), Some(2))
    );
    let table = project.table("images");
    let paths = texts(&table["path"]);
    assert_eq!(paths[0].as_deref(), Some("test/dress/2.png"));
    let some = |words: &[&str]| {
        words
            .iter()
            .map(|word| (!word.is_empty()).then(|| word.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&table["label_name"]),
        some(&["dress", "", "dress", "hat"])
    );
    assert_eq!(
        texts(&table["split"]),
        some(&["test", "train", "train", "train"])
    );
    let labels: Vec<_> = table["label"].as_primitive::<Int32Type>().iter().collect();
    assert_eq!(labels, [Some(0), None, Some(0), Some(1)]);
    let classes = project.table("classes");
    assert_eq!(texts(&classes["name"]), some(&["dress", "hat"]));
    assert_eq!(texts(&classes["source"]), some(&["dataset", "dataset"]));
}

#[test]
fn metadata_gives_labels_splits_and_attributes() {
    let project = Project::new();
    for path in ["a.png", "b.png", "c.png"] {
        project.write(path, png(5, 5));
    }
    let csv = "file_name,label,split,weight,width\na.png,dog,train,1.5,wide\nc.png,cat,,2,\nghost.png,cow,,,\n";
    project.0.write("meta.csv", csv);
    let settings = ["images.metadata=\"meta.csv\"", "images.labels=\"metadata\""];
    let summary = project.scan(&settings).unwrap();
    assert_eq!(summary["metadata_rows_without_image"], 1);
    assert_eq!(summary["images_without_metadata"], 1);
    let table = project.table("images");
    let labels: Vec<_> = table["label"].as_primitive::<Int32Type>().iter().collect();
    assert_eq!(labels, [Some(1), None, Some(0)]);
    let weights: Vec<_> = table["weight"]
        .as_primitive::<Float64Type>()
        .iter()
        .collect();
    assert_eq!(weights, [Some(1.5), None, Some(2.0)]);
    assert_eq!(texts(&table["metadata_width"])[0].as_deref(), Some("wide"));
    assert_eq!(table["width"].as_primitive::<Int32Type>().value(0), 5);
    assert_eq!(texts(&table["split"])[0].as_deref(), Some("train"));
}

#[test]
fn class_numbers_are_the_models_if_it_knows_every_label() {
    let golden = golden("plain.pt2");
    let project = Project::new();
    let names: Vec<String> = prospect_config::open_model(&golden, None)
        .unwrap()
        .sidecar
        .classes;
    let last = names.last().unwrap();
    project.write(&format!("{last}/1.png"), png(5, 5));
    project.scan(&[&format!("model.path={golden:?}")]).unwrap();
    let table = project.table("images");
    assert_eq!(
        table["label"].as_primitive::<Int32Type>().value(0),
        names.len() as i32 - 1
    );
    assert_eq!(project.table("classes").num_rows(), 1 + names.len());
}

#[test]
fn the_result_changes_only_with_what_later_stages_depend_on() {
    let project = Project::new();
    project.write("x/a.png", png(6, 6));
    project.write("y/b.png", png(7, 6));
    let result = |settings: &[&str]| project.scan(settings).unwrap()["result"].clone();
    let first = result(&[]);
    project.write("x/a.png", png(6, 6));
    assert_eq!(result(&[]), first, "rewritten with the same content");
    assert_ne!(result(&["images.labels=\"none\""]), first);
    project.write("x/a.png", png(6, 7));
    assert_ne!(result(&[]), first);
}

#[test]
fn an_interrupted_scan_can_be_resumed() {
    let project = Project::new();
    project.write("a.png", png(6, 6));
    let cancel = Cancel::default();
    cancel.request();
    assert!(matches!(
        project.scan_until(&[], &cancel),
        Err(Error::Interrupted)
    ));
    assert_eq!(project.scan(&[]).unwrap()["images"], 1);
}

#[test]
fn a_folder_without_images_is_an_error() {
    let project = Project::new();
    project.write("notes.txt", "x");
    let error = project.scan(&[]).unwrap_err().to_string();
    assert!(error.contains("1 other files"), "{error}");
}

#[test]
fn annotators_votes_become_labels_and_a_table() {
    let project = Project::new();
    for name in ["a.png", "b.png", "c.png"] {
        project.write(name, png(8, 8));
    }
    let csv = "file_name,n_cat,n_dog\na.png,3,1\nc.png,0,2\n";
    project.0.write("metadata.csv", csv);
    let settings = [
        "images.metadata='metadata.csv'",
        "images.labels='metadata'",
        "images.votes='n_*'",
    ];
    let error = project.scan(&["images.votes='n_*'"]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("[images] votes: needs [images] metadata"),
        "{error}"
    );
    let before = project.scan(&settings).unwrap();
    let images = project.table("images");
    let expected = [Some("cat"), None, Some("dog")].map(|label| label.map(String::from));
    assert_eq!(texts(&images["label_name"]), expected);
    assert!(images.column_by_name("n_cat").is_none());
    let votes = project.table("label_votes");
    assert_eq!(
        votes["image_id"].as_primitive::<UInt32Type>().values(),
        &[0, 2]
    );
    let agreement = votes["agreement"].as_primitive::<Float32Type>();
    assert_eq!(agreement.values(), &[0.75, 1.0]);
    // Later stages depend on the votes.
    project.0.write("metadata.csv", csv.replace("3,1", "3,2"));
    let after = project.scan(&settings).unwrap();
    assert_ne!(before["result"], after["result"]);
}

#[test]
fn labels_are_found_however_the_metadata_spells_the_paths() {
    let project = Project::new();
    for name in ["a/1.png", "a/2.png", "b/3.png"] {
        project.write(name, png(8, 8));
    }
    let dir = project.0.path("images").canonicalize().unwrap();
    let csv = format!(
        "Filename;Class\na\\1.png;owl\n{}/a/2.png;owl\n3.PNG;cat\n",
        dir.display()
    );
    project.0.write("meta.csv", csv);
    let settings = [
        "images.metadata=\"meta.csv\"",
        "images.labels=\"metadata\"",
        "images.max_bad_fraction=0.3",
    ];
    let summary = project.scan(&settings).unwrap();
    assert_eq!(
        (&summary["labelled"], &summary["classes"]),
        (&3.into(), &2.into())
    );
    assert_eq!(summary["metadata_rows_without_image"], 0);
    let labels = texts(&project.table("images")["label_name"]);
    let labels: Vec<&str> = labels.iter().flatten().map(String::as_str).collect();
    assert_eq!(labels, ["owl", "owl", "cat"]);
}

#[test]
fn metadata_about_other_images_is_refused_with_examples() {
    let project = Project::new();
    for name in ["1.png", "2.png", "3.png"] {
        project.write(name, png(8, 8));
    }
    let scan = |csv: &str, labels: &str| {
        project.0.write("meta.csv", csv);
        let labels = format!("images.labels={labels:?}");
        project.scan(&[
            "images.metadata=\"meta.csv\"",
            &labels,
            "images.max_bad_fraction=0.4",
        ])
    };
    let others = "file_name,label\nx.png,a\n1.png,a\ny.png,b\n";
    let error = scan(others, "folder").unwrap_err();
    assert_eq!(error.exit_code(), 65);
    let error = error.to_string();
    for words in [
        "2 of 3 rows without an image",
        "without an image: x.png",
        "without a row: 2.png",
    ] {
        assert!(error.contains(words), "{error}");
    }
    let few = "file_name,label\n1.png,a\n";
    let error = scan(few, "metadata").unwrap_err().to_string();
    assert!(error.contains("2 of 3 images without a row"), "{error}");
    assert_eq!(scan(few, "folder").unwrap()["images_without_metadata"], 2);
}
