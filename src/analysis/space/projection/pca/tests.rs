use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Tolerance of the largest angle between two subspaces, in radians.
const ANGLE: f64 = 1e-4;
/// Relative tolerance of variances.
const VARIANCE: f64 = 1e-5;

fn pca_of(rows: &[f32], dimension: usize, max: usize) -> Pca {
    let mut covariance = Covariance::new(dimension);
    covariance.add(rows).unwrap();
    covariance.finish(max).unwrap()
}

/// Pseudo-random numbers in [-0.5, 0.5).
fn pseudo_random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(97);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// Upper bound of the sine of the largest angle: the norm of the part of `a` outside the span of `b`.
fn subspace_distance(a: &[f64], b: &[f64], dimension: usize) -> f64 {
    let mut outside = 0.0;
    for a in a.chunks(dimension) {
        let mut residual = a.to_vec();
        for b in b.chunks(dimension) {
            let along = dot(a, b);
            (residual.iter_mut().zip(b)).for_each(|(residual, b)| *residual -= along * b);
        }
        outside += dot(&residual, &residual);
    }
    outside.sqrt()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let scale = expected.abs().max(1e-12);
        assert!(
            (found - expected).abs() < tolerance * scale,
            "{found} {expected}"
        );
    }
}

fn assert_sound(pca: &Pca) {
    let dimension = pca.mean.len();
    for (i, a) in pca.components.chunks(dimension).enumerate() {
        for (j, b) in pca.components.chunks(dimension).enumerate() {
            let expected = f64::from(i == j);
            assert!(
                (dot(a, b) - expected).abs() < 1e-10,
                "{i} {j} {}",
                dot(a, b)
            );
        }
        let largest = a
            .iter()
            .fold(0.0_f64, |max, x| if x.abs() > max.abs() { *x } else { max });
        assert!(largest > 0.0);
    }
    assert!(pca.variance.windows(2).all(|pair| pair[0] >= pair[1]));
    assert!(pca.variance_ratio.iter().sum::<f64>() < 1.0 + 1e-12);
}

struct Case {
    data: Vec<f32>,
    dimension: usize,
    mean: Vec<f64>,
    components: Vec<f64>,
    variance: Vec<f64>,
    ratio: Vec<f64>,
}

/// Reference values from tests/golden/make_projection.py.
fn cases() -> Vec<(&'static str, Case)> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/projection.safetensors");
    let file = fs::read(path).unwrap();
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: Value = serde_json::from_slice(header).unwrap();
    let case = |name| {
        let bytes = |key: &str| {
            let entry = &header[format!("{name}.{key}")];
            let at = |end: usize| entry["data_offsets"][end].as_u64().unwrap() as usize;
            &data[at(0)..at(1)]
        };
        let numbers = |key: &str| -> Vec<f64> {
            let numbers = bytes(key).as_chunks().0.iter();
            numbers.map(|&number| f64::from_le_bytes(number)).collect()
        };
        let values = bytes("data").as_chunks().0.iter();
        Case {
            data: values.map(|&value| f32::from_le_bytes(value)).collect(),
            dimension: numbers("mean").len(),
            mean: numbers("mean"),
            components: numbers("components"),
            variance: numbers("variance"),
            ratio: numbers("ratio"),
        }
    };
    ["tall", "wide", "constant", "copies"]
        .into_iter()
        .map(|name| (name, case(name)))
        .collect()
}

impl Case {
    fn check(&self, pca: &Pca) {
        assert_sound(pca);
        assert_near(&pca.mean, &self.mean, 1e-9);
        assert_near(&pca.variance, &self.variance, VARIANCE);
        assert_near(&pca.variance_ratio, &self.ratio, VARIANCE);
        // Every component is unique, since the variances differ.
        let pairs =
            (pca.components.chunks(self.dimension)).zip(self.components.chunks(self.dimension));
        for (found, expected) in pairs {
            assert!(subspace_distance(found, expected, self.dimension) < ANGLE);
        }
        for first in 1..=pca.len() {
            let part = ..first * self.dimension;
            assert!(
                subspace_distance(
                    &pca.components[part],
                    &self.components[part],
                    self.dimension
                ) < ANGLE
            );
        }
    }
}

#[test]
fn components_equal_scikit_learns() {
    for (name, case) in cases() {
        println!("{name}");
        // Directions without variance are excluded, however many are requested.
        let pca = pca_of(&case.data, case.dimension, 1000);
        case.check(&pca);
    }
}

#[test]
fn seven_uneven_shards_merge_to_the_same_components() {
    for (name, case) in cases() {
        println!("{name}");
        let rows = case.data.len() / case.dimension;
        let edges = [0, 1, 2, 5, rows / 3, rows / 3, rows - 3, rows];
        let mut shards: Vec<Covariance> = (edges.windows(2))
            .map(|edge| {
                let mut shard = Covariance::new(case.dimension);
                let part = edge[0] * case.dimension..edge[1] * case.dimension;
                shard.add(&case.data[part]).unwrap();
                shard
            })
            .collect();
        // In any order, and merged shards can be merged again.
        shards.swap(0, 5);
        let mut second = shards.split_off(4).into_iter();
        let mut merged = second.next().unwrap();
        let mut first = Covariance::new(case.dimension);
        shards
            .into_iter()
            .for_each(|shard| first.merge(shard).unwrap());
        second.for_each(|shard| merged.merge(shard).unwrap());
        merged.merge(first).unwrap();
        case.check(&merged.finish(1000).unwrap());
    }
}

#[test]
fn batches_and_threads_do_not_matter() {
    let (n, dimension) = (2500, 70);
    let rows = pseudo_random(n * dimension, 5);
    let whole = pca_of(&rows, dimension, 9);
    assert_eq!(whole.len(), 9);
    let mut covariance = Covariance::new(dimension);
    for part in rows.chunks(dimension * 111) {
        covariance.add(part).unwrap();
    }
    assert_eq!(covariance.finish(9).unwrap(), whole);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let pca = pca_of(&rows, dimension, 9);
            assert_eq!(pca, whole);
            assert_eq!(pca.transform(&rows), whole.transform(&rows));
        });
    }
}

#[test]
fn memory_does_not_grow_with_the_rows() {
    let dimension = 30;
    let rows = pseudo_random(1000 * dimension, 3);
    let mut covariance = Covariance::new(dimension);
    for _ in 0..40 {
        covariance.add(&rows).unwrap();
        assert!(covariance.rows.capacity() <= 2 * CHUNK * dimension);
    }
    assert_eq!(
        covariance.moments.as_ref().unwrap().products.len(),
        dimension * dimension
    );
    let pca = covariance.finish(5).unwrap();
    let once = pca_of(&rows, dimension, 5);
    assert!(subspace_distance(&pca.components, &once.components, dimension) < 1e-9);
    // 40 copies of n rows: n - 1 becomes n - 1/40.
    assert_near(&pca.variance, &once.variance, 1.1e-3);
}

#[test]
fn large_means_cost_no_precision() {
    // Variances 4, 1 and 0.25 around means whose squares are 2e13 times as large.
    let (n, dimension) = (3000, 3);
    let mut rows = Vec::new();
    for (at, x) in pseudo_random(n * dimension, 11).into_iter().enumerate() {
        let scale = [4.0, 2.0, 1.0][at % 3] * 12f32.sqrt() / 2.0;
        // Multiples of 1/16 are exact at this distance from 0.
        rows.push((x * scale * 16.0).round() / 16.0);
    }
    let far: Vec<f32> = rows.iter().map(|x| x + 500_000.0).collect();
    let (near, far) = (pca_of(&rows, dimension, 3), pca_of(&far, dimension, 3));
    assert_near(&far.variance, &near.variance, 1e-9);
    assert!(subspace_distance(&far.components[..3], &near.components[..3], dimension) < 1e-9);
}

#[test]
fn a_line_has_one_component() {
    // (3, 4) t + (1, 2): direction (0.6, 0.8), variance 25 var(t).
    let rows: Vec<f32> = (0..5)
        .flat_map(|t| [3.0 * t as f32 + 1.0, 4.0 * t as f32 + 2.0])
        .collect();
    let pca = pca_of(&rows, 2, 2);
    assert_eq!(pca.len(), 1);
    assert_near(&pca.components, &[0.6, 0.8], 1e-12);
    assert_near(&pca.variance, &[25.0 * 2.5], 1e-12);
    assert_near(&pca.variance_ratio, &[1.0], 1e-12);
    assert_near(&pca.mean, &[7.0, 10.0], 1e-12);
    let scores = pca.transform(&rows);
    assert_eq!(scores, [-10.0, -5.0, 0.0, 5.0, 10.0]);
}

#[test]
fn the_first_largest_loading_is_positive() {
    let pca = pca_of(&[-1.0, 1.0, 1.0, -1.0, -2.0, 2.0], 2, 1);
    assert!(pca.components[0] > 0.0 && pca.components[1] < 0.0);
}

#[test]
fn degenerate_inputs_have_no_components() {
    assert_eq!(
        pca_of(&[], 3, 5),
        Pca {
            mean: vec![0.0; 3],
            ..Pca::default()
        }
    );
    assert_eq!(pca_of(&[], 0, 5), Pca::default());
    let one = pca_of(&[1.0, 2.0, 3.0], 3, 5);
    assert_eq!((one.len(), &one.mean[..]), (0, &[1.0, 2.0, 3.0][..]));
    assert!(one.transform(&[1.0, 2.0, 3.0]).is_empty());
    let two = pca_of(&[1.0, 2.0, 3.0, 1.0, 4.0, 3.0], 3, 5);
    assert_eq!(two.components, [0.0, 1.0, 0.0]);
    assert_eq!(two.variance, [2.0]);
    for rows in [5, 5000] {
        let constant = pca_of(&[0.1, 7.3, -1e4].repeat(rows), 3, 5);
        assert!(constant.is_empty() && constant.variance_ratio.is_empty());
    }
}

#[test]
fn too_many_columns_are_refused_unless_rows_are_few() {
    let dimension = MAX_SIZE + 1;
    let pca = pca_of(&pseudo_random(3 * dimension, 2), dimension, 5);
    assert_eq!(pca.len(), 2);
    let error = Moments::new(dimension).err().unwrap();
    assert!(error.to_string().contains("feature_layer"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// With all components, wide or tall rows are reconstructed, and scores have the variances.
    #[test]
    fn all_components_reconstruct_the_rows(n in 2usize..60, dimension in 1usize..60, seed in 1u64..1000) {
        let rows = pseudo_random(n * dimension, seed);
        let pca = pca_of(&rows, dimension, 1000);
        assert_sound(&pca);
        prop_assert_eq!(pca.len(), dimension.min(n - 1));
        let scores = pca.transform(&rows);
        let m = pca.len();
        for (row, scores) in rows.chunks(dimension).zip(scores.chunks(m)) {
            for (column, x) in row.iter().enumerate() {
                let along = (scores.iter().zip(pca.components.chunks(dimension)))
                    .map(|(score, component)| f64::from(*score) * component[column]);
                let reconstructed = pca.mean[column] + along.sum::<f64>();
                prop_assert!((reconstructed - f64::from(*x)).abs() < 1e-5);
            }
        }
        for component in 0..m {
            let squares = scores.iter().skip(component).step_by(m).map(|&score| f64::from(score).powi(2));
            let variance = squares.sum::<f64>() / (n - 1) as f64;
            prop_assert!((variance - pca.variance[component]).abs() < 1e-5 * pca.variance[0]);
        }
    }
}
