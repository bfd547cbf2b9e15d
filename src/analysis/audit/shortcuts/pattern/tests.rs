use super::*;

const SIDE: usize = 48;

/// A picture of random blobs; with a cross of two lines around (`x`, `y`) if marked.
fn picture(random: &mut StdRng, mark: Option<(usize, usize)>) -> Vec<u8> {
    let mut values = vec![0.0_f32; SIDE * SIDE];
    for _ in 0..40 {
        let (cx, cy): (f32, f32) = (random.random(), random.random());
        let (size, height) = (
            random.random_range(2.0..9.0),
            random.random_range(-60.0..60.0),
        );
        for row in 0..SIDE {
            for column in 0..SIDE {
                let (dx, dy) = (column as f32 - 48.0 * cx, row as f32 - 48.0 * cy);
                values[row * SIDE + column] +=
                    height * f32::from(u8::from(dx * dx + dy * dy < size * size));
            }
        }
    }
    if let Some((x, y)) = mark {
        for along in 0..7 {
            values[y * SIDE + x + along - 3] += 70.0;
            values[(y + along - 3) * SIDE + x] += 70.0;
        }
    }
    let bytes = values
        .iter()
        .map(|value| (value + 128.0).clamp(0.0, 255.0) as u8);
    bytes.flat_map(|byte| [byte; 3]).collect()
}

fn studied(marked: impl Fn(usize, &mut StdRng) -> bool, seed: u64) -> (Cells, Vec<Pattern>) {
    let cells = Cells::of(SIDE, SIDE).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let pictures: Vec<(u32, Residual)> = (0..160)
        .map(|at| {
            let mark = marked(at, &mut random).then_some((33, 12));
            let rgb = picture(&mut random, mark);
            (at as u32 % 2, cells.residual(&rgb, SIDE, SIDE))
        })
        .collect();
    (cells, patterns(cells, &pictures, 2, seed))
}

#[test]
fn a_mark_on_half_of_a_class_is_found() {
    let (cells, found) = studied(|at, _| at % 4 == 1, 1);
    let pattern = &found[1];
    assert!(pattern.p_value < 1e-4, "{}", pattern.p_value);
    let [x0, y0, x1, y1] = cells.edges(&pattern.window).map(|edge| edge * SIDE as f64);
    assert!(
        x0 < 33.0 && 33.0 < x1 && y0 < 12.0 && 12.0 < y1,
        "{x0} {y0} {x1} {y1}"
    );
    assert!(
        (0.2..=0.55).contains(&pattern.of_class),
        "{}",
        pattern.of_class
    );
    assert!(pattern.of_others < 0.1, "{}", pattern.of_others);
    for (at, &score) in pattern.matches.iter().enumerate() {
        assert!(at % 4 == 1 || at % 2 == 0 || score < 6.0, "{at} {score}");
    }
    // The other class differs as much, but by what it lacks.
    assert!(pattern.is_own && !found[0].is_own);
}

#[test]
fn marks_of_both_classes_or_of_none_are_not_significant() {
    let mut significant = 0;
    for seed in 0..10 {
        let both = studied(|_, random| random.random_bool(0.3), seed).1;
        let none = studied(|_, _| false, seed).1;
        significant += both
            .iter()
            .chain(&none)
            .filter(|one| one.p_value < 0.01)
            .count();
    }
    assert!(significant <= 2, "{significant} of 40");
}

#[test]
fn few_or_small_pictures_have_no_pattern() {
    assert_eq!(Cells::of(8, 40), None);
    let cells = Cells::of(SIDE, SIDE).unwrap();
    let pictures = vec![(0, vec![0; CHANNELS * cells.count()]); 30];
    assert!(patterns(cells, &pictures, 2, 1).is_empty());
    assert!(patterns(cells, &[], 2, 1).is_empty());
}

#[test]
fn cells_cover_the_picture() {
    let cells = Cells::of(224, 224).unwrap();
    assert_eq!((cells.rows, cells.columns, cells.step), (52, 52, 2));
    let whole = Window {
        rows: (0, 52),
        columns: (0, 52),
    };
    assert_eq!(
        cells.edges(&whole),
        [4.0 / 112.0, 4.0 / 112.0, 108.0 / 112.0, 108.0 / 112.0]
    );
    let flat = cells.residual(&vec![90; 3 * 224 * 224], 224, 224);
    assert!(flat.len() == 2 * 52 * 52 && flat.iter().all(|&value| value == 0));
}

#[test]
fn means_are_cut_off_at_the_border() {
    let plane: Vec<f32> = (0..12).map(|at| at as f32).collect();
    let found = mean(&plane, (3, 4), 3);
    assert_eq!((found[0], found[5]), (2.5, 5.0));
    assert!((gumbel_tail(0.0) - 0.429_6).abs() < 1e-3 && gumbel_tail(5.0) < 1e-3);
}
