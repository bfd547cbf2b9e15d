use proptest::prelude::*;
use prospect_common::Error;

use super::{
    super::{
        quality::quality,
        testing::{cluster_distances, clustered, graph, on_one_and_five_threads, random, start},
    },
    *,
};
use crate::space::neighbors::Neighbor;

const SETTINGS: TsneSettings = TsneSettings {
    perplexity: 10.0,
    seed: 42,
};

fn fit(points: &[f32], dimension: usize, settings: &TsneSettings) -> Layout {
    let n = points.len() / dimension;
    let neighbors = graph(points, dimension, neighbors_needed(n, settings.perplexity));
    tsne(
        &neighbors,
        &start(points, dimension),
        settings,
        &mut |_, _| Ok(()),
    )
    .unwrap()
}

#[test]
fn affinities_have_the_perplexity_and_sum_to_one() {
    let points = random(200, 3, 1);
    let neighbors = graph(&points, 3, 30);
    let affinities = Affinities::new(&neighbors, 30, 10.0);
    let total: f64 = (0..200)
        .flat_map(|i| affinities.rows.row(i))
        .map(|&(_, p)| f64::from(p))
        .sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
    for i in 0..200 {
        for &(j, p) in affinities.rows.row(i) {
            assert_eq!(
                affinities
                    .rows
                    .row(j as usize)
                    .iter()
                    .find(|entry| entry.0 == i as u32),
                Some(&(i as u32, p))
            );
        }
        let mut row = [0f32; 30];
        affinities::conditional(neighbors.row(i), 10.0, &mut row);
        let entropy: f64 = row
            .iter()
            .map(|&p| f64::from(p))
            .filter(|p| *p > 0.0)
            .map(|p| -p * p.ln())
            .sum();
        assert!((entropy - 10f64.ln()).abs() < 1e-4, "{entropy}");
    }
}

/// The first row of openTSNE 1.0.4's PerplexityBasedNN(random(12, 3, 9), perplexity=2, method="exact").
#[test]
fn affinities_equal_opentsnes() {
    let neighbors = graph(&random(12, 3, 9), 3, 6);
    let affinities = Affinities::new(&neighbors, 6, 2.0);
    assert_eq!(affinities.rows.row(0).len(), OPEN_TSNE.len());
    for (&(j, p), (expected_j, expected)) in affinities.rows.row(0).iter().zip(OPEN_TSNE) {
        assert_eq!(j, expected_j);
        assert!(
            (f64::from(p) - expected).abs() < 2e-6,
            "{j}: {p} {expected}"
        );
    }
}

const OPEN_TSNE: [(u32, f64); 6] = [
    (2, 0.01391346963816565),
    (3, 0.06209661106622478),
    (5, 0.00014307112929350688),
    (8, 0.0009149858724796132),
    (10, 0.0004089137066532799),
    (11, 0.0000341337148790223),
];

#[test]
fn a_step_follows_the_gradient_of_the_divergence() {
    let points = random(60, 3, 1);
    let affinities = Affinities::new(&graph(&points, 3, 20), 20, 7.0);
    let xy: Vec<f32> = random(60, 2, 2).iter().map(|value| 8.0 * value).collect();
    // The first step is -rate * gain * gradient, with rate n, and gain 1.2 if the gradient is positive.
    let mut descent = Descent::new(xy.clone());
    descent.step(&affinities, 1.0);
    let numeric = |at: usize| {
        let moved = |by: f32| {
            let mut xy = xy.clone();
            xy[at] += by;
            affinities.divergence(&xy)
        };
        (moved(0.01) - moved(-0.01)) / 0.02
    };
    for at in (0..120).step_by(7) {
        let gradient = -f64::from(descent.velocity[at]) / 60.0 / f64::from(descent.gains[at]) * 4.0;
        assert!(
            (gradient - numeric(at)).abs() < 2e-3,
            "{at}: {gradient} {}",
            numeric(at)
        );
    }
}

#[test]
fn the_tree_approximates_the_sum_over_all_pairs() {
    let xy: Vec<f32> = random(3000, 2, 5)
        .iter()
        .map(|value| 60.0 * value)
        .collect();
    let tree = Tree::new_uniform(&xy);
    let mut stack = <Dim<2> as Morton<2>>::empty_stack();
    for i in (0..3000).step_by(500) {
        let mut exact = [0f64; 3];
        for j in (0..3000).filter(|&j| j != i) {
            let (own, other) = (position(&xy, i), position(&xy, j));
            let q = 1.0 / (1.0 + f64::from(squared_distance(own, other)));
            exact[0] += q * q * f64::from(own[0] - other[0]);
            exact[1] += q * q * f64::from(own[1] - other[1]);
            exact[2] += q;
        }
        let found = repulsion(&tree, &xy, i, THETA, stack.as_mut());
        assert!(
            (f64::from(found[2]) / exact[2] - 1.0).abs() < 0.03,
            "{found:?} {exact:?}"
        );
        for axis in 0..2 {
            assert!(
                (f64::from(found[axis]) - exact[axis]).abs() < 0.02 * exact[2],
                "{found:?} {exact:?}"
            );
        }
    }
}

#[test]
fn the_finer_tree_approximates_the_normaliser() {
    let xy: Vec<f32> = random(3000, 2, 5)
        .iter()
        .map(|value| 60.0 * value)
        .collect();
    let [exact, by_tree] = [3000, 2999].map(|all_pairs| affinities::normaliser(&xy, all_pairs));
    assert_ne!(exact, by_tree);
    assert!((by_tree / exact - 1.0).abs() < 4e-3, "{by_tree} {exact}");
}

#[test]
fn clusters_and_neighbourhoods_are_preserved() {
    let points = clustered(300, 5, 10);
    let map = fit(&points, 10, &SETTINGS);
    let (within, between) = cluster_distances(&map.xy, 5);
    assert!(between > 3.0 * within, "{within} {between}");
    let quality = quality(&points, 10, &map.xy, 15, 0).unwrap();
    assert!(quality.trustworthiness > 0.97, "{quality:?}");
    assert_eq!((map.epochs, map.perplexity), (750, Some(10.0)));
    assert!(
        map.kl.unwrap() > 0.0 && map.kl.unwrap() < 1.0,
        "{:?}",
        map.kl
    );
    let neighbors = graph(&points, 10, 30);
    assert_eq!(kl_divergence(&neighbors, 10.0, &map.xy).unwrap(), map.kl);
}

#[test]
fn maps_are_bit_identical_for_any_number_of_threads() {
    let points = clustered(500, 4, 6);
    let [one, five] = on_one_and_five_threads(|| fit(&points, 6, &SETTINGS));
    assert_eq!(one, five);
    let other = fit(
        &points,
        6,
        &TsneSettings {
            seed: 43,
            ..SETTINGS
        },
    );
    assert_ne!(one.xy, other.xy);
}

#[test]
fn few_or_equal_points() {
    assert!(fit(&[], 3, &SETTINGS).xy.is_empty());
    assert_eq!(fit(&[1.0, 2.0, 3.0], 3, &SETTINGS).xy, [0.0; 2]);
    assert_eq!(fit(&[0.5; 60], 3, &SETTINGS), Layout::degenerate(20));
    for n in 2..12 {
        let map = fit(&random(n, 3, 3), 3, &SETTINGS);
        assert_eq!(map.perplexity, Some((n - 1) as f64 / 3.0));
        assert!(map.xy.iter().all(|value| value.is_finite()), "{n}: {map:?}");
        assert!(
            (0..n).all(|i| (0..i).all(|j| position(&map.xy, i) != position(&map.xy, j))),
            "{n}: {map:?}"
        );
    }
    // Copies are separated only by the noise.
    let mut points = random(40, 3, 4);
    points.extend_from_within(..60);
    let map = fit(&points, 3, &SETTINGS);
    assert!(map.xy.iter().all(|value| value.is_finite()));
    let squared = |i: usize, j: usize| squared_distance(position(&map.xy, i), position(&map.xy, j));
    let copies: f32 = (0..20).map(|i| squared(i, 40 + i)).sum();
    let others: f32 = (0..20).map(|i| squared(i, 40 + (i + 1) % 20)).sum();
    assert!(copies < 0.1 * others, "{copies} {others}");
}

#[test]
fn progress_is_reported_and_an_error_stops() {
    let points = clustered(50, 2, 3);
    let neighbors = graph(&points, 3, 30);
    let mut reported = Vec::new();
    let stopped = tsne(
        &neighbors,
        &start(&points, 3),
        &SETTINGS,
        &mut |done, total| {
            reported.push((done, total));
            if done == 3 {
                Err(Error::Interrupted)
            } else {
                Ok(())
            }
        },
    );
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!(reported, [(1, 750), (2, 750), (3, 750)]);
    let mut invalid = neighbors;
    invalid.neighbors[7] = Neighbor {
        id: 0,
        distance: f32::NAN,
    };
    assert!(tsne(&invalid, &start(&points, 3), &SETTINGS, &mut |_, _| Ok(())).is_err());
}

#[test]
fn the_divergence_of_far_points_is_finite() {
    let apart = [0.0, 1e6, 1e-6, 0.0];
    let map = fit(
        &apart,
        2,
        &TsneSettings {
            perplexity: 1.0,
            seed: 1,
        },
    );
    // Two points: P and Q are both 1/2.
    assert!(map.kl.unwrap().abs() < 1e-6, "{:?}", map.kl);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Few distinct values on a grid, for many copies and ties.
    #[test]
    fn any_points_get_finite_positions(
        points in prop::collection::vec(prop::sample::select(vec![0.0f32, 1.0, 1e-6, -3.0, 1e6]), 0..80),
        perplexity in 1.0f64..40.0,
    ) {
        let points = &points[..points.len() / 2 * 2];
        let map = fit(points, 2, &TsneSettings { perplexity, seed: 1 });
        prop_assert_eq!(map.xy.len(), points.len());
        prop_assert!(map.xy.iter().all(|value| value.is_finite()));
        prop_assert!(map.kl.is_none_or(f64::is_finite));
    }
}
