//! The layout of a matrix, in units from the top left corner.

use prospect_common::text::count;

use super::content::{Cell, Figures, MAX_CLASSES, Matrix};
use crate::picture::{
    PictureError,
    chart::{Align, Rect, TextLine, line, width},
    palette::{
        self, Rgb,
        chart::{GROUND, INK, PAPER, SOFT},
        luma,
    },
};

const MARGIN: f32 = 40.0;
/// Height of title and subtitle.
const HEAD: f32 = 118.0;
const TITLE: f32 = 38.0;
const SUBTITLE: f32 = 23.0;
/// Maximum size of the matrix and of a cell.
const MAX_GRID: f32 = 1000.0;
const MAX_CELL: f32 = 88.0;
/// Minimum height of a name; if cells are smaller, some names are skipped.
const MIN_LINE: f32 = 15.0;
/// With more classes no names are shown: too few would fit to be useful.
const MAX_NAMED: usize = 150;
const NAME_WIDTH: f32 = 230.0;
/// Minimum cell sizes for separating lines and for numbers.
const SEPARATED: f32 = 12.0;
const NUMBERED: f32 = 30.0;
/// Minimum drawn size of an off-diagonal cell, overlapping its neighbours if necessary: a single pixel would be missed.
const MIN_VISIBLE: f32 = 3.0;
const AXIS: f32 = 36.0;
const FONT_SIZE: f32 = 21.0;
/// Width of colour bar and list.
const SIDEBAR: f32 = 400.0;
const GUTTER: f32 = 50.0;
const STEP: f32 = 32.0;
/// Minimum lines of the list beside a small matrix.
const MIN_ROWS: usize = 8;
/// Between the classes and the column of all others.
const OTHER_GAP: f32 = 14.0;
/// Ticks of the colour bar.
const TICKS: [(f64, &str); 6] = [
    (0.0, "0"),
    (0.01, "1 %"),
    (0.05, "5 %"),
    (0.2, "20 %"),
    (0.5, "50 %"),
    (1.0, "100 %"),
];

pub struct Layout {
    pub size: (u32, u32),
    pub fills: Vec<(Rect, Rgb)>,
    pub words: Vec<TextLine>,
}

impl Layout {
    pub fn new(matrix: &Matrix) -> Result<Layout, PictureError> {
        let n = matrix.names.len();
        let columns = n + usize::from(matrix.other.is_some());
        let outside = |cell: &&Cell| cell.row >= n || cell.column >= columns;
        if n == 0 || n > MAX_CLASSES || matrix.cells.iter().any(|cell| outside(&cell)) {
            return Err(PictureError::Size {
                width: columns,
                height: n,
            });
        }
        let cell = (MAX_GRID / n as f32).min(MAX_CELL);
        let letters = (cell * 0.72).clamp(MIN_LINE, FONT_SIZE);
        let names: Vec<String> = if n <= MAX_NAMED {
            let names = matrix.names.iter();
            names.map(|name| line(letters, name, NAME_WIDTH)).collect()
        } else {
            Vec::new()
        };
        let other = matrix.other.map(|other| line(letters, other, NAME_WIDTH));
        let longest = |names: &[String]| {
            let all = names.iter().map(|name| width(letters, name));
            all.fold(0.0, f32::max)
        };
        let room = longest(&names) + 12.0;
        let below = room.max(
            other
                .as_ref()
                .map_or(0.0, |other| width(letters, other) + 12.0),
        );
        let size = cell * n as f32;
        let grid = Rect::sized(MARGIN + AXIS + room, HEAD, size, size);
        let last = if other.is_some() {
            OTHER_GAP + cell.max(MIN_LINE)
        } else {
            0.0
        };
        let beside = grid.x1 + last + GUTTER;
        let page = (beside + SIDEBAR + MARGIN).max(1000.0);
        let mut layout = Layout {
            size: (0, 0),
            fills: Vec::new(),
            words: Vec::new(),
        };
        layout.titles(matrix, page - 2.0 * MARGIN);
        layout.cells(matrix, &grid, cell);
        layout.names(&names, other, &grid, (cell, letters));
        let [rows, columns] = matrix
            .axes
            .map(|axis| line(FONT_SIZE, axis, size.max(300.0)));
        let middle = grid.y0 + size / 2.0;
        // A long name of a short axis starts at the top of the matrix and extends below.
        let middle = middle.max(grid.y0 + width(FONT_SIZE, &rows) / 2.0);
        let rows = TextLine::new(rows, [MARGIN + 8.0, middle], FONT_SIZE, SOFT);
        layout.words.push(rows.aligned(Align::Centre).rotated());
        let foot = grid.y1 + below + AXIS * 0.6;
        let middle = grid.x0 + size / 2.0;
        let columns = TextLine::new(columns, [middle, foot], FONT_SIZE, SOFT);
        layout.words.push(columns.aligned(Align::Centre));
        let end = layout.beside(matrix, beside, (HEAD, foot + AXIS * 0.5));
        let height = end.max(foot + AXIS * 0.4) + MARGIN * 0.6;
        layout.size = (page as u32, height as u32);
        Ok(layout)
    }

    fn titles(&mut self, matrix: &Matrix, room: f32) {
        let title = line(TITLE, matrix.title, room);
        self.words
            .push(TextLine::new(title, [MARGIN, 44.0], TITLE, INK));
        if !matrix.subtitle.is_empty() {
            let subtitle = line(SUBTITLE, matrix.subtitle, room);
            self.words
                .push(TextLine::new(subtitle, [MARGIN, 86.0], SUBTITLE, SOFT));
        }
    }

    fn cells(&mut self, matrix: &Matrix, grid: &Rect, cell: f32) {
        let n = matrix.names.len();
        self.fills.push((*grid, GROUND));
        let last = Rect::sized(
            grid.x1 + OTHER_GAP,
            grid.y0,
            cell.max(MIN_LINE),
            grid.height(),
        );
        if matrix.other.is_some() {
            self.fills.push((last, GROUND));
        }
        let place = |row: usize, column: usize| {
            let top = grid.y0 + row as f32 * cell;
            if column == n {
                return Rect::sized(last.x0, top, last.width(), cell);
            }
            Rect::sized(grid.x0 + column as f32 * cell, top, cell, cell)
        };
        let mut cells: Vec<_> = matrix.cells.iter().filter(|cell| cell.count > 0).collect();
        // Draw large fractions over small ones, and the diagonal last.
        cells.sort_by(|a, b| {
            let diagonal = |cell: &Cell| cell.row == cell.column;
            (diagonal(a).cmp(&diagonal(b))).then(a.share.total_cmp(&b.share))
        });
        for found in cells {
            let mut rect = place(found.row, found.column);
            if cell >= SEPARATED {
                rect = rect.grown(-0.5, -0.5);
            } else if cell < MIN_VISIBLE && found.row != found.column {
                let more = (MIN_VISIBLE - cell) / 2.0;
                rect = rect.grown(if found.column == n { 0.0 } else { more }, more);
            }
            let fill = palette::share(found.share);
            self.fills.push((rect, fill));
            if cell < NUMBERED {
                continue;
            }
            let figure = match matrix.figures {
                Figures::Counts => count(found.count),
                Figures::Percent => percent(found.share),
            };
            let mut size = (cell * 0.4).min(24.0);
            let room = rect.width() - 4.0;
            let wide = width(size, &figure);
            if wide > room {
                size *= room / wide;
            }
            if size >= 11.0 {
                let ink = if luma(&fill) < 140_000 { PAPER } else { INK };
                let middle = [(rect.x0 + rect.x1) / 2.0, (rect.y0 + rect.y1) / 2.0];
                let figure = TextLine::new(figure, middle, size, ink);
                self.words.push(figure.aligned(Align::Centre));
            }
        }
    }

    fn names(
        &mut self,
        names: &[String],
        other: Option<String>,
        grid: &Rect,
        (cell, letters): (f32, f32),
    ) {
        let every = (MIN_LINE / cell).ceil().max(1.0) as usize;
        for (place, name) in names.iter().enumerate().step_by(every) {
            let along = (place as f32 + 0.5) * cell;
            let row = TextLine::new(name, [grid.x0 - 8.0, grid.y0 + along], letters, INK);
            self.words.push(row.aligned(Align::Right));
            let column = TextLine::new(name, [grid.x0 + along, grid.y1 + 8.0], letters, INK);
            self.words.push(column.aligned(Align::Right).rotated());
        }
        if let Some(other) = other {
            let x = grid.x1 + OTHER_GAP + cell.max(MIN_LINE) / 2.0;
            let other = TextLine::new(other, [x, grid.y1 + 8.0], letters, INK);
            self.words.push(other.aligned(Align::Right).rotated());
        }
    }

    /// Colour bar and list from `top`, the list at least to `foot`; returns their lower end.
    fn beside(&mut self, matrix: &Matrix, left: f32, (top, foot): (f32, f32)) -> f32 {
        let mut y = top + 12.0;
        let heading = line(FONT_SIZE, &format!("share {}", matrix.of), SIDEBAR);
        self.words
            .push(TextLine::new(heading, [left, y], FONT_SIZE, SOFT));
        y += 24.0;
        let steps = 200;
        let along = |at: f64| left + SIDEBAR * at as f32;
        for step in 0..steps {
            let at = (step as f64 + 0.5) / f64::from(steps);
            let from = along(f64::from(step) / f64::from(steps));
            let bar = Rect::sized(from, y, SIDEBAR / steps as f32 + 0.5, 22.0);
            // Positions along the bar are square roots of fractions.
            self.fills.push((bar, palette::share(at * at)));
        }
        y += 40.0;
        for (place, (share, text)) in TICKS.iter().enumerate() {
            let align = match place {
                0 => Align::Left,
                _ if place + 1 == TICKS.len() => Align::Right,
                _ => Align::Centre,
            };
            let tick = TextLine::new(*text, [along(share.sqrt()), y], 18.0, SOFT);
            self.words.push(tick.aligned(align));
        }
        y += 26.0;
        let scale = "square-root scale; grey: no images";
        self.words.push(TextLine::new(scale, [left, y], 17.0, SOFT));
        let (heading, entries) = matrix.list;
        if entries.is_empty() {
            return y + 10.0;
        }
        y += 64.0;
        let heading = line(FONT_SIZE, heading, SIDEBAR);
        self.words
            .push(TextLine::new(heading, [left, y], FONT_SIZE, SOFT));
        y += STEP + 4.0;
        let rows = (((foot - y) / STEP) as usize + 1).max(MIN_ROWS);
        for entry in entries.iter().take(rows) {
            let figure = TextLine::new(&entry.figure, [left + SIDEBAR, y], FONT_SIZE, SOFT);
            let room = SIDEBAR - width(FONT_SIZE, &entry.figure) - 16.0;
            let text = line(FONT_SIZE, &entry.text, room);
            self.words
                .push(TextLine::new(text, [left, y], FONT_SIZE, INK));
            self.words.push(figure.aligned(Align::Right));
            y += STEP;
        }
        y - STEP + 12.0
    }
}

/// A whole number of percent; empty for 0, which the colour shows better.
fn percent(share: f64) -> String {
    let percent = (share * 100.0).round();
    if percent < 1.0 {
        return String::new();
    }
    format!("{percent}")
}
