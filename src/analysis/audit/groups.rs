//! Accuracy by group of images, and how sure it is.

use std::collections::BTreeMap;

/// The normal quantile of 95 % intervals.
const Z: f64 = 1.959_963_984_540_054;

/// Interval of a share of which `hits` of `n` were seen, at 95 % (Wilson 1927): unlike the textbook's it stays in 0..=1 and
/// is honest for few images. 0..=1 without any.
pub fn wilson(hits: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (n as f64, hits as f64 / n as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// Images that were judged, and how many of them rightly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of the group, judged or not.
    pub images: u64,
    pub judged: u64,
    pub right: u64,
}

impl Tally {
    pub fn accuracy(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.right as f64 / self.judged as f64)
    }

    pub fn interval(&self) -> Option<(f64, f64)> {
        (self.judged > 0).then(|| wilson(self.right, self.judged))
    }

    fn add(&mut self, right: Option<bool>) {
        self.images += 1;
        self.judged += u64::from(right.is_some());
        self.right += u64::from(right == Some(true));
    }
}

/// Images of one value, of one label or of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub value: u32,
    pub label: Option<u32>,
    pub tally: Tally,
    /// Accuracy of the images that the group is part of: all that have a value, or those of the label.
    pub overall: Option<f64>,
    /// The lowest accuracy among the values, or among the pairs of value and label, of at least `least` judged images.
    pub worst: bool,
}

/// Groups of at least one image by value, then, for pairs of at least `least` images, by value and label. Images
/// (value, label, whether the classifier was right) without a value belong to none.
pub fn groups(images: impl Iterator<Item = (u32, u32, Option<bool>)>, least: u64) -> Vec<Group> {
    let mut tallies: BTreeMap<(u32, Option<u32>), Tally> = BTreeMap::new();
    let mut by_label: BTreeMap<u32, Tally> = BTreeMap::new();
    let mut all = Tally::default();
    for (value, label, right) in images {
        tallies.entry((value, None)).or_default().add(right);
        tallies.entry((value, Some(label))).or_default().add(right);
        by_label.entry(label).or_default().add(right);
        all.add(right);
    }
    let mut groups: Vec<Group> = (tallies.into_iter())
        .filter(|((_, label), tally)| label.is_none() || tally.images >= least)
        .map(|((value, label), tally)| Group {
            value,
            label,
            tally,
            overall: match label {
                None => all.accuracy(),
                Some(label) => by_label[&label].accuracy(),
            },
            worst: false,
        })
        .collect();
    for of_label in [false, true] {
        let judged = (groups.iter_mut())
            .filter(|group| group.label.is_some() == of_label && group.tally.judged >= least);
        let worst = judged.min_by(|a, b| {
            let accuracy = |group: &Group| group.tally.accuracy().unwrap_or(1.0);
            accuracy(a).total_cmp(&accuracy(b))
        });
        if let Some(worst) = worst {
            worst.worst = true;
        }
    }
    groups.sort_by_key(|group| (group.label.is_some(), group.value, group.label));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17.1, `binomtest(hits, n).proportion_ci(method="wilson")`.
    #[test]
    fn intervals_as_scipy_has_them() {
        for (hits, n, low, high) in [
            (0, 10, 0.0, 0.277_532_799_862_889_2),
            (7, 10, 0.396_778_147_461_144_5, 0.892_208_732_593_699_9),
            (50, 50, 0.928_652_400_867_658_1, 1.0),
            (812, 1000, 0.786_606_812_588_782_1, 0.835_005_290_116_231_4),
        ] {
            let found = wilson(hits, n);
            assert!(
                (found.0 - low).abs() < 1e-9 && (found.1 - high).abs() < 1e-9,
                "{found:?}"
            );
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn groups_by_hand() {
        // Value 0: labels 0 (2 of 3 right) and 1 (1 image, wrong); value 1: label 0 (2 of 2) and 1 (one of two judged).
        let images = [
            (0, 0, Some(true)),
            (0, 0, Some(true)),
            (0, 0, Some(false)),
            (0, 1, Some(false)),
            (1, 0, Some(true)),
            (1, 0, Some(true)),
            (1, 1, None),
            (1, 1, Some(true)),
        ];
        let found = groups(images.into_iter(), 2);
        let row = |group: &Group| {
            let Tally {
                images,
                judged,
                right,
            } = group.tally;
            (group.value, group.label, images, judged, right, group.worst)
        };
        let rows: Vec<_> = found.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                (0, None, 4, 4, 2, true),
                (1, None, 4, 3, 3, false),
                (0, Some(0), 3, 3, 2, true),
                (1, Some(0), 2, 2, 2, false),
                (1, Some(1), 2, 1, 1, false),
            ]
        );
        assert_eq!(found[0].overall, Some(5.0 / 7.0));
        assert_eq!(found[2].overall, Some(0.8));
        assert_eq!(found[4].overall, Some(0.5));
        assert!(groups(std::iter::empty(), 2).is_empty());
        let unjudged = groups([(0, 0, None)].into_iter(), 1);
        assert_eq!(unjudged[0].tally.accuracy(), None);
        assert!(!unjudged[0].worst);
    }
}
