//! Injected errors, and the recall of reviews that is estimated from them.

use super::{
    super::{
        calibration::{Injected, Review, reviews},
        inject::{Injection, Noise, Subject, inject},
    },
    *,
};

/// Errors injected into labels whose copies are in groups.
fn injected(
    labels: &[u32],
    found: &detect::Detection,
    groups: &[u32],
    noise: Noise,
    (fraction, seed): (f64, u64),
) -> Injection {
    let right: Vec<Option<f32>> = (found.posteriors.iter())
        .map(|posterior| posterior.map(|posterior| posterior.p_label))
        .collect();
    let k = found.channel.classes;
    // The next class is the most similar one.
    let of_row = |label: &u32| {
        let label = *label as usize;
        (0..k).map(move |class| match (class + k - label) % k {
            0 => 0.6,
            1 => 0.3,
            _ => 0.05,
        })
    };
    let known = labels
        .iter()
        .map(|label| if *label == UNLABELLED { &0 } else { label });
    let values: Vec<f32> = known.flat_map(of_row).collect();
    let subject = Subject {
        labels,
        right: &right,
        probabilities: Probabilities {
            classes: k,
            values: &values,
        },
        channel: &found.channel,
        groups,
    };
    inject(&subject, noise, fraction, seed)
}

#[test]
fn one_class_or_none_has_no_errors() {
    let neighbors = NeighborRows::new([vec![1], vec![0]]);
    let labels = Labels {
        classes: 1,
        given: &[0, 0],
        neighbors: &neighbors,
        decided: &HashMap::new(),
    };
    let first = Probabilities {
        classes: 1,
        values: &[1.0, 1.0],
    };
    let found = detect(&labels, &first, &mut |_, _| Ok(vec![1.0, 1.0])).unwrap();
    assert_eq!(found.errors(), 0.0);
    let errors = injected(&[0, 0], &found, &[0, 1], Noise::Uniform, (0.5, 1));
    assert!(errors.rows.is_empty());
    let labels = Labels {
        classes: 0,
        given: &[UNLABELLED; 2],
        neighbors: &neighbors,
        decided: &HashMap::new(),
    };
    let first = Probabilities {
        classes: 0,
        values: &[],
    };
    let found = detect(&labels, &first, &mut |_, _| Ok(Vec::new())).unwrap();
    assert_eq!(found.posteriors, [None, None]);
}

#[test]
fn injection_is_seeded_and_spares_doubtful_labels() {
    let clusters = Clusters::new(&[(3, 1), (25, 3), (47, 0), (50, UNLABELLED)]);
    let found = clusters.detect();
    let groups: Vec<u32> = (0..80).collect();
    for noise in Noise::ALL {
        let injected = |settings| injected(&clusters.labels, &found, &groups, noise, settings);
        let errors = injected((0.1, 42));
        assert_eq!(errors, injected((0.1, 42)));
        assert_ne!(errors.rows, injected((0.1, 43)).rows);
        assert_eq!(errors.rows.len(), 8);
        for row in 0..80 {
            let (before, after) = (clusters.labels[row], errors.labels[row]);
            assert_eq!(before != after, errors.rows.binary_search(&row).is_ok());
            assert!(before == after || ![3, 25, 47, 50].contains(&row));
            assert!(before == after || noise != Noise::Similar || after == (before + 1) % 4);
        }
        // No class is emptied, however many errors are injected.
        let errors = injected((1.0, 42));
        for class in 0..4 {
            let left = errors.labels.iter().filter(|label| **label == class);
            assert!(left.count() >= 2);
        }
    }
}

#[test]
fn copies_get_one_wrong_label() {
    let clusters = Clusters::new(&[]);
    let found = clusters.detect();
    let groups: Vec<u32> = (0..80).map(|row| row / 4).collect();
    let errors = injected(&clusters.labels, &found, &groups, Noise::Uniform, (0.2, 7));
    assert_eq!((errors.rows.len(), errors.decisions), (16, 4));
    for group in errors.labels.chunks(4) {
        assert!(group.iter().all(|label| *label == group[0]));
    }
}

#[test]
fn a_group_larger_than_all_errors_keeps_its_labels() {
    let clusters = Clusters::new(&[]);
    let found = clusters.detect();
    // Of each class, a group of ten and ten single images.
    let group = |row: u32| if row % 20 < 10 { row / 20 } else { 100 + row };
    let groups: Vec<u32> = (0..80).map(group).collect();
    let errors = injected(&clusters.labels, &found, &groups, Noise::Uniform, (0.1, 7));
    assert_eq!((errors.rows.len(), errors.decisions), (8, 8));
    assert!(errors.rows.iter().all(|row| row % 20 >= 10));
}

#[test]
fn reviews_are_estimated_from_injected_errors() {
    let others: Vec<f32> = (0..96)
        .map(|at| if at < 16 { at as f32 / 15.0 } else { 1.0 })
        .collect();
    let errors = [0.0, 0.05, 0.3, 0.9].repeat(10);
    let mut injected = Injected {
        others: &others,
        errors: &errors,
        decisions: 40,
    };
    let sizes = [0, 1, 2, 6, 100, 200];
    let found = reviews(&injected, 40.0, &sizes);
    let recalls: Vec<f64> = found.iter().map(|review| review.recall).collect();
    // None, one, five and fourteen of the others are worse.
    assert_eq!(recalls, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
    assert_eq!(found[5].reviewed, 136);
    for review in &found {
        assert!(review.recall_low <= review.recall && review.recall <= review.recall_high);
    }

    // Fewer decisions, and fewer own errors, make the interval wider.
    let width = |review: Review| review.recall_high - review.recall_low;
    let of_few_errors = reviews(&injected, 3.0, &sizes);
    injected.decisions = 4;
    let dependent = reviews(&injected, 40.0, &sizes);
    assert!(width(dependent[2]) > width(found[2]));
    assert!(width(of_few_errors[2]) > width(found[2]));

    // No errors are expected, or none was injected.
    injected.errors = &[0.5];
    let fine = reviews(&injected, 0.0, &[100]);
    assert_eq!((fine[0].recall_low, fine[0].recall_high), (0.0, 1.0));
    injected.errors = &[];
    assert!(reviews(&injected, 8.0, &sizes).is_empty());
}
