//! Accuracy by group of images, with confidence intervals, compared with the rest of the images.

use std::collections::BTreeMap;

use super::significance::{MAX_FALSE, benjamini_hochberg, fisher_fewer};

/// Normal quantile of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// 95 % Wilson interval (1927) of a proportion, for `hits` of `n`: unlike the Wald interval it stays within 0..=1 and is reliable
/// for small `n`. 0..=1 for `n` = 0.
pub fn wilson(hits: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (n as f64, hits as f64 / n as f64);
    let scale = 1.0 + Z * Z / n;
    let center = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((center - half).max(0.0), (center + half).min(1.0))
}

/// Counts of images: all, evaluated, and classified correctly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All images of the group, evaluated or not.
    pub images: u64,
    pub evaluated: u64,
    pub correct: u64,
}

impl Tally {
    pub fn accuracy(&self) -> Option<f64> {
        (self.evaluated > 0).then(|| self.correct as f64 / self.evaluated as f64)
    }

    pub fn interval(&self) -> Option<(f64, f64)> {
        (self.evaluated > 0).then(|| wilson(self.correct, self.evaluated))
    }

    fn add(&mut self, correct: Option<bool>) {
        self.images += 1;
        self.evaluated += u64::from(correct.is_some());
        self.correct += u64::from(correct == Some(true));
    }

    /// The images of `whole` that are not in this group.
    fn rest(&self, whole: &Tally) -> Tally {
        Tally {
            images: whole.images - self.images,
            evaluated: whole.evaluated - self.evaluated,
            correct: whole.correct - self.correct,
        }
    }
}

/// Images with one value, with all labels or one.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub value: u32,
    pub label: Option<u32>,
    pub tally: Tally,
    /// Images with another value; with a label, those of them that have it too.
    pub rest: Tally,
    /// Of Fisher's exact test that the group is no less accurate than the rest.
    pub p_value: Option<f64>,
    /// The same, corrected by [`correct`].
    pub q_value: Option<f64>,
    /// Lowest accuracy among the values, or among the pairs of value and label, with at least `min_images` evaluated images.
    pub worst: bool,
}

impl Group {
    /// Whether the group is less accurate than the rest, at a false discovery rate of [`MAX_FALSE`].
    pub fn is_worse(&self) -> bool {
        self.q_value.is_some_and(|q| q <= MAX_FALSE)
    }
}

/// Sets the q-values of the groups of all attributes, which are compared at once.
pub fn correct<'g>(groups: impl Iterator<Item = &'g mut Group>) {
    let tested: Vec<&mut Group> = groups.filter(|group| group.p_value.is_some()).collect();
    let p_values: Vec<f64> = tested.iter().filter_map(|group| group.p_value).collect();
    for (group, q_value) in tested.into_iter().zip(benjamini_hochberg(&p_values)) {
        group.q_value = Some(q_value);
    }
}

/// Groups by value, then by value and label for pairs of at least `min_images` images. Images are (value, label, whether the
/// classifier was correct).
pub fn groups(
    images: impl Iterator<Item = (u32, u32, Option<bool>)>,
    min_images: u64,
) -> Vec<Group> {
    let mut tallies: BTreeMap<(u32, Option<u32>), Tally> = BTreeMap::new();
    let mut by_label: BTreeMap<u32, Tally> = BTreeMap::new();
    let mut all = Tally::default();
    for (value, label, correct) in images {
        tallies.entry((value, None)).or_default().add(correct);
        tallies
            .entry((value, Some(label)))
            .or_default()
            .add(correct);
        by_label.entry(label).or_default().add(correct);
        all.add(correct);
    }
    let mut groups: Vec<Group> = (tallies.into_iter())
        .filter(|((_, label), tally)| label.is_none() || tally.images >= min_images)
        .map(|((value, label), tally)| {
            let rest = tally.rest(label.map_or(&all, |label| &by_label[&label]));
            let compared = tally.evaluated > 0 && rest.evaluated > 0;
            Group {
                value,
                label,
                tally,
                rest,
                p_value: compared.then(|| {
                    fisher_fewer(tally.correct, tally.evaluated, rest.correct, rest.evaluated)
                }),
                q_value: None,
                worst: false,
            }
        })
        .collect();
    for of_label in [false, true] {
        let evaluated = (groups.iter_mut()).filter(|group| {
            group.label.is_some() == of_label && group.tally.evaluated >= min_images
        });
        let worst = evaluated.min_by(|a, b| {
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

    /// From scipy 1.17.1, `binomtest(hits, n).proportion_ci(method="wilson")`.
    #[test]
    fn intervals_equal_scipys() {
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
        // Value 0: label 0 (2 of 3 correct) and 1 (1 image, wrong); value 1: label 0 (2 of 2) and 1 (1 of 2 evaluated).
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
                evaluated,
                correct,
            } = group.tally;
            (
                group.value,
                group.label,
                images,
                evaluated,
                correct,
                group.worst,
            )
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
        assert_eq!(found[0].rest.accuracy(), Some(1.0));
        assert_eq!(found[2].rest.accuracy(), Some(1.0));
        assert_eq!(found[4].rest.accuracy(), Some(0.0));
        // Of seven images, two are wrong; both among the four of value 0: C(4, 2) / C(7, 2).
        assert!((found[0].p_value.unwrap() - 6.0 / 21.0).abs() < 1e-12);
        assert_eq!(found[0].q_value, None);
        assert!(groups(std::iter::empty(), 2).is_empty());
        let unevaluated = groups([(0, 0, None)].into_iter(), 1);
        assert_eq!(unevaluated[0].tally.accuracy(), None);
        assert!(!unevaluated[0].worst);
    }

    #[test]
    fn chance_makes_no_group_worse() {
        use rand::{Rng, SeedableRng, rngs::StdRng};

        let mut random = StdRng::seed_from_u64(3);
        let correct: Vec<bool> = (0..20_000).map(|_| random.random_bool(0.85)).collect();
        // Fifty columns of a hundred random values.
        let mut all: Vec<Group> = (0..50)
            .flat_map(|_| {
                let images = correct.iter().map(|&correct| {
                    let value = random.random_range(0..100);
                    (value, 0, Some(correct))
                });
                groups(images.collect::<Vec<_>>().into_iter(), u64::MAX)
            })
            .collect();
        super::correct(all.iter_mut());
        assert_eq!(all.len(), 5000);
        let uncorrected = all
            .iter()
            .filter(|one| one.p_value.unwrap() <= 0.05)
            .count();
        assert!((100..=300).contains(&uncorrected), "{uncorrected}");
        let worse = all.iter().filter(|one| one.is_worse()).count();
        assert!(worse <= 50, "{worse} of 5,000");
    }

    #[test]
    fn a_worse_group_is_found_among_many() {
        // Value 0 is correct in 60 of 100 images, the 199 others in 90.
        let images = (0..20_000).map(|i: u32| {
            let (value, place) = (i % 200, i / 200);
            (value, 0, Some(place < if value == 0 { 60 } else { 90 }))
        });
        let mut found = groups(images, u64::MAX);
        correct(found.iter_mut());
        let worse: Vec<u32> = (found.iter().filter(|one| one.is_worse()))
            .map(|one| one.value)
            .collect();
        assert_eq!(worse, [0]);
    }
}
