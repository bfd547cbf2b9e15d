use std::{fs, io::Write};

use super::*;

fn read(name: &str, bytes: &[u8], columns: &LabelColumns) -> Result<(String, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let mut table = UserTable::read(&path, columns)?;
    let files = table.take_file_names()?.join(" ");
    let labels = table.take_text(LABEL)?;
    let labels = labels.map_or(String::new(), |labels| {
        let labels = labels.iter().map(|label| label.unwrap_or("-"));
        labels.collect::<Vec<_>>().join(" ")
    });
    Ok((format!("{files}: {labels}"), table.notes))
}

const LABELS: LabelColumns = LabelColumns {
    label: true,
    votes: &[],
    annotators: &[],
    file_column: None,
    label_column: None,
    split_column: None,
};

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_format_gives_the_same_table() {
    let csv = "file_name,label\na.jpg,01\nb.jpg,\n";
    let utf16: Vec<u8> = csv.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lines = "{\"file_name\": \"a.jpg\", \"label\": \"01\"}\n\n{\"file_name\": \"b.jpg\"}\n";
    let array = "[{\"label\": \"01\", \"file_name\": \"a.jpg\"}, {\"file_name\": \"b.jpg\", \"label\": null}]";
    for (name, bytes) in [
        ("m.csv", csv.as_bytes().to_vec()),
        ("m.csv", csv.replace('\n', "\r\n").into_bytes()),
        ("m.csv", csv.replace(',', ";").into_bytes()),
        ("m.txt", csv.replace(',', "\t").into_bytes()),
        ("m.tsv", csv.replace(',', "\t").into_bytes()),
        ("m.csv", [b"\xff\xfe", &utf16[..]].concat()),
        ("m.csv.gz", gz(csv.as_bytes())),
        ("m.tsv.gz", gz(csv.replace(',', "\t").as_bytes())),
        ("metadata.jsonl", lines.as_bytes().to_vec()),
        ("metadata.jsonl.gz", gz(lines.as_bytes())),
        ("m.json", array.as_bytes().to_vec()),
    ] {
        let (found, _) = read(name, &bytes, &LABELS).unwrap();
        assert_eq!(found, "a.jpg b.jpg: 01 -", "{name}: {bytes:?}");
    }
}

#[test]
fn usual_names_of_columns_are_recognised_and_said() {
    for (header, n_notes) in [
        ("file_name,label", 0),
        ("filename,label", 1),
        ("File_Name,Label", 2),
        ("image,class", 2),
        ("path,category", 2),
        ("file,LABEL", 2),
        ("Image Path,Class Name", 2),
    ] {
        let text = format!("{header}\na.jpg,7\n");
        let (found, notes) = read("m.csv", text.as_bytes(), &LABELS).unwrap();
        assert_eq!(found, "a.jpg: 7", "{header}");
        assert_eq!(notes.len(), n_notes, "{notes:?}");
    }
    // The usual names win.
    let text = "image,file_name,class,label\n1,a.jpg,2,7\n";
    assert_eq!(
        read("m.csv", text.as_bytes(), &LABELS).unwrap().0,
        "a.jpg: 7"
    );
}

#[test]
fn columns_may_be_named_in_the_settings() {
    let columns = LabelColumns {
        file_column: Some("photo"),
        label_column: Some("species"),
        ..LABELS
    };
    let text = "photo,species,label,file_name\na.jpg,owl,x,y\n";
    let (found, notes) = read("m.csv", text.as_bytes(), &columns).unwrap();
    assert_eq!((found.as_str(), notes.len()), ("a.jpg: owl", 0));
    let error = read("m.csv", b"file_name,species\n", &columns).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a column photo, because of [images] file_column"),
        "{error}"
    );
}

#[test]
fn what_is_no_table_is_refused_in_a_sentence() {
    for (bytes, words) in [
        (&b"PK\x03\x04rest"[..], "export the table as CSV"),
        (
            b"file_name,label\na,\"cat\nb,dog\n",
            "a quote on line 2 that is not closed",
        ),
        (b"{\"file_name\": \"a\"}\nb\n", "line 2: expected value"),
        (b"{\"images\": []\n}\n", "line 1"),
        (b"[{\"file_name\": \"a\"}, 3]", "expected an object"),
        (b"\x1f\x8bno", "decompressing"),
    ] {
        let error = read("m", bytes, &LABELS).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn json_columns_have_their_types_and_lists_stay_lists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.jsonl");
    let text = r#"{"file_name": "a", "n": 1, "x": 1, "ok": true, "word": "007", "bbox": [1, 2, 3, 4], "tags": ["p"], "more": {}}
{"file_name": "b", "n": 2, "x": 2.5}"#;
    fs::write(&path, text).unwrap();
    let table = UserTable::read(&path, &LABELS).unwrap();
    let kinds = |columns: &[Attribute]| -> Vec<String> {
        let kinds = columns.iter().map(|column| {
            let kind = column.values.data_type().to_string();
            format!("{} {}", column.name, kind.split('(').next().unwrap())
        });
        kinds.collect()
    };
    assert_eq!(
        kinds(&table.columns),
        [
            "file_name Utf8",
            "n Int64",
            "ok Boolean",
            "word Utf8",
            "x Float64"
        ]
    );
    assert_eq!(
        kinds(&table.others),
        ["bbox List", "more Struct", "tags List"]
    );
    assert_eq!(table.place(1), "line 2");
    let boxes = crate::boxes::Boxes::read(&path).unwrap_err().to_string();
    assert!(boxes.contains("another value in line 2"), "{boxes}");
}

#[test]
fn a_small_file_does_not_make_a_huge_table() {
    let refused = |name: &str, bytes: &[u8], why: &str| {
        let message = read(name, bytes, &LABELS).unwrap_err().to_string();
        assert!(message.contains(why), "{name}: {message}");
    };
    let names: Vec<String> = (0..10_001).map(|at| format!("c{at}")).collect();
    refused(
        "m.csv",
        names.join(",").as_bytes(),
        "10,001 columns of 0 rows",
    );
    // Every row has another column: the cells are the square of the text.
    let rows = |n: usize| -> String { (0..n).map(|at| format!("{{\"c{at}\":1}}\n")).collect() };
    refused(
        "m.jsonl",
        rows(10_001).as_bytes(),
        "10,001 columns of 10,001 rows",
    );
    refused(
        "m.jsonl",
        rows(9_000).as_bytes(),
        "9,000 columns of 9,000 rows",
    );
    let empty = gz(&vec![b'\n'; (64 << 20) + 1]);
    refused("m.csv.gz", &empty, "decompress it with gunzip");
}

#[test]
fn json_is_read_to_its_end() {
    for (text, why) in [
        ("[{\"file_name\":\"a\"}] x", "trailing characters"),
        ("[{\"file_name\":\"a\"},", "EOF"),
        ("[1]", "expected an object"),
        ("{\"file_name\":\"a\"} {}", "line 1: trailing characters"),
        (
            "{}\n[]",
            "line 2: invalid type: sequence, expected an object",
        ),
    ] {
        let message = read("m.json", text.as_bytes(), &LABELS)
            .unwrap_err()
            .to_string();
        assert!(message.contains(why), "{text}: {message}");
    }
    let twice = "{\"file_name\": \"a\", \"label\": 1, \"label\": 2}";
    assert_eq!(read("m.json", twice.as_bytes(), &LABELS).unwrap().0, "a: 2");
}
