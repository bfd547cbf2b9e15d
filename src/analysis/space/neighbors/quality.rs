//! Label agreement and hubness of a neighbour graph.
//!
//! The in-degree of a row is N_k of Radovanović, Nanopoulos & Ivanović 2010 ("Hubs in space", JMLR 11): the number of other rows
//! that have it among their k nearest neighbours. Its skewness is the hubness; rows with in-degree 0 are antihubs.

use std::collections::BTreeMap;

use super::Neighbor;

/// Accumulates lists of neighbours, in any order and number of pieces.
pub struct Tally {
    labels: Vec<Option<i32>>,
    rows: Vec<Sums>,
}

/// Sums of one row.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    in_degree: u32,
    neighbors: u32,
    /// Neighbours with a label, and with the row's label.
    labelled: u32,
    agreeing: u32,
    distance: f64,
}

/// Quality of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowQuality {
    pub row: u32,
    /// Number of rows that have it among their neighbours.
    pub in_degree: u32,
    pub mean_distance: f32,
    /// Fraction of labelled neighbours with the row's label, 0..=1; `None` without a label or labelled neighbours.
    pub label_agreement: Option<f32>,
}

/// Quality of a group of rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupQuality {
    pub rows: u32,
    /// Mean over the rows with a label agreement.
    pub label_agreement: Option<f64>,
    pub in_degree_mean: Option<f64>,
    pub in_degree_max: u32,
    /// Population skewness: third central moment over the cube of the standard deviation; `None` if all are equal.
    pub in_degree_skewness: Option<f64>,
    /// Number of rows with in-degree 0.
    pub antihubs: u32,
}

/// Quality of a graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quality {
    /// Rows with neighbours, in order.
    pub rows: Vec<RowQuality>,
    pub all: GroupQuality,
    /// Groups by label, without unlabelled rows.
    pub classes: BTreeMap<i32, GroupQuality>,
}

impl Tally {
    /// From the label of every row, with or without neighbours.
    pub fn new(labels: Vec<Option<i32>>) -> Tally {
        Tally {
            rows: vec![Sums::default(); labels.len()],
            labels,
        }
    }

    /// Number of rows; ids are smaller.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds some or all neighbours of `row`.
    pub fn add(&mut self, row: u32, neighbors: &[Neighbor]) {
        let own = self.labels[row as usize];
        for neighbor in neighbors {
            self.rows[neighbor.id as usize].in_degree += 1;
            let other = self.labels[neighbor.id as usize];
            let sums = &mut self.rows[row as usize];
            sums.neighbors += 1;
            sums.distance += f64::from(neighbor.distance);
            sums.labelled += u32::from(other.is_some());
            sums.agreeing += u32::from(other.is_some() && other == own);
        }
    }

    pub fn finish(self) -> Quality {
        let mut rows = Vec::new();
        let mut by_class: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (row, (sums, label)) in self.rows.iter().zip(&self.labels).enumerate() {
            if sums.neighbors == 0 {
                continue;
            }
            if let Some(label) = label {
                by_class.entry(*label).or_default().push(rows.len());
            }
            rows.push(RowQuality {
                row: row as u32,
                in_degree: sums.in_degree,
                mean_distance: (sums.distance / f64::from(sums.neighbors)) as f32,
                label_agreement: (label.is_some() && sums.labelled > 0)
                    .then(|| (f64::from(sums.agreeing) / f64::from(sums.labelled)) as f32),
            });
        }
        let classes = by_class.into_iter().map(|(label, members)| {
            let members: Vec<&RowQuality> = members.iter().map(|&at| &rows[at]).collect();
            (label, group(&members))
        });
        Quality {
            classes: classes.collect(),
            all: group(&rows.iter().collect::<Vec<_>>()),
            rows,
        }
    }
}

fn group(rows: &[&RowQuality]) -> GroupQuality {
    let degrees: Vec<u32> = rows.iter().map(|row| row.in_degree).collect();
    let agreements = rows
        .iter()
        .filter_map(|row| row.label_agreement.map(f64::from));
    GroupQuality {
        rows: rows.len() as u32,
        label_agreement: mean(agreements),
        in_degree_mean: mean(degrees.iter().copied().map(f64::from)),
        in_degree_max: degrees.iter().copied().max().unwrap_or(0),
        in_degree_skewness: skewness(&degrees),
        antihubs: degrees.iter().filter(|&&degree| degree == 0).count() as u32,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut n, mut sum) = (0u64, 0.0);
    for value in values {
        n += 1;
        sum += value;
    }
    (n > 0).then(|| sum / n as f64)
}

/// `E[(N - μ)³] / σ³`; `None` where `σ` is 0.
fn skewness(values: &[u32]) -> Option<f64> {
    let values = || values.iter().copied().map(f64::from);
    let centre = mean(values())?;
    let moment = |power: i32| mean(values().map(|value| (value - centre).powi(power)));
    let (second, third) = (moment(2)?, moment(3)?);
    (second > 0.0).then(|| third / second.powf(1.5))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(id: u32, distance: f32) -> Neighbor {
        Neighbor { id, distance }
    }

    /// A star: row 0 is the neighbour of all others, row 1 that of row 0; in-degrees 4 and 1.
    #[test]
    fn a_hub_is_found() {
        let labels = vec![Some(7), Some(7), Some(3), None, Some(3)];
        let mut tally = Tally::new(labels);
        tally.add(0, &[near(1, 2.0)]);
        for (row, distance) in [(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0)] {
            tally.add(row, &[near(0, distance)]);
        }
        let quality = tally.finish();
        let degrees: Vec<u32> = quality.rows.iter().map(|row| row.in_degree).collect();
        assert_eq!(degrees, [4, 1, 0, 0, 0]);
        let agreement: Vec<Option<f32>> = (quality.rows.iter())
            .map(|row| row.label_agreement)
            .collect();
        assert_eq!(
            agreement,
            [Some(1.0), Some(1.0), Some(0.0), None, Some(0.0)]
        );
        assert_eq!(quality.rows[4].mean_distance, 8.0);
        // The mean is 1; the deviations are 3, 0, -1, -1, -1: 24 / 5 over (12 / 5)^1.5.
        let skewness = quality.all.in_degree_skewness.unwrap();
        assert!((skewness - 4.8 / 2.4f64.powf(1.5)).abs() < 1e-12);
        assert_eq!(
            (
                quality.all.rows,
                quality.all.antihubs,
                quality.all.in_degree_max
            ),
            (5, 3, 4)
        );
        assert_eq!(quality.all.label_agreement, Some(0.5));
        let (three, seven) = (&quality.classes[&3], &quality.classes[&7]);
        assert_eq!(
            (three.rows, three.antihubs, three.in_degree_skewness),
            (2, 2, None)
        );
        assert_eq!(
            (
                seven.label_agreement,
                seven.in_degree_mean,
                seven.in_degree_max
            ),
            (Some(1.0), Some(2.5), 4)
        );
        // Two values are symmetric about their mean.
        assert_eq!(seven.in_degree_skewness, Some(0.0));
    }

    /// Reference values from `scipy.stats.skew`, scipy 1.17.1.
    #[test]
    fn skewness_equals_scipys() {
        let values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4];
        assert!((skewness(&values).unwrap() - 0.278_104_103_887_039_3).abs() < 1e-12);
        let values = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 5, 8, 13, 21, 146];
        assert!((skewness(&values).unwrap() - 3.459_688_038_885_213).abs() < 1e-12);
        assert_eq!(skewness(&[4, 4, 4]), None);
        assert_eq!(skewness(&[]), None);
    }

    #[test]
    fn rows_without_neighbours_are_excluded() {
        let mut tally = Tally::new(vec![Some(0), Some(1), None]);
        tally.add(2, &[near(0, 1.0)]);
        let quality = tally.finish();
        assert_eq!(quality.rows.len(), 1);
        assert_eq!(quality.rows[0].row, 2);
        assert_eq!(quality.rows[0].label_agreement, None);
        assert!(quality.classes.is_empty());
        assert_eq!(Tally::new(Vec::new()).finish(), Quality::default());
    }

    proptest! {
        /// Whole lists and pieces in any order give the result of the definitions.
        #[test]
        fn pieces_and_order_do_not_matter(
            labels in prop::collection::vec(prop::option::of(0..3i32), 2..20),
            edges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..100u16), 0..120),
            cut in 1..7usize,
        ) {
            let n = labels.len();
            let mut lists = vec![Vec::new(); n];
            for (from, to, distance) in &edges {
                // Integers, whose sums are exact.
                lists[from.index(n)].push(near(to.index(n) as u32, f32::from(*distance)));
            }
            let mut whole = Tally::new(labels.clone());
            for (row, list) in lists.iter().enumerate() {
                whole.add(row as u32, list);
            }
            let mut pieces = Tally::new(labels.clone());
            for (row, list) in lists.iter().enumerate().rev() {
                for piece in list.chunks(cut) {
                    pieces.add(row as u32, piece);
                }
            }
            let quality = whole.finish();
            prop_assert_eq!(&quality, &pieces.finish());

            prop_assert_eq!(quality.rows.len(), lists.iter().filter(|list| !list.is_empty()).count());
            for row in &quality.rows {
                let list = &lists[row.row as usize];
                let degree = lists.iter().flatten().filter(|one| one.id == row.row).count();
                prop_assert_eq!(row.in_degree as usize, degree);
                let labelled: Vec<i32> = list.iter().filter_map(|one| labels[one.id as usize]).collect();
                let expected = labels[row.row as usize].filter(|_| !labelled.is_empty()).map(|own| {
                    let same = labelled.iter().filter(|&&label| label == own).count();
                    (same as f64 / labelled.len() as f64) as f32
                });
                prop_assert_eq!(row.label_agreement, expected);
            }
        }
    }
}
