//! Confident learning: estimates the joint distribution of given labels and true classes (Northcutt, Jiang, Chuang: Confident
//! Learning, JAIR 70, 2021), with the results of cleanlab.
//!
//! Ties, whose order cleanlab leaves open, are broken by row.

use super::{Probabilities, UNLABELLED};

/// Tolerance of comparisons with thresholds, and the label's advantage in ties with other classes.
const SLACK: f64 = 1e-6;
/// Minimum threshold.
const MIN_THRESHOLD: f64 = 2e-6;
/// Minimum number of images of a class that pruning keeps.
const MIN_KEPT: i64 = 1;

/// Criterion for label errors; cleanlab's names in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Off the diagonal of the confident joint ("confident_learning").
    OffDiagonal,
    /// For each label and other class, the estimated number of images with the largest margin ("prune_by_noise_rate").
    NoiseRate,
    /// For each label, the estimated number of images with the lowest self-confidence ("prune_by_class").
    Class,
    /// By class and by noise rate ("both").
    Both,
}

/// Counts of images by given label and confident class.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfidentJoint {
    pub classes: usize,
    /// Probability from which an image counts as of a class: the mean over the images with that label.
    pub thresholds: Vec<f64>,
    /// `[label, true class]`; at least 1 on the diagonal.
    pub counts: Vec<i64>,
    /// `[label, true class]`, scaled to the number of images of each label.
    pub estimated: Vec<f64>,
    /// The confident class of each row; `None` if no class reaches its threshold or the row has no label.
    pub confident: Vec<Option<u32>>,
    /// Number of rows of each label.
    pub labelled: Vec<i64>,
}

impl ConfidentJoint {
    /// `labels`: the class of each row, or [`UNLABELLED`].
    pub fn count(labels: &[u32], probabilities: &Probabilities) -> ConfidentJoint {
        let classes = probabilities.classes;
        let mut labelled = vec![0i64; classes];
        let mut sums = vec![0.0; classes];
        for (row, &label) in labels.iter().enumerate() {
            if label != UNLABELLED {
                labelled[label as usize] += 1;
                sums[label as usize] += f64::from(probabilities.row(row)[label as usize]);
            }
        }
        let thresholds: Vec<f64> = (sums.iter().zip(&labelled))
            // Classes without images get an unreachable threshold.
            .map(|(sum, &n)| {
                if n == 0 {
                    2.0
                } else {
                    (sum / n as f64).max(MIN_THRESHOLD)
                }
            })
            .collect();
        let mut counts = vec![0i64; classes * classes];
        let mut confident = vec![None; labels.len()];
        for (row, &label) in labels.iter().enumerate() {
            if label == UNLABELLED {
                continue;
            }
            confident[row] = confident_class(probabilities.row(row), &thresholds);
            if let Some(class) = confident[row] {
                counts[label as usize * classes + class as usize] += 1;
            }
        }
        for class in 0..classes {
            let own = &mut counts[class * classes + class];
            *own = (*own).max(1);
        }
        ConfidentJoint {
            classes,
            thresholds,
            estimated: estimated(&counts, &labelled),
            counts,
            confident,
            labelled,
        }
    }

    /// The estimate rounded to whole images, keeping each label's total.
    pub fn calibrated(&self) -> Vec<i64> {
        if self.classes == 0 {
            return Vec::new();
        }
        (self.estimated.chunks_exact(self.classes))
            .flat_map(rounded)
            .collect()
    }

    /// Estimated number of wrong labels.
    pub fn errors(&self) -> f64 {
        let is_error = |cell: usize| cell / self.classes != cell % self.classes;
        let off = self
            .estimated
            .iter()
            .enumerate()
            .filter(|(cell, _)| is_error(*cell));
        off.map(|(_, count)| count).sum()
    }

    /// Which rows are label errors by `filter`; never those whose label is the most probable class.
    pub fn issues(
        &self,
        labels: &[u32],
        probabilities: &Probabilities,
        filter: Filter,
    ) -> Vec<bool> {
        let mut found = match filter {
            Filter::OffDiagonal => (labels.iter().zip(&self.confident))
                .map(|(label, class)| class.is_some_and(|class| class != *label))
                .collect(),
            Filter::NoiseRate => self.prune(labels, probabilities, false),
            Filter::Class => self.prune(labels, probabilities, true),
            Filter::Both => {
                let by_class = self.prune(labels, probabilities, true);
                let by_rate = self.prune(labels, probabilities, false);
                by_class.iter().zip(by_rate).map(|(a, b)| *a && b).collect()
            }
        };
        for (row, found) in found.iter_mut().enumerate() {
            *found &= labels[row] != UNLABELLED && differs(labels[row], probabilities.row(row));
        }
        found
    }

    fn prune(&self, labels: &[u32], probabilities: &Probabilities, by_class: bool) -> Vec<bool> {
        let k = self.classes;
        let joint = self.prune_counts();
        let mut rows_of = vec![Vec::new(); k];
        for (row, &label) in labels.iter().enumerate() {
            if label != UNLABELLED {
                rows_of[label as usize].push(row);
            }
        }
        let mut found = vec![false; labels.len()];
        for (label, rows) in rows_of.iter().enumerate() {
            if rows.len() as i64 <= MIN_KEPT {
                continue;
            }
            let value = |row: usize, class: usize| f64::from(probabilities.row(row)[class]);
            if by_class {
                let n = rows.len() as i64 - joint[label * k + label];
                mark(&mut found, rows, n, |row| value(row, label));
                continue;
            }
            for class in (0..k).filter(|class| *class != label) {
                let n = joint[class * k + label];
                mark(&mut found, rows, n, |row| {
                    value(row, label) - value(row, class)
                });
            }
        }
        found
    }

    /// `[true class, label]`: the calibrated counts with at least [`MIN_KEPT`] on the diagonal.
    fn prune_counts(&self) -> Vec<i64> {
        let k = self.classes;
        let joint = self.calibrated();
        let mut out = vec![0i64; k * k];
        for label in 0..k {
            let own = joint[label * k + label];
            let missing = (MIN_KEPT - own).max(0) as f64;
            let nonzero = joint[label * k..(label + 1) * k]
                .iter()
                .filter(|&&n| n != 0);
            let share = missing / (nonzero.count() as f64 - 1.0).max(1.0);
            for class in 0..k {
                out[class * k + label] = if class == label {
                    own.max(MIN_KEPT)
                } else {
                    (joint[label * k + class] as f64 - share).max(0.0) as i64
                };
            }
        }
        out
    }
}

/// The confident class of a row: the only one that reaches its threshold or, of several, the most probable of all.
fn confident_class(row: &[f32], thresholds: &[f64]) -> Option<u32> {
    let reaches = |class: &usize| f64::from(row[*class]) >= thresholds[*class] - SLACK;
    let mut reaching = (0..row.len()).filter(reaches);
    let first = reaching.next()?;
    let class = match reaching.next() {
        Some(_) => super::most_probable(row)?,
        None => first,
    };
    Some(class as u32)
}

/// Whether another class is more probable than the label, beyond the tolerance.
fn differs(label: u32, row: &[f32]) -> bool {
    let of =
        |class: usize| f64::from(row[class]) + if class == label as usize { SLACK } else { 0.0 };
    let best = (1..row.len()).fold(
        0,
        |best, class| if of(class) > of(best) { class } else { best },
    );
    best != label as usize
}

/// Marks the `n` rows with the lowest values.
fn mark(found: &mut [bool], rows: &[usize], n: i64, value: impl Fn(usize) -> f64) {
    if n <= 0 {
        return;
    }
    let mut order = rows.to_vec();
    order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
    for &row in order.iter().take(n as usize) {
        found[row] = true;
    }
}

fn estimated(counts: &[i64], labelled: &[i64]) -> Vec<f64> {
    let classes = labelled.len();
    if classes == 0 {
        return Vec::new();
    }
    let mut out: Vec<f64> = (counts.chunks_exact(classes).zip(labelled))
        .flat_map(|(row, &n)| {
            let sum = (row.iter().sum::<i64>() as f64).max(1e-100);
            row.iter().map(move |&count| count as f64 / sum * n as f64)
        })
        .collect();
    let all = labelled.iter().sum::<i64>() as f64;
    let sum = out.iter().sum::<f64>().max(1e-100);
    for value in &mut out {
        *value = *value / sum * all;
    }
    out
}

/// Rounds `values` so that their rounded sum is kept.
fn rounded(values: &[f64]) -> Vec<i64> {
    let mut whole: Vec<f64> = values.iter().map(|value| value.round_ties_even()).collect();
    let target = values.iter().sum::<f64>().round_ties_even();
    loop {
        let missing = target - whole.iter().sum::<f64>();
        if missing.abs() < 0.5 || whole.is_empty() {
            return whole.into_iter().map(|value| value as i64).collect();
        }
        let step = missing.signum();
        let rest = |at: &usize| values[*at] - whole[*at];
        let mut order: Vec<usize> = (0..whole.len()).collect();
        order.sort_by(|a, b| rest(a).total_cmp(&rest(b)));
        if step > 0.0 {
            order.reverse();
        }
        for &at in order.iter().take(missing.abs() as usize) {
            whole[at] += step;
        }
    }
}
