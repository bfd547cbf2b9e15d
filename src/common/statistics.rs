//! The two medians that tables are computed with. They differ where the values are even in number.

/// The mean of the middle two of ascending values, or the middle one; none of nothing.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.get(sorted.len() / 2)?;
    Some(0.5 * (sorted[(sorted.len() - 1) / 2] + middle))
}

/// The upper of the middle two of ascending values, or the middle one: always one of the values; none of nothing.
pub fn upper_median<T: Copy>(sorted: &[T]) -> Option<T> {
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_differ_for_even_numbers_of_values() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 5.0, 9.0]), Some(3.5));
        assert_eq!(upper_median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(upper_median(&[1.0, 2.0, 5.0, 9.0]), Some(5.0));
        assert_eq!((median(&[]), upper_median::<f32>(&[])), (None, None));
    }
}
