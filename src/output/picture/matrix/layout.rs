//! Where everything of a matrix stands, in units from the top left corner, before anything is drawn.

use prospect_common::text::count;

use super::content::{Cell, Figures, MOST_CLASSES, Matrix};
use crate::picture::{
    PictureError,
    chart::{Align, Rect, Words, line, width},
    palette::{
        self, Rgb,
        chart::{GROUND, INK, PAPER, SOFT},
        luma,
    },
};

const MARGIN: f32 = 40.0;
/// What title and subtitle take.
const HEAD: f32 = 118.0;
const TITLE: f32 = 38.0;
const SUBTITLE: f32 = 23.0;
/// The matrix' longest side, and a cell's.
const SIDE: f32 = 1000.0;
const MOST_CELL: f32 = 88.0;
/// A line of names is at least so high; where cells are lower, some names are left out.
const LEAST_LINE: f32 = 15.0;
/// Beyond so many classes no name is written: the few that had room would not help to find the others.
const NAMED: usize = 150;
const NAME_WIDTH: f32 = 230.0;
/// From this side on, cells stand apart by a light line and hold their figure.
const APART: f32 = 12.0;
const FIGURED: f32 = 30.0;
/// A cell off the diagonal is drawn at least so wide, over its neighbours if need be: a single pixel is not seen.
const SEEN: f32 = 3.0;
const AXIS: f32 = 36.0;
const LETTERS: f32 = 21.0;
/// Colour bar and list.
const BESIDE: f32 = 400.0;
const GUTTER: f32 = 50.0;
const STEP: f32 = 32.0;
/// Of the list, at least so many lines are shown beside a small matrix.
const LEAST_ROWS: usize = 8;
/// Between the classes and the column of all others.
const OTHER: f32 = 14.0;
/// Shares with a tick on the colour bar.
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
    pub words: Vec<Words>,
}

impl Layout {
    pub fn new(matrix: &Matrix) -> Result<Layout, PictureError> {
        let n = matrix.names.len();
        let columns = n + usize::from(matrix.other.is_some());
        let outside = |cell: &&Cell| cell.row >= n || cell.column >= columns;
        if n == 0 || n > MOST_CLASSES || matrix.cells.iter().any(|cell| outside(&cell)) {
            return Err(PictureError::Size {
                width: columns,
                height: n,
            });
        }
        let cell = (SIDE / n as f32).min(MOST_CELL);
        let letters = (cell * 0.72).clamp(LEAST_LINE, LETTERS);
        let names: Vec<String> = if n <= NAMED {
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
        let side = cell * n as f32;
        let grid = Rect::sized(MARGIN + AXIS + room, HEAD, side, side);
        let last = if other.is_some() {
            OTHER + cell.max(LEAST_LINE)
        } else {
            0.0
        };
        let beside = grid.x1 + last + GUTTER;
        let page = (beside + BESIDE + MARGIN).max(1000.0);
        let mut layout = Layout {
            size: (0, 0),
            fills: Vec::new(),
            words: Vec::new(),
        };
        layout.titles(matrix, page - 2.0 * MARGIN);
        layout.cells(matrix, &grid, cell);
        layout.names(&names, other, &grid, (cell, letters));
        let [rows, columns] = matrix.axes.map(|axis| line(LETTERS, axis, side.max(300.0)));
        let middle = grid.y0 + side / 2.0;
        // A long name of a short axis starts at the matrix' top and goes on below.
        let middle = middle.max(grid.y0 + width(LETTERS, &rows) / 2.0);
        let rows = Words::new(rows, [MARGIN + 8.0, middle], LETTERS, SOFT);
        layout.words.push(rows.aligned(Align::Centre).turned());
        let foot = grid.y1 + below + AXIS * 0.6;
        let middle = grid.x0 + side / 2.0;
        let columns = Words::new(columns, [middle, foot], LETTERS, SOFT);
        layout.words.push(columns.aligned(Align::Centre));
        let end = layout.beside(matrix, beside, (HEAD, foot + AXIS * 0.5));
        let height = end.max(foot + AXIS * 0.4) + MARGIN * 0.6;
        layout.size = (page as u32, height as u32);
        Ok(layout)
    }

    fn titles(&mut self, matrix: &Matrix, room: f32) {
        let title = line(TITLE, matrix.title, room);
        self.words
            .push(Words::new(title, [MARGIN, 44.0], TITLE, INK));
        if !matrix.subtitle.is_empty() {
            let subtitle = line(SUBTITLE, matrix.subtitle, room);
            self.words
                .push(Words::new(subtitle, [MARGIN, 86.0], SUBTITLE, SOFT));
        }
    }

    fn cells(&mut self, matrix: &Matrix, grid: &Rect, cell: f32) {
        let n = matrix.names.len();
        self.fills.push((*grid, GROUND));
        let last = Rect::sized(
            grid.x1 + OTHER,
            grid.y0,
            cell.max(LEAST_LINE),
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
        // What is large lies on top, the diagonal on top of all.
        cells.sort_by(|a, b| {
            let diagonal = |cell: &Cell| cell.row == cell.column;
            (diagonal(a).cmp(&diagonal(b))).then(a.share.total_cmp(&b.share))
        });
        for found in cells {
            let mut rect = place(found.row, found.column);
            if cell >= APART {
                rect = rect.grown(-0.5, -0.5);
            } else if cell < SEEN && found.row != found.column {
                let more = (SEEN - cell) / 2.0;
                rect = rect.grown(if found.column == n { 0.0 } else { more }, more);
            }
            let fill = palette::share(found.share);
            self.fills.push((rect, fill));
            if cell < FIGURED {
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
                let figure = Words::new(figure, middle, size, ink);
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
        let every = (LEAST_LINE / cell).ceil().max(1.0) as usize;
        for (place, name) in names.iter().enumerate().step_by(every) {
            let along = (place as f32 + 0.5) * cell;
            let row = Words::new(name, [grid.x0 - 8.0, grid.y0 + along], letters, INK);
            self.words.push(row.aligned(Align::Right));
            let column = Words::new(name, [grid.x0 + along, grid.y1 + 8.0], letters, INK);
            self.words.push(column.aligned(Align::Right).turned());
        }
        if let Some(other) = other {
            let x = grid.x1 + OTHER + cell.max(LEAST_LINE) / 2.0;
            let other = Words::new(other, [x, grid.y1 + 8.0], letters, INK);
            self.words.push(other.aligned(Align::Right).turned());
        }
    }

    /// Colour bar and list, from `top`, the list as far as `foot` at least; gives back where they end.
    fn beside(&mut self, matrix: &Matrix, left: f32, (top, foot): (f32, f32)) -> f32 {
        let mut y = top + 12.0;
        let heading = line(LETTERS, &format!("share {}", matrix.of), BESIDE);
        self.words
            .push(Words::new(heading, [left, y], LETTERS, SOFT));
        y += 24.0;
        let steps = 200;
        let along = |at: f64| left + BESIDE * at as f32;
        for step in 0..steps {
            let at = (step as f64 + 0.5) / f64::from(steps);
            let from = along(f64::from(step) / f64::from(steps));
            let bar = Rect::sized(from, y, BESIDE / steps as f32 + 0.5, 22.0);
            // Places along the bar are square roots of shares.
            self.fills.push((bar, palette::share(at * at)));
        }
        y += 40.0;
        for (place, (share, text)) in TICKS.iter().enumerate() {
            let align = match place {
                0 => Align::Left,
                _ if place + 1 == TICKS.len() => Align::Right,
                _ => Align::Centre,
            };
            let tick = Words::new(*text, [along(share.sqrt()), y], 18.0, SOFT);
            self.words.push(tick.aligned(align));
        }
        y += 26.0;
        let scale = "square-root scale; grey cells: none";
        self.words.push(Words::new(scale, [left, y], 17.0, SOFT));
        let (heading, entries) = matrix.list;
        if entries.is_empty() {
            return y + 10.0;
        }
        y += 64.0;
        let heading = line(LETTERS, heading, BESIDE);
        self.words
            .push(Words::new(heading, [left, y], LETTERS, SOFT));
        y += STEP + 4.0;
        let rows = (((foot - y) / STEP) as usize + 1).max(LEAST_ROWS);
        for entry in entries.iter().take(rows) {
            let figure = Words::new(&entry.figure, [left + BESIDE, y], LETTERS, SOFT);
            let room = BESIDE - width(LETTERS, &entry.figure) - 16.0;
            let text = line(LETTERS, &entry.text, room);
            self.words.push(Words::new(text, [left, y], LETTERS, INK));
            self.words.push(figure.aligned(Align::Right));
            y += STEP;
        }
        y - STEP + 12.0
    }
}

/// In whole percents; nothing instead of 0, which the colour says better.
fn percent(share: f64) -> String {
    let percent = (share * 100.0).round();
    if percent < 1.0 {
        return String::new();
    }
    format!("{percent}")
}
