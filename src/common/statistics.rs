//! The two medians that tables are computed with. They differ for even numbers of values.

/// The median of ascending values: the mean of the middle two if their number is even. None if there are no values.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.get(sorted.len() / 2)?;
    Some(0.5 * (sorted[(sorted.len() - 1) / 2] + middle))
}

/// The upper median of ascending values, which is always one of them. None if there are no values.
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
