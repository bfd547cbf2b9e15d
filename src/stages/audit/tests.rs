use arrow::array::AsArray;
use prospect_output::picture::Picture;
use prospect_testing::{Fake, FakeImage};

use super::*;

fn fake() -> Fake {
    let fake = Fake {
        images: (0..5)
            .map(|id| FakeImage {
                path: format!("{}/{id}.png", ["cat", "dog"][id % 2]),
                label: Some((id as i32 % 2, ["cat", "dog"][id % 2].to_string())),
                error: (id == 4).then(|| "broken".to_string()),
                // The file of image 3 is missing.
                picture: (id != 3).then(|| Picture::filled(20, 10, [40 * id as u8, 90, 200])),
            })
            .collect(),
        predictions: vec![(0, None); 4],
        part_size: 10,
        ..Fake::default()
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
    Issue {
        rank: 1,
        finding,
        review: None,
    }
}

#[test]
fn sheets_show_visible_findings() {
    let fake = fake();
    let issues = [
        issue(0, Kind::Label, None, false),
        issue(1, Kind::DuplicateExact, Some(3), true),
        issue(2, Kind::Dark, None, true),
        issue(3, Kind::Bright, None, false),
        issue(4, Kind::Unreadable, None, true),
    ];
    let mut drawn = Vec::new();
    fake.read(&[], |ctx, manifest| {
        pictures::draw(ctx, manifest, &issues, |kind, png| {
            assert!(png.starts_with(b"\x89PNG"));
            drawn.push(kind);
            Ok(())
        })
        .unwrap();
    });
    // Label candidates are shown, too; other kinds only if flagged.
    assert_eq!(drawn, [Kind::Label, Kind::DuplicateExact, Kind::Dark]);
}

#[test]
fn rows_contain_the_findings() {
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
    assert_eq!(line(&flagged), "1 suspicious label");
    assert_eq!(line(&BTreeMap::new()), "no findings");
}

#[test]
fn settled_findings_are_not_flagged_until_the_file_changes() {
    let csv = "path,kind,verdict,note,date,digest,label\n\
               cat/0.png,label,ok,a lynx,2026-01-01,,\n\
               dog/1.png,label,ok,,2026-01-01,1111,\n\
               cat/2.png,label,fix,,2026-01-01,,\n\
               dog/3.png,label,fix,,2026-01-01,,cat\n";
    let reviews = Reviews::parse(std::path::Path::new("reviews.csv"), csv.as_bytes()).unwrap();
    let files = (0..4u32).map(|id| {
        let path = format!("{}/{id}.png", ["cat", "dog"][id as usize % 2]);
        let file = File {
            path,
            digest: Some("2222".into()),
            ..File::default()
        };
        (id, file)
    });
    let findings = (0..4)
        .map(|id| issue(id, Kind::Label, None, true).finding)
        .collect();
    let issues = reviewed(findings, &reviews, &files.collect(), 10);
    let verdicts: Vec<_> = (issues.iter())
        .map(|issue| {
            let verdict = issue.review.as_ref().map(|review| review.verdict.name());
            (
                issue.finding.image_id,
                issue.finding.flagged,
                issue.rank,
                verdict,
            )
        })
        .collect();
    assert_eq!(
        verdicts,
        [
            // Its review applies to other content.
            (1, true, 1, None),
            (2, true, 2, Some("fix")),
            (0, false, 3, Some("ok")),
            (3, false, 4, Some("fix")),
        ]
    );
    assert_eq!(
        issues.iter().filter(|issue| issue.is_dismissed()).count(),
        1
    );
    let table = tables::issues(&issues).unwrap();
    assert_eq!(table["note"].as_string::<i32>().value(2), "a lynx");
}
