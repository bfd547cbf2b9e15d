use super::*;
use crate::picture::{
    chart::Rect,
    palette::{self, chart::GROUND},
};

fn names(n: usize) -> Vec<String> {
    (0..n)
        .map(|class| format!("class number {class}"))
        .collect()
}

/// A diagonal and, for every class, two confusions.
fn cells(n: usize, other: bool) -> Vec<Cell> {
    let row = |row: usize| {
        let last = if other { n } else { (row + 1) % n };
        let columns = [
            (row, 0.9, 1800),
            ((row + n / 3) % n, 0.08, 160),
            (last, 0.02, 40),
        ];
        columns.map(|(column, share, count)| Cell {
            row,
            column,
            count,
            share,
        })
    };
    let mut cells: Vec<Cell> = (0..n).flat_map(row).collect();
    // With few classes, some coincide.
    cells.sort_by_key(|cell| (cell.row, cell.column));
    cells.dedup_by_key(|cell| (cell.row, cell.column));
    cells
}

fn entries(n: usize) -> Vec<Entry> {
    (0..n)
        .map(|line| Entry {
            text: format!("a class with a long name › another class with a long name {line}"),
            figure: "1,234 · 12.3 %".into(),
        })
        .collect()
}

fn matrix<'a>(names: &'a [String], cells: &'a [Cell], entries: &'a [Entry]) -> Matrix<'a> {
    Matrix {
        title: "Labels and predicted classes",
        subtitle: "92.9 % of 10,000 images right",
        names,
        other: None,
        cells,
        axes: ["label", "predicted class"],
        of: "of the label's images",
        figures: Figures::Counts,
        list: ("most confused", entries),
    }
}

#[test]
fn texts_do_not_overlap_and_stay_inside() {
    for n in [1, 2, 3, 10, 30, 31, 70, 100, 150, 151, 1000] {
        let names = names(n);
        for other in [None, Some("other classes of the network")] {
            for n_entries in [0, 3, 60] {
                let (cells, entries) = (cells(n, other.is_some()), entries(n_entries));
                let matrix = Matrix {
                    other,
                    ..matrix(&names, &cells, &entries)
                };
                let layout = Layout::new(&matrix).unwrap();
                let (w, h) = layout.size;
                assert!(w <= 2000 && h <= 1500, "{n}: {w} x {h}");
                let page = Rect::sized(0.0, 0.0, w as f32, h as f32);
                for (fill, _) in &layout.fills {
                    assert!(page.holds(fill), "{n}: {fill:?}");
                }
                for (at, one) in layout.words.iter().enumerate() {
                    let bounds = one.bounds().grown(-0.5, -1.0);
                    assert!(page.holds(&bounds), "{n}: {one:?}");
                    for next in &layout.words[at + 1..] {
                        let next_bounds = next.bounds().grown(-0.5, -1.0);
                        assert!(!bounds.overlaps(&next_bounds), "{n}: {one:?}, {next:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_are_labels_and_columns_are_predictions() {
    let names = ["a", "b", "c"].map(str::to_string);
    let cells = [(0, 0, 1.0, 7), (1, 1, 0.5, 1), (1, 2, 0.5, 1)].map(|cell| {
        let (row, column, share, count) = cell;
        Cell {
            row,
            column,
            count,
            share,
        }
    });
    let layout = Layout::new(&matrix(&names, &cells, &[])).unwrap();
    let place = |text: &str, rotated: bool| {
        let mut all = layout.words.iter();
        let found = all.find(|words| words.text == text && words.rotated == rotated);
        found.unwrap().at
    };
    let [x, y] = [place("c", true)[0], place("b", false)[1]];
    let figure = layout.words.iter().find(|words| words.at == [x, y]);
    assert_eq!(figure.unwrap().text, "1");
    let picture = matrix_picture(&matrix(&names, &cells, &[])).unwrap();
    assert_eq!((picture.width, picture.height), layout.size);
    // Beside the number.
    let at = |x: f32, y: f32| picture.at(x as u32 - 25, y as u32 - 25).unwrap();
    assert_eq!(at(x, y), palette::share(0.5));
    assert_eq!(at(x, place("c", false)[1]), GROUND);
    assert_eq!(
        at(place("a", true)[0], place("a", false)[1]),
        palette::share(1.0)
    );
}

#[test]
fn one_in_a_hundred_is_visible_and_more_is_darker() {
    let luma = |share: f64| palette::luma(&palette::share(share));
    for step in 0..100 {
        let share = f64::from(step) / 100.0;
        assert!(luma(share) > luma(share + 0.01), "{share}");
    }
    assert!(
        luma(0.0) - luma(0.01) > 20_000,
        "{} {}",
        luma(0.0),
        luma(0.01)
    );
    assert_eq!(palette::share(7.0), palette::share(1.0));
    // Even among a thousand classes, a single confusion has a pixel of its full colour.
    let names = names(1000);
    let lone = [Cell {
        row: 700,
        column: 200,
        count: 1,
        share: 0.02,
    }];
    let picture = matrix_picture(&matrix(&names, &lone, &[])).unwrap();
    let marked =
        |x: u32| (118..1118).filter(move |&y| picture.at(x, y) == Some(palette::share(0.02)));
    let layout = Layout::new(&matrix(&names, &lone, &[])).unwrap();
    let grid = layout.fills[0].0;
    let x = grid.x0 as u32 + 200;
    assert_eq!(marked(x).count(), 1);
}

#[test]
fn hostile_names_and_numbers_are_harmless() {
    let mut names = names(4);
    names[0] = "\u{202e}\u{0}\n".into();
    names[1] = String::new();
    names[2] = "long ".repeat(100_000);
    let cells = [Cell {
        row: 2,
        column: 3,
        count: u64::MAX,
        share: f64::NAN,
    }];
    let entries = [Entry {
        text: names[2].clone(),
        figure: "1".into(),
    }];
    let layout = Layout::new(&matrix(&names, &cells, &entries)).unwrap();
    assert!(layout.words.iter().all(|words| words.text.len() < 200));
    matrix_picture(&matrix(&names, &cells, &entries)).unwrap();
}

#[test]
fn cells_outside_the_matrix_are_refused() {
    let two = names(2);
    let outside = |row, column| {
        [Cell {
            row,
            column,
            count: 1,
            share: 1.0,
        }]
    };
    assert!(matrix_picture(&matrix(&two, &outside(2, 0), &[])).is_err());
    assert!(matrix_picture(&matrix(&two, &outside(0, 2), &[])).is_err());
    let with_other = Matrix {
        other: Some("other"),
        ..matrix(&two, &[], &[])
    };
    matrix_picture(&with_other).unwrap();
    assert!(matrix_picture(&matrix(&[], &[], &[])).is_err());
    assert!(matrix_picture(&matrix(&names(MAX_CLASSES + 1), &[], &[])).is_err());
}
