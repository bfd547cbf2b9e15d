use super::*;
use crate::picture::{
    chart::{Rect, TextLine},
    palette::chart::GROUPS,
};

fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        // xorshift64: any fixed sequence will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// One cluster per group.
struct Fake {
    points: Vec<[f32; 2]>,
    groups: Vec<Option<u32>>,
    names: Vec<String>,
}

impl Fake {
    fn new(n: usize, n_groups: usize) -> Fake {
        let mut random = random(7);
        let centres: Vec<[f32; 2]> = (0..n_groups)
            .map(|_| [random() * 100.0, random() * 60.0])
            .collect();
        let mut fake = Fake {
            points: Vec::new(),
            groups: Vec::new(),
            names: (0..n_groups)
                .map(|group| format!("class number {group}"))
                .collect(),
        };
        for _ in 0..n {
            // Lower group numbers are more frequent.
            let group = ((random() * random()) * n_groups as f32) as usize;
            let [x, y] = centres[group];
            fake.points.push([x + random() * 6.0, y + random() * 6.0]);
            fake.groups.push(Some(group as u32));
        }
        fake
    }

    fn scatter(&self) -> Scatter<'_> {
        Scatter {
            title: "t-SNE",
            subtitle: "perplexity 30",
            points: &self.points,
            groups: &self.groups,
            names: &self.names,
            by: "label",
            unknown: "no label",
            axes: None,
            colouring: Colouring::Groups,
        }
    }
}

fn all_words(layout: &Layout) -> Vec<&TextLine> {
    let on_map = layout.names.iter().map(|name| &name.words);
    layout.words.iter().chain(on_map).collect()
}

#[test]
fn texts_do_not_overlap_and_stay_inside() {
    for n_groups in [1, 2, 10, 20, 21, 45, 100, 300, 1000] {
        for n in [40, 3000] {
            let mut fake = Fake::new(n, n_groups);
            fake.groups[0] = None;
            let axes = Some(["component 1 (21 %)", "component 2 (13 %)"]);
            for axes in [None, axes] {
                let scatter = Scatter {
                    axes,
                    ..fake.scatter()
                };
                let layout = Layout::new(&scatter, usize::MAX).unwrap();
                let words = all_words(&layout);
                let (w, h) = layout.size;
                let page = Rect::sized(0.0, 0.0, w as f32, h as f32);
                for (at, one) in words.iter().enumerate() {
                    // Lines may touch, letters may not.
                    let one_bounds = one.bounds().grown(0.0, -1.5);
                    assert!(page.holds(&one_bounds), "{one:?}");
                    for other in &words[at + 1..] {
                        let apart = !one_bounds.overlaps(&other.bounds().grown(0.0, -1.5));
                        assert!(apart, "{n_groups}: {one:?} and {other:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_legend_counts_every_point_once() {
    for (n_groups, n_swatches) in [(2, 3), (10, 11), (90, 91)] {
        let mut fake = Fake::new(5000, n_groups);
        fake.groups[7] = None;
        let layout = Layout::new(&fake.scatter(), usize::MAX).unwrap();
        assert_eq!(layout.swatches.len(), n_swatches);
        let figures = layout.words.iter().filter_map(|words| {
            let figure = words.text.replace(',', "");
            figure.parse::<usize>().ok()
        });
        assert_eq!(figures.sum::<usize>(), 5000, "{n_groups}");
    }
    // More classes than fit: the largest, and the number of others.
    let fake = Fake::new(20_000, 1000);
    let layout = Layout::new(&fake.scatter(), usize::MAX).unwrap();
    let texts: Vec<&str> = layout.words.iter().map(|words| &*words.text).collect();
    let more = texts.iter().find(|text| text.starts_with("and ")).unwrap();
    let present: std::collections::BTreeSet<_> = fake.groups.iter().collect();
    let hidden: usize = more[4..more.len() - 5].parse().unwrap();
    assert_eq!(hidden + layout.swatches.len(), present.len(), "{more}");
    assert!(layout.swatches.len() > 90);
    assert!(layout.names.len() > 20, "{}", layout.names.len());
}

#[test]
fn both_axes_have_the_same_scale_and_y_points_up() {
    let fake = Fake {
        points: vec![[0.0, 0.0], [10.0, 0.0], [0.0, 5.0], [f32::NAN, 1.0]],
        groups: vec![Some(0), Some(1), Some(2), None],
        names: ["a", "b", "c"].map(str::to_string).to_vec(),
    };
    let layout = Layout::new(&fake.scatter(), usize::MAX).unwrap();
    assert_eq!(layout.marks.len(), 3);
    let at = |group: u32| {
        let mark = layout.marks.iter().find(|mark| mark.style == group);
        mark.unwrap().at
    };
    let ([x, y], [right, _], [_, up]) = (at(0), at(1), at(2));
    assert!(right > x && up < y);
    assert!(((right - x) - 2.0 * (y - up)).abs() < 0.01);
    let notes = &layout.words[1].text;
    assert!(notes.ends_with("1 point far outside"), "{notes}");
}

#[test]
fn outliers_do_not_squeeze_the_rest() {
    let mut fake = Fake::new(2000, 3);
    fake.points[5] = [1e30, -1e30];
    fake.points[6] = [-4000.0, 3.0];
    let layout = Layout::new(&fake.scatter(), usize::MAX).unwrap();
    assert_eq!(layout.marks.len(), 1998);
    let left = layout.marks.iter().map(|mark| mark.at[0]);
    let (low, high) = left.fold((f32::MAX, f32::MIN), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    assert!(high - low > 300.0, "{low} {high}");
    // All points equal, or all NaN.
    for points in [vec![[3.0, 4.0]; 2000], vec![[f32::NAN; 2]; 2000]] {
        fake.points = points;
        let layout = Layout::new(&fake.scatter(), usize::MAX).unwrap();
        assert!(layout.marks.iter().all(|mark| layout.frame.has(mark.at)));
        scatter_png(&fake.scatter()).unwrap();
    }
    let none = Fake::new(0, 1);
    scatter_png(&none.scatter()).unwrap();
    scatter_svg(&none.scatter()).unwrap();
}

#[test]
fn grey_points_are_below_and_wrong_ones_on_top() {
    let mut fake = Fake::new(3000, 2);
    for i in 0..1000 {
        fake.groups[i * 3] = None;
    }
    let scatter = Scatter {
        colouring: Colouring::Correctness,
        ..fake.scatter()
    };
    let layout = Layout::new(&scatter, usize::MAX).unwrap();
    let styles: Vec<u32> = layout.marks.iter().map(|mark| mark.style).collect();
    let mut expected = styles.clone();
    expected.sort_by_key(|&style| (style + 1) % 3);
    assert_eq!(styles, expected);
    // Ordinary groups are mixed, or the last would cover the others.
    let layout = Layout::new(&fake.scatter(), usize::MAX).unwrap();
    let styles: Vec<u32> = layout.marks.iter().map(|mark| mark.style).collect();
    assert!(styles[..1000].iter().all(|&style| style == 2));
    let first = styles[1000..2000].iter().filter(|&&s| s == 0).count();
    let second = styles[2000..].iter().filter(|&&s| s == 0).count();
    assert!(first.abs_diff(second) < 100, "{first} {second}");
}

#[test]
fn groups_of_the_same_colour_are_far_apart() {
    let fake = Fake::new(20_000, 60);
    let layout = Layout::new(&fake.scatter(), usize::MAX).unwrap();
    let mut centres = vec![[0.0f32; 2]; 60];
    for (group, centre) in centres.iter_mut().enumerate() {
        let own = layout
            .marks
            .iter()
            .filter(|mark| mark.style == group as u32);
        let own: Vec<[f32; 2]> = own.map(|mark| mark.at).collect();
        for axis in [0, 1] {
            let sum: f32 = own.iter().map(|at| at[axis]).sum();
            centre[axis] = sum / own.len().max(1) as f32;
        }
    }
    let apart = |a: usize, b: usize| {
        let [dx, dy] = [0, 1].map(|axis| centres[a][axis] - centres[b][axis]);
        dx.hypot(dy)
    };
    let pairs = (0..60).flat_map(|a| (0..a).map(move |b| (a, b)));
    let (same, others): (Vec<_>, Vec<_>) =
        pairs.partition(|&(a, b)| layout.styles[a].colour == layout.styles[b].colour);
    let nearest = |pairs: &[(usize, usize)]| {
        let all = pairs.iter().map(|&(a, b)| apart(a, b));
        all.fold(f32::MAX, f32::min)
    };
    assert!(same.len() >= 60, "{}", same.len());
    assert!(nearest(&same) > 150.0 && nearest(&others) < 60.0);
    let used: std::collections::BTreeSet<_> = layout.styles[..60]
        .iter()
        .map(|style| style.colour)
        .collect();
    assert_eq!(used.len(), GROUPS.len());
}

#[test]
fn few_groups_have_the_same_colours_in_all_pictures() {
    let mut fake = Fake::new(500, 9);
    let before = Layout::new(&fake.scatter(), usize::MAX).unwrap();
    fake.groups.iter_mut().for_each(|group| {
        *group = group.filter(|&group| group != 1);
    });
    let after = Layout::new(&fake.scatter(), usize::MAX).unwrap();
    for (one, other) in before.styles.iter().zip(&after.styles) {
        assert_eq!(one.colour, other.colour);
    }
}

/// The element names of plotters' SVG; fails if it is not well-formed.
fn elements(svg: &str) -> Vec<&str> {
    let mut open = Vec::new();
    let mut found = Vec::new();
    let (before, rest) = svg.split_once('<').unwrap();
    assert_eq!(before, "");
    for piece in rest.split('<') {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(
            !text.contains('>') && tag.matches('"').count() % 2 == 0,
            "{piece}"
        );
        for entity in text.split('&').skip(1) {
            let (name, _) = entity.split_once(';').unwrap();
            assert!(
                ["lt", "gt", "amp", "quot", "apos"].contains(&name),
                "{piece}"
            );
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        let name = tag.split_whitespace().next().unwrap();
        found.push(name);
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty());
    found
}

#[test]
fn hostile_names_are_escaped() {
    let mut fake = Fake::new(1500, 8);
    let names = [
        "<script>alert(1)</script>",
        "a\" onload=\"alert(1)",
        "x' & y &lt; z",
        "gpj.\u{202e}exe",
        "two\nlines\u{1b}[31m\u{0}",
        "\u{ffff}\u{fffe}",
        " ",
        "very long ",
    ];
    fake.names = names.map(str::to_string).to_vec();
    fake.names[7] = "very long ".repeat(100_000);
    let scatter = Scatter {
        title: "<b>title</b>",
        subtitle: "]]> \u{7}",
        axes: Some(["<x>", "&y;"]),
        ..fake.scatter()
    };
    let svg = scatter_svg(&scatter).unwrap();
    for name in elements(&svg) {
        assert!(["svg", "rect", "circle", "text"].contains(&name), "{name}");
    }
    assert!(svg.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(svg.contains("(no name)") && svg.contains("very long very"));
    let odd = |letter: char| {
        (letter.is_control() && letter != '\n')
            || ['\u{202e}', '\u{ffff}', '\u{fffe}'].contains(&letter)
    };
    assert!(!svg.contains(odd));
    assert!(svg.len() < 400_000);
    scatter_png(&scatter).unwrap();
}

#[test]
fn svgs_of_many_points_show_a_noted_sample() {
    let fake = Fake::new(50_000, 10);
    let svg = scatter_svg(&fake.scatter()).unwrap();
    let circles = elements(&svg)
        .iter()
        .filter(|&&name| name == "circle")
        .count();
    assert_eq!(circles, SVG_POINTS + 10);
    assert!(svg.contains("perplexity 30 · showing 20,000 of 50,000 points"));
    assert!(svg.len() < 2_000_000, "{}", svg.len());
    // The sample covers all groups equally.
    let layout = Layout::new(&fake.scatter(), SVG_POINTS).unwrap();
    let share = |group: u32| {
        let drawn = layout.marks.iter().filter(|mark| mark.style == group);
        let all = fake.groups.iter().filter(|&&of| of == Some(group));
        drawn.count() as f64 / all.count() as f64
    };
    for group in 0..9 {
        assert!(
            (share(group) - 0.4).abs() < 0.05,
            "{group}: {}",
            share(group)
        );
    }
}

#[test]
fn pictures_are_reproducible_and_equal_in_size() {
    let fake = Fake::new(400, 5);
    let png = scatter_png(&fake.scatter()).unwrap();
    assert_eq!(png, scatter_png(&fake.scatter()).unwrap());
    let svg = scatter_svg(&fake.scatter()).unwrap();
    assert_eq!(svg, scatter_svg(&fake.scatter()).unwrap());
    let image = image::load_from_memory_with_format(&png, image::ImageFormat::Png).unwrap();
    let size = format!("width=\"{}\" height=\"{}\"", image.width(), image.height());
    assert!(svg.starts_with(&format!("<svg {size} viewBox")), "{size}");
}

#[test]
fn inconsistent_input_is_refused() {
    let mut fake = Fake::new(50, 3);
    fake.groups[9] = Some(3);
    assert!(matches!(
        scatter_png(&fake.scatter()),
        Err(PictureError::Shape {
            expected: 4,
            found: 3,
            ..
        })
    ));
    fake.groups.pop();
    assert!(scatter_svg(&fake.scatter()).is_err());
}
