use super::{super::testing::random, *};

/// Reference values from sklearn.manifold.trustworthiness, scikit-learn 1.9.1, for `random(60, 5, 3)` and `random(60, 2, 4)`.
#[test]
fn equals_scikit_learn() {
    let points = random(60, 5, 3);
    let xy = random(60, 2, 4);
    for (k, expected) in [
        (1, 0.5511494252873563),
        (5, 0.5357692307692308),
        (15, 0.5125825825825826),
        (29, 0.494396551724138),
    ] {
        let quality = quality(&points, 5, &xy, k, 0).unwrap();
        assert_eq!((quality.k, quality.n, quality.sampled), (k, 60, 60));
        assert!(
            (quality.trustworthiness - expected).abs() < 1e-12,
            "{k}: {quality:?}"
        );
    }
}

#[test]
fn a_faithful_map_is_perfect_and_a_permuted_line_is_not() {
    let line: Vec<f32> = (0..40).map(|i| (i * i) as f32).collect();
    let flat = |order: &dyn Fn(usize) -> usize| -> Vec<f32> {
        (0..40)
            .flat_map(|i| [(order(i) * order(i)) as f32, 0.0])
            .collect()
    };
    let same = quality(&line, 1, &flat(&|i| i), 5, 0).unwrap();
    assert_eq!((same.trustworthiness, same.knn_preservation), (1.0, 1.0));
    let shuffled = quality(&line, 1, &flat(&|i| i * 7 % 40), 5, 0).unwrap();
    assert!(
        shuffled.trustworthiness < 0.7 && shuffled.knn_preservation < 0.4,
        "{shuffled:?}"
    );
}

#[test]
fn copies_are_neighbours() {
    // Three pairs of copies: with k = 1, the nearest neighbour is the copy, in space and in the map.
    let points = [0.0, 5.0, 9.0, 0.0, 5.0, 9.0];
    let xy: Vec<f32> = points.iter().flat_map(|&value| [value, 1.0]).collect();
    let found = quality(&points, 1, &xy, 1, 0).unwrap();
    assert_eq!((found.trustworthiness, found.knn_preservation), (1.0, 1.0));
}

#[test]
fn few_points() {
    for n in 0..3 {
        assert_eq!(quality(&vec![0.0; n], 1, &vec![0.0; 2 * n], 15, 0), None);
    }
    let three = quality(&[0.0, 1.0, 3.0], 1, &[0.0, 0.0, 1.0, 0.0, 3.0, 0.0], 15, 0).unwrap();
    assert_eq!((three.k, three.trustworthiness), (1, 1.0));
    let equal = quality(&[1.0; 30], 1, &[0.0; 60], 5, 0).unwrap();
    assert!(equal.trustworthiness.is_finite());
}

#[test]
fn a_sample_is_accurate_and_depends_only_on_the_seed() {
    let (n, points) = (3000, random(3000, 3, 5));
    let xy: Vec<f32> = points
        .chunks(3)
        .flat_map(|point| [point[0], point[1]])
        .collect();
    let all: u64 = (0..n)
        .map(|i| evaluate(&points, 3, &xy, 10, i, &mut Distances::default()).0)
        .sum();
    let whole = 1.0 - 2.0 * all as f64 / (n as f64 * 10.0 * (2 * n - 31) as f64);
    let sampled = quality(&points, 3, &xy, 10, 1).unwrap();
    assert_eq!(sampled.sampled, MAX_SAMPLE);
    assert!(
        (sampled.trustworthiness - whole).abs() < 0.005,
        "{whole} {sampled:?}"
    );
    assert_eq!(quality(&points, 3, &xy, 10, 1), Some(sampled));
    assert_ne!(sample(n, 250, 1), sample(n, 250, 2));
    let rows = sample(n, 250, 1);
    assert!(rows.len() == 250 && rows.is_sorted_by(|a, b| a < b) && rows[249] < n);
}
