use std::{fs, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Float32Array, Int16Array, Int32Array, ListArray, RecordBatch, StringArray,
        UInt32Array,
    },
    datatypes::Float16Type,
};
use half::f16;
use prospect_dataset::image::{Interpolation, Resize};
use prospect_output::picture::Picture;
use prospect_testing::{Fake, FakeImage, begin};

use super::*;

const CLASSES: [&str; 3] = ["cat", "dog", "eel"];

fn network_classes() -> Vec<String> {
    CLASSES.map(String::from).to_vec()
}

/// Images of one colour, 60x30: (label, predicted class, probability of the label).
fn fake(images: &[(Option<&str>, i32, Option<f32>)]) -> Fake {
    let label = |name: &str| {
        let names = ["cat", "dog", "unknown"];
        (names.iter().position(|known| *known == name)).map(|n| (n as i32, name.to_string()))
    };
    Fake {
        images: (0..)
            .zip(images)
            .map(|(n, (name, _, _))| FakeImage {
                path: format!("{n:02}.png"),
                label: name.and_then(label),
                error: None,
                picture: Some(Picture::filled(60, 30, [n as u8 * 10 + 40; 3])),
            })
            .collect(),
        network_classes: network_classes(),
        predictions: images.iter().map(|&(_, pred, p)| (pred, p)).collect(),
        part_size: 3,
        ..Fake::default()
    }
}

fn planned(fake: &Fake, n: usize) -> Vec<(String, u32)> {
    let set = format!("explain.pictures={n}");
    let overlays = fake.read(&[&set], |ctx, manifest| {
        plan(ctx, manifest, &network_classes()).unwrap().0
    });
    let class = |overlay: &Overlay| overlay.path.split('/').nth(2).unwrap().to_string();
    overlays
        .iter()
        .map(|overlay| (class(overlay), overlay.image_id))
        .collect()
}

#[test]
fn each_class_alternates_confident_hits_and_errors() {
    // In the fake, the loss is -ln p of the label, and p of the prediction equals p of the label, or a half without one.
    let fake = fake(&[
        (Some("cat"), 0, Some(0.8)),
        (Some("cat"), 0, Some(0.9)),
        (Some("cat"), 1, Some(0.1)),
        (Some("cat"), 2, Some(0.05)),
        (Some("cat"), 0, Some(0.9)),
        (Some("dog"), 0, Some(0.2)),
        (Some("unknown"), 2, None),
        (Some("unknown"), 0, None),
        (None, 2, None),
        (None, 0, None),
    ]);
    fake.write();
    let expect = |list: &[(&str, u32)]| -> Vec<(String, u32)> {
        list.iter()
            .map(|(class, id)| (class.to_string(), *id))
            .collect()
    };
    assert_eq!(planned(&fake, 0), []);
    assert_eq!(
        planned(&fake, 1),
        expect(&[("cat", 1), ("dog", 5), ("eel", 8), ("unknown", 6)])
    );
    assert_eq!(
        planned(&fake, 2),
        expect(&[
            ("cat", 1),
            ("cat", 3),
            ("dog", 5),
            ("eel", 8),
            ("unknown", 6),
            ("unknown", 7)
        ])
    );
    // Equal losses go by image id; the unlabelled image predicted as cat comes last.
    assert_eq!(
        planned(&fake, 100)[..6],
        expect(&[
            ("cat", 1),
            ("cat", 3),
            ("cat", 4),
            ("cat", 2),
            ("cat", 0),
            ("cat", 9)
        ])
    );
}

#[test]
fn many_classes_share_a_limited_number_of_pictures() {
    let labels: Vec<String> = (0..10).map(|class| format!("label {class}")).collect();
    let images = labels.iter().enumerate().flat_map(|(class, label)| {
        (0..2).map(move |n| FakeImage {
            path: format!("{class}-{n}.png"),
            label: Some((class as i32, label.clone())),
            error: None,
            picture: None,
        })
    });
    let fake = Fake {
        images: images.collect(),
        network_classes: network_classes(),
        predictions: vec![(0, None); 20],
        part_size: 3,
        ..Fake::default()
    };
    fake.write();
    let classes = |max: usize| -> (Vec<u32>, usize) {
        let set = format!("explain.max_pictures={max}");
        let (overlays, left_out) = fake.read(&[&set], |ctx, manifest| {
            plan(ctx, manifest, &network_classes()).unwrap()
        });
        let classes = overlays.iter().map(|overlay| overlay.image_id / 2);
        (classes.collect(), left_out)
    };
    assert_eq!(classes(0), (vec![], 20));
    assert_eq!(classes(5), (vec![1, 3, 5, 7, 9], 15));
    // Every class has a first picture before any has a second one.
    assert_eq!(classes(12), (vec![0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 9], 8));
    assert_eq!(classes(20).1, 0);
}

/// `explanations` rows of (image, class, kind). The 2x2 map is hot at the top left for class 0, at the bottom right for others,
/// and has a scale of 0.5.
fn explanations(rows: &[(u32, i32, &str)]) -> RecordBatch {
    let n = rows.len();
    let maps = rows.iter().map(|&(_, class, _)| {
        let map = if class == 0 {
            [2.0, 0.0, 0.0, 0.0]
        } else {
            [0.0, 0.0, 0.0, 2.0]
        };
        Some(map.map(|value| Some(f16::from_f32(value))))
    });
    let texts = |of: &dyn Fn(usize) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..n).map(of)))
    };
    let kinds = StringArray::from_iter_values(rows.iter().map(|row| row.2));
    RecordBatch::try_from_iter([
        (
            "image_id",
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0))) as ArrayRef,
        ),
        ("layer", texts(&|_| "last")),
        ("method", texts(&|_| "gradcam")),
        (
            "class",
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1))),
        ),
        ("class_kind", Arc::new(kinds)),
        ("height", Arc::new(Int16Array::from(vec![2; n]))),
        ("width", Arc::new(Int16Array::from(vec![2; n]))),
        (
            "map",
            Arc::new(ListArray::from_iter_primitive::<Float16Type, _, _>(maps)),
        ),
        ("map_scale", Arc::new(Float32Array::from(vec![0.5; n]))),
        ("logit", Arc::new(Float32Array::from(vec![7.0; n]))),
    ])
    .unwrap()
}

#[test]
fn overlays_cover_the_photo_and_missing_images_are_counted() {
    let fake = fake(&[
        (Some("cat"), 0, Some(0.8)),
        (Some("dog"), 0, Some(0.3)),
        (None, 2, None),
    ]);
    fake.write();
    fs::remove_file(fake.image_dir().join("02.png")).unwrap();
    let spec = InputSpec {
        resize: Resize::None,
        crop: Some((30, 30)),
        interpolation: Interpolation::Bilinear,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let rows = [
        (0, 0, "predicted"),
        (1, 0, "predicted"),
        (1, 1, "label"),
        (1, 0, "top-2"),
        (2, 2, "predicted"),
    ];
    let overlays = fake.with(&["explain.pictures=1"], |ctx| {
        let lock = ctx.run.lock("test").unwrap();
        let writer = begin(ctx.run, &lock, "explain");
        let mut part = writer.part(0).unwrap();
        part.write("explanations", &explanations(&rows)).unwrap();
        writer.commit(part).unwrap();
        let manifest = ctx.run.manifest().unwrap();
        let classes = network_classes();
        let (overlays, _) = plan(ctx, &manifest, &classes).unwrap();
        let choice = MapChoice {
            layer: "last",
            method: CamMethod::GradCam,
            classes: &classes,
            spec: &spec,
        };
        let mut part = writer.part(1).unwrap();
        assert_eq!(
            draw(ctx, &manifest, &choice, &overlays, &mut part, |_| ())
                .unwrap()
                .1,
            1
        );
        writer.commit(part).unwrap();
        overlays
    });
    let paths: Vec<&str> = overlays
        .iter()
        .map(|overlay| overlay.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "pictures/explanations/cat/0.png",
            "pictures/explanations/dog/1.png",
            "pictures/explanations/eel/2.png"
        ]
    );
    let open = |path: &str| {
        let bytes = fs::read(fake.run().path(path)).unwrap();
        ::image::load_from_memory(&bytes).unwrap().to_rgb8()
    };
    let (one, two) = (open(paths[0]), open(paths[1]));
    assert!(!fake.run().path(paths[2]).exists());
    // One panel for the photo and one per class, each at least 300 wide; the photo is enlarged fourfold to 240x120.
    assert_eq!((one.width(), two.width()), (2 * 310 + 10, 3 * 310 + 10));
    let pixel = |picture: &::image::RgbImage, panel: u32, x: u32, y: u32| {
        picture
            .get_pixel(10 + panel * 310 + 30 + x * 4, 10 + y * 4)
            .0
    };
    // The input is columns 15..45 of 60.
    let photo = [50; 3];
    assert_eq!(pixel(&two, 0, 30, 15), photo);
    let hot = pixel(&two, 1, 16, 1);
    assert!(hot[0] > 150 && hot[0] > hot[2], "{hot:?}");
    assert_eq!(pixel(&two, 1, 14, 1), [10; 3], "outside the crop");
    assert_eq!(pixel(&two, 2, 44, 29), hot, "the label's map");
    assert!(pixel(&two, 2, 16, 1)[0] < 40);
}
