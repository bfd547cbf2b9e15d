//! Confident learning: how many images of each label are of each other class (Northcutt, Jiang, Chuang: Confident Learning,
//! JAIR 70, 2021), counted as cleanlab counts them.
//!
//! Where cleanlab's sorting leaves the order of equal values open, the first row goes first.

use super::{Probabilities, UNLABELLED};

/// Slack of the comparisons with thresholds, and what a label is ahead by where it ties with another class.
const SLACK: f64 = 1e-6;
/// Least threshold.
const LEAST: f64 = 2e-6;
/// Images of a class that pruning leaves it.
const KEPT: i64 = 1;

/// Which images count as wrongly labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Counted off the diagonal of the confident joint ("confident_learning").
    OffDiagonal,
    /// Of each label and other class, as many as the joint says, those first whose margin is widest ("prune_by_noise_rate").
    NoiseRate,
    /// Of each label, as many as the joint says, those of least self-confidence first ("prune_by_class").
    Class,
    /// Both by class and by noise rate ("both").
    Both,
}

/// Counts of images by given label and by the class that they confidently are.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfidentJoint {
    pub classes: usize,
    /// Least probability of a class with which an image counts as of that class: the mean over the images that are labelled so.
    pub thresholds: Vec<f64>,
    /// `[label, true class]`; no label's own count is less than 1.
    pub counts: Vec<i64>,
    /// `[label, true class]`: as many images of each label as there are; 0 for a label that no image has.
    pub estimated: Vec<f64>,
    /// The class that each row confidently is; none where no class reaches its threshold, and for rows without a label.
    pub confident: Vec<Option<u32>>,
    /// Rows of each label.
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
            // A class that no image is labelled as is out of any probability's reach.
            .map(|(sum, &n)| {
                if n == 0 {
                    2.0
                } else {
                    (sum / n as f64).max(LEAST)
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

    /// The estimate in whole images that keep each label's total.
    pub fn calibrated(&self) -> Vec<i64> {
        if self.classes == 0 {
            return Vec::new();
        }
        (self.estimated.chunks_exact(self.classes))
            .flat_map(rounded)
            .collect()
    }

    /// How many labels the estimate takes for wrong.
    pub fn errors(&self) -> f64 {
        let of = |at: usize| at / self.classes != at % self.classes;
        let off = self.estimated.iter().enumerate().filter(|(at, _)| of(*at));
        off.map(|(_, count)| count).sum()
    }

    /// Which rows `filter` takes for wrongly labelled; never one whose own label is the most probable.
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
            Filter::NoiseRate => self.pruned(labels, probabilities, false),
            Filter::Class => self.pruned(labels, probabilities, true),
            Filter::Both => {
                let by_class = self.pruned(labels, probabilities, true);
                let by_rate = self.pruned(labels, probabilities, false);
                by_class.iter().zip(by_rate).map(|(a, b)| *a && b).collect()
            }
        };
        for (row, found) in found.iter_mut().enumerate() {
            *found &= labels[row] != UNLABELLED && differs(labels[row], probabilities.row(row));
        }
        found
    }

    fn pruned(&self, labels: &[u32], probabilities: &Probabilities, by_class: bool) -> Vec<bool> {
        let k = self.classes;
        let wrong = self.to_prune();
        let mut rows_of = vec![Vec::new(); k];
        for (row, &label) in labels.iter().enumerate() {
            if label != UNLABELLED {
                rows_of[label as usize].push(row);
            }
        }
        let mut found = vec![false; labels.len()];
        for (label, rows) in rows_of.iter().enumerate() {
            if rows.len() as i64 <= KEPT {
                continue;
            }
            let value = |row: usize, class: usize| f64::from(probabilities.row(row)[class]);
            if by_class {
                let n = rows.len() as i64 - wrong[label * k + label];
                mark(&mut found, rows, n, |row| value(row, label));
                continue;
            }
            for class in (0..k).filter(|class| *class != label) {
                let n = wrong[class * k + label];
                mark(&mut found, rows, n, |row| {
                    value(row, label) - value(row, class)
                });
            }
        }
        found
    }

    /// `[true class, label]`: the calibrated counts, every class keeping some of its own.
    fn to_prune(&self) -> Vec<i64> {
        let k = self.classes;
        let joint = self.calibrated();
        let mut out = vec![0i64; k * k];
        for label in 0..k {
            let own = joint[label * k + label];
            let missing = (KEPT - own).max(0) as f64;
            let kinds = joint[label * k..(label + 1) * k]
                .iter()
                .filter(|&&n| n != 0);
            let share = missing / (kinds.count() as f64 - 1.0).max(1.0);
            for class in 0..k {
                out[class * k + label] = if class == label {
                    own.max(KEPT)
                } else {
                    (joint[label * k + class] as f64 - share).max(0.0) as i64
                };
            }
        }
        out
    }
}

/// The class that a row confidently is: the only one that reaches its threshold, else, of several, the most probable of all.
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

/// Whether another class than the label is the most probable by more than the slack.
fn differs(label: u32, row: &[f32]) -> bool {
    let of =
        |class: usize| f64::from(row[class]) + if class == label as usize { SLACK } else { 0.0 };
    let best = (1..row.len()).fold(
        0,
        |best, class| if of(class) > of(best) { class } else { best },
    );
    best != label as usize
}

/// Marks the `n` of the rows with the least values.
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

/// Whole numbers near `values` with the same sum, rounded.
fn rounded(values: &[f64]) -> Vec<i64> {
    let mut whole: Vec<f64> = values.iter().map(|value| value.round_ties_even()).collect();
    let wanted = values.iter().sum::<f64>().round_ties_even();
    loop {
        let missing = wanted - whole.iter().sum::<f64>();
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
