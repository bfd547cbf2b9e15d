use arrow::array::AsArray;

use super::*;
use crate::{
    picture::Picture,
    progress::{Cancel, Progress, ProgressKind},
    stages::testing::{Fake, FakeImage},
};

fn fake() -> Fake {
    let fake = Fake {
        dir: tempfile::tempdir().unwrap(),
        images: (0..5)
            .map(|id| FakeImage {
                path: format!("{}/{id}.png", ["cat", "dog"][id % 2]),
                label: Some((id as i32 % 2, ["cat", "dog"][id % 2].to_string())),
                error: (id == 4).then(|| "broken".to_string()),
                // The file of image 3 is gone.
                picture: (id != 3).then(|| Picture::filled(20, 10, [40 * id as u8, 90, 200])),
            })
            .collect(),
        layers: Vec::new(),
        network_classes: Vec::new(),
        predictions: vec![(0, None); 4],
        part_size: 10,
    };
    fake.write();
    fake
}

fn issue(image_id: u32, kind: Kind, other_id: Option<u32>, flagged: bool) -> Issue {
    let finding = Finding {
        image_id,
        kind,
        score: 0.25,
        flagged,
        suggested_label: (kind == Kind::Label).then_some(1),
        other_id,
        evidence: "labelled cat; <b>18 of 20</b> neighbours are dogs".into(),
    };
    Issue { rank: 1, finding }
}

#[test]
fn sheets_show_what_can_be_seen() {
    let fake = fake();
    let (run, config) = (fake.run(), fake.config(&[]));
    let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
    let ctx = Context::new(&config, &run, &progress, &cancel);
    let issues = [
        issue(0, Kind::Label, None, false),
        issue(1, Kind::DuplicateExact, Some(3), true),
        issue(2, Kind::Dark, None, true),
        issue(3, Kind::Bright, None, false),
        issue(4, Kind::Unreadable, None, true),
    ];
    let mut drawn = Vec::new();
    pictures::draw(&ctx, &run.manifest().unwrap(), &issues, |kind, png| {
        assert!(png.starts_with(b"\x89PNG"));
        drawn.push(kind);
        Ok(())
    })
    .unwrap();
    // Labels are shown as candidates, too; other kinds only where they are flagged.
    assert_eq!(drawn, [Kind::Label, Kind::DuplicateExact, Kind::Dark]);
}

#[test]
fn rows_say_what_was_found() {
    let issues = [
        issue(0, Kind::Label, None, true),
        issue(1, Kind::Leak, Some(3), false),
    ];
    let table = tables::issues(&issues).unwrap();
    let kinds = table["kind"].as_string::<i32>();
    assert_eq!([kinds.value(0), kinds.value(1)], ["label", "leak"]);
    let others = table["other_id"].as_primitive::<arrow::datatypes::UInt32Type>();
    assert_eq!(others.iter().collect::<Vec<_>>(), [None, Some(3)]);
    let flagged = flagged(&issues);
    assert_eq!(flagged, BTreeMap::from([(Kind::Label, 1)]));
    assert_eq!(line(&flagged), "1 label");
    assert_eq!(line(&BTreeMap::new()), "nothing found");
}
