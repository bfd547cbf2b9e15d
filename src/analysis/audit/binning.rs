//! Numbers as categories: bins of about equally many values.

/// A value's bin, and what each bin holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    /// Index into `ranges`; `None` for a value that is missing or no number.
    pub bins: Vec<Option<u32>>,
    /// Least and greatest value of each bin, ascending.
    pub ranges: Vec<(f64, f64)>,
}

/// At most `most` bins, each of about as many values as the others. Equal values stay together, so bins may be fewer and of
/// different sizes; up to `distinct` different values have a bin each.
pub fn quantile_bins(values: &[Option<f64>], most: usize, distinct: usize) -> Bins {
    let known = |value: &Option<f64>| value.filter(|value| !value.is_nan());
    let mut sorted: Vec<f64> = values.iter().filter_map(known).collect();
    sorted.sort_by(f64::total_cmp);
    let mut different = sorted.clone();
    different.dedup();
    let starts: Vec<f64> = if different.len() <= distinct {
        different
    } else {
        let mut starts: Vec<f64> = (0..most.max(1))
            .map(|bin| sorted[bin * sorted.len() / most.max(1)])
            .collect();
        starts.dedup();
        starts
    };
    let bin_of = |value: f64| {
        starts
            .partition_point(|&start| start <= value)
            .saturating_sub(1)
    };
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); starts.len()];
    for &value in &sorted {
        let (least, greatest) = &mut ranges[bin_of(value)];
        *least = least.min(value);
        *greatest = greatest.max(value);
    }
    Bins {
        bins: (values.iter())
            .map(|value| known(value).map(|value| bin_of(value) as u32))
            .collect(),
        ranges,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_equally_many() {
        let values: Vec<Option<f64>> = (0..100).map(|i| Some(f64::from(i * 37 % 100))).collect();
        let found = quantile_bins(&values, 4, 10);
        assert_eq!(
            found.ranges,
            [(0.0, 24.0), (25.0, 49.0), (50.0, 74.0), (75.0, 99.0)]
        );
        assert_eq!(found.bins[1], Some(1), "37");
    }

    #[test]
    fn few_values_have_a_bin_each_and_equal_ones_stay_together() {
        let values = [
            Some(3.0),
            None,
            Some(1.0),
            Some(3.0),
            Some(f64::NAN),
            Some(3.0),
            Some(3.0),
        ];
        let each = quantile_bins(&values, 2, 2);
        assert_eq!(each.ranges, [(1.0, 1.0), (3.0, 3.0)]);
        assert_eq!(
            each.bins,
            [Some(1), None, Some(0), Some(1), None, Some(1), Some(1)]
        );
        let binned = quantile_bins(&values, 4, 1);
        assert_eq!(binned.ranges, each.ranges);
        assert!(quantile_bins(&[None], 4, 1).ranges.is_empty());
    }
}
