use std::collections::HashMap;

use serde_json::Value;

use super::{
    channel::Channel,
    confident::{ConfidentJoint, Filter},
    detect::{self, Agreement, Labels, detect},
    scores::{Votes, normalized_margin, self_confidence},
    *,
};

mod injection;

/// One problem of tests/golden/make_label_issues.py.
struct Problem {
    answers: Value,
    classes: usize,
    labels: Vec<u32>,
    values: Vec<f32>,
}

impl Problem {
    fn all() -> Vec<Problem> {
        let text = include_str!("../../../../tests/golden/label_issues.json");
        let golden: Value = serde_json::from_str(text).unwrap();
        let problems = golden["problems"].as_array().unwrap();
        problems.iter().map(Problem::new).collect()
    }

    fn new(answers: &Value) -> Problem {
        let parts = answers["parts"].as_f64().unwrap();
        let rows = answers["counts"].as_array().unwrap().iter();
        let counts = rows.flat_map(|row| row.as_array().unwrap());
        Problem {
            classes: answers["classes"].as_u64().unwrap() as usize,
            labels: whole(&answers["labels"])
                .iter()
                .map(|label| *label as u32)
                .collect(),
            values: counts
                .map(|count| (count.as_f64().unwrap() / parts) as f32)
                .collect(),
            answers: answers.clone(),
        }
    }

    fn probabilities(&self) -> Probabilities<'_> {
        Probabilities {
            classes: self.classes,
            values: &self.values,
        }
    }
}

/// Numbers of an array, or of an array of arrays.
fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(numbers).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

fn whole(value: &Value) -> Vec<i64> {
    numbers(value).iter().map(|number| *number as i64).collect()
}

#[test]
fn counts_equal_cleanlabs() {
    let problems = Problem::all();
    assert_eq!(problems.len(), 10);
    for problem in &problems {
        let (answers, probabilities) = (&problem.answers, problem.probabilities());
        let joint = ConfidentJoint::count(&problem.labels, &probabilities);
        for (own, theirs) in joint.thresholds.iter().zip(numbers(&answers["thresholds"])) {
            assert!((own - theirs).abs() < 1e-12);
        }
        assert_eq!(joint.counts, whole(&answers["joint"]));
        assert_eq!(joint.calibrated(), whole(&answers["calibrated"]));
        let all = joint.estimated.iter().sum::<f64>();
        assert!((all - problem.labels.len() as f64).abs() < 1e-9);
        let filters = [
            (Filter::OffDiagonal, "off_diagonal"),
            (Filter::NoiseRate, "noise_rate"),
            (Filter::Class, "by_class"),
            (Filter::Both, "both"),
        ];
        for (filter, name) in filters {
            let found = joint.issues(&problem.labels, &probabilities, filter);
            let rows: Vec<i64> = (0..)
                .zip(found)
                .filter(|(_, f)| *f)
                .map(|(row, _)| row)
                .collect();
            assert_eq!(rows, whole(&answers[name]), "{name}");
        }
    }
}

#[test]
fn simple_scores_equal_cleanlabs() {
    for problem in Problem::all() {
        let probabilities = problem.probabilities();
        let confidence = numbers(&problem.answers["self_confidence"]);
        let margin = numbers(&problem.answers["normalized_margin"]);
        for (row, &label) in problem.labels.iter().enumerate() {
            let of_row = probabilities.row(row);
            assert!((f64::from(self_confidence(label, of_row)) - confidence[row]).abs() < 1e-6);
            assert!((f64::from(normalized_margin(label, of_row)) - margin[row]).abs() < 1e-6);
        }
    }
}

#[test]
fn rows_without_labels_are_not_counted() {
    let problem = &Problem::all()[2];
    let without = ConfidentJoint::count(&problem.labels, &problem.probabilities());
    let mut labels = problem.labels.clone();
    labels.extend([UNLABELLED; 3]);
    let mut values = problem.values.clone();
    values.extend(vec![0.2; 3 * problem.classes]);
    let probabilities = Probabilities {
        classes: problem.classes,
        values: &values,
    };
    let joint = ConfidentJoint::count(&labels, &probabilities);
    assert_eq!(joint.counts, without.counts);
    assert_eq!(joint.confident[labels.len() - 3..], [None; 3]);
    for filter in [Filter::OffDiagonal, Filter::Both] {
        let found = joint.issues(&labels, &probabilities, filter);
        assert!(!found[labels.len() - 3..].iter().any(|found| *found));
    }
}

#[test]
fn votes_give_the_most_frequent_label() {
    let neighbors = NeighborRows::new([vec![1, 2, 3, 4], vec![4], vec![], vec![0, 1], vec![0]]);
    let labels = [2, 1, 1, 2, UNLABELLED];
    let votes = Votes::of(0, labels[0], &labels, &neighbors);
    assert_eq!(
        (votes.labelled, votes.agree, votes.top),
        (3, 1, Some((1, 2)))
    );
    assert_eq!(votes.agreement(), 1.0 / 3.0);
    // Ties go to the lowest class.
    assert_eq!(
        Votes::of(3, labels[3], &labels, &neighbors).top,
        Some((1, 1))
    );
    // Full agreement without labelled neighbours.
    for row in [1, 2] {
        let votes = Votes::of(row, labels[row], &labels, &neighbors);
        assert_eq!(
            (votes.labelled, votes.top, votes.agreement()),
            (0, None, 1.0)
        );
    }
}

#[test]
fn the_channel_models_the_confusion_of_labels() {
    // 90 cats labelled cat, 10 dogs labelled cat, 100 dogs labelled dog: 5 % are wrong, also of the 100 pseudo-images.
    let channel = Channel::from_joint(2, &[90.0, 10.0, 0.0, 100.0]);
    assert!((channel.given(0, 0) - 185.0 / 190.0).abs() < 1e-12);
    assert!((channel.given(1, 0) - 15.0 / 210.0).abs() < 1e-12);
    // With three classes, in proportion to the frequency of the other labels.
    let channel_of_three = Channel::from_joint(3, &[8.0, 2.0, 0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 10.0]);
    assert!((channel_of_three.given(0, 1) - 100.0 * 0.05 * (2.0 / 3.0) / 108.0).abs() < 1e-12);
    let mut posterior = vec![0.0; 2];
    // Cat or dog with equal probability: labelled dog, it is hardly a cat, since cats are rarely labelled dog.
    channel.posterior(&[0.5, 0.5], 1, &mut posterior);
    let given = [5.0 / 190.0, 195.0 / 210.0];
    assert!((posterior[1] - given[1] / (given[0] + given[1])).abs() < 1e-12);
    // Without any possible class, the label is trusted.
    channel.posterior(&[0.0, 0.0], 1, &mut posterior);
    assert_eq!(posterior, [0.0, 1.0]);
    let prior = Probabilities {
        classes: 2,
        values: &[0.5, 0.5, 1.0, 0.0, 0.0, 1.0],
    };
    let joint = channel.joint(&[1, 0, UNLABELLED], &prior);
    assert!((joint.iter().sum::<f64>() - 2.0).abs() < 1e-12);
    assert_eq!(joint[0], 1.0);
}

/// Four clusters of 20 rows each; labels are the clusters, except for some wrong ones.
struct Clusters {
    true_classes: Vec<u32>,
    labels: Vec<u32>,
    neighbors: NeighborRows,
    decided: HashMap<usize, u32>,
}

const CLUSTER: usize = 20;

impl Clusters {
    fn new(wrong: &[(usize, u32)]) -> Clusters {
        let true_classes: Vec<u32> = (0..4 * CLUSTER).map(|row| (row / CLUSTER) as u32).collect();
        let mut labels = true_classes.clone();
        for (row, label) in wrong {
            labels[*row] = *label;
        }
        let others = |row: usize| {
            let cluster = row / CLUSTER * CLUSTER;
            let others = (1..6).map(move |step| cluster + (row - cluster + step) % CLUSTER);
            others.map(|row| row as u32).collect::<Vec<u32>>()
        };
        let neighbors = NeighborRows::new((0..true_classes.len()).map(others));
        Clusters {
            true_classes,
            labels,
            neighbors,
            decided: HashMap::new(),
        }
    }

    fn labels(&self) -> Labels<'_> {
        Labels {
            classes: 4,
            given: &self.labels,
            neighbors: &self.neighbors,
            decided: &self.decided,
        }
    }

    /// A leave-one-out classifier by the label frequencies of each cluster.
    fn learn(&self, labels: &[u32], weights: &[f32]) -> Vec<f32> {
        let row = |row: usize| {
            let mut sums = [0.1f32; 4];
            for other in (0..labels.len()).filter(|other| *other != row) {
                if self.true_classes[other] == self.true_classes[row] && labels[other] != UNLABELLED
                {
                    sums[labels[other] as usize] += weights[other];
                }
            }
            let all: f32 = sums.iter().sum();
            sums.map(|sum| sum / all)
        };
        (0..labels.len()).flat_map(row).collect()
    }

    fn detect(&self) -> detect::Detection {
        let first = self.learn(&self.labels, &vec![1.0; self.labels.len()]);
        let first = Probabilities {
            classes: 4,
            values: &first,
        };
        detect(&self.labels(), &first, &mut |labels, weights| {
            Ok(self.learn(labels, weights))
        })
        .unwrap()
    }
}

#[test]
fn wrong_labels_are_found_and_corrected() {
    let wrong = [(3, 1), (25, 3), (47, 0), (70, 2)];
    let clusters = Clusters::new(&wrong);
    let found = clusters.detect();
    for (row, posterior) in found.posteriors.iter().enumerate() {
        let posterior = posterior.unwrap();
        assert_eq!(posterior.class, clusters.true_classes[row]);
        let is_wrong = wrong.iter().any(|(at, _)| *at == row);
        assert_eq!(
            posterior.p_label < 0.5,
            is_wrong,
            "row {row}: {posterior:?}"
        );
    }
    assert!((found.errors() - 4.0).abs() < 0.5);
    let joint: f64 = found.joint.iter().sum();
    assert!((joint - 80.0).abs() < 1e-3);
}

#[test]
fn two_judges_agree_or_not() {
    let of = |p: [f64; 3], v: [f64; 3]| Agreement::of(0, p.into_iter(), &v);
    let clear = of([0.0, 1.0, 0.0], [0.0, 1.0, 0.0]);
    assert_eq!((clear.ambiguity, clear.other, clear.support), (0.0, 1, 1.0));
    let agreed = of([1.0, 0.0, 0.0], [1.0, 0.0, 0.0]);
    assert_eq!((agreed.ambiguity, agreed.support), (0.0, 0.0));
    let opposed = of([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
    assert_eq!((opposed.ambiguity, opposed.support), (1.0, 0.0));
    let spread = of([0.25, 0.25, 0.5], [0.5, 0.25, 0.25]);
    assert_eq!(
        (spread.ambiguity, spread.other, spread.support),
        (0.6875, 2, 0.125)
    );
}

#[test]
fn a_wrong_label_is_agreed_on_and_an_image_between_two_classes_is_not() {
    // Row 3 is of cluster 0 and labelled 1. Row 25, labelled 3, is as close to cluster 2 as to its own, 1.
    let mut clusters = Clusters::new(&[(3, 1), (25, 3)]);
    let lists = (0..4 * CLUSTER).map(|row| match row {
        25 => vec![26, 27, 28, 45, 46, 47],
        _ => clusters.neighbors.of(row).to_vec(),
    });
    clusters.neighbors = NeighborRows::new(lists.collect::<Vec<_>>());
    let learn = |labels: &[u32], weights: &[f32]| {
        let mut values = clusters.learn(labels, weights);
        values[4 * 25..4 * 26].copy_from_slice(&[0.1, 0.4, 0.4, 0.1]);
        values
    };
    let first = learn(&clusters.labels, &[1.0; 4 * CLUSTER]);
    let first = Probabilities {
        classes: 4,
        values: &first,
    };
    let refit = &mut |labels: &[u32], weights: &[f32]| Ok(learn(labels, weights));
    let found = detect(&clusters.labels(), &first, refit).unwrap();
    let agreement = |row: usize| found.posteriors[row].unwrap().agreement;
    assert_eq!(agreement(3).other, 0);
    assert!(agreement(3).support > 0.5, "{:?}", agreement(3));
    assert!(agreement(25).support < 0.2, "{:?}", agreement(25));
    assert!(agreement(25).ambiguity > 0.6 && agreement(3).ambiguity < 0.5);
}

#[test]
fn a_rare_class_pays_for_its_frequency_once() {
    // A class of three images among two of forty. Its images have one neighbour of their own class in four.
    let labels: Vec<u32> = (0..83).map(|row| (row / 40) as u32).collect();
    let neighbors = NeighborRows::new((0..83u32).map(|row| match row {
        80..83 => vec![80 + (row - 79) % 3, 0, 1, 2],
        _ => vec![row / 40 * 40, row / 40 * 40 + 1],
    }));
    let values: Vec<f32> = (0..83)
        .flat_map(|row| match row / 40 {
            0 => [0.9, 0.05, 0.05],
            1 => [0.05, 0.9, 0.05],
            _ => [0.55, 0.05, 0.4],
        })
        .collect();
    let first = Probabilities {
        classes: 3,
        values: &values,
    };
    let subject = Labels {
        classes: 3,
        given: &labels,
        neighbors: &neighbors,
        decided: &HashMap::new(),
    };
    let found = detect(&subject, &first, &mut |_, _| Ok(values.clone())).unwrap();
    for row in 80..83 {
        let posterior = found.posteriors[row].unwrap();
        assert!(posterior.p_label > 0.5, "{posterior:?}");
    }
}

#[test]
fn decided_classes_replace_the_labels_in_training_and_votes() {
    // Most of the first cluster is labelled as the second.
    let wrong: Vec<(usize, u32)> = (0..17).map(|row| (row, 1)).collect();
    let mut clusters = Clusters::new(&wrong);
    let p_label =
        |clusters: &Clusters, row: usize| clusters.detect().posteriors[row].unwrap().p_label;
    assert!(p_label(&clusters, 15) > 0.5);
    clusters.decided = (0..14).map(|row| (row, 0)).collect();
    assert!(p_label(&clusters, 15) < 0.5 && p_label(&clusters, 18) > 0.5);
    // Left out, they neither train nor vote.
    clusters.decided = (0..17).map(|row| (row, UNLABELLED)).collect();
    assert!(p_label(&clusters, 18) > 0.5);
}

#[test]
fn rows_without_a_label_get_no_posterior() {
    let clusters = Clusters::new(&[(3, 1), (5, UNLABELLED), (44, UNLABELLED)]);
    let found = clusters.detect();
    let without: Vec<usize> = (0..80)
        .filter(|row| found.posteriors[*row].is_none())
        .collect();
    assert_eq!(without, [5, 44]);
}

#[test]
fn each_other_group_has_one_vote() {
    let neighbors = [(7, 10), (4, 11), (7, 12), (5, 13), (9, 14), (9, 15)];
    assert_eq!(voters(5, neighbors), [10, 11, 14]);
    assert!(voters(5, []).is_empty());
}
