use std::{collections::BTreeMap, fs};

use arrow::array::RecordBatch;
use prospect_output::picture::{Picture, png};
use prospect_testing::{Fake, FakeImage, FakeLayer};

use super::*;

/// A deterministic pseudo-random number.
fn pseudo_random(seed: usize) -> usize {
    let mut x = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as usize
}

/// 14 single-colour images of 32 x 32, image 5 unreadable; a layer of 8 x 8 cells and one with a global receptive field.
fn fake(part_size: usize) -> Fake {
    let n = 14;
    let images = (0..n)
        .map(|id| FakeImage {
            path: format!("{}/image-{id:02}.png", ["cats", "dogs"][id % 2]),
            label: Some(((id % 2) as i32 * 3, ["cats", "dogs"][id % 2].to_string())),
            error: (id == 5).then(|| "truncated png".to_string()),
            picture: Some(Picture::filled(
                32,
                32,
                [id as u8 * 16, 255 - id as u8 * 16, 7],
            )),
        })
        .collect();
    let layer = |name: &str, channels: usize, cells: usize, width: i32, field| FakeLayer {
        name: name.into(),
        channels: channels as i32,
        height: (cells as i32) / width,
        width,
        field,
        // Few distinct values, so that ties are common; unit 1 is dead.
        max: (0..n * channels)
            .map(|i| {
                if i % channels == 1 {
                    0.0
                } else {
                    (pseudo_random(i) % 5) as f32 / 2.0
                }
            })
            .collect(),
        argmax: (0..n * channels)
            .map(|i| (pseudo_random(i + 7) % cells) as u16)
            .collect(),
    };
    Fake {
        images,
        layers: vec![
            layer("block.0#1", 70, 64, 8, Some([7, 4, -2])),
            layer("head/../..", 3, 1, 1, None),
        ],
        network_classes: vec!["dogs".into()],
        predictions: vec![(0, Some(0.9)); n],
        part_size,
        ..Fake::default()
    }
}

fn rows(fake: &Fake, table: &str) -> Vec<RecordBatch> {
    let run = fake.run();
    let manifest = run.manifest().unwrap();
    run.read(&manifest, table).collect::<Result<_>>().unwrap()
}

/// One row of `patches`: image, value, row, col, box, clipped, crop.
type Row = (u32, f32, i16, i16, [f32; 4], bool, Option<String>);

/// By layer, unit and rank.
fn patches(fake: &Fake) -> BTreeMap<(String, i32, i16), Row> {
    let columns = (
        patches::layer,
        patches::unit,
        patches::rank,
        patches::image_id,
        patches::value,
        patches::row,
        patches::col,
        patches::box_x0,
        patches::box_y0,
        patches::box_x1,
        patches::box_y1,
        patches::rf,
        patches::clipped,
        patches::crop,
    );
    let run = fake.run();
    let mut found = BTreeMap::new();
    for batch in run.rows(&run.manifest().unwrap(), columns) {
        for cells in batch.unwrap().iter() {
            let (layer, unit, rank, image_id, value, row, col, ..) = cells;
            let (.., x0, y0, x1, y1, rf, clipped, crop) = cells;
            assert_eq!(rf, "theoretical");
            let crop = crop.map(str::to_string);
            let facts = (image_id, value, row, col, [x0, y0, x1, y1], clipped, crop);
            let key = (layer.to_string(), unit, rank);
            assert!(found.insert(key, facts).is_none());
        }
    }
    found
}

#[test]
fn the_table_matches_a_full_sort_for_any_part_size() {
    let fake_one = fake(100);
    fake_one.write();
    let set = ["patches.k=4", "patches.units=[0, 1, 68]"];
    fake_one.run_stage(&STAGE, &set).unwrap();
    let found = patches(&fake_one);
    let mut n = 0;
    for layer in &fake_one.layers {
        let channels = layer.channels as usize;
        for unit in 0..channels {
            let mut all: Vec<(f32, u32, u16)> = (0..14)
                .filter(|&id| id != 5)
                .map(|id| {
                    let cell = id * channels + unit;
                    (layer.max[cell], id as u32, layer.argmax[cell])
                })
                .collect();
            all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
            for (rank, (value, id, place)) in (1..).zip(all.into_iter().take(4)) {
                let row = &found[&(layer.name.clone(), unit as i32, rank)];
                assert_eq!((row.0, row.1), (id, value));
                let (y, x) = (place as i32 / layer.width, place as i32 % layer.width);
                assert_eq!((row.2, row.3), (y as i16, x as i16));
                // Input pixels equal file pixels. Cell i sees [4 i - 2, 4 i + 5), clipped to [0, 32].
                let (edges, clipped) = match layer.field {
                    None => ([0.0, 0.0, 32.0, 32.0], false),
                    Some(_) => {
                        let (x0, y0) = (4 * x - 2, 4 * y - 2);
                        let cut = |v: i32| v.clamp(0, 32) as f32;
                        (
                            [cut(x0), cut(y0), cut(x0 + 7), cut(y0 + 7)],
                            x0 < 0 || y0 < 0 || x0 + 7 > 32 || y0 + 7 > 32,
                        )
                    }
                };
                assert_eq!((row.4, row.5), (edges, clipped));
                assert_eq!(
                    row.6.is_some(),
                    [0, 68].contains(&unit) && value > 0.0,
                    "sheets show only positive activations"
                );
                n += 1;
            }
        }
    }
    assert_eq!(found.len(), n);

    for part_size in [1, 5] {
        let other = fake(part_size);
        other.write();
        other.run_stage(&STAGE, &set).unwrap();
        assert_eq!(patches(&other), found);
        for (a, b) in rows(&fake_one, "unit_stats")
            .iter()
            .zip(rows(&other, "unit_stats"))
        {
            assert_eq!(*a, b);
        }
    }
}

#[test]
fn sheets_show_the_crops_in_rank_order() {
    let fake = fake(6);
    fake.write();
    let summary = fake
        .run_stage(&STAGE, &["patches.k=4", "patches.units=\"all\""])
        .unwrap();
    assert_eq!(summary["units"], 73);
    assert_eq!(summary["contact_sheets"], 71, "dead units have none");
    assert_eq!(summary["unreadable_images"], 0);
    let found = patches(&fake);
    let (_, row) = found.first_key_value().unwrap();
    let sheet = row.6.as_deref().unwrap();
    assert_eq!(sheet, "pictures/patches/block.0~231/unit-0000.png");
    let bytes = fs::read(fake.run().path(sheet)).unwrap();
    let picture = ::image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), (196, 196));
    for rank in 1..=4_i16 {
        let (image_id, value, ..) = found[&("block.0#1".to_string(), 0, rank)];
        let place = rank as u32 - 1;
        let middle = picture
            .get_pixel(place % 2 * 100 + 48, place / 2 * 100 + 48)
            .0;
        if value > 0.0 {
            assert_eq!(middle, [image_id as u8 * 16, 255 - image_id as u8 * 16, 7]);
        }
    }
    let odd = found
        .keys()
        .map(|key| &key.0)
        .find(|name| name.starts_with("head"))
        .unwrap();
    let sheet = found[&(odd.clone(), 0, 1)].6.clone().unwrap();
    assert_eq!(sheet, "pictures/patches/head~2f..~2f../unit-0000.png");
}

#[test]
fn only_selective_or_listed_units_have_sheets() {
    let fake = fake(6);
    fake.write();
    let summary = fake
        .run_stage(&STAGE, &["patches.units=\"selective\""])
        .unwrap();
    assert_eq!(summary["contact_sheets"], sheets::SELECTIVE + 2);
    assert_eq!(summary["patches"], 73 * 9, "the table has all units");
    let summary = fake
        .run_stage(&STAGE, &["patches.units=[0, 1, 69]"])
        .unwrap();
    assert_eq!(
        summary["contact_sheets"], 3,
        "unit 1 is dead; the second layer has no unit 69"
    );
    let error = fake.run_stage(&STAGE, &["patches.units=[70]"]).unwrap_err();
    assert!(error.to_string().contains("unit 70"), "{error}");
}

#[test]
fn an_interrupted_stage_resumes_to_the_same_bytes() {
    let fake = fake(6);
    fake.write();
    let set = ["patches.k=3", "patches.units=[0, 2]"];
    fake.run_stage(&STAGE, &set).unwrap();
    let run = fake.run();
    let sheet = run.path("pictures/patches/block.0~231/unit-0000.png");
    let table = run.path("tables/patches/part-00001.parquet");
    let before = (fs::read(&sheet).unwrap(), fs::read(&table).unwrap());
    fs::remove_file(&sheet).unwrap();
    fs::remove_file(&table).unwrap();
    fake.run_stage(&STAGE, &set).unwrap();
    assert_eq!(
        (fs::read(&sheet).unwrap(), fs::read(&table).unwrap()),
        before
    );
}

#[test]
fn missing_and_changed_images_leave_empty_positions() {
    let fake = fake(6);
    fake.write();
    fs::remove_file(fake.image_dir().join(&fake.images[0].path)).unwrap();
    let other = png(&Picture::filled(32, 32, [1, 2, 3])).unwrap();
    fs::write(fake.image_dir().join(&fake.images[1].path), other).unwrap();
    // Both images are among the top patches of unit 5.
    let set = ["patches.k=13", "patches.units=[5]"];
    let summary = fake.run_stage(&STAGE, &set).unwrap();
    assert_eq!(summary["unreadable_images"], 2);
    assert_eq!(summary["contact_sheets"], 1);
}

#[test]
fn sheet_parts_depend_only_on_layers_and_settings() {
    let layer = |channels| Layer {
        name: "a".into(),
        channels,
        height: 1,
        width: 1,
        field: [None, None],
    };
    let layers = [layer(100), layer(2000), layer(3)];
    let parts = sheets::plan(&layers, &UnitChoice::All, 9);
    // 8192 tiles are 910 sheets of 9.
    let expected: [sheets::SheetPart; 3] = [
        vec![(0, 0..100), (1, 0..810)],
        vec![(1, 810..1720)],
        vec![(1, 1720..2000), (2, 0..3)],
    ];
    assert_eq!(parts, expected);
    assert_eq!(sheets::plan(&layers, &UnitChoice::Selective, 9).len(), 1);
    assert_eq!(
        sheets::plan(&layers, &UnitChoice::Listed(vec![2, 500]), 9),
        [vec![(0, 0..1), (1, 0..2), (2, 0..1)]]
    );
    assert!(sheets::plan(&[], &UnitChoice::All, 9).is_empty());
    assert_eq!(
        sheets::plan(&[layer(3)], &UnitChoice::All, 100_000).len(),
        3
    );
}

#[test]
fn folder_names_of_layers_are_safe_and_unique() {
    let long = "x".repeat(300);
    let names = [
        "a.b",
        "a#b",
        "a/b",
        "..",
        ".",
        "a~23b",
        "ä",
        "",
        &long,
        &format!("{long}y"),
    ];
    let paths: std::collections::BTreeSet<String> =
        names.iter().map(|name| sheets::path(name, 3)).collect();
    assert_eq!(paths.len(), names.len());
    for path in &paths {
        assert!(
            path.starts_with("pictures/patches/") && path.len() < 200,
            "{path}"
        );
        assert_eq!(path.matches('/').count(), 3, "{path}");
        assert!(!path.contains("/.") && path.is_ascii(), "{path}");
    }
}
