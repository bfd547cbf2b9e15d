use proptest::prelude::*;
use prospect_common::Error;

use super::{
    super::{
        quality::quality,
        testing::{cluster_distances, clustered, graph, on_one_and_five_threads, random, start},
    },
    *,
};

const SETTINGS: UmapSettings = UmapSettings {
    n_neighbors: 15,
    min_dist: 0.1,
    seed: 42,
};

fn fit(points: &[f32], dimension: usize, settings: &UmapSettings) -> Layout {
    let neighbors = graph(points, dimension, 20);
    umap(
        &neighbors,
        &start(points, dimension),
        settings,
        &mut |_, _| Ok(()),
    )
    .unwrap()
}

/// umap-learn 0.5.12's fuzzy_simplicial_set(random(12, 3, 9), n_neighbors=5, metric="euclidean"), divided by its maximum.
#[test]
fn memberships_equal_umap_learns() {
    let rows = fuzzy::memberships(&graph(&random(12, 3, 9), 3, 4), 4, 500);
    assert_eq!(rows.row(0).len(), UMAP_LEARN.len());
    for (&(j, strength), (expected_j, expected)) in rows.row(0).iter().zip(UMAP_LEARN) {
        assert_eq!(j, expected_j);
        assert!(
            (strength - expected).abs() < 1e-4,
            "{j}: {strength} {expected}"
        );
    }
}

const UMAP_LEARN: [(u32, f32); 4] = [(2, 0.83521795), (3, 1.0), (8, 0.37743315), (10, 0.329117)];

#[test]
fn pairs_are_sampled_in_proportion_to_their_strength() {
    let count = |strength| {
        (0..500)
            .filter(|&epoch| is_sampled(strength, epoch))
            .count()
    };
    assert_eq!([1.0, 0.5, 0.25, 0.002].map(count), [500, 250, 125, 1]);
    assert_eq!(count(0.3), 150);
}

#[test]
fn clusters_and_neighbourhoods_are_preserved() {
    let points = clustered(300, 5, 10);
    let map = fit(&points, 10, &SETTINGS);
    let (within, between) = cluster_distances(&map.xy, 5);
    assert!(between > 3.0 * within, "{within} {between}");
    let quality = quality(&points, 10, &map.xy, 15, 0).unwrap();
    assert!(quality.trustworthiness > 0.95, "{quality:?}");
    assert_eq!((map.epochs, map.kl, map.perplexity), (500, None, None));
}

#[test]
fn maps_are_bit_identical_for_any_number_of_threads() {
    let points = clustered(500, 4, 6);
    let [one, five] = on_one_and_five_threads(|| fit(&points, 6, &SETTINGS));
    assert_eq!(one, five);
    let other = fit(
        &points,
        6,
        &UmapSettings {
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
        assert!(map.xy.iter().all(|value| value.is_finite()), "{n}: {map:?}");
    }
    let isolated = fit(
        &random(30, 3, 3),
        3,
        &UmapSettings {
            n_neighbors: 1,
            ..SETTINGS
        },
    );
    assert!(isolated.xy.iter().all(|value| value.is_finite()));
}

#[test]
fn a_large_min_dist_widens_clusters() {
    let points = clustered(200, 2, 4);
    let dense = fit(
        &points,
        4,
        &UmapSettings {
            min_dist: 0.0,
            ..SETTINGS
        },
    );
    let loose = fit(
        &points,
        4,
        &UmapSettings {
            min_dist: 0.9,
            ..SETTINGS
        },
    );
    let nearest = |map: &Layout| {
        let neighbors = graph(&map.xy, 2, 1).neighbors;
        neighbors
            .iter()
            .map(|neighbor| neighbor.distance)
            .sum::<f32>()
            / 200.0
    };
    assert!(
        nearest(&loose) > 2.0 * nearest(&dense),
        "{} {}",
        nearest(&loose),
        nearest(&dense)
    );
}

#[test]
fn progress_is_reported_and_an_error_stops() {
    let points = clustered(50, 2, 3);
    let mut reported = 0;
    let stopped = umap(
        &graph(&points, 3, 20),
        &start(&points, 3),
        &SETTINGS,
        &mut |done, total| {
            assert_eq!(total, 500);
            reported = done;
            if done == 3 {
                Err(Error::Interrupted)
            } else {
                Ok(())
            }
        },
    );
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!(reported, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Few distinct values on a grid, for many copies and ties.
    #[test]
    fn any_points_get_finite_positions(
        points in prop::collection::vec(prop::sample::select(vec![0.0f32, 1.0, 1e-6, -3.0, 1e6]), 0..80),
        n_neighbors in 2usize..30,
        min_dist in 0.0f64..1.0,
    ) {
        let points = &points[..points.len() / 2 * 2];
        let map = fit(points, 2, &UmapSettings { n_neighbors, min_dist, seed: 1 });
        prop_assert_eq!(map.xy.len(), points.len());
        prop_assert!(map.xy.iter().all(|value| value.is_finite()));
    }
}
