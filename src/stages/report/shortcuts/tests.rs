use arrow::array::StringArray;
use prospect_engine::schema::groups;
use prospect_testing::{Fake, FakeImage, add_tables};

use super::{gather::TopPair, *};

fn fake() -> Fake {
    let fake = Fake {
        images: vec![FakeImage {
            path: "0.png".into(),
            label: None,
            error: None,
            picture: None,
        }],
        network_classes: vec!["cat".into()],
        predictions: vec![(0, None)],
        part_size: 1,
        ..Fake::default()
    };
    fake.write();
    fake
}

/// Attribute, value, label, accuracy, upper end of its interval, accuracy of the rest. Worse if the interval is below the rest.
type Row<'a> = (&'a str, &'a str, Option<&'a str>, Option<f64>, f64, f64);

fn write_groups(fake: &Fake, rows: &[Row]) {
    let all = || rows.iter();
    let rows = groups::Columns {
        attribute: StringArray::from_iter_values(all().map(|row| row.0)),
        value: StringArray::from_iter_values(all().map(|row| row.1)),
        label: all().map(|row| row.2.map(|_| 0)).collect(),
        label_name: all().map(|row| row.2).collect(),
        images: vec![20; rows.len()].into(),
        accuracy: all().map(|row| row.3).collect(),
        accuracy_low: all().map(|row| row.3.map(|share| share - 0.1)).collect(),
        accuracy_high: all().map(|row| row.3.map(|_| row.4)).collect(),
        rest: all().map(|row| row.5).collect(),
        p_value: all().map(|_| Some(0.01)).collect(),
        q_value: all().map(|_| Some(0.02)).collect(),
        worse: all().map(|row| Some(row.4 < row.5)).collect(),
        worst: vec![false; rows.len()].into(),
        source: vec!["probe"; rows.len()].into(),
    };
    let tables = [(groups::NAME, rows.batch().unwrap())];
    add_tables(&fake.run(), "shortcuts", &tables);
}

#[test]
fn largest_shortfalls_come_first() {
    let fake = fake();
    write_groups(
        &fake,
        &[
            ("camera", "A", None, Some(0.8), 0.85, 0.9),
            ("camera", "B", None, Some(0.9), 0.95, 0.9),
            ("camera", "A", Some("cat"), Some(0.5), 0.6, 0.8),
            ("camera", "B", Some("cat"), Some(0.2), 0.9, 0.8),
            ("camera", "B", Some("dog"), Some(0.4), 0.5, 0.9),
            ("camera", "C", Some("dog"), None, 0.0, 0.9),
            ("light", "dim", None, Some(0.7), 0.8, 0.9),
        ],
    );
    let groups = fake.read(&[], |ctx, manifest| Groups::of_run(ctx, manifest).unwrap());
    let worst: Vec<(&str, Option<&str>)> = (groups.worst.iter())
        .map(|group| (group.value.as_str(), group.label.as_deref()))
        .collect();
    // B's cats have the lowest accuracy, but too few images to be sure; C's dogs have none.
    assert_eq!(worst, [("B", Some("dog")), ("A", Some("cat"))]);
    let by_value: Vec<(&str, usize)> = (groups.attributes.iter())
        .map(|one| (one.attribute.as_str(), one.groups.len()))
        .collect();
    assert_eq!(by_value, [("camera", 2), ("light", 1)]);
    assert_eq!(groups.source.as_deref(), Some("probe"));
}

#[test]
fn many_groups_are_bounded() {
    let fake = fake();
    let values: Vec<String> = (0..200).map(|at| format!("value {at}")).collect();
    let rows: Vec<Row> = (values.iter().zip(0..))
        .map(|(value, at)| {
            (
                "camera",
                value.as_str(),
                Some("cat"),
                Some(0.1),
                0.2 + 0.001 * f64::from(at),
                0.9,
            )
        })
        .collect();
    write_groups(&fake, &rows);
    let groups = fake.read(&[], |ctx, manifest| Groups::of_run(ctx, manifest).unwrap());
    assert_eq!(groups.worst.len(), gather::WORST);
    assert!(
        groups
            .worst
            .iter()
            .zip(&values)
            .all(|(group, value)| &group.value == value)
    );
}

fn suspect(rank: i32, mark: i32, flagged: bool) -> Suspect {
    Suspect {
        rank,
        mark,
        flagged,
        class_name: "cat".into(),
        layer: "relu".into(),
        unit: Some(7),
        kind: "mark".into(),
        score: 0.4,
        share_of_class: Some(0.5),
        evidence: "unit 7 is strongest there".into(),
        ..Suspect::default()
    }
}

#[test]
fn units_of_one_mark_share_a_card() {
    let tables = Tables {
        ready: true,
        suspects: vec![
            suspect(1, 1, true),
            suspect(2, 2, false),
            suspect(3, 1, true),
        ],
        layers: HashMap::from([("relu".to_string(), 4)]),
        pictures: HashSet::from(["pictures/patches/relu/unit-0007.png".to_string()]),
        ..Tables::default()
    };
    let first = Card::of(&[&tables.suspects[0], &tables.suspects[2]], &tables);
    assert_eq!(first.link, "units.html#layer=4&unit=7");
    assert_eq!(first.sheet, "../pictures/patches/relu/unit-0007.png");
    assert_eq!(
        first.others,
        "1 more unit fires for the same images, in this layer or others."
    );
    assert!(first.flagged && first.picture.is_empty());
    let anchors = HashSet::from([first.anchor]);
    assert_eq!(
        SuspectRow::of(&tables.suspects[2], &tables, &anchors).anchor,
        "mark-1"
    );
    assert_eq!(
        SuspectRow::of(&tables.suspects[1], &tables, &anchors).anchor,
        ""
    );
    assert!(verdict(&tables.suspects).starts_with(
        "Something in one place of many photos of one class, and of few others: cat."
    ));
    assert!(verdict(&tables.suspects[1..2]).starts_with("Nothing here is strong enough"));
}

fn shell(title: &str) -> Shell {
    Shell {
        title: title.into(),
        dataset: title.into(),
        page: "Shortcuts",
        links: Vec::new(),
        scripts: &[],
        version: "0",
    }
}

#[test]
fn the_first_candidates_have_a_card() {
    let mut tables = Tables {
        suspects: (1..=20).map(|at| suspect(at, at, at == 9)).collect(),
        ..Tables::default()
    };
    let anchors = |tables: &Tables| -> Vec<String> {
        let cards = ShortcutsPage::new(shell("t"), tables).cards.into_iter();
        cards.map(|card| card.anchor).collect()
    };
    assert_eq!(
        anchors(&tables),
        ["mark-1", "mark-2", "mark-3", "mark-4", "mark-9"]
    );
    tables
        .suspects
        .iter_mut()
        .for_each(|one| one.flagged = true);
    assert_eq!(anchors(&tables).len(), CARDS);
}

#[test]
fn hostile_names_are_escaped() {
    const HOSTILE: &str = "\"><script>alert(1)</script>\u{202e}";
    let hostile = Suspect {
        class_name: HOSTILE.into(),
        layer: HOSTILE.into(),
        evidence: HOSTILE.into(),
        picture: Some(format!("pictures/{HOSTILE}.png")),
        ..suspect(1, 1, true)
    };
    let group = Group {
        attribute: HOSTILE.into(),
        value: HOSTILE.into(),
        label: Some(HOSTILE.into()),
        images: 3,
        accuracy: 0.5,
        interval: [0.4, 0.6],
        rest: 0.9,
        is_worse: true,
    };
    let tables = Tables {
        ready: true,
        suspects: vec![hostile.clone(), Suspect { rank: 2, ..hostile }],
        associations: vec![Association {
            attribute: HOSTILE.into(),
            kind: HOSTILE.into(),
            ami: 0.5,
            q_value: 0.001,
            top: Some(TopPair {
                value: HOSTILE.into(),
                label: HOSTILE.into(),
                lift: 2.0,
                images: 9,
            }),
        }],
        groups: Groups {
            attributes: vec![ByValue {
                attribute: HOSTILE.into(),
                groups: vec![group.clone()],
            }],
            worst: vec![group],
            source: Some("probe".into()),
        },
        ..Tables::default()
    };
    let html = ShortcutsPage::new(shell(HOSTILE), &tables)
        .render()
        .unwrap();
    assert!(!html.contains("<script>alert") && !html.contains("\"><script"));

    for element in [
        "a", "bdi", "td", "tr", "li", "dd", "article", "figure", "svg", "details",
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
