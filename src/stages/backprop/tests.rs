use std::{collections::BTreeSet, fs, path::PathBuf};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Float32Type, Int32Type, UInt32Type},
};
use prospect_output::picture::png;
use prospect_queries::unit;
use prospect_testing::{golden, run_stage};

use super::{super::STAGES, *};

/// A run over small pictures with a golden network.
struct Project(prospect_testing::Project);

/// `images` pseudo-random pictures of 24 x 24, identical if `alike`.
fn project(network: &'static str, images: usize, alike: bool) -> Project {
    let settings = format!(
        "[images]\ndir = \"photos\"\n[model]\npath = {:?}\ndevice = \"cpu\"\n[extract]\npart_size = 5\n",
        golden(&format!("{network}.pt2")),
    );
    let project = prospect_testing::Project::new(&settings).with_stages(STAGES);
    for image in 0..images {
        let mut picture = Picture::filled(24, 24, [0; 3]);
        let mut state = if alike { 1 } else { image as u64 + 1 };
        for value in &mut picture.pixels {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(97);
            *value = (state >> 56) as u8;
        }
        let class = ["round", "square"][image % 2];
        let path = format!("photos/{class}/{image:02}.png");
        project.write(&path, png(&picture).unwrap());
    }
    Project(project)
}

impl Project {
    /// Brings a stage up to date; returns its summary.
    fn run(&self, stage: &str, set: &[&str]) -> Result<Value> {
        self.0.update("run", set, stage)
    }

    fn rows(&self, table: &str) -> Vec<RecordBatch> {
        self.0.with("run", &[], |ctx| {
            let manifest = ctx.run.manifest().unwrap();
            ctx.run.read(&manifest, table).map(Result::unwrap).collect()
        })
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path("run").join(relative)
    }
}

fn floats<const N: usize>(batch: &RecordBatch, names: [&str; N], row: usize) -> [Option<f32>; N] {
    names.map(|name| {
        let column = batch.column_by_name(name).unwrap();
        let column = column.as_primitive::<Float32Type>();
        column.is_valid(row).then(|| column.value(row))
    })
}

fn known<const N: usize>(values: [Option<f32>; N]) -> [f32; N] {
    values.map(Option::unwrap)
}

const BOX: [&str; 4] = ["box_x0", "box_y0", "box_x1", "box_y1"];
const EFFECTIVE: [&str; 4] = [
    "effective_x0",
    "effective_y0",
    "effective_x1",
    "effective_y1",
];
const EVERY_UNIT: &str = "backprop.units_per_layer=1000";

#[test]
fn gradients_are_inside_the_theoretical_box() {
    let project = project("plain", 9, false);
    let layers = "extract.layers=[\"features.0\", \"features.1\", \"features.4\"]";
    let summary = project
        .run("backprop", &[EVERY_UNIT, layers, "patches.k=4"])
        .unwrap();
    assert_eq!(summary["layers"], 3);
    assert_eq!(summary["unreadable_images"], 0);
    assert_eq!(summary.get("smooth_activations"), None);
    let mut n = 0;
    for batch in project.rows("unit_gradients") {
        let rf = batch.column_by_name("rf").unwrap().as_string::<i32>();
        for row in 0..batch.num_rows() {
            assert_eq!(rf.value(row), "theoretical");
            let outer = known(floats(&batch, BOX, row));
            let inner = known(floats(&batch, EFFECTIVE, row));
            let [energy, most] = known(floats(&batch, ["energy", "gradient_max"], row));
            assert!(
                outer[0] <= inner[0] && outer[1] <= inner[1],
                "{outer:?} {inner:?}"
            );
            assert!(
                outer[2] >= inner[2] && outer[3] >= inner[3],
                "{outer:?} {inner:?}"
            );
            assert!(inner[0] < inner[2] && inner[1] < inner[3]);
            assert!((0.9 - 1e-6..=1.0).contains(&energy) && most > 0.0);
            n += 1;
        }
    }
    assert!(n > 30 && summary["patches"] == n && summary["zero_gradients"] == 0);
}

#[test]
fn cells_that_see_the_whole_input_have_effective_boxes() {
    let project = project("residual", 9, false);
    let set = ["extract.layers=[\"layer2.0\"]", "patches.k=3"];
    let summary = project.run("backprop", &set).unwrap();
    assert_eq!(summary["units"], 4, "the default per layer");
    for batch in project.rows("unit_gradients") {
        let rf = batch.column_by_name("rf").unwrap().as_string::<i32>();
        for row in 0..batch.num_rows() {
            assert_eq!(rf.value(row), "effective");
            assert_eq!(floats(&batch, BOX, row), floats(&batch, EFFECTIVE, row));
            let [x0, y0, x1, y1] = known(floats(&batch, EFFECTIVE, row));
            assert!(0.0 <= x0 && x0 < x1 && x1 <= 24.0 && 0.0 <= y0 && y0 < y1 && y1 <= 24.0);
        }
    }
}

#[test]
fn dead_units_have_no_rows() {
    let project = project("plain", 6, true);
    let summary = project.run("backprop", &[EVERY_UNIT]).unwrap();
    assert_eq!(
        summary["units"], 0,
        "units with the same activation for all images are dead"
    );
    assert_eq!(summary["patches"], 0);
    assert_eq!(project.rows("unit_gradients").len(), 0);
    let summary = project
        .run("backprop", &["backprop.units_per_layer=0"])
        .unwrap();
    assert_eq!(summary["patches"], 0);
}

#[test]
fn an_interrupted_stage_resumes_to_the_same_bytes() {
    let project = project("residual", 12, false);
    let set = [
        "patches.k=4",
        "backprop.rules=[\"plain\", \"deconv\", \"guided\"]",
        "model.batch_size=5",
    ];
    project.run("backprop", &set).unwrap();
    let mut files = Vec::new();
    for folder in ["tables/unit_gradients", "pictures/backprop"] {
        let all = walkdir::WalkDir::new(project.path(folder));
        files.extend(
            all.into_iter()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.file_type().is_file())
                .map(|entry| (entry.path().to_path_buf(), fs::read(entry.path()).unwrap())),
        );
    }
    assert!(files.len() > 2);
    for (path, _) in files.iter().step_by(2) {
        fs::remove_file(path).unwrap();
    }
    project.run("backprop", &set).unwrap();
    for (path, bytes) in &files {
        assert_eq!(&fs::read(path).unwrap(), bytes, "{}", path.display());
    }
}

#[test]
fn missing_and_changed_images_leave_nulls_and_empty_positions() {
    let project = project("plain", 6, false);
    let set = [EVERY_UNIT, "patches.k=6"];
    project.run("patches", &set).unwrap();
    let photos = project.0.path("photos");
    fs::remove_file(photos.join("round/00.png")).unwrap();
    let other = png(&Picture::filled(24, 24, [1, 2, 3])).unwrap();
    fs::write(photos.join("square/01.png"), other).unwrap();
    // Without scan, which would notice the change.
    let summary = (project.0).with("run", &set, |ctx| run_stage(ctx, &STAGE).unwrap());
    assert_eq!(summary["unreadable_images"], 2);
    let mut missing = BTreeSet::new();
    for batch in project.rows("unit_gradients") {
        let ids = batch.column_by_name("image_id").unwrap();
        let zero = batch.column_by_name("zero_gradient").unwrap();
        for row in 0..batch.num_rows() {
            let known = floats(&batch, BOX, row).iter().all(Option::is_some)
                && floats(&batch, ["energy"], row)[0].is_some();
            assert_eq!(known, zero.is_valid(row));
            if !known {
                missing.insert(ids.as_primitive::<UInt32Type>().value(row));
            }
        }
    }
    // Sorted by path: round/00, round/02, round/04, square/01, ...
    assert_eq!(missing, BTreeSet::from([0, 3]));
}

#[test]
fn smooth_activations_are_reported_and_saturated_clamps_bypassed() {
    let project = project("mobile", 8, false);
    let layers = "extract.layers=[\"features.0\", \"features.2\"]";
    let set = [EVERY_UNIT, layers, "patches.k=3"];
    let summary = project.run("backprop", &set).unwrap();
    assert_eq!(summary["smooth_activations"], "hardswish");
    // features.2 ends in a ReLU6, whose strongest cells are saturated at 6 and have no gradient.
    let last = project.rows("unit_gradients").pop().unwrap();
    let zero = last.column_by_name("zero_gradient").unwrap().as_boolean();
    assert_eq!((zero.true_count(), zero.null_count()), (0, 0));
    let plain = [set[0], set[1], set[2], "backprop.rules=[\"plain\"]"];
    let summary = project.run("backprop", &plain).unwrap();
    assert_eq!(
        summary.get("smooth_activations"),
        None,
        "the plain rule is the derivative"
    );
}

#[test]
fn a_units_sheet_is_read_from_the_run_or_computed() {
    let project = project("residual", 12, false);
    let set = ["patches.k=4", "extract.layers=[\"layer1\", \"layer2\"]"];
    project.run("patches", &set).unwrap();
    let (facts, computed) = project.0.with("run", &set, |ctx| {
        (
            unit::unit_facts(ctx, "layer2:3").unwrap(),
            unit_sheet(ctx, "layer2", 3).unwrap().unwrap(),
        )
    });
    assert_eq!(
        (facts.channels, facts.stats.unit, facts.stats.images),
        (8, 3, 12)
    );
    assert_eq!(facts.patches.len(), 4);
    assert!(
        facts
            .patches
            .windows(2)
            .all(|pair| pair[0].value >= pair[1].value)
    );
    assert!(facts.patches[0].path.ends_with(".png"));
    assert_eq!(facts.grouped_by, "label");
    let names: BTreeSet<&str> = facts.classes.iter().map(|class| &*class.name).collect();
    assert_eq!(names, BTreeSet::from(["round", "square"]));
    let shares: f64 = facts.classes.iter().map(|class| class.share_of_top).sum();
    assert!((shares - 1.0).abs() < 1e-9);
    let mean: f64 = facts.classes.iter().map(|class| class.mean * 6.0).sum();
    assert!((mean / 12.0 - f64::from(facts.stats.mean.unwrap())).abs() < 1e-6);

    let all = [set[0], set[1], EVERY_UNIT];
    project.run("backprop", &all).unwrap();
    let of_run = fs::read(project.path("pictures/backprop/layer2/unit-0003.png")).unwrap();
    let found = project
        .0
        .with("run", &all, |ctx| unit_sheet(ctx, "layer2", 3))
        .unwrap();
    assert_eq!(found, Some(of_run.clone()));
    let size = |bytes: &[u8]| {
        let picture = ::image::load_from_memory(bytes).unwrap();
        (picture.width(), picture.height())
    };
    // Four strips of two tiles, two strips per row.
    let width = 2 * (2 * TILE + GAP) + PATCH_GAP;
    let head = picture::caption::line_height(13.0) + GAP;
    assert_eq!(size(&of_run), (width, head + 2 * TILE + GAP));
    assert_eq!(size(&computed), size(&of_run));
    let rules = [set[0], set[1], "backprop.rules=[\"plain\", \"guided\"]"];
    let other = project
        .0
        .with("run", &rules, |ctx| unit_sheet(ctx, "layer2", 3))
        .unwrap()
        .unwrap();
    assert_ne!(size(&other), size(&of_run), "drawn again with other rules");

    for (name, hint) in [
        ("layer2", "LAYER:CHANNEL"),
        ("layer3:1", "similar: layer"),
        ("layer2:8", "0 to 7"),
        ("layer2:-1", "0 to 7"),
        ("layer2:", "0 to 7"),
    ] {
        let error = project
            .0
            .with("run", &set, |ctx| unit::unit_facts(ctx, name))
            .unwrap_err();
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn the_most_selective_units_are_traced() {
    let project = project("residual", 12, false);
    let set = ["patches.k=4", "backprop.units_per_layer=2"];
    project.run("backprop", &set).unwrap();
    for batch in project.rows("unit_gradients") {
        let units = batch.column_by_name("unit").unwrap();
        let units: BTreeSet<i32> = units
            .as_primitive::<Int32Type>()
            .values()
            .iter()
            .copied()
            .collect();
        assert_eq!(units.len(), 2);
    }
}

#[test]
fn parts_depend_only_on_layers_and_settings() {
    let layer = |channels| Layer {
        name: "a".into(),
        channels,
        height: 1,
        width: 1,
        field: [None, None],
    };
    let layers = [layer(100), layer(3000)];
    assert_eq!(plan(&layers, 4, 18), [(0, 0..4), (1, 0..4)]);
    assert_eq!(plan(&layers, 0, 18), [(0, 0..0), (1, 0..0)]);
    // 4096 tiles are 227 units of 18.
    assert_eq!(
        plan(&layers, 500, 18),
        [(0, 0..100), (1, 0..227), (1, 227..454), (1, 454..500)]
    );
    assert_eq!(plan(&layers[..1], 2, 1_000_000), [(0, 0..1), (0, 1..2)]);
}
