use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

type Colour = [f32; 3];

/// A picture of soft blobs, with `x` and `y` in 0..=1.
fn scene(seed: u64) -> impl Fn(f32, f32) -> Colour {
    let mut random = StdRng::seed_from_u64(seed);
    let blobs: Vec<[f32; 6]> = (0..60)
        .map(|_| [0; 6].map(|_: u8| random.random()))
        .collect();
    move |x, y| {
        let mut colour = [90.0, 110.0, 100.0];
        for [left, top, size, red, green, blue] in &blobs {
            let squared = (x - left).powi(2) + (y - top).powi(2);
            let weight = (-squared / (0.0005 + 0.01 * size * size)).exp();
            for (value, of_blob) in colour.iter_mut().zip([red, green, blue]) {
                *value += weight * (of_blob - 0.5) * 160.0;
            }
        }
        colour
    }
}

/// Thumbnail of the region from (left, top) to (right, bottom).
fn thumbnail(
    of: impl Fn(f32, f32) -> Colour,
    [left, top, right, bottom]: [f32; 4],
) -> Option<Thumbnail> {
    let at =
        |index: usize, low: f32, high: f32| low + (high - low) * (index as f32 + 0.5) / SIDE as f32;
    let pixels = (0..SIDE * SIDE).flat_map(|index| {
        of(at(index % SIDE, left, right), at(index / SIDE, top, bottom)).map(|value| value as u8)
    });
    Thumbnail::new(&pixels.collect::<Vec<u8>>())
}

const WHOLE: [f32; 4] = [0.0, 0.0, 1.0, 1.0];

fn whole(of: impl Fn(f32, f32) -> Colour) -> Thumbnail {
    thumbnail(of, WHOLE).unwrap()
}

#[test]
fn a_picture_equals_itself_and_its_remirrored_mirror_image() {
    let one = whole(scene(1));
    let mirrored = thumbnail(scene(1), [1.0, 0.0, 0.0, 1.0]).unwrap();
    assert!(one.similarity(&one).overall > 0.9999);
    let turned = one.turned(Orientation::Mirrored);
    assert!(turned.similarity(&mirrored).overall > 0.999);
    assert!(one.similarity(&mirrored).overall < 0.7);
}

#[test]
fn a_turned_picture_is_recognised_in_any_orientation() {
    let one = whole(scene(1));
    for orientation in Orientation::ALL {
        let found = one.compare(&one.turned(orientation));
        assert_eq!(found.orientation, orientation);
        assert!(found.similarity.local > 0.999, "{found:?}");
        assert!(found.wrong_way < 0.5, "{found:?}");
    }
    // Turned, and its margins cropped.
    let cut = thumbnail(|x, y| scene(1)(y, 1.0 - x), [0.04, 0.0, 0.98, 0.95]).unwrap();
    let found = one.compare(&cut);
    assert_eq!(found.orientation, Orientation::Rotated90);
    assert!(found.similarity.local > 0.9, "{found:?}");
}

#[test]
fn different_pictures_are_not_similar() {
    for (a, b) in [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)] {
        let found = whole(scene(a)).similarity(&whole(scene(b))).overall;
        assert!(found < 0.75, "{a} and {b}: {found}");
    }
}

#[test]
fn cropped_margins_still_match() {
    for (seed, part) in [
        (1, [0.1, 0.0, 1.0, 0.9]),
        (2, [0.02, 0.08, 0.92, 0.98]),
        (3, [0.0, 0.0, 0.9, 1.0]),
        (4, [0.05, 0.05, 0.95, 0.95]),
    ] {
        let (one, cut) = (whole(scene(seed)), thumbnail(scene(seed), part).unwrap());
        for found in [one.similarity(&cut).overall, cut.similarity(&one).overall] {
            assert!(found > 0.96, "{part:?}: {found}");
        }
    }
}

#[test]
fn brightness_and_contrast_do_not_matter_but_colours_do() {
    let one = whole(scene(1));
    let darker = whole(|x, y| scene(1)(x, y).map(|value| 20.0 + 0.6 * value));
    assert!(
        one.similarity(&darker).overall > 0.95,
        "{:?}",
        one.similarity(&darker)
    );
    let tinted = whole(|x, y| {
        let [red, green, blue] = scene(1)(x, y);
        [red + 40.0, green - 10.0, blue - 40.0]
    });
    assert!(
        one.similarity(&tinted).overall < 0.85,
        "{:?}",
        one.similarity(&tinted)
    );
}

#[test]
fn pictures_without_detail_are_not_compared() {
    assert_eq!(thumbnail(|_, _| [120.0; 3], WHOLE), None);
    assert_eq!(
        thumbnail(|x, y| [100.0 + 1.5 * (60.0 * x * y).sin(); 3], WHOLE),
        None
    );
}
