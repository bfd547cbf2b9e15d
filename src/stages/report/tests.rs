use std::fs;

use super::{
    super::{
        patches,
        testing::{Fake, FakeImage, FakeLayer},
    },
    STAGE,
};
use crate::picture::Picture;

const HOSTILE: &str = "<script>alert('x')</script>\"\n\u{202e}gpj";

/// Names from strangers everywhere: labels, paths, errors, layers.
fn hostile() -> Fake {
    let long = "long ".repeat(60);
    let label = |id: usize| match id % 3 {
        0 => (0, HOSTILE.to_string()),
        1 => (1, long.clone()),
        _ => (2, "plain & simple".to_string()),
    };
    let n = 12;
    let images = (0..n)
        .map(|id| FakeImage {
            path: format!("image-{id:02}.png"),
            label: Some(label(id)),
            error: None,
            picture: Some(Picture::filled(20, 10, [id as u8; 3])),
        })
        .chain((0..60).map(|id| FakeImage {
            path: format!("bad-{id:02}-<img src=x onerror=alert(1)>\".png"),
            label: (id > 0).then(|| label(2)),
            error: Some(format!("not an image: {HOSTILE}")),
            picture: None,
        }))
        .collect();
    let channels = 4;
    Fake {
        dir: tempfile::tempdir().unwrap(),
        images,
        layers: vec![FakeLayer {
            name: "layer<b>\"1".into(),
            channels,
            height: 1,
            width: 2,
            field: Some([7, 2, -3]),
            max: (0..n * channels as usize)
                .map(|i| (i * 7 % 11) as f32)
                .collect(),
            argmax: (0..n * channels as usize).map(|i| (i % 2) as u16).collect(),
        }],
        // The network calls the second label 8 and the third 9; it does not know the first.
        network_classes: (0..8)
            .map(|c| format!("other {c}"))
            .chain([long.clone(), "plain & simple".into()])
            .collect(),
        predictions: (0..n as i32)
            .map(|id| {
                (
                    if id % 2 == 0 { 7 + id % 3 } else { 3 },
                    (id % 3 > 0).then_some(0.4),
                )
            })
            .collect(),
        part_size: 5,
    }
}

fn page(fake: &Fake, set: &[&str]) -> String {
    fake.write();
    fake.run_stage(&patches::STAGE, set).unwrap();
    fake.run_stage(&STAGE, set).unwrap();
    fs::read_to_string(fake.run().path("report/index.html")).unwrap()
}

/// The values of all attributes `name="…"`.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(start.as_str())
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn names_from_strangers_are_inert() {
    let fake = hostile();
    let html = page(
        &fake,
        &[&format!(
            "report.title={}",
            toml::Value::from("<b>\"Night & day\"</b>")
        )],
    );
    for bad in [
        "<script",
        "<img src=x",
        "<b>",
        "\u{202e}",
        "onerror=alert(1)>",
        "layer<b>",
    ] {
        assert!(!html.contains(bad), "{bad:?} in the page");
    }
    assert!(
        html.contains("&#60;script&#62;alert(&#39;x&#39;)"),
        "shown as text"
    );
    assert!(html.contains("\\u{202e}"), "made visible");
    assert!(html.contains("plain &#38; simple"));
    assert!(!html.contains(&"long ".repeat(20)), "cut");
    assert!(html.contains("default-src 'none'"));
    assert!(
        !html.contains("http:") && !html.contains("https:"),
        "no network"
    );
    // A name that broke out of an attribute or element would unbalance these.
    for element in [
        "li", "ul", "td", "span", "th", "tr", "bdi", "div", "section", "article", "dd", "a",
    ] {
        let opened = html.matches(&format!("<{element}>")).count()
            + html.matches(&format!("<{element} ")).count();
        assert_eq!(
            opened,
            html.matches(&format!("</{element}>")).count(),
            "<{element}>"
        );
    }
}

#[test]
fn the_page_says_what_the_tables_say() {
    let fake = hostile();
    let html = page(&fake, &[]);
    for expected in [
        ">72<", // images
        "10 more: query the table",
        "83.3 % of all files",
        // Ids 1, 2, 4, 5, 7, 8, 10, 11 have mapped labels; the even ones are right.
        "50.0 %",
        "4 of 8 images whose label",
        "41.5",
        "held up by the network, busy 97 % of the time",
        "tiny.pt2",
        "1 image without a label",
        "ReLU: 4 units of 1 × 2 cells; receptive field 7 × 7 pixels of the input, stride 2",
        "12 s",
    ] {
        assert!(html.contains(expected), "{expected:?} is not in the page");
    }
    let images = attributes(&html, "src");
    assert_eq!(images.len(), 4);
    assert_eq!(attributes(&html, "alt").len(), images.len());
    for source in images {
        let path = fake.run().path("report").join(source);
        assert!(path.is_file(), "{source}");
    }
    for target in attributes(&html, "href")
        .iter()
        .filter_map(|href| href.strip_prefix('#'))
    {
        assert!(attributes(&html, "id").contains(&target), "#{target}");
    }
}

#[test]
fn a_dataset_without_labels_or_bad_files_has_no_such_sections() {
    let mut fake = hostile();
    fake.images.truncate(12);
    for image in &mut fake.images {
        image.label = None;
    }
    fake.predictions = vec![(0, None); 12];
    let html = page(&fake, &[]);
    assert!(!html.contains("id=\"classes\"") && !html.contains("id=\"unreadable\""));
    assert!(!html.contains("Accuracy"));
    assert!(html.contains("lifetime sparseness"));
    assert!(html.contains("every file could be decoded"));
}
