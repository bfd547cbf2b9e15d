//! From which similarity on two pictures are one, found from the candidates themselves.
//!
//! Most candidates are different pictures that look alike; how alike such pictures get differs from dataset to dataset (photos of
//! streets hardly, cells of solar panels very much). Copies stand apart from them at the upper end.

/// A dataset without likeness still needs so much, and one full of it no more.
const LEAST: f64 = 0.9;
const MOST: f64 = 0.985;
/// How many deviations above the median: 3e-7 of a normal distribution lie beyond.
const DEVIATIONS: f64 = 5.0;
/// Fewer candidates say nothing about the others.
const ENOUGH: usize = 30;

/// The median of `atanh(similarity)` and five times its deviation, back on the scale of similarities, within 0.9..=0.985. The deviation
/// is taken from the lower half (median less the 16th percentile): copies are in the upper one.
pub fn least_similarity(similarities: &[f32]) -> f64 {
    let mut sizes: Vec<f64> = (similarities.iter())
        .map(|similarity| f64::from(*similarity).clamp(0.0, 0.999_999).atanh())
        .collect();
    if sizes.len() < ENOUGH {
        return LEAST;
    }
    sizes.sort_by(f64::total_cmp);
    let at = |share: f64| sizes[(share * (sizes.len() - 1) as f64) as usize];
    let median = at(0.5);
    (median + DEVIATIONS * (median - at(0.16)))
        .tanh()
        .clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` values around `middle`, evenly to either side.
    fn around(middle: f32, width: f32, n: usize) -> impl Iterator<Item = f32> {
        (0..n).map(move |at| middle + width * (at as f32 / n as f32 - 0.5))
    }

    #[test]
    fn a_fifth_of_copies_does_not_move_it_beyond_them() {
        let mut found: Vec<f32> = around(0.4, 0.4, 800).collect();
        let alone = least_similarity(&found);
        found.extend(around(0.985, 0.02, 200));
        let with_copies = least_similarity(&found);
        assert!(alone < 0.96, "{alone}");
        assert!((alone..0.975).contains(&with_copies), "{with_copies}");
    }

    #[test]
    fn look_alikes_raise_it_within_bounds() {
        let streets: Vec<f32> = around(0.2, 0.2, 500).collect();
        let cells: Vec<f32> = around(0.93, 0.1, 500).collect();
        assert_eq!(least_similarity(&streets), LEAST);
        assert_eq!(least_similarity(&cells), MOST);
        assert_eq!(least_similarity(&[0.99; 4]), LEAST);
    }
}
