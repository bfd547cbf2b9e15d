//! Effective receptive field of a cell: the smallest box with most of the energy of its gradient.
//!
//! The theoretical receptive field of a deep cell can be the whole image, but nearly all of its gradient is in a small part
//! (Luo, Li, Urtasun & Zemel 2016, "Understanding the effective receptive field in deep convolutional neural networks").

/// Minimum fraction of the gradient's energy in the box.
pub const SHARE: f64 = 0.9;

/// Tolerance, so that rounding does not enlarge the box.
const SLACK: f64 = 1e-9;

/// A box in pixel edges of the network's input: columns `x0..x1`, rows `y0..y1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EffectiveField {
    pub x0: usize,
    pub y0: usize,
    pub x1: usize,
    pub y1: usize,
    /// Fraction of the energy inside, at least [`SHARE`].
    pub energy: f64,
}

/// The smallest box with 90 % of a gradient's energy; `None` for a zero gradient.
///
/// `gradient` is `[3, height, width]`, row-major. A pixel's energy is the sum of its squared channels; values that are not
/// finite count as 0. The search is exhaustive and minimises the area; ties go to the smallest height, then the topmost, then
/// the leftmost box.
///
/// # Panics
/// If the length is wrong.
pub fn effective_field(gradient: &[f32], height: usize, width: usize) -> Option<EffectiveField> {
    assert_eq!(
        gradient.len(),
        3 * height * width,
        "a gradient is [3, height, width]"
    );
    let sums = RowSums::new(gradient, height, width);
    let rows = sums.row_totals();
    let total = *rows.last()?;
    if total <= 0.0 {
        return None;
    }
    let required = total * (SHARE - SLACK);
    // No box is narrower than the narrowest of full height.
    let mut columns = vec![0.0; width + 1];
    sums.band(0, height, &mut columns);
    let min_width = narrowest(&columns, required, width).map_or(width, |(x0, x1)| x1 - x0);

    let mut best: Option<[usize; 4]> = None;
    let mut best_area = height * width + 1;
    for box_height in 1..=height {
        if box_height * min_width >= best_area {
            break;
        }
        for y0 in 0..=height - box_height {
            if rows[y0 + box_height] - rows[y0] < required {
                continue;
            }
            let max_width = (best_area - 1) / box_height;
            sums.band(y0, y0 + box_height, &mut columns);
            if let Some((x0, x1)) = narrowest(&columns, required, max_width) {
                best = Some([x0, y0, x1, y0 + box_height]);
                best_area = box_height * (x1 - x0);
            }
        }
    }
    let [x0, y0, x1, y1] = best?;
    sums.band(y0, y1, &mut columns);
    Some(EffectiveField {
        x0,
        y0,
        x1,
        y1,
        energy: ((columns[x1] - columns[x0]) / total).min(1.0),
    })
}

/// The first narrowest window with at least `required` energy and at most `max_width` columns, from running sums `[columns + 1]`.
fn narrowest(sums: &[f64], required: f64, max_width: usize) -> Option<(usize, usize)> {
    let mut found = None;
    let mut max_width = max_width;
    let mut left = 0;
    for right in 1..sums.len() {
        while left + 1 < right && sums[right] - sums[left + 1] >= required {
            left += 1;
        }
        if right - left <= max_width && sums[right] - sums[left] >= required {
            found = Some((left, right));
            max_width = right - left - 1;
        }
    }
    found
}

/// Column-wise running sums from the top, `[height + 1, width]`: row `y` is the energy above row edge `y`.
struct RowSums {
    width: usize,
    sums: Vec<f64>,
}

impl RowSums {
    fn new(gradient: &[f32], height: usize, width: usize) -> RowSums {
        let plane = height * width;
        let mut sums = vec![0.0; (height + 1) * width];
        for cell in 0..plane {
            let energy: f64 = (0..3)
                .map(|channel| f64::from(gradient[channel * plane + cell]))
                .filter(|value| value.is_finite())
                .map(|value| value * value)
                .sum();
            sums[width + cell] = sums[cell] + energy;
        }
        RowSums { width, sums }
    }

    /// Energy above each row edge.
    fn row_totals(&self) -> Vec<f64> {
        if self.width == 0 {
            return vec![0.0];
        }
        let rows = self.sums.chunks_exact(self.width);
        rows.map(|row| row.iter().sum()).collect()
    }

    /// Energy of rows `y0..y1` left of each column edge.
    fn band(&self, y0: usize, y1: usize, columns: &mut [f64]) {
        let above = &self.sums[y0 * self.width..][..self.width];
        let below = &self.sums[y1 * self.width..][..self.width];
        let mut sum = 0.0;
        for (column, (above, below)) in columns[1..].iter_mut().zip(above.iter().zip(below)) {
            sum += below - above;
            *column = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Field of a gradient with all energy in the first channel.
    fn field(energies: &[f32], height: usize, width: usize) -> Option<EffectiveField> {
        let mut gradient: Vec<f32> = energies.iter().map(|energy| energy.sqrt()).collect();
        gradient.resize(3 * height * width, 0.0);
        effective_field(&gradient, height, width)
    }

    fn edges(field: EffectiveField) -> [usize; 4] {
        [field.x0, field.y0, field.x1, field.y1]
    }

    #[test]
    fn zero_gradients_have_no_box() {
        assert_eq!(effective_field(&[0.0; 60], 4, 5), None);
        assert_eq!(effective_field(&[f32::NAN; 60], 4, 5), None);
        assert_eq!(effective_field(&[], 0, 5), None);
        assert_eq!(effective_field(&[], 5, 0), None);
    }

    #[test]
    fn a_single_pixel_is_its_own_box() {
        for channel in 0..3 {
            let mut gradient = [0.0; 3 * 20];
            gradient[channel * 20 + 2 * 5 + 3] = -1e-30;
            let found = effective_field(&gradient, 4, 5).unwrap();
            assert_eq!((edges(found), found.energy), ([3, 2, 4, 3], 1.0));
        }
    }

    #[test]
    fn a_uniform_row_loses_a_tenth_of_its_length() {
        let found = field(&[1.0; 10], 1, 10).unwrap();
        assert_eq!(edges(found), [0, 0, 9, 1], "ties go to the leftmost");
        assert!((found.energy - 0.9).abs() < 1e-12);
        assert_eq!(edges(field(&[1.0; 9], 9, 1).unwrap()), [0, 0, 1, 9]);
    }

    #[test]
    fn a_distant_pixel_is_left_out_unless_required() {
        let mut energies = [0.0; 64];
        for row in 2..4 {
            for column in 1..4 {
                energies[row * 8 + column] = 1.0;
            }
        }
        energies[7 * 8 + 7] = 0.6;
        assert_eq!(edges(field(&energies, 8, 8).unwrap()), [1, 2, 4, 4]);
        energies[7 * 8 + 7] = 0.7;
        assert_eq!(edges(field(&energies, 8, 8).unwrap()), [1, 2, 8, 8]);
    }

    #[test]
    fn a_gaussian_gives_its_marginal_quantiles() {
        // A square has 90 % of exp(-(x² + y²) / 2σ²) if each axis has sqrt(0.9), at ±1.95σ: 39 pixels for σ = 10.
        let energies: Vec<f32> = (0..101 * 101)
            .map(|at| {
                let (y, x) = ((at / 101) as f32 - 50.0, (at % 101) as f32 - 50.0);
                (-(x * x + y * y) / 200.0).exp()
            })
            .collect();
        let found = field(&energies, 101, 101).unwrap();
        let [x0, y0, x1, y1] = edges(found);
        assert!((38..=40).contains(&(x1 - x0)), "{found:?}");
        assert!((38..=40).contains(&(y1 - y0)), "{found:?}");
        assert!(x0.abs_diff(101 - x1) <= 1 && y0.abs_diff(101 - y1) <= 1);
    }

    proptest! {
        /// Compares with every box of a small map.
        #[test]
        fn no_box_is_smaller(
            (height, width) in (1usize..7, 1usize..7),
            values in prop::collection::vec(0u8..5, 36),
        ) {
            let energies: Vec<f32> =
                values[..height * width].iter().map(|&v| f32::from(v) * f32::from(v)).collect();
            let total: f32 = energies.iter().sum();
            let inside = |x0: usize, y0: usize, x1: usize, y1: usize| -> f32 {
                (y0..y1).map(|y| energies[y * width + x0..y * width + x1].iter().sum::<f32>()).sum()
            };
            let Some(found) = field(&energies, height, width) else {
                prop_assert_eq!(total, 0.0);
                return Ok(());
            };
            let share = inside(found.x0, found.y0, found.x1, found.y1) / total;
            prop_assert!(share >= 0.9 - 1e-6 && (f64::from(share) - found.energy).abs() < 1e-6);
            let mut smallest = usize::MAX;
            for y0 in 0..height {
                for y1 in y0 + 1..=height {
                    for x0 in 0..width {
                        for x1 in x0 + 1..=width {
                            if inside(x0, y0, x1, y1) >= total * (0.9 - 1e-6) {
                                smallest = smallest.min((x1 - x0) * (y1 - y0));
                            }
                        }
                    }
                }
            }
            prop_assert_eq!((found.x1 - found.x0) * (found.y1 - found.y0), smallest);
        }
    }
}
