//! Labels of rare classes, by their neighbours alone.
//!
//! A classifier has hardly seen such a class: it would call every image of it an error. So the question is only whether an image
//! has fewer neighbours of its class than the other images of the class have. If none of them has any, nothing is known.

use super::{
    NeighborRows, UNLABELLED,
    detect::{Agreement, Posterior},
    scores::Votes,
};

/// Number of images below which a class is rare.
pub const RARE: usize = 10;

/// Replaces the posterior of each row whose class has fewer than [`RARE`] images. `errors` is the fraction of wrong labels among
/// all others.
///
/// With the fraction `F` of the class's images that have no more neighbours of their class than this one, the probability that the
/// label is right is `(1 - errors) F / ((1 - errors) F + errors)`: the neighbours of a wrong label are assumed to be of other
/// classes. The neighbours vote with `votes`, their labels as far as known to be right.
pub fn rescore(
    classes: usize,
    labels: &[u32],
    votes: &[u32],
    neighbors: &NeighborRows,
    posteriors: &mut [Option<Posterior>],
) {
    let mut rows_of = vec![Vec::new(); classes];
    for (row, label) in labels.iter().enumerate() {
        if *label != UNLABELLED {
            rows_of[*label as usize].push(row);
        }
    }
    let frequent = rows_of.iter().filter(|rows| rows.len() >= RARE).flatten();
    let (mut wrong, mut n) = (0.0, 0.0);
    for posterior in frequent.filter_map(|row| posteriors[*row]) {
        wrong += 1.0 - f64::from(posterior.p_label);
        n += 1.0;
    }
    let errors = if n > 0.0 { wrong / n } else { 0.0 };
    for (label, rows) in rows_of.iter().enumerate() {
        if rows.len() >= RARE {
            continue;
        }
        let of_rows: Vec<Votes> = (rows.iter())
            .map(|row| Votes::of(*row, labels[*row], votes, neighbors))
            .collect();
        for (row, own) in rows.iter().zip(&of_rows) {
            let as_few = of_rows
                .iter()
                .filter(|other| other.agreement() <= own.agreement());
            let fraction = as_few.count() as f64 / rows.len() as f64;
            let right = (1.0 - errors) * fraction;
            let p_label = if right > 0.0 {
                right / (right + errors)
            } else {
                0.0
            };
            let other = own.top.map_or(label as u32, |(class, _)| class);
            let class = if p_label < 0.5 { other } else { label as u32 };
            let p_class = if class == label as u32 {
                p_label
            } else {
                1.0 - p_label
            };
            let shares = shares(classes, *row, votes, neighbors);
            posteriors[*row] = Some(Posterior {
                p_label: p_label as f32,
                class,
                p_class: p_class as f32,
                // Any two of the neighbours are the judges.
                agreement: Agreement::of(label as u32, shares.iter().copied(), &shares),
            });
        }
    }
}

/// Fraction of each class among a row's labelled neighbours, `[classes]`.
fn shares(classes: usize, row: usize, labels: &[u32], neighbors: &NeighborRows) -> Vec<f64> {
    let mut shares = vec![0.0; classes];
    let of = neighbors.of(row).iter();
    let of: Vec<u32> = of.map(|neighbor| labels[*neighbor as usize]).collect();
    for label in of.iter().filter(|label| **label != UNLABELLED) {
        shares[*label as usize] += 1.0;
    }
    let all = shares.iter().sum::<f64>().max(1.0);
    shares.iter_mut().for_each(|share| *share /= all);
    shares
}
