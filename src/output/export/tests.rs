//! Writes every format for images with hostile names and labels, and reads it back without its tool.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Float32Type, Int64Type, UInt32Type},
};
use clap::ValueEnum;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prospect_store::read_parquet;
use serde_json::Value;

use super::{
    writer::{literal, word},
    *,
};
use crate::picture::Picture;

const HOSTILE: [&str; 3] = [
    "=cmd|' \"/C\"'!A1/<script>alert(1)</script>\n\t,;.png",
    "test-00000-of-00001/[a]*{b}.JPG",
    "-\u{202e}gpj.exe/100% ../ok.png",
];

fn outline(images: &Path) -> Outline {
    Outline {
        images: images.to_path_buf(),
        rows: 3,
        classes: vec!["@cat\t\"1\"".into(), "dog\n</script>".into()],
        splits: vec![None, Some("te\"st\n".into()), Some("train".into())],
        maps: vec!["pca".into(), "umap".into()],
        probe_classes: vec![0, 1],
    }
}

/// Three images: the first with everything, the second without a label, the last without anything.
fn records() -> Vec<Record> {
    let predicted = |class: i32, name: &str| {
        Some(Prediction {
            class,
            name: name.into(),
            confidence: 0.75,
        })
    };
    let finding = |kind: &str| Finding {
        kind: kind.into(),
        score: 0.25,
        evidence: "=labelled \"cat\",\nprobe says dog".into(),
    };
    let full = Record {
        image_id: 7,
        path: HOSTILE[0].into(),
        size: [20, 10],
        split: Some("train".into()),
        label: Some(0),
        prediction: predicted(900, "+tabby\tcat"),
        probe: predicted(1, "dog\n</script>"),
        suggested: Some(1),
        label_score: Some(0.125),
        label_issue: Some(true),
        findings: vec![finding("label"), finding("leak"), finding("leak")],
        coordinates: vec![Some([1.0, 2.0]), Some([3.0, 4.5])],
        features: Some(vec![0.5, -1.25e-8]),
        probabilities: Some(vec![0.25, 0.75]),
        neighbors: vec![(2, 0.5), (1, 1.5)],
        thumbnail: Some(Picture::filled(8, 4, [200, 0, 0])),
        boxes: vec![[1.0, 2.0, 11.0, 6.0], [0.0, 0.0, 2.0, 2.0]],
        ..Record::default()
    };
    let unlabelled = Record {
        image_id: 8,
        path: HOSTILE[1].into(),
        size: [5, 5],
        split: Some("te\"st\n".into()),
        coordinates: vec![Some([5.0, 6.0]), None],
        features: Some(vec![f32::NAN, 0.0]),
        probabilities: Some(vec![0.5, 0.5]),
        neighbors: vec![(0, 0.5)],
        ..Record::default()
    };
    let bare = Record {
        image_id: 1010,
        path: HOSTILE[2].into(),
        size: [5, 5],
        label: Some(1),
        coordinates: vec![None, None],
        features: Some(vec![1.0, 2.0]),
        ..Record::default()
    };
    vec![full, unlabelled, bare]
}

struct Exported {
    dir: tempfile::TempDir,
    summary: Summary,
}

impl Exported {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("export").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    fn parquet(&self, name: &str) -> RecordBatch {
        let path = self.path(name);
        let batches = read_parquet(&path, fs::read(&path).unwrap()).unwrap();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    }
}

/// Writes the records; the files of those in `missing` do not exist.
fn export(format: Format, how: Images, missing: &[usize]) -> Exported {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    for (at, path) in HOSTILE.iter().enumerate() {
        let path = photos.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !missing.contains(&at) {
            fs::write(path, format!("image {at}")).unwrap();
        }
    }
    let folder = Folder::begin(&dir.path().join("export"), format).unwrap();
    let mut writer = format.writer(&folder, outline(&photos), how, 8).unwrap();
    for record in records() {
        writer.write(&folder, record).unwrap();
    }
    let summary = writer.finish(&folder).unwrap();
    folder.finish(summary.rows).unwrap();
    Exported { dir, summary }
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Vec<Option<&'b str>> {
    batch[name].as_string::<i32>().iter().collect()
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    let outline = outline(Path::new("/data"));
    let file = |path: &str| {
        let record = Record {
            path: path.into(),
            ..Record::default()
        };
        outline.file(&record)
    };
    assert_eq!(file("a/b\n\"c.png"), Some("/data/a/b\n\"c.png".into()));
    for path in ["../secret.png", "a/../../secret.png", "/etc/passwd", ""] {
        assert_eq!(file(path), None, "{path}");
    }
}

#[test]
fn paths_are_quoted() {
    assert_eq!(literal(Path::new("a \"b\"\n")), r#""a \"b\"\n""#);
    assert_eq!(word(Path::new("it's")), r"'it'\''s'");
}

#[test]
fn format_names_equal_those_of_the_command_line() {
    for format in Format::value_variants() {
        let value = format.to_possible_value().unwrap();
        assert_eq!(value.get_name(), format.name());
        let json = serde_json::to_value(format).unwrap();
        assert_eq!(json, Value::from(format.name()));
    }
}

#[test]
fn huggingface_has_one_folder_per_split_with_images_and_rows() {
    let done = export(Format::Huggingface, Images::Link, &[]);
    assert_eq!(done.summary.rows, 3);
    // Splits that the loader does not recognise by name come from the card.
    assert!(
        done.summary.open.starts_with("datasets.load_dataset(\"/"),
        "{}",
        done.summary.open
    );
    for (split, at, name) in [
        ("train", 0, "000/000007.png"),
        ("te_st_", 1, "000/000008.jpg"),
        ("unsplit", 2, "001/001010.png"),
    ] {
        let batch = done.parquet(&format!("{split}/metadata.parquet"));
        assert_eq!(texts(&batch, "file_name"), [Some(name)]);
        assert_eq!(texts(&batch, "path"), [Some(HOSTILE[at])]);
        let image = done.text(&format!("{split}/{name}"));
        assert_eq!(image, format!("image {at}"));
        assert!(
            done.text("README.md")
                .contains(&format!("path: \"{split}/**\""))
        );
    }
    let batch = done.parquet("train/metadata.parquet");
    assert_eq!(batch["label"].as_primitive::<Int64Type>().value(0), 0);
    assert_eq!(texts(&batch, "suggested_label"), [Some("dog\n</script>")]);
    let kinds = batch["findings"].as_list::<i32>().value(0);
    let kinds: Vec<_> = kinds.as_string::<i32>().iter().flatten().collect();
    assert_eq!(kinds, ["label", "leak"]);
    // Batches have no metadata.
    let file = fs::File::open(done.path("train/metadata.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let info: Value = serde_json::from_str(&reader.schema().metadata()["huggingface"]).unwrap();
    assert_eq!(info["info"]["features"]["label"]["names"][0], "@cat\t\"1\"");
}

#[test]
fn labels_are_corrected_by_reviews_and_linked_by_class() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    fs::create_dir_all(&photos).unwrap();
    let write = |classes: [&str; 2], splits: Vec<Option<String>>, how: Images| {
        let review = |verdict: &str, label: Option<i32>| {
            let verdict = verdict.to_string();
            Some(Review { verdict, label })
        };
        let reviews = [
            None,
            review("ok", Some(1)),
            review("fix", Some(0)),
            review("fix", None),
        ];
        let outline = Outline {
            images: photos.clone(),
            rows: 5,
            classes: classes.map(String::from).to_vec(),
            splits,
            ..Outline::default()
        };
        let folder = Folder::begin(&dir.path().join("export"), Format::Labels)?;
        let mut writer = Format::Labels.writer(&folder, outline, how, 0)?;
        for (id, review) in (0..).zip(reviews) {
            let path = format!("{id}.png");
            fs::write(photos.join(&path), "png").unwrap();
            let (label, image_id) = (Some(1), id);
            writer.write(
                &folder,
                Record {
                    image_id,
                    path,
                    label,
                    review,
                    ..Record::default()
                },
            )?;
        }
        let unlabelled = Record {
            path: "0.png".into(),
            ..Record::default()
        };
        writer.write(&folder, unlabelled)?;
        let summary = writer.finish(&folder)?;
        folder.finish(summary.rows)?;
        Ok::<Summary, prospect_common::Error>(summary)
    };
    let summary = write(["cat", "dog"], vec![None], Images::Link).unwrap();
    assert_eq!(summary.rows, 3);
    assert_eq!(
        summary.remarks,
        [
            "1 label corrected and 1 label confirmed by reviews",
            "left out 1 image whose label is wrong and the right one unknown",
            "left out 1 image without a label"
        ]
    );
    let export = dir.path().join("export");
    assert_eq!(
        fs::read_to_string(export.join("labels.csv")).unwrap(),
        "path,given_label,label,verdict,split\n0.png,dog,dog,,\n1.png,dog,dog,ok,\n2.png,dog,cat,fix,\n"
    );
    let path = export.join("labels.parquet");
    let batches = read_parquet(&path, fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        texts(&batches[0], "label"),
        [Some("dog"), Some("dog"), Some("cat")]
    );
    for link in [
        "dog/000/000000.png",
        "dog/000/000001.png",
        "cat/000/000002.png",
    ] {
        assert!(export.join("images").join(link).is_file(), "{link}");
    }
    let splits = vec![None, Some("test".to_string())];
    write(["cat", "dog"], splits, Images::Link).unwrap();
    assert!(export.join("images/unsplit/dog/000/000000.png").is_file());
    for class in ["../x", "a/b", "..", "", "a\\b"] {
        let error = write(["cat", class], vec![None], Images::Link).unwrap_err();
        assert!(error.to_string().contains("not a possible name"), "{error}");
        write(["cat", class], vec![None], Images::None).unwrap();
    }
    assert!(!export.join("images").exists());
}

#[test]
fn huggingface_without_images_refers_to_the_original_ones() {
    let done = export(Format::Huggingface, Images::None, &[]);
    let batch = done.parquet("metadata.parquet");
    assert_eq!(texts(&batch, "file_name"), HOSTILE.map(Some));
    assert!(
        done.summary.open.contains("photos"),
        "{}",
        done.summary.open
    );
    let done = export(Format::Huggingface, Images::Copy, &[0, 2]);
    assert_eq!(done.summary.rows, 1);
    assert!(done.summary.remarks[0].starts_with("skipped 2 missing images"));
    assert!(!done.path("train").join("metadata.parquet").exists());
}

#[test]
fn fiftyone_declares_every_field_of_its_samples() {
    let done = export(Format::Fiftyone, Images::Link, &[]);
    let metadata = done.json("metadata.json");
    let fields = metadata["sample_fields"].as_array().unwrap();
    let declared: BTreeSet<&str> = (fields.iter())
        .map(|field| field["db_field"].as_str().unwrap())
        .collect();
    let samples = done.json("samples.json");
    let samples = samples["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 3);
    for (sample, path) in samples.iter().zip(HOSTILE) {
        for name in sample.as_object().unwrap().keys() {
            assert!(declared.contains(name.as_str()), "{name}");
        }
        let file = done.dir.path().join("photos").join(path);
        assert_eq!(sample["filepath"], file.to_str().unwrap());
    }
    let [full, _, bare] = &samples[..] else {
        panic!("three samples");
    };
    assert_eq!(full["tags"], serde_json::json!(["train", "label", "leak"]));
    assert_eq!(full["ground_truth"]["label"], "@cat\t\"1\"");
    assert_eq!(full["prediction"]["confidence"], 0.75);
    let findings = full["findings"]["classifications"].as_array().unwrap();
    let ids: BTreeSet<&str> = (findings.iter())
        .map(|finding| finding["_id"]["$oid"].as_str().unwrap())
        .collect();
    assert_eq!((findings.len(), ids.len()), (3, 3));
    assert_eq!(
        (&full["umap_x"], &full["umap_y"]),
        (&3.0.into(), &4.5.into())
    );
    assert_eq!(
        (&bare["probe"], &bare["umap_x"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn coco_has_bounding_boxes_or_whole_images() {
    let done = export(Format::Coco, Images::Link, &[]);
    let coco = done.json("annotations.json");
    let images = coco["images"].as_array().unwrap();
    assert_eq!(images[0]["file_name"], HOSTILE[0]);
    assert_eq!(
        (&images[0]["width"], &images[0]["height"]),
        (&20.into(), &10.into())
    );
    assert_eq!(coco["categories"][1]["id"], 2);
    let boxes: Vec<(&Value, &Value, &Value)> = (coco["annotations"].as_array().unwrap().iter())
        .map(|one| (&one["id"], &one["image_id"], &one["bbox"]))
        .collect();
    let expected = [
        serde_json::json!([1, 7, [1.0, 2.0, 10.0, 4.0]]),
        serde_json::json!([2, 7, [0.0, 0.0, 2.0, 2.0]]),
        serde_json::json!([3, 1010, [0.0, 0.0, 5.0, 5.0]]),
    ];
    assert_eq!(boxes.len(), expected.len());
    for (found, expected) in boxes.iter().zip(&expected) {
        assert_eq!(*found, (&expected[0], &expected[1], &expected[2]));
    }
    let predictions = done.json("predictions.json");
    assert_eq!(predictions.as_array().unwrap().len(), 1);
    assert_eq!(predictions[0]["category_id"], 2);
    assert!(!done.path("annotations.spool").exists());
}

#[test]
fn cleanlab_has_a_row_per_predicted_label_and_escapes_formulas() {
    let done = export(Format::Cleanlab, Images::Link, &[]);
    assert_eq!(done.summary.rows, 1);
    assert!(done.summary.remarks[0].starts_with("skipped 2 images"));
    let bytes = fs::read(done.path("pred_probs.npy")).unwrap();
    assert_eq!(
        bytes[128..],
        [0.25_f32.to_le_bytes(), 0.75_f32.to_le_bytes()].concat()
    );
    let bytes = fs::read(done.path("labels.npy")).unwrap();
    assert_eq!(bytes[128..], 0_i64.to_le_bytes());
    assert_eq!(done.json("classes.json")[1], "dog\n</script>");
    let rows = |name: &str| -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_path(done.path(name)).unwrap();
        let rows = reader
            .records()
            .map(|row| row.unwrap().iter().map(String::from).collect());
        rows.collect()
    };
    let images = rows("images.csv");
    assert_eq!(images.len(), 1);
    assert_eq!(
        images[0],
        [
            "0",
            "7",
            &format!("'{}", HOSTILE[0]),
            "train",
            "0",
            "'@cat\t\"1\"",
            "'+tabby\tcat",
            "0.75",
            "dog\n</script>",
            "0.75",
            "dog\n</script>",
            "0.125",
            "true"
        ]
    );
    let issues = rows("issues.csv");
    assert_eq!(issues.len(), 3);
    assert_eq!(
        issues[1][3..],
        ["leak", "0.25", "'=labelled \"cat\",\nprobe says dog"]
    );
}

#[test]
fn tensorboard_has_a_line_per_point() {
    let done = export(Format::Tensorboard, Images::Link, &[]);
    assert_eq!(done.summary.rows, 2);
    assert_eq!(done.text("tensors.tsv"), "0.5\t-0.0000000125\n1\t2\n");
    let metadata = done.text("metadata.tsv");
    let lines: Vec<Vec<&str>> = metadata
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|cells| cells.len() == 10), "{lines:?}");
    assert_eq!(lines[1][1], "@cat\\t\"1\"");
    assert_eq!(lines[1][7], "label, leak");
    assert!(lines[2][9].starts_with("-\\u{202e}gpj"), "{lines:?}");
    let config = done.text("projector_config.pbtxt");
    assert!(config.contains("single_image_dim: 8"), "{config}");
    let sprite = image::open(done.path("sprite.png")).unwrap().to_rgb8();
    assert_eq!(sprite.dimensions(), (16, 16));
    assert_eq!(sprite.get_pixel(3, 3).0, [200, 0, 0]);
}

#[test]
fn the_atlas_has_coordinates_neighbours_and_thumbnails() {
    let done = export(Format::EmbeddingAtlas, Images::Link, &[]);
    assert!(
        done.summary
            .open
            .ends_with("--x umap_x --y umap_y --neighbors neighbors --image thumbnail"),
        "{}",
        done.summary.open
    );
    let batch = done.parquet("images.parquet");
    let umap = batch["umap_y"].as_primitive::<Float32Type>();
    assert_eq!(umap.iter().collect::<Vec<_>>(), [Some(4.5), None, None]);
    let ids = batch["image_id"].as_primitive::<UInt32Type>();
    assert_eq!(ids.values()[..], [7, 8, 1010]);
    let neighbors = batch["neighbors"].as_struct();
    let ids = neighbors["ids"].as_list::<i32>().value(0);
    assert_eq!(ids.as_primitive::<Int64Type>().values()[..], [2, 1]);
    let distances = neighbors["distances"].as_list::<i32>().value(0);
    assert_eq!(
        distances.as_primitive::<Float32Type>().values()[..],
        [0.5, 1.5]
    );
    assert_eq!(neighbors["ids"].as_list::<i32>().value(2).len(), 0);
    assert_eq!(texts(&batch, "findings"), [Some("label, leak"), None, None]);
    let thumbnails = batch["thumbnail"].as_struct();
    let bytes = thumbnails["bytes"].as_binary::<i32>();
    let decoded = prospect_dataset::image::decode(
        bytes.value(0),
        &prospect_dataset::image::DecodeOptions {
            max_pixels: 100,
            exif_orientation: true,
            depth: Default::default(),
        },
    );
    assert_eq!(decoded.map(|image| (image.width, image.height)), Ok((8, 4)));
    assert!(bytes.is_null(1));
}
