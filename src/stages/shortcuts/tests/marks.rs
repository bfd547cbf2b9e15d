use super::*;

/// Whether a photo of [`marked`] has the mark: 20 of the 30 photos of class 2.
fn is_marked(id: usize) -> bool {
    id % 3 == 2 && !(id / 3).is_multiple_of(3)
}

/// 90 photos of 28 x 28 in three classes; the mark is red, in the bottom right corner, cell (6, 6).
fn marked() -> Fake {
    const N: usize = 90;
    let image = |id: usize| {
        let mut picture = Picture::filled(28, 28, [id as u8 * 2, 90, 90]);
        if is_marked(id) {
            picture.paste(&Picture::filled(4, 4, [250, 0, 0]), 24, 24);
        }
        FakeImage {
            path: format!("{id:02}.png"),
            label: Some((id as i32 % 3, ["ant", "bee", "cow"][id % 3].into())),
            error: None,
            picture: Some(picture),
        }
    };
    // Unit 0 fires for the mark, weakly elsewhere; unit 1 fires for bees anywhere; unit 2 never fires.
    let strength = |id: usize, unit: usize| match unit {
        0 => 1.0 + 4.0 * f32::from(u8::from(is_marked(id))),
        1 => 1.0 + f32::from(u8::from(id % 3 == 1)),
        _ => 0.0,
    };
    let position = |id: usize, unit: usize| match unit {
        0 if is_marked(id) => 48,
        2 => 0,
        _ => {
            let cell = id / 3 * 7 % 25;
            (cell / 5 * 7 + cell % 5) as u16
        }
    };
    let all = |of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
        (0..N)
            .flat_map(|id| [0, 1, 2].map(|unit| of(id, unit)))
            .collect()
    };
    let layer = |name: &str| FakeLayer {
        name: name.into(),
        channels: 3,
        height: 7,
        width: 7,
        field: Some([4, 4, 0]),
        max: all(&strength),
        argmax: (0..N)
            .flat_map(|id| [0, 1, 2].map(|unit| position(id, unit)))
            .collect(),
    };
    Fake {
        images: (0..N).map(image).collect(),
        layers: vec![layer("early"), layer("late")],
        network_classes: vec!["ant".into(), "bee".into(), "cow".into()],
        predictions: vec![(0, None); N],
        part_size: 40,
        ..Fake::default()
    }
}

/// Uses the units' activations as features, and writes a one-fold probe that recognises cows by the mark alone.
fn add_head(fake: &Fake) {
    let n = fake.images.len();
    let strengths = fake.layers[1].max.clone();
    let ids = || Arc::new(UInt32Array::from_iter_values(0..n as u32)) as ArrayRef;
    let run = fake.run();
    let manifest = run.manifest().unwrap();
    let all = |table: &str| {
        let batches: Vec<RecordBatch> = run.read(&manifest, table).map(Result::unwrap).collect();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let features =
        RecordBatch::try_from_iter([("image_id", ids()), ("vector", vectors(strengths, 3))]);
    let (units, layers) = (all("units"), all("layers"));
    let tables = [
        ("units", units),
        ("layers", layers),
        ("features", features.unwrap()),
    ];
    let parameters = manifest.stages["extract"].parameters.clone();
    replace_tables(&run, "extract", parameters, &tables);
    let right = |id: usize| id % 3 != 2 || is_marked(id);
    let probe = RecordBatch::try_from_iter([
        ("image_id", ids()),
        ("source", Arc::new(StringArray::from(vec!["probe"; n]))),
        ("fold", Arc::new(Int16Array::from(vec![0; n]))),
        (
            "pred",
            Arc::new(Int32Array::from_iter_values(
                (0..n).map(|id| if right(id) { id as i32 % 3 } else { 0 }),
            )),
        ),
        (
            "p_label",
            Arc::new(Float32Array::from_iter_values(
                (0..n).map(|id| if right(id) { 0.9 } else { 0.1 }),
            )),
        ),
    ]);
    // Logits of ant, bee and cow from the three units.
    let weights = vec![0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 2.0, 0.0, 0.0];
    let weights = RecordBatch::try_from_iter([
        ("fold", Arc::new(Int16Array::from(vec![0; 3])) as ArrayRef),
        ("class", Arc::new(Int32Array::from(vec![0, 1, 2]))),
        ("bias", Arc::new(Float32Array::from(vec![4.5, -1.0, -1.0]))),
        ("weights", vectors(weights, 3)),
    ]);
    write(
        fake,
        "probe",
        &[
            ("probe", probe.unwrap()),
            ("probe_weights", weights.unwrap()),
        ],
    );
}

#[test]
fn a_mark_is_found_and_measured() {
    let fake = marked();
    fake.write();
    add_head(&fake);
    let summary = fake.run_stage(&STAGE, &[]).unwrap();
    assert_eq!(summary["flagged_classes"], json!(["cow"]));
    let found = rows(&fake, "shortcuts").unwrap();
    assert_eq!(texts(&found, "class_name")[0], "cow");
    // The pictures themselves, and the unit that fires for the mark.
    let kinds = texts(&found, "kind");
    assert_eq!(kinds[..2], ["pattern", "mark"]);
    assert_eq!(texts(&found, "layer")[0], "-");
    let flagged = found.column_by_name("flagged").unwrap().as_boolean();
    assert!(flagged.value(0) && flagged.value(1));
    let mark = found
        .column_by_name("mark")
        .unwrap()
        .as_primitive::<Int32Type>();
    assert_eq!(mark.value(0), mark.value(1));
    let of_row = |name: &str, row: usize| numbers(&found, name)[row].unwrap();
    assert!(of_row("p_value", 0) < 1e-6);
    assert_eq!(of_row("q_value", 0), of_row("q_value", 1));
    assert_eq!(
        (of_row("share_of_class", 0), of_row("share_of_others", 0)),
        (2.0 / 3.0, 0.0)
    );
    assert!(of_row("x0", 0) > 0.6 && of_row("y0", 0) > 0.6);
    assert_eq!(of_row("accuracy_drop", 0), 1.0);
    let evidence = &texts(&found, "evidence")[0];
    assert!(
        evidence.starts_with(
            "the same fine structure at the bottom right in 66.7 % of the cow images and in 0.0 % of all others"
        ),
        "{evidence}"
    );
    // The later layer repeats the same units.
    assert_eq!(texts(&found, "layer")[1], "early");
    let unit = found
        .column_by_name("unit")
        .unwrap()
        .as_primitive::<Int32Type>();
    assert_eq!(unit.value(1), 0);
    let second = |name: &str| of_row(name, 1);
    assert_eq!(
        (second("share_of_class"), second("share_of_others")),
        (2.0 / 3.0, 0.0)
    );
    assert_eq!(
        (second("x0"), second("y0"), second("border_share")),
        (6.0 / 7.0, 6.0 / 7.0, 1.0)
    );
    // Two thirds of the class exceed all others, one third ties with them.
    assert!((second("exclusivity") - 5.0 / 6.0).abs() < 1e-12);
    assert!((second("p_with") - 0.9).abs() < 1e-6 && (second("p_without") - 0.1).abs() < 1e-6);
    // Without the mark, unit 0 is 1 rather than 5: the logit of cow is 1, that of ant 4.5.
    assert_eq!(second("accuracy_drop"), 1.0);
    let evidence = &texts(&found, "evidence")[1];
    assert!(
        evidence.contains(
            "unit 0 of early is strongest at the bottom right in 66.7 % of the cow images"
        ),
        "{evidence}"
    );
    // The probe relies on the same unit of the feature layer.
    let leaning = kinds.iter().position(|kind| kind == "leaning").unwrap();
    assert_eq!(
        (
            unit.value(leaning),
            texts(&found, "layer")[leaning].as_str()
        ),
        (0, "late")
    );
    assert!(!flagged.value(leaning));
    assert_eq!(numbers(&found, "accuracy_drop")[leaning], Some(2.0 / 3.0));
    let picture = fake.run().path(&texts(&found, "picture")[1]);
    let sheet = image::open(picture).unwrap().to_rgb8();
    let reds = sheet
        .pixels()
        .filter(|pixel| pixel.0 == [250, 0, 0])
        .count();
    assert!(reds > 6 * 100 * 100, "six marks enlarged: {reds}");
}

#[test]
fn marks_are_found_without_a_classifier() {
    let fake = marked();
    fake.write();
    fake.run_stage(&STAGE, &[]).unwrap();
    let found = rows(&fake, "shortcuts").unwrap();
    assert_eq!(texts(&found, "class_name")[0], "cow");
    assert_eq!(numbers(&found, "accuracy_drop")[0], None);
    assert_eq!(numbers(&found, "p_with")[0], None);
}

#[test]
fn peaks_outside_boxes_are_counted() {
    let fake = marked();
    fake.write();
    let boxes = fake.project.path("boxes.csv");
    let rows_of = (0..90).map(|id| format!("{id:02}.png,0,0,24,24\n"));
    let text = format!(
        "file_name,x,y,width,height\n{}",
        rows_of.collect::<String>()
    );
    std::fs::write(&boxes, text).unwrap();
    fake.run_stage(&STAGE, &[&format!("explain.boxes={boxes:?}")])
        .unwrap();
    let found = rows(&fake, "shortcuts").unwrap();
    assert_eq!(numbers(&found, "outside_boxes")[1], Some(1.0));
    assert!(texts(&found, "evidence")[1].contains("outside the boxes in 100.0 %"));
}

#[test]
fn without_a_mark_nothing_is_flagged() {
    let mut fake = marked();
    for (id, image) in fake.images.iter_mut().enumerate() {
        image.picture = Some(Picture::filled(28, 28, [id as u8 * 2, 90, 90]));
    }
    fake.write();
    // The unit still fires in one place for one class, but nothing is there.
    let summary = fake.run_stage(&STAGE, &[]).unwrap();
    assert_eq!(summary["flagged"], 0);
    assert_eq!(texts(&rows(&fake, "shortcuts").unwrap(), "kind")[0], "mark");
}

#[test]
fn a_cast_of_one_class_is_found_however_it_is_marked_otherwise() {
    let fake = marked();
    fake.write();
    let column = |of: &dyn Fn(usize) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values((0..90).map(of)))
    };
    // The light of all but three bees is reddish.
    let spread = |id: usize| 0.1 * ((id * 7919 % 101) as f32 / 101.0 - 0.5);
    let has_cast = |id: usize| id % 3 == 1 && id > 9;
    let warmth = column(&|id| spread(id) + if has_cast(id) { 0.3 } else { 0.0 });
    let tint = column(&|id| spread(id + 40));
    add_columns(&fake, vec![("warmth", warmth), ("tint", tint)]);
    let summary = fake.run_stage(&STAGE, &[]).unwrap();
    assert_eq!(summary["flagged_classes"], json!(["bee", "cow"]));
    let found = rows(&fake, "shortcuts").unwrap();
    assert_eq!(texts(&found, "kind")[..2], ["cast", "pattern"]);
    let of_first = |name: &str| numbers(&found, name)[0].unwrap();
    assert_eq!(of_first("share_of_class"), 0.9);
    assert_eq!(of_first("share_of_others"), 0.0);
    assert!(of_first("p_value") < 1e-10);
    let evidence = &texts(&found, "evidence")[0];
    let expected = "the light is reddish in 90.0 % of the bee images and in 0.0 % of all others";
    assert!(evidence.starts_with(expected), "{evidence}");
    assert!(texts(&found, "picture")[0].ends_with("01-cast.png"));
}

#[test]
fn whole_pictures_are_searched_outside_the_crop() {
    let mut fake = marked();
    // Twice as wide; the mark is at the right edge, far outside the central square.
    for (id, image) in fake.images.iter_mut().enumerate() {
        let mut picture = Picture::filled(112, 56, [id as u8 * 2, 90, 90]);
        if is_marked(id) {
            picture.paste(&Picture::filled(6, 8, [250, 0, 0]), 100, 40);
        }
        image.picture = Some(picture);
    }
    fake.write();
    let run = fake.run();
    let manifest = run.manifest().unwrap();
    let one = |table: &str| {
        let batches: Vec<RecordBatch> = run.read(&manifest, table).map(Result::unwrap).collect();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let (units, layers) = (one("units"), one("layers"));
    let mut parameters = manifest.stages["extract"].parameters.clone();
    parameters["input"]["crop"] = json!([56, 56]);
    replace_tables(
        &run,
        "extract",
        parameters,
        &[("units", units), ("layers", layers)],
    );
    let found = |settings: &[&str]| {
        let summary = fake.run_stage(&STAGE, settings).unwrap();
        (
            summary["flagged"].as_u64().unwrap(),
            summary["unseen"].as_f64().unwrap(),
        )
    };
    let (flagged, unseen) = found(&[]);
    assert_eq!(flagged, 0);
    assert_eq!(unseen, 0.5);
    assert!(found(&["audit.whole=true"]).0 > 0);
    assert_eq!(
        texts(&rows(&fake, "shortcuts").unwrap(), "view")[0],
        "picture"
    );
}

#[test]
fn a_resumed_run_writes_the_same_tables() {
    let fake = marked();
    fake.write();
    fake.run_stage(&STAGE, &[]).unwrap();
    let bytes = |table: &str| {
        let run = fake.run();
        let manifest = run.manifest().unwrap();
        let paths: Vec<String> = manifest
            .table_files(table)
            .map(|(_, file)| file.path.clone())
            .collect();
        paths
            .iter()
            .map(|path| std::fs::read(run.path(path)).unwrap())
            .collect::<Vec<_>>()
    };
    let before = ["associations", "groups", "shortcut_candidates", "shortcuts"].map(bytes);
    let run = fake.run();
    let last = |table: &str| {
        let manifest = run.manifest().unwrap();
        manifest
            .table_files(table)
            .last()
            .map(|(_, file)| run.path(&file.path))
            .unwrap()
    };
    for lost in [last("shortcut_candidates"), last("shortcuts")] {
        std::fs::remove_file(lost).unwrap();
    }
    fake.run_stage(&STAGE, &[]).unwrap();
    assert_eq!(
        ["associations", "groups", "shortcut_candidates", "shortcuts"].map(bytes),
        before
    );
}
