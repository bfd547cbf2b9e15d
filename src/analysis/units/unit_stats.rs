//! Statistics of each unit over a dataset: moments, activity and selectivity.

use prospect_common::names;
use rayon::prelude::*;

use crate::units::topk::Activation;

/// Units per task.
const CHUNK_UNITS: usize = 64;

names! {
    /// Measure of [`UnitSummary::selectivity`].
    pub enum Measure {
        /// Class selectivity index (Morcos et al. 2018, "On the importance of single directions for generalization"):
        /// `(a - b) / (a + b)`, where `a` is the mean activation in the unit's best class and `b` the mean of the other
        /// classes' means. 0: equal in all classes; 1: active in one class only.
        ClassSelectivity = "class_selectivity",
        /// Lifetime sparseness (Treves & Rolls 1991, in the form of Vinje & Gallant 2000):
        /// `(1 - mean(r)^2 / mean(r^2)) / (1 - 1/n)` over n images. 0: equally active in all images; 1: in one only.
        LifetimeSparseness = "lifetime_sparseness",
    }
}

/// Statistics of one unit. An image's activation is the unit's maximum over its map; images whose activation is not finite are
/// excluded.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitSummary {
    /// Number of images with a finite activation.
    pub n_images: u64,
    /// Mean activation; NaN without images, like `std`, `min`, `max` and `share_active`.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    pub min: f32,
    pub max: f32,
    /// Number of images with a positive activation.
    pub n_active: u64,
    /// In 0..=1, of rectified activations (both measures are defined for firing rates); 0 for a unit that is never positive.
    pub selectivity: f64,
    /// The class with the highest mean rectified activation, ties going to the first; `None` without classes or for a unit
    /// that is never positive.
    pub top_class: Option<u32>,
}

impl UnitSummary {
    /// Whether the unit is never positive or constant.
    pub fn is_dead(&self) -> bool {
        self.n_active == 0 || self.min == self.max
    }

    /// Fraction of images with a positive activation.
    pub fn share_active(&self) -> f64 {
        self.n_active as f64 / self.n_images as f64
    }
}

/// Accumulates statistics of a layer's units over blocks of images. Sums run in image order, independently of threads.
#[derive(Debug, Clone)]
pub struct LayerStats {
    n_units: usize,
    n_classes: usize,
    chunks: Vec<Chunk>,
}

/// Consecutive units. Class sums are `[n_classes, units of the chunk]`, so that the inner loop runs over units.
#[derive(Debug, Clone)]
struct Chunk {
    units: Vec<Sums>,
    class_sums: Vec<f64>,
    class_images: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Sums {
    n: u64,
    n_active: u64,
    sum: f64,
    sum_squares: f64,
    /// Sum of rectified activations.
    rates: f64,
    rates_squares: f64,
    min: f32,
    max: f32,
}

impl LayerStats {
    /// With fewer than two classes, selectivity is lifetime sparseness.
    pub fn new(n_units: usize, n_classes: usize) -> LayerStats {
        let chunks = (0..n_units)
            .step_by(CHUNK_UNITS)
            .map(|first| {
                let len = CHUNK_UNITS.min(n_units - first);
                let empty = Sums {
                    n: 0,
                    n_active: 0,
                    sum: 0.0,
                    sum_squares: 0.0,
                    rates: 0.0,
                    rates_squares: 0.0,
                    min: f32::INFINITY,
                    max: f32::NEG_INFINITY,
                };
                Chunk {
                    units: vec![empty; len],
                    class_sums: vec![0.0; len * n_classes],
                    class_images: vec![0; len * n_classes],
                }
            })
            .collect();
        LayerStats {
            n_units,
            n_classes,
            chunks,
        }
    }

    /// The measure of selectivity.
    pub fn measure(&self) -> Measure {
        if self.n_classes > 1 {
            Measure::ClassSelectivity
        } else {
            Measure::LifetimeSparseness
        }
    }

    /// Adds a block: `values` is `[n_images, n_units]`, row-major; `classes` holds each image's class in
    /// `0..n_classes`, `None` without one.
    ///
    /// # Panics
    /// If the lengths disagree or a class is out of range.
    pub fn add_block<T: Activation>(&mut self, classes: &[Option<u32>], values: &[T]) {
        let n_units = self.n_units;
        assert_eq!(
            values.len(),
            classes.len() * n_units,
            "values are [n_images, n_units]"
        );
        self.chunks
            .par_iter_mut()
            .enumerate()
            .for_each(|(index, chunk)| {
                let first = index * CHUNK_UNITS;
                let len = chunk.units.len();
                let mut row_values = [0.0_f32; CHUNK_UNITS];
                let row_values = &mut row_values[..len];
                for (row, class) in classes.iter().enumerate() {
                    let at = row * n_units + first;
                    T::widen(&values[at..at + len], row_values);
                    chunk.add_row(class.map(|class| class as usize), row_values);
                }
            });
    }

    /// One summary per unit.
    pub fn summaries(&self) -> Vec<UnitSummary> {
        self.chunks
            .iter()
            .flat_map(|chunk| {
                (0..chunk.units.len()).map(|unit| chunk.summary(unit, self.n_classes))
            })
            .collect()
    }
}

impl Chunk {
    fn add_row(&mut self, class: Option<usize>, row_values: &[f32]) {
        for (sums, &value) in self.units.iter_mut().zip(row_values) {
            if value.is_finite() {
                let (wide, rate) = (f64::from(value), f64::from(value.max(0.0)));
                sums.n += 1;
                sums.n_active += u64::from(value > 0.0);
                sums.sum += wide;
                sums.sum_squares += wide * wide;
                sums.rates += rate;
                sums.rates_squares += rate * rate;
                sums.min = sums.min.min(value);
                sums.max = sums.max.max(value);
            }
        }
        if let Some(class) = class {
            let cells = class * row_values.len()..(class + 1) * row_values.len();
            let sums = self.class_sums[cells.clone()].iter_mut();
            let images = self.class_images[cells].iter_mut();
            for ((&value, sum), n) in row_values.iter().zip(sums).zip(images) {
                if value.is_finite() {
                    *sum += f64::from(value.max(0.0));
                    *n += 1;
                }
            }
        }
    }

    fn summary(&self, unit: usize, n_classes: usize) -> UnitSummary {
        let sums = &self.units[unit];
        let n = sums.n as f64;
        let mean = sums.sum / n;
        let active = sums.n_active > 0;
        let class_means: Vec<(u32, f64)> = (0..n_classes)
            .map(|class| class * self.units.len() + unit)
            .enumerate()
            .filter(|&(_, cell)| self.class_images[cell] > 0)
            .map(|(class, cell)| {
                let n = f64::from(self.class_images[cell]);
                (class as u32, self.class_sums[cell] / n)
            })
            .collect();
        let best = class_means.iter().fold(None, |best, &(class, mean)| {
            best.filter(|&(_, highest)| highest >= mean)
                .or(Some((class, mean)))
        });
        let selectivity = if !active {
            0.0
        } else if n_classes > 1 {
            match best {
                Some((_, best)) if class_means.len() > 1 => {
                    let others: f64 = class_means.iter().map(|(_, mean)| mean).sum::<f64>() - best;
                    let others = others.max(0.0) / (class_means.len() - 1) as f64;
                    (best - others) / (best + others)
                }
                _ => 0.0,
            }
        } else if sums.n > 1 {
            let share = sums.rates * sums.rates / (n * sums.rates_squares);
            (1.0 - share) / (1.0 - 1.0 / n)
        } else {
            0.0
        };
        let known = |value: f32| if sums.n > 0 { value } else { f32::NAN };
        UnitSummary {
            n_images: sums.n,
            mean,
            std: (sums.sum_squares / n - mean * mean).max(0.0).sqrt(),
            min: known(sums.min),
            max: known(sums.max),
            n_active: sums.n_active,
            // 0 / 0 if only unlabelled images activate the unit.
            selectivity: if selectivity.is_finite() {
                selectivity.clamp(0.0, 1.0)
            } else {
                0.0
            },
            top_class: best.filter(|&(_, mean)| mean > 0.0).map(|(class, _)| class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    /// Summaries of units, from columns of values.
    fn summaries(units: &[&[f32]], classes: &[Option<u32>], n_classes: usize) -> Vec<UnitSummary> {
        let mut stats = LayerStats::new(units.len(), n_classes);
        for (image, class) in classes.iter().enumerate() {
            let row: Vec<f16> = units.iter().map(|u| f16::from_f32(u[image])).collect();
            stats.add_block(&[*class], &row);
        }
        stats.summaries()
    }

    #[test]
    fn class_selectivity_by_hand() {
        let classes = [Some(0), Some(0), Some(1), Some(2), None];
        let units: [&[f32]; 4] = [
            // Class means 3, 1, 0; the image without a class counts for the moments only.
            &[2.0, 4.0, 1.0, 0.0, 8.0],
            &[0.0, 0.0, 0.0, 5.0, 0.0],
            &[1.0, 1.0, 1.0, 1.0, 1.0],
            &[-1.0, -3.0, -2.0, 0.0, -4.0],
        ];
        let found = summaries(&units, &classes, 3);
        assert!((found[0].selectivity - (3.0 - 0.5) / 3.5).abs() < 1e-12);
        assert_eq!(found[0].top_class, Some(0));
        assert_eq!((found[0].mean, found[0].max, found[0].min), (3.0, 8.0, 0.0));
        assert!((found[0].std - 8.0_f64.sqrt()).abs() < 1e-12);
        assert!((found[0].share_active() - 0.8).abs() < 1e-12);
        assert_eq!(found[1].selectivity, 1.0);
        assert_eq!(found[1].top_class, Some(2));
        assert_eq!(found[2].selectivity, 0.0);
        assert!(found[2].is_dead(), "constant");
        assert_eq!((found[3].selectivity, found[3].top_class), (0.0, None));
        assert!(found[3].is_dead(), "never positive");
        assert!(!found[0].is_dead());
    }

    #[test]
    fn lifetime_sparseness_by_hand() {
        let units: [&[f32]; 3] = [&[1.0; 4], &[0.0, 7.0, 0.0, 0.0], &[1.0, 3.0, 0.0, 0.0]];
        let found = summaries(&units, &[None; 4], 0);
        assert!(found[0].selectivity.abs() < 1e-12);
        assert!((found[1].selectivity - 1.0).abs() < 1e-12);
        // mean 1, mean square 2.5: (1 - 1 / 2.5) / (3 / 4).
        assert!((found[2].selectivity - 0.8).abs() < 1e-12);
        assert_eq!(found[2].top_class, None);
    }

    #[test]
    fn values_that_are_not_finite_are_excluded() {
        let units: [&[f32]; 2] = [&[f32::NAN, 2.0, f32::INFINITY, 4.0], &[f32::NAN; 4]];
        let found = summaries(&units, &[Some(0), Some(0), Some(1), Some(1)], 2);
        assert_eq!((found[0].n_images, found[0].mean), (2, 3.0));
        assert!((found[0].selectivity - 2.0 / 6.0).abs() < 1e-12);
        assert_eq!((found[1].n_images, found[1].selectivity), (0, 0.0));
        assert!(found[1].is_dead() && found[1].mean.is_nan() && found[1].max.is_nan());
    }

    #[test]
    fn blocks_and_single_rows_agree_across_chunks() {
        let n_units = 150;
        let classes: Vec<Option<u32>> = (0..40).map(|i| (i % 7 < 5).then_some(i % 5)).collect();
        let value = |i: usize, u: usize| ((i * 31 + u * 17) % 23) as f32 - 6.0;
        let rows: Vec<f32> = (0..40)
            .flat_map(|i| (0..n_units).map(move |u| value(i, u)))
            .collect();
        let mut whole = LayerStats::new(n_units, 5);
        whole.add_block(&classes, &rows);
        let columns: Vec<Vec<f32>> = (0..n_units)
            .map(|u| (0..40).map(|i| value(i, u)).collect())
            .collect();
        let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
        assert_eq!(whole.summaries(), summaries(&columns, &classes, 5));
    }
}
