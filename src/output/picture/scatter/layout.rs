//! The layout of a map, in units from the top left corner.

use prospect_common::text::{count, counted};

use super::{
    colours::of_groups,
    content::{Colouring, Scatter},
    points::{Extents, Group, View, groups, present, shuffled},
};
use crate::picture::{
    PictureError,
    chart::{Align, Rect, TextLine, line, width},
    palette::{
        Rgb,
        chart::{GREY, GROUND, INK, RIGHT, SOFT, WRONG},
        mixed,
    },
};

const WIDTH: f32 = 1600.0;
const MARGIN: f32 = 40.0;
/// Width of the map.
const MAP_WIDTH: f32 = 1080.0;
/// Height of title and subtitle.
const HEAD: f32 = 118.0;
const TITLE: f32 = 38.0;
const SUBTITLE: f32 = 23.0;
/// Minimum height of a map relative to its width.
const MIN_ASPECT: f32 = 0.7;
/// Height of an axis name.
const AXIS: f32 = 34.0;
const AXIS_FONT_SIZE: f32 = 21.0;
/// Between the map and the legend.
const GUTTER: f32 = 40.0;
/// Maximum groups of a large-font, single-column legend.
const FEW: usize = 20;
/// Minimum points for names on the map even with few groups.
const NAMED_FROM: usize = 1000;
/// Maximum fraction of the map covered by names.
const MAX_COVERED: f32 = 0.12;
/// With at most this many points, names of small groups do not cover other points.
const SPARSE: usize = 2500;
/// Maximum width of a name on the map.
const NAME_WIDTH: f32 = 190.0;
/// Between the legend's columns.
const COLUMN_GAP: f32 = 26.0;

pub struct Layout {
    pub size: (u32, u32),
    pub frame: Rect,
    pub styles: Vec<Style>,
    /// In drawing order.
    pub marks: Vec<Mark>,
    pub names: Vec<Name>,
    pub swatches: Vec<Swatch>,
    /// Titles, axes and the legend.
    pub words: Vec<TextLine>,
}

pub struct Style {
    pub radius: f32,
    pub colour: Rgb,
    pub alpha: f64,
    /// A light rim separates large points.
    pub rim: bool,
}

pub struct Mark {
    pub at: [f32; 2],
    pub style: u32,
}

#[derive(Debug, Clone)]
pub struct Swatch {
    pub at: [f32; 2],
    pub radius: f32,
    pub colour: Rgb,
}

/// A name on the map.
#[derive(Debug, Clone)]
pub struct Name {
    pub words: TextLine,
    /// Opacity of its light background.
    pub ground: f64,
}

impl Name {
    pub fn covers(&self) -> Rect {
        self.words.bounds().grown(5.0, 0.0)
    }
}

impl Layout {
    /// Of more than `max_points`, a reproducible sample is drawn.
    pub fn new(scatter: &Scatter, max_points: usize) -> Result<Layout, PictureError> {
        let n = scatter.points.len();
        if scatter.groups.len() != n {
            return Err(PictureError::Shape {
                shape: vec![n],
                expected: n,
                found: scatter.groups.len(),
            });
        }
        let highest = scatter.groups.iter().flatten().max();
        if let Some(&highest) = highest.filter(|&&group| group as usize >= scatter.names.len()) {
            return Err(PictureError::Shape {
                shape: vec![scatter.names.len()],
                expected: highest as usize + 1,
                found: scatter.names.len(),
            });
        }
        let axis = if scatter.axes.is_some() { AXIS } else { 0.0 };
        let extents = Extents::of(scatter.points);
        let present = present(scatter);
        // A flat map need not be square, as long as the legend fits.
        let min_aspect = if present > FEW { 1.0 } else { MIN_ASPECT };
        let across = MAP_WIDTH - axis;
        let frame = Rect::sized(
            MARGIN + axis,
            HEAD,
            across,
            extents.height(across).max(across * min_aspect),
        );
        let height = frame.y1 + axis + MARGIN;
        let view = View::new(&extents, &frame);
        let groups = groups(scatter, &view);
        let colours = match scatter.colouring {
            Colouring::Correctness => {
                let both = [RIGHT, WRONG].into_iter().cycle();
                both.take(scatter.names.len()).collect()
            }
            Colouring::Groups => {
                let centres: Vec<_> = groups.iter().map(|g| (g.index, g.centre)).collect();
                of_groups(scatter.names.len(), &centres)
            }
        };
        let (marks, outside, drawn) = marks(scatter, &view, &frame, max_points);
        let mut layout = Layout {
            size: (WIDTH as u32, height as u32),
            frame,
            styles: styles(scatter.colouring, &colours, drawn),
            marks,
            names: Vec::new(),
            swatches: Vec::new(),
            words: Vec::new(),
        };
        layout.titles(scatter, drawn, outside);
        if scatter.colouring == Colouring::Groups
            && (groups.len() > FEW || (groups.len() > 2 && n >= NAMED_FROM))
        {
            layout.name_groups(scatter, &groups, &colours);
        }
        layout.legend(scatter, groups, &colours, n);
        Ok(layout)
    }

    fn titles(&mut self, scatter: &Scatter, drawn: usize, outside: usize) {
        let room = WIDTH - 2.0 * MARGIN;
        let title = line(TITLE, scatter.title, room);
        self.words
            .push(TextLine::new(title, [MARGIN, 44.0], TITLE, INK));
        let mut notes = Vec::new();
        if !scatter.subtitle.is_empty() {
            notes.push(scatter.subtitle.to_string());
        }
        let shown = scatter.points.len() - outside;
        if drawn < shown {
            let (drawn, all) = (count(drawn as u64), count(shown as u64));
            notes.push(format!("showing {drawn} of {all} points"));
        }
        if outside > 0 {
            let points = counted(outside as u64, "point");
            notes.push(format!("{points} far outside"));
        }
        if !notes.is_empty() {
            let notes = line(SUBTITLE, &notes.join(" · "), room);
            self.words
                .push(TextLine::new(notes, [MARGIN, 86.0], SUBTITLE, SOFT));
        }
        if let Some([x, y]) = scatter.axes {
            let frame = self.frame;
            let name = |text| line(AXIS_FONT_SIZE, text, frame.width());
            let below = [(frame.x0 + frame.x1) / 2.0, frame.y1 + AXIS * 0.55];
            let beside = [frame.x0 - AXIS * 0.55, (frame.y0 + frame.y1) / 2.0];
            let words = |text, at| {
                TextLine::new(name(text), at, AXIS_FONT_SIZE, SOFT).aligned(Align::Centre)
            };
            self.words.push(words(x, below));
            self.words.push(words(y, beside).rotated());
        }
    }

    /// Puts names at their groups' centres, largest groups first, as many as fit without overlap.
    fn name_groups(&mut self, scatter: &Scatter, groups: &[Group], colours: &[Rgb]) {
        let size = if groups.len() <= FEW { 24.0 } else { 19.0 };
        let room = self.frame.width() * self.frame.height() * MAX_COVERED;
        let sparse = self.marks.len() <= SPARSE;
        let radius = self.styles.first().map_or(0.0, |style| style.radius * 0.8);
        let mut covered = 0.0;
        let mut placed: Vec<Rect> = Vec::new();
        for group in groups {
            let text = line(size, &scatter.names[group.index], NAME_WIDTH);
            let colour = mixed(colours[group.index], INK, 0.65);
            let [x, y] = group.centre;
            // A name must not hide the few points of its group.
            let few = group.n <= 4;
            let beside = width(size, &text) / 2.0 + 16.0;
            let moves = if few {
                [[beside, 0.0], [-beside, 0.0], [0.0, size], [0.0, -size]]
            } else {
                [[0.0, 0.0], [0.0, size], [0.0, -size], [beside / 2.0, 0.0]]
            };
            for [dx, dy] in moves {
                let words = TextLine::new(text.clone(), [x + dx, y + dy], size, colour);
                let name = Name {
                    words: words.aligned(Align::Centre),
                    ground: if few { 0.65 } else { 0.85 },
                };
                let rect = name.covers().grown(3.0, 1.0);
                let clear = few && sparse;
                let dots = rect.grown(radius, radius);
                let free = placed.iter().all(|other| !rect.overlaps(other))
                    && !(clear && self.marks.iter().any(|mark| dots.has(mark.at)));
                if free && self.frame.holds(&rect) {
                    if !clear {
                        covered += rect.width() * rect.height();
                    }
                    placed.push(rect);
                    self.names.push(name);
                    break;
                }
            }
            if covered > room {
                break;
            }
        }
    }

    fn legend(&mut self, scatter: &Scatter, mut groups: Vec<Group>, colours: &[Rgb], n: usize) {
        let left = MARGIN + MAP_WIDTH + GUTTER;
        let right = WIDTH - MARGIN;
        let known: usize = groups.iter().map(|group| group.n).sum();
        let (size, step) = match groups.len() {
            0..=FEW => (23.0, 34.0),
            21..=40 => (21.0, 25.0),
            _ => (18.0, 20.5),
        };
        let mut top = HEAD + 12.0;
        let heading = if groups.len() > FEW {
            format!("{}: {} classes", scatter.by, count(groups.len() as u64))
        } else {
            scatter.by.to_string()
        };
        let heading = line(21.0, &heading, right - left);
        self.words
            .push(TextLine::new(heading, [left, top], 21.0, SOFT));
        top += 36.0;
        let unknown = (n > known).then_some(n - known);
        let others = usize::from(unknown.is_some());
        let rows = ((self.size.1 as f32 - MARGIN - top) / step) as usize + 1;
        let columns = if groups.len() + others <= rows { 1 } else { 2 };
        let places = rows * columns;
        let mut entries: Vec<(Option<Rgb>, &str, usize)> = Vec::new();
        let more;
        let hidden = if groups.len() + others > places {
            groups.split_off(places - others - 1)
        } else {
            groups.sort_by_key(|group| group.index);
            Vec::new()
        };
        entries.extend(groups.iter().map(|group| {
            let name = scatter.names[group.index].as_str();
            (Some(colours[group.index]), name, group.n)
        }));
        if !hidden.is_empty() {
            more = format!("and {} more", count(hidden.len() as u64));
            entries.push((None, &more, hidden.iter().map(|group| group.n).sum()));
        }
        entries.extend(unknown.map(|n| (Some(GREY), scatter.unknown, n)));
        let wide = (right - left - COLUMN_GAP * (columns - 1) as f32) / columns as f32;
        let radius = size * 0.32;
        for (place, (colour, name, n)) in entries.into_iter().enumerate() {
            let x = left + (place / rows) as f32 * (wide + COLUMN_GAP);
            let y = top + (place % rows) as f32 * step;
            let at = [x + radius, y];
            self.swatches
                .extend(colour.map(|colour| Swatch { at, radius, colour }));
            let figure = count(n as u64);
            let start = x + radius * 2.0 + size * 0.45;
            let room = x + wide - start - width(size, &figure) - size * 0.5;
            let name = line(size, name, room);
            self.words.push(TextLine::new(name, [start, y], size, INK));
            let figure = TextLine::new(figure, [x + wide, y], size, SOFT);
            self.words.push(figure.aligned(Align::Right));
        }
    }
}

/// One per group and, last, one for grey points.
fn styles(colouring: Colouring, colours: &[Rgb], drawn: usize) -> Vec<Style> {
    let n = (drawn as f64).max(1.0);
    let radius = (30.0 / n.powf(0.28)).clamp(1.0, 7.0) as f32;
    let alpha = (1.22 - 0.13 * n.log10()).clamp(0.5, 0.9);
    let style = |radius: f32, colour, alpha: f64| Style {
        radius: (radius * 2.0).round() / 2.0,
        colour,
        // Two decimals, as SVG repeats it for every point.
        alpha: (alpha * 100.0).round() / 100.0,
        rim: drawn <= 600,
    };
    let mut styles: Vec<Style> = (colours.iter())
        .map(|&colour| style(radius, colour, alpha))
        .collect();
    if let (Colouring::Correctness, Some(wrong)) = (colouring, colours.get(1)) {
        styles[1] = style(radius * 1.25, *wrong, alpha.max(0.8));
    }
    styles.push(style(radius, mixed(GROUND, GREY, 0.9), alpha));
    styles
}

/// The points in drawing order, the number outside the frame, and the number drawn.
fn marks(
    scatter: &Scatter,
    view: &View,
    frame: &Rect,
    max_points: usize,
) -> (Vec<Mark>, usize, usize) {
    let inside = |&point: &u32| frame.has(view.place(scatter.points[point as usize]));
    let mut order: Vec<u32> = shuffled(scatter.points.len());
    order.retain(inside);
    let outside = scatter.points.len() - order.len();
    order.truncate(max_points);
    let grey = scatter.names.len() as u32;
    let layer = |point: &u32| match (scatter.groups[*point as usize], scatter.colouring) {
        (None, _) => 0,
        (Some(_), Colouring::Groups) => 1,
        (Some(group), Colouring::Correctness) => 1 + group,
    };
    // Stable: keeps the shuffled order within a layer.
    order.sort_by_key(layer);
    let marks = order.iter().map(|&point| Mark {
        at: view.place(scatter.points[point as usize]),
        style: scatter.groups[point as usize].unwrap_or(grey),
    });
    (marks.collect(), outside, order.len())
}
