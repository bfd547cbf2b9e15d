//! Quantile binning of numbers.

/// The bin of each value and the range of each bin.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    /// Index into `ranges`; `None` for missing values and NaN.
    pub bins: Vec<Option<u32>>,
    /// Minimum and maximum of each bin, ascending.
    pub ranges: Vec<(f64, f64)>,
}

/// At most `max_bins` bins of about equal counts. Equal values share a bin, so there can be fewer bins, of different sizes. Up to
/// `max_distinct` distinct values get one bin each.
pub fn quantile_bins(values: &[Option<f64>], max_bins: usize, max_distinct: usize) -> Bins {
    let known = |value: &Option<f64>| value.filter(|value| !value.is_nan());
    let mut sorted: Vec<f64> = values.iter().filter_map(known).collect();
    sorted.sort_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    let starts: Vec<f64> = if distinct.len() <= max_distinct {
        distinct
    } else {
        let mut starts: Vec<f64> = (0..max_bins.max(1))
            .map(|bin| sorted[bin * sorted.len() / max_bins.max(1)])
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
        let (min, max) = &mut ranges[bin_of(value)];
        *min = min.min(value);
        *max = max.max(value);
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
    fn bins_have_equal_counts() {
        let values: Vec<Option<f64>> = (0..100).map(|i| Some(f64::from(i * 37 % 100))).collect();
        let found = quantile_bins(&values, 4, 10);
        assert_eq!(
            found.ranges,
            [(0.0, 24.0), (25.0, 49.0), (50.0, 74.0), (75.0, 99.0)]
        );
        assert_eq!(found.bins[1], Some(1), "37");
    }

    #[test]
    fn few_distinct_values_get_a_bin_each_and_equal_values_share_one() {
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
