//! Places: image regions where a unit peaks in many images of one class and in few others.

use rayon::prelude::*;

use crate::audit::groups::wilson;

/// Maximum rows and columns of the grid; finer maps are binned.
const GRID: usize = 14;
/// Maximum area of a place, as a fraction of the image, and maximum cells of its shorter and longer side.
const MAX_AREA: f64 = 0.09;
const MAX_SHORT_SIDE: usize = 3;
const MAX_LONG_SIDE: usize = 6;
/// Minimum images of a class.
pub const MIN_IMAGES: u64 = 10;
/// Minimum score of a reported place.
const MIN_SCORE: f64 = 0.03;

/// The cells of a layer's map, binned to at most 14 x 14.
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

/// A region where a unit peaks in many images of one class, with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub window: Window,
    /// Fraction of the class's images in which the unit peaks there, with a positive activation.
    pub of_class: f64,
    /// The same fraction of all other labelled images.
    pub of_others: f64,
    /// Of the class's images in which the unit peaks in the region or the cells around it, the fraction in the region.
    pub isolation: f64,
    /// The product of four factors in 0..=1; 1 would be an infinitely small mark on all images of a class:
    ///
    /// - confidence: the lower bound of the 95 % Wilson interval of `of_class` minus the upper bound of that of `of_others`,
    ///   so that few images give a low score;
    /// - sharpness: `2 isolation - 1`. Parts of objects move around, marks do not;
    /// - smallness: 1 minus ten times its fraction of the image;
    /// - exclusiveness: `1 - 5 of_others / of_class`.
    pub score: f64,
}

impl Grid {
    /// For a map of `rows` x `columns`, both at least 1.
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

    /// The grid cell of a map position (row x columns + column).
    pub fn cell(&self, position: u32) -> usize {
        let (row, column) = (
            position as usize / self.map.1,
            position as usize % self.map.1,
        );
        let row = (row * self.rows / self.map.0).min(self.rows - 1);
        row * self.columns + column * self.columns / self.map.1
    }

    /// Whether a cell is on the border of the grid.
    pub fn is_border(&self, cell: usize) -> bool {
        let (row, column) = (cell / self.columns, cell % self.columns);
        row == 0 || column == 0 || row + 1 == self.rows || column + 1 == self.columns
    }

    pub fn contains(&self, window: &Window, cell: usize) -> bool {
        let (row, column) = (cell / self.columns, cell % self.columns);
        (window.rows.0..window.rows.1).contains(&row)
            && (window.columns.0..window.columns.1).contains(&column)
    }

    /// `x0, y0, x1, y1` of a window, in 0..=1 of the map.
    pub fn edges(&self, window: &Window) -> [f64; 4] {
        let (rows, columns) = (self.rows as f64, self.columns as f64);
        [
            window.columns.0 as f64 / columns,
            window.rows.0 as f64 / rows,
            window.columns.1 as f64 / columns,
            window.rows.1 as f64 / rows,
        ]
    }

    /// Heights and widths of the candidate windows, small ones first.
    fn shapes(&self) -> Vec<(usize, usize)> {
        let mut shapes: Vec<(usize, usize)> = (1..=MAX_LONG_SIDE.min(self.rows))
            .flat_map(|height| {
                (1..=MAX_LONG_SIDE.min(self.columns)).map(move |width| (height, width))
            })
            .filter(|&(height, width)| {
                height.min(width) <= MAX_SHORT_SIDE
                    && (height * width) as f64 <= MAX_AREA * self.cells() as f64
            })
            .collect();
        shapes.sort_by_key(|&(height, width)| (height * width, height));
        shapes
    }
}

/// Counts of the cells in which the units of a layer peak, by class.
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
    /// For `n_units` units of the layer from `first_unit` on. Takes 4 bytes per unit, class and cell.
    pub fn new(grid: Grid, first_unit: usize, n_units: usize, n_classes: usize) -> Counts {
        Counts {
            grid,
            first_unit,
            n_units,
            images: vec![0; n_classes],
            cells: vec![0; n_units * n_classes * grid.cells()],
        }
    }

    /// Adds images: `strengths` and `positions` are `[images, channels]` of all units of the layer. Images without a class are
    /// skipped, and so are units with no positive activation, whose peak is arbitrary.
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

    /// The best place of each unit and class, if any, by unit, then by class.
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
        if n < MIN_IMAGES || total <= n {
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
                    // Skips most windows early.
                    if (hits as f64) < n as f64 * MIN_SCORE {
                        continue;
                    }
                    let place = evaluate(
                        &own,
                        &window,
                        (hits, n),
                        (all.of(&window) - hits, total - n),
                    );
                    if place.score > best.map_or(MIN_SCORE, |best| best.score) {
                        best = Some(place);
                    }
                }
            }
        }
        found.extend(best.map(|place| (class as u32, place)));
    }
    found
}

/// Scores a window from the peaks in it and the images, of the class and of the others.
fn evaluate(
    own: &Sums,
    window: &Window,
    (hits, n): (u64, u64),
    (others, rest): (u64, u64),
) -> Place {
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
    let other_factors = factors
        .iter()
        .map(|factor| factor.max(0.0))
        .product::<f64>();
    let score = if other_factors > MIN_SCORE {
        let confidence = wilson(hits, n).0 - wilson(others, rest).1;
        other_factors * confidence.max(0.0)
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

/// Summed-area table, for sums over windows.
struct Sums {
    grid: Grid,
    /// `[rows + 1, columns + 1]`: sums of all cells above and to the left.
    sums: Vec<u64>,
}

impl Sums {
    fn new(grid: Grid, cells: &[u32]) -> Sums {
        let stride = grid.columns + 1;
        let mut sums = vec![0; (grid.rows + 1) * stride];
        for row in 0..grid.rows {
            let mut of_row = 0;
            for column in 0..grid.columns {
                of_row += u64::from(cells[row * grid.columns + column]);
                sums[(row + 1) * stride + column + 1] = sums[row * stride + column + 1] + of_row;
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

    /// A pseudo-random position for image `i`, never in the bottom right corner.
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
        let confidence = wilson(60, 100).0 - wilson(0, 300).1;
        assert!((place.score - confidence * (1.0 - 10.0 / 196.0)).abs() < 1e-12);
        assert!(place.score > 0.4);
    }

    #[test]
    fn an_object_in_the_middle_is_not_a_place() {
        // Always within the middle 7 x 7 cells, unlike the other class.
        let mut images: Vec<_> = (0..300).map(|i| (0, i % 3, i * 7 % 14)).collect();
        images.extend((0..100).map(|i| (1, 4 + i * 5 % 7, 4 + i / 7 % 7)));
        let found = counted(&images);
        let best = found.iter().filter(|one| one.1 == 1).map(|one| one.2.score);
        assert!(best.fold(0.0, f64::max) < 0.1, "{found:?}");
    }

    #[test]
    fn peaks_of_all_classes_or_few_images_are_not_places() {
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
        // Unit 0 is not counted, unit 1 is silent, unit 2 fires in the corner in class 1 only.
        let strengths: Vec<f32> = (0..100).flat_map(|i| [1.0, 0.0, (i % 2) as f32]).collect();
        counts.add(&classes, &strengths, &[0; 300]);
        let found = counts.places();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1), (2, 1));
        assert_eq!(counts.images, [40, 40]);
        assert_eq!(found[0].2.of_class, 1.0);
    }

    #[test]
    fn finer_maps_are_binned() {
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
        assert!(grid.contains(&window, 49) && !grid.contains(&window, 48));
        // 113 cells of a padded map.
        assert_eq!(Grid::new(113, 113).cell(113 * 113 - 1), 195);
        assert!(Grid::new(1, 1).shapes().is_empty());
    }
}
