//! Where in the picture a unit is strongest, class by class, and places that belong to one class.

use rayon::prelude::*;

use crate::audit::groups::wilson;

/// Cells of the grid along each side at most; finer maps are joined to it.
const GRID: usize = 14;
/// A place spans at most so much of the picture, and so many cells one way and the other.
const LARGEST: f64 = 0.09;
const NARROW: usize = 3;
const LONG: usize = 6;
/// Images that a class needs before anything is said of it.
pub const LEAST_IMAGES: u64 = 10;
/// Score under which a place is not told of.
const LEAST_SCORE: f64 = 0.03;

/// The cells of a layer's map, joined to at most 14 x 14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    map: (usize, usize),
    pub rows: usize,
    pub columns: usize,
}

/// Cells `rows.0..rows.1`, `columns.0..columns.1` of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub rows: (usize, usize),
    pub columns: (usize, usize),
}

/// A place where a unit is strongest in many images of one class, and how that is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub window: Window,
    /// Share of the class's images whose strongest cell of the unit lies there, with an activation over 0.
    pub of_class: f64,
    /// The same of all other labelled images.
    pub of_others: f64,
    /// Of the class's images whose strongest cell lies there or in the cells around it, the share of there.
    pub isolation: f64,
    /// The product of four, each in 0..=1, so 1 would be a mark on a whole class in a place without extent:
    ///
    /// - what is surely the class's own: the lower end of the 95 % interval of `of_class` less the upper end of that of
    ///   `of_others` (Wilson's intervals, so that few images say little);
    /// - how sharp its edge is: `2 isolation - 1`. Parts of objects are a little higher here, a little lower there; a mark is not;
    /// - how small it is: 1 less its share of the picture over a tenth;
    /// - how much it is the class's alone: `1 - 5 of_others / of_class`.
    pub score: f64,
}

impl Grid {
    /// Of a map of so many rows and columns, both at least 1.
    pub fn new(rows: usize, columns: usize) -> Grid {
        Grid {
            map: (rows, columns),
            rows: rows.min(GRID),
            columns: columns.min(GRID),
        }
    }

    pub fn cells(&self) -> usize {
        self.rows * self.columns
    }

    /// The grid's cell of a position in the map (row x columns + column).
    pub fn cell(&self, position: u32) -> usize {
        let (row, column) = (
            position as usize / self.map.1,
            position as usize % self.map.1,
        );
        let row = (row * self.rows / self.map.0).min(self.rows - 1);
        row * self.columns + column * self.columns / self.map.1
    }

    /// Whether a cell belongs to the outermost ring.
    pub fn is_border(&self, cell: usize) -> bool {
        let (row, column) = (cell / self.columns, cell % self.columns);
        row == 0 || column == 0 || row + 1 == self.rows || column + 1 == self.columns
    }

    pub fn holds(&self, window: &Window, cell: usize) -> bool {
        let (row, column) = (cell / self.columns, cell % self.columns);
        (window.rows.0..window.rows.1).contains(&row)
            && (window.columns.0..window.columns.1).contains(&column)
    }

    /// `x0, y0, x1, y1` of a window in 0..=1 of the map.
    pub fn edges(&self, window: &Window) -> [f64; 4] {
        let (rows, columns) = (self.rows as f64, self.columns as f64);
        [
            window.columns.0 as f64 / columns,
            window.rows.0 as f64 / rows,
            window.columns.1 as f64 / columns,
            window.rows.1 as f64 / rows,
        ]
    }

    /// Heights and widths of the windows that are tried, small ones first.
    fn shapes(&self) -> Vec<(usize, usize)> {
        let mut shapes: Vec<(usize, usize)> = (1..=LONG.min(self.rows))
            .flat_map(|height| (1..=LONG.min(self.columns)).map(move |width| (height, width)))
            .filter(|&(height, width)| {
                height.min(width) <= NARROW
                    && (height * width) as f64 <= LARGEST * self.cells() as f64
            })
            .collect();
        shapes.sort_by_key(|&(height, width)| (height * width, height));
        shapes
    }
}

/// Where the units of a layer are strongest, counted class by class.
pub struct Counts {
    grid: Grid,
    first_unit: usize,
    n_units: usize,
    /// Labelled images of each class.
    images: Vec<u64>,
    /// `[units, classes, cells]`
    cells: Vec<u32>,
}

impl Counts {
    /// For `n_units` units of the layer from `first_unit` on. Takes 4 bytes a unit, class and cell.
    pub fn new(grid: Grid, first_unit: usize, n_units: usize, n_classes: usize) -> Counts {
        Counts {
            grid,
            first_unit,
            n_units,
            images: vec![0; n_classes],
            cells: vec![0; n_units * n_classes * grid.cells()],
        }
    }

    /// Adds images: `strengths` and `positions` are `[images, channels]`, all units of the layer; an image without a class is
    /// passed over, and so is a unit that is not over 0: its strongest cell is anywhere.
    ///
    /// # Panics
    /// If the lengths disagree or a class is out of range.
    pub fn add(&mut self, classes: &[Option<u32>], strengths: &[f32], positions: &[u32]) {
        let channels = strengths.len() / classes.len().max(1);
        assert_eq!(strengths.len(), classes.len() * channels);
        assert_eq!(strengths.len(), positions.len());
        for &class in classes.iter().flatten() {
            self.images[class as usize] += 1;
        }
        let (grid, first) = (self.grid, self.first_unit);
        let of_unit = self.images.len() * grid.cells();
        (self.cells.par_chunks_mut(of_unit.max(1)).enumerate()).for_each(|(unit, cells)| {
            for (image, class) in classes.iter().enumerate() {
                let at = image * channels + first + unit;
                if let Some(class) = class
                    && strengths[at] > 0.0
                {
                    cells[*class as usize * grid.cells() + grid.cell(positions[at])] += 1;
                }
            }
        });
    }

    /// The best place of each unit and class that has one, by unit, then by class.
    pub fn places(&self) -> Vec<(usize, u32, Place)> {
        let of_unit = (self.images.len() * self.grid.cells()).max(1);
        let shapes = self.grid.shapes();
        let found: Vec<Vec<(usize, u32, Place)>> = (self.cells.par_chunks(of_unit).enumerate())
            .take(self.n_units)
            .map(|(unit, cells)| {
                let places = places(self.grid, &shapes, &self.images, cells);
                let named = places.into_iter();
                named
                    .map(|(class, place)| (self.first_unit + unit, class, place))
                    .collect()
            })
            .collect();
        found.concat()
    }
}

/// The best place of each class for one unit, whose `cells` are `[classes, cells]`.
fn places(
    grid: Grid,
    shapes: &[(usize, usize)],
    images: &[u64],
    cells: &[u32],
) -> Vec<(u32, Place)> {
    let total = images.iter().sum::<u64>();
    let mut all = vec![0; grid.cells()];
    for of_class in cells.chunks_exact(grid.cells()) {
        for (sum, &count) in all.iter_mut().zip(of_class) {
            *sum += count;
        }
    }
    let all = Sums::new(grid, &all);
    let mut found = Vec::new();
    for (class, of_class) in cells.chunks_exact(grid.cells()).enumerate() {
        let n = images[class];
        if n < LEAST_IMAGES || total <= n {
            continue;
        }
        let own = Sums::new(grid, of_class);
        let mut best: Option<Place> = None;
        for &(height, width) in shapes {
            for row in 0..=grid.rows - height {
                for column in 0..=grid.columns - width {
                    let window = Window {
                        rows: (row, row + height),
                        columns: (column, column + width),
                    };
                    let hits = own.of(&window);
                    // Most windows are far from being a place.
                    if (hits as f64) < n as f64 * LEAST_SCORE {
                        continue;
                    }
                    let place = judge(
                        &own,
                        &window,
                        (hits, n),
                        (all.of(&window) - hits, total - n),
                    );
                    if place.score > best.map_or(LEAST_SCORE, |best| best.score) {
                        best = Some(place);
                    }
                }
            }
        }
        found.extend(best.map(|place| (class as u32, place)));
    }
    found
}

/// Images of the class with their strongest cell in a window, and of the others, each of how many.
fn judge(own: &Sums, window: &Window, (hits, n): (u64, u64), (others, rest): (u64, u64)) -> Place {
    let grid = own.grid;
    let around = Window {
        rows: (
            window.rows.0.saturating_sub(1),
            (window.rows.1 + 1).min(grid.rows),
        ),
        columns: (
            window.columns.0.saturating_sub(1),
            (window.columns.1 + 1).min(grid.columns),
        ),
    };
    let of_class = hits as f64 / n as f64;
    let of_others = others as f64 / rest as f64;
    let isolation = hits as f64 / own.of(&around).max(1) as f64;
    let area = (window.rows.1 - window.rows.0) * (window.columns.1 - window.columns.0);
    let factors = [
        2.0 * isolation - 1.0,
        1.0 - 10.0 * area as f64 / grid.cells() as f64,
        1.0 - 5.0 * of_others / of_class,
    ];
    let others_first = factors
        .iter()
        .map(|factor| factor.max(0.0))
        .product::<f64>();
    let score = if others_first > LEAST_SCORE {
        let surely = wilson(hits, n).0 - wilson(others, rest).1;
        others_first * surely.max(0.0)
    } else {
        0.0
    };
    Place {
        window: *window,
        of_class,
        of_others,
        isolation,
        score,
    }
}

/// Sums over windows in four look-ups (summed area table).
struct Sums {
    grid: Grid,
    /// `[rows + 1, columns + 1]`: of all cells above and left.
    sums: Vec<u64>,
}

impl Sums {
    fn new(grid: Grid, cells: &[u32]) -> Sums {
        let wide = grid.columns + 1;
        let mut sums = vec![0; (grid.rows + 1) * wide];
        for row in 0..grid.rows {
            let mut of_row = 0;
            for column in 0..grid.columns {
                of_row += u64::from(cells[row * grid.columns + column]);
                sums[(row + 1) * wide + column + 1] = sums[row * wide + column + 1] + of_row;
            }
        }
        Sums { grid, sums }
    }

    fn of(&self, window: &Window) -> u64 {
        let at = |row: usize, column: usize| self.sums[row * (self.grid.columns + 1) + column];
        let ((r0, r1), (c0, c1)) = (window.rows, window.columns);
        at(r1, c1) + at(r0, c0) - at(r0, c1) - at(r1, c0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of one unit: images are (class, row, column) on a 14 x 14 map.
    fn counted(images: &[(u32, u32, u32)]) -> Vec<(usize, u32, Place)> {
        let classes: Vec<Option<u32>> = images.iter().map(|image| Some(image.0)).collect();
        let positions: Vec<u32> = images.iter().map(|image| image.1 * 14 + image.2).collect();
        let mut counts = Counts::new(Grid::new(14, 14), 0, 1, 2);
        counts.add(&classes, &vec![1.0; images.len()], &positions);
        counts.places()
    }

    /// A place for image `i` that is anywhere but in the bottom right corner.
    fn anywhere(i: u32) -> (u32, u32) {
        (i * 5 % 11, i * 7 % 13)
    }

    fn anywhere_of(class: u32, i: u32) -> (u32, u32, u32) {
        let (row, column) = anywhere(i);
        (class, row, column)
    }

    #[test]
    fn a_mark_in_a_corner_is_found() {
        let mut images: Vec<_> = (0..300).map(|i| anywhere_of(0, i)).collect();
        images.extend((0..100).map(|i| {
            if i < 60 {
                (1, 13, 13)
            } else {
                anywhere_of(1, i)
            }
        }));
        let found = counted(&images);
        let (_, class, place) = found[0];
        assert_eq!((found.len(), class), (1, 1));
        assert_eq!(
            place.window,
            Window {
                rows: (13, 14),
                columns: (13, 14)
            }
        );
        assert_eq!(
            (place.of_class, place.of_others, place.isolation),
            (0.6, 0.0, 1.0)
        );
        let surely = wilson(60, 100).0 - wilson(0, 300).1;
        assert!((place.score - surely * (1.0 - 10.0 / 196.0)).abs() < 1e-12);
        assert!(place.score > 0.4);
    }

    #[test]
    fn an_object_in_the_middle_is_none() {
        // Always somewhere in the middle 7 x 7 cells, which the other class's never is.
        let mut images: Vec<_> = (0..300).map(|i| (0, i % 3, i * 7 % 14)).collect();
        images.extend((0..100).map(|i| (1, 4 + i * 5 % 7, 4 + i / 7 % 7)));
        let found = counted(&images);
        let best = found.iter().filter(|one| one.1 == 1).map(|one| one.2.score);
        assert!(best.fold(0.0, f64::max) < 0.1, "{found:?}");
    }

    #[test]
    fn what_all_classes_do_is_none() {
        let images: Vec<_> = (0..200).map(|i| (i % 2, 0, 0)).collect();
        assert!(counted(&images).is_empty());
        let few: Vec<_> = (0..300)
            .map(|i| anywhere_of(0, i))
            .chain((0..9).map(|_| (1, 13, 13)))
            .collect();
        assert!(
            counted(&few).iter().all(|one| one.1 == 0),
            "nine images are too few"
        );
    }

    #[test]
    fn silent_units_and_images_without_a_class_do_not_count() {
        let classes: Vec<Option<u32>> = (0..100).map(|i| (i % 5 > 0).then_some(i % 2)).collect();
        let mut counts = Counts::new(Grid::new(7, 7), 1, 2, 2);
        // Unit 0 is not among the counted, unit 1 is silent, unit 2 fires in the corner in class 1 alone.
        let strengths: Vec<f32> = (0..100).flat_map(|i| [1.0, 0.0, (i % 2) as f32]).collect();
        counts.add(&classes, &strengths, &[0; 300]);
        let found = counts.places();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1), (2, 1));
        assert_eq!(counts.images, [40, 40]);
        assert_eq!(found[0].2.of_class, 1.0);
    }

    #[test]
    fn coarser_cells() {
        let grid = Grid::new(56, 7);
        assert_eq!((grid.rows, grid.columns), (14, 7));
        assert_eq!(grid.cell(0), 0);
        assert_eq!(grid.cell(55 * 7 + 6), 13 * 7 + 6);
        assert_eq!(grid.cell(4 * 7), 7);
        assert!(grid.is_border(7) && grid.is_border(13) && !grid.is_border(8));
        let window = Window {
            rows: (7, 14),
            columns: (0, 7),
        };
        assert_eq!(grid.edges(&window), [0.0, 0.5, 1.0, 1.0]);
        assert!(grid.holds(&window, 49) && !grid.holds(&window, 48));
        // 113 cells of a padded map.
        assert_eq!(Grid::new(113, 113).cell(113 * 113 - 1), 195);
        assert!(Grid::new(1, 1).shapes().is_empty());
    }
}
