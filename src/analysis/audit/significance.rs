//! P-values, and their correction for many comparisons.

/// Expected fraction of false findings among those called significant.
pub const MAX_FALSE: f64 = 0.05;

/// Adjusted p-values (Benjamini & Hochberg 1995), in the given order: the findings with at most `q` have an expected fraction of at
/// most `q` false ones, for independent or positively dependent tests.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut lowest: f64 = 1.0;
    for (rank, &at) in order.iter().enumerate().rev() {
        lowest = lowest.min(p_values[at] * p_values.len() as f64 / (rank + 1) as f64);
        adjusted[at] = lowest;
    }
    adjusted
}

/// P-value of Fisher's exact test that `hits` of `n` are not fewer than expected, given `other_hits` of `other_n` in the rest:
/// the probability of at most `hits` under independence.
pub fn fisher_fewer(hits: u64, n: u64, other_hits: u64, other_n: u64) -> f64 {
    let marked = hits + other_hits;
    let (low, high) = (marked.saturating_sub(other_n), marked.min(n));
    // Sums the shorter tail, outward from `hits`.
    let mode = ((n + 1) as f64 * (marked + 1) as f64 / (n + other_n + 2) as f64) as u64;
    let ratio = |k: u64| {
        (marked - k) as f64 * (n - k) as f64 / ((k + 1) as f64 * (other_n + k + 1 - marked) as f64)
    };
    if hits <= mode {
        let below = (low..hits).rev().map(|k| 1.0 / ratio(k));
        tail(hypergeometric(n + other_n, marked, n, hits), below).min(1.0)
    } else if hits < high {
        let above = (hits + 1..high).map(ratio);
        1.0 - tail(hypergeometric(n + other_n, marked, n, hits + 1), above)
    } else {
        1.0
    }
}

/// Sum of a decreasing sequence given by its first term and the ratios of successive terms.
fn tail(first: f64, ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut term) = (first, first);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term <= 1e-17 * sum {
            break;
        }
    }
    sum
}

/// Probability that `k` of `draws` items from `population` are among its `marked` ones.
pub fn hypergeometric(population: u64, marked: u64, draws: u64, k: u64) -> f64 {
    let choose = |n: u64, k: u64| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    (choose(marked, k) + choose(population - marked, draws - k) - choose(population, draws)).exp()
}

/// Probability that a chi-squared variable of `degrees` degrees of freedom is at least `x`: the regularized upper incomplete gamma
/// function, by its series or its continued fraction (modified Lentz).
pub fn chi_squared_tail(x: f64, degrees: u64) -> f64 {
    let (a, x) = (degrees as f64 / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let scale = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > 1e-17 * sum {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return 1.0 - scale * sum;
    }
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut fraction = d;
    for i in 1..100_000 {
        let i = f64::from(i);
        let numerator = -i * (i - a);
        b += 2.0;
        let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
        d = 1.0 / nonzero(numerator * d + b);
        c = nonzero(b + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    scale * fraction
}

/// P-value of the two-sample Kolmogorov–Smirnov test for samples of `n` and `other_n`, whose distribution functions differ by up to
/// `difference`: Smirnov's limit for large samples.
pub fn kolmogorov_tail(difference: f64, n: usize, other_n: usize) -> f64 {
    let (n, other_n) = (n as f64, other_n as f64);
    smirnov_limit(difference * (n * other_n / (n + other_n)).sqrt())
}

fn smirnov_limit(x: f64) -> f64 {
    // Below, 1 to 16 digits, where the series converges slowly.
    if x < 0.2 {
        return 1.0;
    }
    let terms = (1..=100).map(|k| {
        let k = f64::from(k);
        let sign = if k % 2.0 == 1.0 { 2.0 } else { -2.0 };
        sign * (-2.0 * (k * x).powi(2)).exp()
    });
    terms.sum::<f64>().clamp(0.0, 1.0)
}

/// Logarithm of n!.
pub fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return ((2..=n).product::<u64>() as f64).ln();
    }
    ln_gamma(n as f64 + 1.0)
}

/// Logarithm of the gamma function for positive `x`: Stirling's series from 16 on, with a relative error of 1e-12.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 16.0 {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let series = inverse / 12.0 - inverse.powi(3) / 360.0 + inverse.powi(5) / 1260.0
        - inverse.powi(7) / 1680.0;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;

    /// Reference values from tests/golden/make_associations.py.
    #[test]
    fn equals_scipy() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/associations.json");
        let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let cases = |name: &str| golden[name].as_array().unwrap().clone();
        let numbers = |value: &Value| -> Vec<f64> {
            let list = value.as_array().unwrap().iter();
            list.map(|n| n.as_f64().unwrap()).collect()
        };
        for case in cases("fisher") {
            let [hits, n, other_hits, other_n, p] = numbers(&case)[..] else {
                panic!("{case}")
            };
            let found = fisher_fewer(hits as u64, n as u64, other_hits as u64, other_n as u64);
            assert!((found - p).abs() <= 1e-8 * p + 1e-14, "{case}: {found}");
        }
        for case in cases("chi_squared") {
            let [x, degrees, p] = numbers(&case)[..] else {
                panic!("{case}")
            };
            let found = chi_squared_tail(x, degrees as u64);
            assert!((found - p).abs() <= 1e-9 * p + 1e-15, "{case}: {found}");
        }
        let adjusted = benjamini_hochberg(&numbers(&golden["benjamini_hochberg"]["p_values"]));
        let expected = numbers(&golden["benjamini_hochberg"]["q_values"]);
        assert_eq!(adjusted.len(), expected.len());
        for (found, expected) in adjusted.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-14, "{found} {expected}");
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    /// scipy.special.kolmogorov of scipy 1.17.1.
    #[test]
    fn smirnovs_limit() {
        for (x, expected) in [
            (0.2, 0.999_999_999_999_495),
            (0.5, 0.963_945_243_664_875_1),
            (1.0, 0.269_999_671_677_354_56),
            (2.0, 6.709_252_557_796_953e-4),
            (5.0, 3.857_499_695_927_835_6e-22),
        ] {
            assert!(
                (smirnov_limit(x) - expected).abs() <= 1e-9 * expected,
                "{x}"
            );
        }
        let found = kolmogorov_tail(0.5, 20, 80);
        assert!((found - smirnov_limit(2.0)).abs() < 1e-15);
    }

    #[test]
    fn factorials() {
        for n in [15, 16, 17, 20, 100] {
            let exact: f64 = (2..=n).map(|k| (k as f64).ln()).sum();
            assert!((ln_factorial(n) / exact - 1.0).abs() < 1e-12, "{n}");
        }
        assert_eq!((ln_factorial(0), ln_factorial(1)), (0.0, 0.0));
        let half = std::f64::consts::PI.sqrt().ln();
        assert!((ln_gamma(0.5) - half).abs() < 1e-12);
    }
}
