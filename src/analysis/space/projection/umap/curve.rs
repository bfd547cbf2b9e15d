//! UMAP's membership curve and its forces, as functions of the squared distance.

/// Samples for the curve fit: equally spaced distances from 0 to three times the spread, which is 1.
const SAMPLES: usize = 300;
const MAX_DISTANCE: f64 = 3.0;
/// Maximum iterations of the fit; about ten are needed.
const MAX_ITERATIONS: usize = 200;

/// Membership strength at distance `d`: `1 / (1 + a d^2b)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    pub a: f64,
    pub b: f64,
}

impl Curve {
    /// Least-squares fit to UMAP's target: 1 up to `min_dist`, then `exp(-(d - min_dist))`. Uses Levenberg-Marquardt from a =
    /// b = 1, like scipy's `curve_fit` in umap-learn.
    pub fn fit(min_dist: f64) -> Curve {
        let samples: Vec<(f64, f64)> = (0..SAMPLES)
            .map(|i| MAX_DISTANCE * i as f64 / (SAMPLES - 1) as f64)
            .map(|d| {
                (
                    d,
                    if d < min_dist {
                        1.0
                    } else {
                        (min_dist - d).exp()
                    },
                )
            })
            .collect();
        let mut curve = Curve { a: 1.0, b: 1.0 };
        let mut error = curve.error(&samples);
        let mut damping = 1e-3;
        for _ in 0..MAX_ITERATIONS {
            let next = curve.step(&samples, damping);
            let next_error = next.error(&samples);
            if next_error < error {
                let done = error - next_error < 1e-15 * error;
                (curve, error) = (next, next_error);
                damping /= 10.0;
                if done {
                    break;
                }
            } else {
                damping *= 10.0;
            }
        }
        curve
    }

    fn at(self, d: f64) -> f64 {
        1.0 / (1.0 + self.a * d.powf(2.0 * self.b))
    }

    fn error(self, samples: &[(f64, f64)]) -> f64 {
        (samples.iter())
            .map(|&(d, y)| (self.at(d) - y).powi(2))
            .sum()
    }

    /// One damped Gauss-Newton step that keeps a and b positive.
    fn step(self, samples: &[(f64, f64)], damping: f64) -> Curve {
        let (mut aa, mut ab, mut bb, mut ra, mut rb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        // At d = 0 the curve is 1 for all a and b.
        for &(d, y) in samples.iter().filter(|sample| sample.0 > 0.0) {
            let power = d.powf(2.0 * self.b);
            let value = self.at(d);
            let by_a = -power * value * value;
            let by_b = by_a * self.a * 2.0 * d.ln();
            let residual = y - value;
            aa += by_a * by_a;
            ab += by_a * by_b;
            bb += by_b * by_b;
            ra += by_a * residual;
            rb += by_b * residual;
        }
        let (aa, bb) = (aa * (1.0 + damping), bb * (1.0 + damping));
        let determinant = aa * bb - ab * ab;
        Curve {
            a: (self.a + (bb * ra - ab * rb) / determinant).max(1e-3),
            b: (self.b + (aa * rb - ab * ra) / determinant).max(1e-3),
        }
    }

    /// Attraction at squared distance `x`, as a negative factor of the difference of positions.
    pub fn attraction(self) -> Force {
        Force::new(|x| {
            -2.0 * self.a * self.b * x.powf(self.b - 1.0) / (1.0 + self.a * x.powf(self.b))
        })
    }

    /// Repulsion at squared distance `x`, as a positive factor of the difference of positions.
    pub fn repulsion(self) -> Force {
        Force::new(|x| 2.0 * self.b / ((0.001 + x) * (1.0 + self.a * x.powf(self.b))))
    }
}

/// Mantissa bits of a cell index: 64 cells per doubling.
const CELL_BITS: u32 = 6;
const SHIFT: u32 = f32::MANTISSA_DIGITS - 1 - CELL_BITS;
/// Exponents of two of the covered range; the value is constant beyond it.
const LOWEST: i32 = -24;
const HIGHEST: i32 = 24;

/// A smooth function of a positive number by linear interpolation, since a power takes longer than the rest of a force. Cells are
/// logarithmic, indexed by exponent and leading mantissa bits. The relative error is below 5e-4.
pub struct Force {
    /// Coefficients `c + s x` of each cell.
    lines: Vec<(f32, f32)>,
}

impl Force {
    fn new(f: impl Fn(f64) -> f64) -> Force {
        let edge = |cell: u32| f64::from(f32::from_bits(cell << SHIFT));
        let lines = (first_cell()..last_cell())
            .map(|cell| {
                let (x0, x1) = (edge(cell), edge(cell + 1));
                let (y0, y1) = (f(x0), f(x1));
                let slope = (y1 - y0) / (x1 - x0);
                ((y0 - slope * x0) as f32, slope as f32)
            })
            .collect();
        Force { lines }
    }

    /// The value at `x` ≥ 0.
    #[inline(always)]
    pub fn at(&self, x: f32) -> f32 {
        let bits = (x.to_bits()).clamp(first_cell() << SHIFT, (last_cell() << SHIFT) - 1);
        let (constant, slope) = self.lines[((bits >> SHIFT) - first_cell()) as usize];
        constant + slope * f32::from_bits(bits)
    }
}

const fn first_cell() -> u32 {
    ((127 + LOWEST) as u32) << CELL_BITS
}

const fn last_cell() -> u32 {
    ((127 + HIGHEST) as u32) << CELL_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From umap-learn 0.5.12's find_ab_params(1.0, min_dist).
    #[test]
    fn the_curve_equals_umap_learns() {
        for (min_dist, a, b) in FITTED {
            let curve = Curve::fit(min_dist);
            assert!((curve.a / a - 1.0).abs() < 1e-4, "{min_dist}: {curve:?}");
            assert!((curve.b / b - 1.0).abs() < 1e-4, "{min_dist}: {curve:?}");
        }
    }

    const FITTED: [(f64, f64, f64); 6] = [
        (0.0, 1.93280839734315, 0.7904949732233831),
        (0.1, 1.5769434602697652, 0.8950608778515733),
        (0.25, 1.1214363422305684, 1.057499876683671),
        (0.5, 0.5830300203414425, 1.3341669924314914),
        (0.8, 0.23206271273701293, 1.6812316033251284),
        (0.99, 0.11930529992407873, 1.9163904168802517),
    ];

    #[test]
    fn interpolated_forces_approximate_the_formula() {
        let curve = Curve { a: 1.577, b: 0.895 };
        let (attraction, repulsion) = (curve.attraction(), curve.repulsion());
        for step in 0..4000 {
            let x = 1e-6 * 1.007f64.powi(step);
            if x > 1e6 {
                break;
            }
            let power = x.powf(curve.b);
            let exact = -2.0 * curve.a * curve.b * power / x / (1.0 + curve.a * power);
            assert!(
                (f64::from(attraction.at(x as f32)) / exact - 1.0).abs() < 5e-4,
                "{x}"
            );
            let exact = 2.0 * curve.b / ((0.001 + x) * (1.0 + curve.a * power));
            assert!(
                (f64::from(repulsion.at(x as f32)) / exact - 1.0).abs() < 5e-4,
                "{x}"
            );
        }
        for x in [0.0, f32::MIN_POSITIVE, 1e30, f32::INFINITY] {
            assert!(attraction.at(x).is_finite() && repulsion.at(x).is_finite());
        }
    }
}
