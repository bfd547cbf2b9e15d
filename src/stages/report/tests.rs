use std::{fs, path::PathBuf};

use prospect_dataset::image::{DecodeOptions, decode};
use prospect_engine::schema::issues;
use prospect_findings::Kind;
use prospect_output::picture::Picture;
use prospect_testing::{Fake, FakeImage, FakeLayer, add_tables};
use serde_json::{Value, json};

use super::{
    super::STAGES,
    STAGE,
    frame::{PAGES, script},
};

const HOSTILE: &str = "<script>alert('x')</script>\"\n\u{202e}gpj";
/// Number of readable and of unreadable images.
const GOOD: usize = 12;
const BAD: usize = 60;

/// Hostile names everywhere: labels, paths, errors, layers.
fn hostile() -> Fake {
    let long = "long ".repeat(60);
    let label = |id: usize| match id % 3 {
        0 => (0, HOSTILE.to_string()),
        1 => (1, long.clone()),
        _ => (2, "plain & simple".to_string()),
    };
    let good = (0..GOOD).map(|id| FakeImage {
        path: format!("image-{id:02}-</script><b>{{{{.png"),
        label: Some(label(id)),
        error: None,
        picture: None,
    });
    let bad = (0..BAD).map(|id| FakeImage {
        path: format!("bad-{id:02}-<img src=x onerror=alert(1)>\".png"),
        label: (id > 0).then(|| label(2)),
        error: Some(format!("not an image: {HOSTILE}")),
        picture: None,
    });
    let channels = 4;
    let n = GOOD * channels as usize;
    Fake {
        project: Fake::default().project.with_stages(STAGES),
        images: good.chain(bad).collect(),
        layers: vec![FakeLayer {
            name: "layer<b>\"1".into(),
            channels,
            height: 1,
            width: 2,
            field: Some([7, 2, -3]),
            max: (0..n).map(|i| (i * 7 % 11) as f32).collect(),
            argmax: (0..n).map(|i| (i % 2) as u16).collect(),
        }],
        network_classes: (0..10).map(|c| format!("{HOSTILE} {c}")).collect(),
        predictions: (0..GOOD as i32).map(|id| (id % 10, None)).collect(),
        part_size: 5,
    }
}

/// Findings as the audit writes them: every second image has a doubtful label, image 3 is a copy of image 1, and the first bad
/// file is unreadable.
fn find(fake: &Fake) {
    let mut ids: Vec<u32> = (0..GOOD as u32).step_by(2).collect();
    let labels = ids.len();
    ids.extend([3, GOOD as u32]);
    let rows = || 0..ids.len();
    let kind = |row: usize| match row.checked_sub(labels) {
        None => "label",
        Some(row) => ["duplicate_near", "unreadable"][row],
    };
    let issues = issues::Columns {
        image_id: ids.clone().into(),
        kind: rows().map(|row| Some(kind(row))).collect(),
        score: rows().map(|row| row as f32 / 10.0).collect(),
        flagged: rows().map(|row| Some(row != 1)).collect(),
        suggested_label: rows().map(|row| (row < labels).then_some(2)).collect(),
        evidence: (rows().map(|row| Some(format!("labelled {HOSTILE}, row {row}")))).collect(),
        rank: rows().map(|row| row as i32 + 1).collect(),
        other_id: rows().map(|row| (row == labels).then_some(1)).collect(),
        reviewed: rows().map(|row| (row == 1).then_some("ok")).collect(),
        note: rows().map(|_| None::<&str>).collect(),
    };
    let tables = [(issues::NAME, issues.batch().unwrap())];
    add_tables(&fake.run(), "audit", &tables);
}

fn report(fake: &Fake, set: &[&str]) -> PathBuf {
    fake.run_stage(&STAGE, set).unwrap();
    fake.run().path("report")
}

/// The values of all attributes `name="…"`.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    let rest = html.split(start.as_str()).skip(1);
    rest.filter_map(|rest| rest.split('"').next()).collect()
}

/// The value of a data file.
fn data(report: &std::path::Path, name: &str) -> Value {
    let text = fs::read_to_string(report.join(format!("data/{name}.js"))).unwrap();
    assert!(!text.contains('<') && !text.contains('\u{2028}'), "{name}");
    let json = text
        .strip_prefix(&format!("prospect.data(\"{name}\", "))
        .unwrap();
    serde_json::from_str(json.strip_suffix(");\n").unwrap()).unwrap()
}

#[test]
fn hostile_names_are_inert_on_every_page() {
    let fake = hostile();
    fake.write();
    find(&fake);
    let title = format!(
        "report.title={}",
        toml::Value::from("<b>\"Night & day\"</b>")
    );
    let report = report(&fake, &[&title]);
    for (page, _) in PAGES {
        let html = fs::read_to_string(report.join(format!("{page}.html"))).unwrap();
        for bad in [
            "<script>",
            "</script><b>",
            "<img src=x",
            "<b>",
            "\u{202e}",
            "onerror=alert(1)>",
        ] {
            assert!(!html.contains(bad), "{bad:?} in {page}");
        }
        assert!(
            html.contains("default-src 'none'") && !html.contains("unsafe"),
            "{page}"
        );
        assert!(
            !html.contains("http:") && !html.contains("https:"),
            "no network: {page}"
        );
        assert!(!html.contains(&"long ".repeat(20)), "cut: {page}");
        assert!(
            !html.contains(" style=") && !html.contains(" onclick="),
            "{page}"
        );
        // A name that escapes its attribute or element would unbalance these.
        for element in [
            "li", "ul", "ol", "td", "span", "th", "tr", "bdi", "div", "section", "article", "dd",
            "a", "p", "code",
        ] {
            let opened = html.matches(&format!("<{element}>")).count()
                + html.matches(&format!("<{element} ")).count();
            assert_eq!(
                opened,
                html.matches(&format!("</{element}>")).count(),
                "<{element}> in {page}"
            );
        }
    }
    let files = fs::read_to_string(report.join("files.html")).unwrap();
    assert!(
        files.contains("&#60;script&#62;alert(&#39;x&#39;)"),
        "shown as text"
    );
    assert!(files.contains("\\u{202e}"), "made visible");
    let findings = data(&report, "findings");
    let first = &findings["findings"][0];
    assert_eq!(first["label"], HOSTILE);
    assert_eq!(first["path"], "image-00-</script><b>{{.png");
}

#[test]
fn every_link_and_every_picture_exists() {
    let fake = hostile();
    fake.write();
    find(&fake);
    let report = report(&fake, &[]);
    let records = data(&report, "images-000");
    assert_eq!(data(&report, "index")["shards"], json!(["000"]));
    for (page, _) in PAGES {
        let html = fs::read_to_string(report.join(format!("{page}.html"))).unwrap();
        for name in ["href", "src"] {
            for target in attributes(&html, name) {
                let path = target.split('#').next().unwrap();
                assert!(
                    path.is_empty() || report.join(path).is_file(),
                    "{target} of {page}"
                );
            }
        }
        for id in attributes(&html, "data-images")
            .iter()
            .flat_map(|ids| ids.split(' '))
        {
            assert!(!records[id].is_null(), "image {id} of {page}");
        }
    }
    for id in 0..GOOD + BAD {
        let path = report.join(format!("thumbs/000/{id:06}.jpg"));
        let record = &records[id.to_string()];
        assert_eq!(path.is_file(), id < GOOD, "{id}");
        assert_eq!(record["thumb"], id < GOOD, "{id}");
        assert_eq!(
            record["large"] == true,
            report.join(format!("large/000/{id:06}.jpg")).is_file()
        );
    }
}

#[test]
fn records_contain_label_prediction_and_findings() {
    let fake = hostile();
    fake.write();
    find(&fake);
    let report = report(&fake, &[]);
    let records = data(&report, "images-000");
    assert_eq!(records["2"]["label"], "plain & simple");
    assert_eq!(records["2"]["pred"][0], format!("{HOSTILE} 2"));
    assert_eq!(records["2"]["issues"][0]["reviewed"], "ok");
    assert_eq!(records["2"]["issues"][0]["flagged"], false);
    assert_eq!(records["3"]["issues"][0]["other"], 1);
    assert!(records["5"]["issues"].is_null());
    assert!(
        records["20"]["error"]
            .as_str()
            .unwrap()
            .contains("not an image")
    );
    let findings = data(&report, "findings");
    assert_eq!(findings["findings"].as_array().unwrap().len(), GOOD / 2 + 2);
    assert_eq!(
        findings["kinds"],
        json!([
            ["label", "Suspicious labels", 6, "label"],
            ["duplicate_near", "Near-duplicates", 1, "pair"],
            ["unreadable", "Unreadable files", 1, "file"]
        ])
    );
    assert_eq!(findings["findings"][0]["suggested"], "plain & simple");
}

#[test]
fn every_kind_is_listed_and_counted_on_its_page() {
    let fake = hostile();
    fake.write();
    find(&fake);
    let report = report(&fake, &[]);
    let read = |page: &str| fs::read_to_string(report.join(format!("{page}.html"))).unwrap();
    let index = read("index");
    for (kind, link) in [
        (Kind::Label, "labels.html#label"),
        (Kind::DuplicateNear, "duplicates.html#duplicate_near"),
        (Kind::Unreadable, "files.html#unreadable"),
    ] {
        let heading = kind.heading();
        assert!(
            index.contains(&format!("<a href=\"{link}\">{heading}</a>")),
            "{link}"
        );
    }
    assert!(index.contains("No dark photos.") && !index.contains("No unreadable files."));
    assert!(index.contains("Duplicates <span class=\"count\">1</span>"));
    assert!(read("labels").contains("5 suspicious labels."));
    let files = read("files");
    assert!(files.contains("1 unreadable file.") && files.contains("id=\"unreadable\""));
    let groups = data(&report, "groups");
    assert_eq!(
        groups["kinds"][3],
        json!(["leak", "Leaks between splits", "leak between splits"])
    );
    assert_eq!(groups["groups"][0]["images"], json!([1, 3]));
    assert_eq!(groups["groups"][0]["findings"], json!(["duplicate_near"]));
    for kind in Kind::ALL {
        let page = kind.info().page.name();
        assert!(PAGES.iter().any(|(name, _)| *name == page), "{page}");
    }
}

#[test]
fn the_image_limit_keeps_findings_first() {
    let fake = hostile();
    fake.write();
    find(&fake);
    let report = report(&fake, &["report.images=9"]);
    let records = data(&report, "images-000");
    let ids: Vec<u32> = records
        .as_object()
        .unwrap()
        .keys()
        .map(|id| id.parse().unwrap())
        .collect();
    assert_eq!(ids.len(), 9);
    for id in [0, 1, 2, 3, 4, 6, 8, 10] {
        assert!(ids.contains(&id), "{id}");
    }
}

#[test]
fn without_findings_the_pages_name_the_stage_to_run() {
    let fake = hostile();
    fake.write();
    let report = report(&fake, &[]);
    let read = |page: &str| fs::read_to_string(report.join(format!("{page}.html"))).unwrap();
    assert!(read("index").contains("prospect run audit"));
    assert!(read("labels").contains("prospect run audit"));
    assert!(read("duplicates").contains("prospect run duplicates"));
    assert!(read("files").contains("prospect run audit"));
    let run = read("run");
    assert!(
        run.contains("41.5") && run.contains("busy 97.0 % of the time") && run.contains("tiny.pt2")
    );
}

#[test]
fn equal_tables_give_equal_files() {
    let whole = hostile();
    whole.write();
    find(&whole);
    let first = report(&whole, &[]);
    let again = hostile();
    again.write();
    find(&again);
    let second = report(&again, &[]);
    for file in [
        "data/findings.js",
        "data/images-000.js",
        "data/index.js",
        "thumbs/000/000003.jpg",
    ] {
        assert_eq!(
            fs::read(first.join(file)).unwrap(),
            fs::read(second.join(file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn a_data_file_cannot_close_a_script_element() {
    let text = script("a", &json!({ "x": "</script><!--\u{2028}\u{2029}" }));
    assert!(!text.contains('<') && !text.contains('\u{2028}') && !text.contains('\u{2029}'));
    let json = text
        .strip_prefix("prospect.data(\"a\", ")
        .unwrap()
        .strip_suffix(");\n")
        .unwrap();
    let value: Value = serde_json::from_str(json).unwrap();
    assert_eq!(value["x"], "</script><!--\u{2028}\u{2029}");
}

#[test]
fn thumbnails_of_small_images_are_not_enlarged() {
    let mut fake = hostile();
    for (id, image) in fake.images.iter_mut().enumerate().take(GOOD) {
        image.path = format!("{id:02}.png");
        image.picture = Some(Picture::filled(
            if id == 0 { 300 } else { 20 },
            10,
            [id as u8; 3],
        ));
    }
    fake.write();
    let report = report(&fake, &[]);
    let size = |id: usize| {
        let bytes = fs::read(report.join(format!("thumbs/000/{id:06}.jpg"))).unwrap();
        let options = DecodeOptions {
            max_pixels: 1 << 20,
            exif_orientation: true,
            depth: Default::default(),
        };
        let image = decode(&bytes, &options).unwrap();
        (image.width, image.height)
    };
    assert_eq!(size(0).0, 128);
    assert_eq!(size(1), (20, 10));
}
