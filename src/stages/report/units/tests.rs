use prospect_output::picture::Picture;
use prospect_testing::{Fake, FakeImage, FakeLayer};
use serde_json::Value;

use super::{
    super::super::patches,
    gather::{BARS, Units},
    *,
};

/// Three cats and three dogs; unit 0 fires for cats, unit 1 never, unit 2 always, most for the last dog.
fn fake() -> Fake {
    let max = [
        [4.0, 0.0, 1.0],
        [2.0, 0.0, 1.0],
        [1.0, 0.0, 1.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, 3.0],
    ];
    let label = |id: usize| match id {
        0..3 => (0, "cat".to_string()),
        _ => (1, "dog".to_string()),
    };
    Fake {
        images: (0..6)
            .map(|id| FakeImage {
                path: format!("{id}.png"),
                label: Some(label(id)),
                error: None,
                picture: Some(Picture::filled(4, 4, [id as u8; 3])),
            })
            .collect(),
        layers: vec![FakeLayer {
            name: "block.0/relu".into(),
            channels: 3,
            height: 2,
            width: 2,
            field: Some([2, 2, 0]),
            max: max.concat(),
            argmax: vec![0; 18],
        }],
        network_classes: vec!["other".into()],
        predictions: vec![(0, None); 6],
        part_size: 4,
        ..Fake::default()
    }
}

#[test]
fn units_by_hand() {
    let fake = fake();
    fake.write();
    assert!(
        fake.read(&[], |ctx, manifest| Units::of_run(ctx, manifest).unwrap())
            .is_none()
    );
    let set = ["patches.k=3"];
    fake.run_stage(&patches::STAGE, &set).unwrap();
    let units = fake.read(&set, |ctx, manifest| {
        Units::of_run(ctx, manifest).unwrap().unwrap()
    });
    assert_eq!((units.k, units.grouped_by), (3, "label"));
    assert_eq!(units.classes, ["cat", "dog"]);
    assert_eq!((units.images, units.counted), (6, 6));
    let layer = &units.layers[0];
    assert_eq!(
        (layer.shape, layer.n_units, layer.n_dead),
        ([3, 2, 2], 3, 1)
    );
    assert_eq!(layer.field, Some([2, 2]));
    let [cats, all] = &layer.units[..] else {
        panic!("{:?}", layer.units);
    };
    assert_eq!((cats.unit, cats.top_class, cats.n_active), (0, Some(0), 3));
    assert!((cats.selectivity - 1.0).abs() < 1e-6);
    assert_eq!(
        (&cats.images[..], &cats.classes[..]),
        (&[0, 1, 2][..], &[(0, 3)][..])
    );
    assert_eq!((all.unit, all.top_class, all.n_active), (2, Some(1), 6));
    assert_eq!(
        (&all.images[..], &all.classes[..]),
        (&[5, 0, 1][..], &[(0, 2), (1, 1)][..])
    );
    // The histogram of a rectified unit leaves silent images out.
    let bars = |counted: &[(usize, u32)]| {
        let mut bars = vec![0; BARS];
        counted.iter().for_each(|&(at, n)| bars[at] = n);
        bars
    };
    assert_eq!(cats.bars, bars(&[(6, 1), (12, 1), (23, 1)]));
    assert_eq!(all.bars, bars(&[(8, 5), (23, 1)]));
    assert!(!cats.traced);
    let order: Vec<usize> = units
        .by_selectivity(layer)
        .iter()
        .map(|unit| unit.unit)
        .collect();
    assert_eq!(order, [0, 2]);
    assert_eq!(units.of_classes(9), [vec![(0, 0), (0, 2)], vec![(0, 2)]]);
    assert_eq!(units.of_classes(1), [vec![(0, 0)], vec![(0, 2)]]);
}

#[test]
fn rarely_active_units_come_last() {
    let fake = fake();
    fake.write();
    let set = ["patches.k=4"];
    fake.run_stage(&patches::STAGE, &set).unwrap();
    let units = fake.read(&set, |ctx, manifest| {
        Units::of_run(ctx, manifest).unwrap().unwrap()
    });
    let order: Vec<usize> = (units.by_selectivity(&units.layers[0]).iter())
        .map(|unit| unit.unit)
        .collect();
    assert_eq!(order, [2, 0]);
    assert_eq!(units.of_classes(9), [vec![(0, 2)], vec![(0, 2)]]);
}

#[test]
fn data_for_the_script() {
    let fake = fake();
    fake.write();
    let set = ["patches.k=3"];
    fake.run_stage(&patches::STAGE, &set).unwrap();
    let units = fake.read(&set, |ctx, manifest| {
        Units::of_run(ctx, manifest).unwrap().unwrap()
    });
    let about = overview(&units);
    let layer = &about["layers"][0];
    assert_eq!(
        (&about["k"], &layer["units"], &layer["sheets"]),
        (&json!(3), &json!(3), &json!(2))
    );
    let rows = layer_data(&units.layers[0]);
    assert_eq!(rows[0].as_array().map(Vec::len), Some(12));
    assert_eq!(rows[0][10][23], json!(100));
    assert_eq!(rows[1][10][8], json!(100));
    assert_eq!(rows[1][10][23], json!(20));
    // The script finds the sheets by folder and number.
    let folder = layer["folder"].as_str().unwrap();
    for row in rows.as_array().unwrap() {
        let path = format!(
            "pictures/patches/{folder}/unit-{:04}.png",
            row[0].as_u64().unwrap()
        );
        assert!(fake.run().path(&path).is_file(), "{path}");
    }
    assert_eq!(images(&units), [0, 1, 2, 5, 0, 1]);
    assert_eq!(short(f64::NAN), Value::Null);
    assert_eq!(short(0.123456), json!(0.1235));
}
