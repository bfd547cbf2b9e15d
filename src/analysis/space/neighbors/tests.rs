use proptest::prelude::*;
use prospect_model::device::Device;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Graph, NO_ID, Neighbor, audit,
    exact::{self, Block, Search},
    hnsw::{self, Index},
    lists::Nearest,
};
use crate::space::neighbors::Metric;

fn no_tick(_: u64, _: u64) -> prospect_common::Result<()> {
    Ok(())
}

fn block(ids: Vec<u32>, values: &[f32], dimension: usize, metric: Metric) -> Block {
    Block::new(ids, values, dimension, metric, Device::Cpu).unwrap()
}

fn graph(values: &[f32], dimension: usize, k: usize, metric: Metric) -> Graph {
    exact::graph(values, dimension, k, metric, Device::Cpu, &no_tick).unwrap()
}

/// The distance by definition, in float64.
fn distance(a: &[f32], b: &[f32], metric: Metric) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        (a.iter().zip(b))
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    match metric {
        Metric::L2 => (a.iter().zip(b))
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum::<f64>()
            .sqrt(),
        Metric::Cosine => {
            let lengths = (dot(a, a) * dot(b, b)).sqrt();
            if lengths == 0.0 {
                1.0
            } else {
                1.0 - dot(a, b) / lengths
            }
        }
    }
}

/// Compares a graph with all distances.
fn check(graph: &Graph, values: &[f32], dimension: usize, metric: Metric) {
    let rows: Vec<&[f32]> = values.chunks(dimension).collect();
    let n = rows.len();
    for i in 0..n {
        let found = graph.row(i);
        let mut all: Vec<f64> = (0..n)
            .filter(|j| *j != i)
            .map(|j| distance(rows[i], rows[j], metric))
            .collect();
        all.sort_by(f64::total_cmp);
        for (rank, neighbor) in found.iter().enumerate() {
            assert_ne!(neighbor.id as usize, i);
            let true_distance = distance(rows[i], rows[neighbor.id as usize], metric);
            // float32 differences: 1e-6 relative; the cosine of float32 unit vectors: 1e-6 absolute.
            let tolerance = 1e-6 * (1.0 + true_distance);
            assert!((f64::from(neighbor.distance) - true_distance).abs() < tolerance);
            assert!((all[rank] - true_distance).abs() < tolerance);
        }
        assert!(found.windows(2).all(|pair| {
            pair[0].distance < pair[1].distance
                || (pair[0].distance == pair[1].distance && pair[0].id < pair[1].id)
        }));
    }
}

/// Vectors of one of three kinds: scattered, in tight clusters far from the origin, or mostly copies of a few.
fn vectors() -> impl Strategy<Value = (Vec<f32>, usize)> {
    let shape = (2usize..700, 1usize..40, 0u8..3, any::<u64>());
    shape.prop_map(|(n, dimension, kind, seed)| {
        let mut state = seed | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let centres: Vec<f32> = (0..5 * dimension).map(|_| 200.0 * next()).collect();
        let values = (0..n).flat_map(|row| {
            let centre = (row * 7 + row / 3) % 5 * dimension;
            let scale = [100.0, 0.01, 0.0][kind as usize];
            let is_outlier = kind == 2 && row % 11 == 0;
            (0..dimension)
                .map(|x| {
                    let own = next() * if is_outlier { 10.0 } else { scale };
                    if kind == 0 {
                        own
                    } else {
                        centres[centre + x] + own
                    }
                })
                .collect::<Vec<f32>>()
        });
        (values.collect(), dimension)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn exact_search_equals_brute_force((values, dimension) in vectors(), k in 1usize..30, cosine in any::<bool>()) {
        let metric = if cosine { Metric::Cosine } else { Metric::L2 };
        let graph = graph(&values, dimension, k, metric);
        prop_assert_eq!(graph.k, k.min(values.len() / dimension - 1));
        check(&graph, &values, dimension, metric);
    }

    #[test]
    fn blocks_threads_and_devices_do_not_matter((values, dimension) in vectors(), k in 1usize..30, size in 1usize..400) {
        let whole = graph(&values, dimension, k, Metric::L2);
        let n = values.len() / dimension;
        let blocks: Vec<Block> = (0..n).step_by(size).map(|start| {
            let end = (start + size).min(n);
            let ids = (start as u32..end as u32).collect();
            block(ids, &values[start * dimension..end * dimension], dimension, Metric::L2)
        }).collect();
        let mut merged: Vec<Vec<Nearest>> = blocks.iter()
            .map(|block| exact::within(block, whole.k, &no_tick).unwrap())
            .collect();
        for a in 0..blocks.len() {
            for b in 0..a {
                let [of_a, of_b] = exact::between(&blocks[a], &blocks[b], whole.k, &no_tick).unwrap();
                for (at, lists) in [(a, of_a), (b, of_b)] {
                    for (list, other) in merged[at].iter_mut().zip(lists) {
                        list.merge(other.items());
                    }
                }
            }
        }
        let merged: Vec<Neighbor> = merged.into_iter().flatten().flat_map(Vec::from).collect();
        prop_assert_eq!(&merged, &whole.neighbors);
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        prop_assert_eq!(&single.install(|| graph(&values, dimension, k, Metric::L2)), &whole);
        let all = block((0..n as u32).collect(), &values, dimension, Metric::L2);
        let selected = exact::within_on_device(&all, whole.k, &no_tick).unwrap();
        let selected: Vec<Neighbor> = selected.into_iter().flat_map(Vec::from).collect();
        prop_assert_eq!(&selected, &whole.neighbors);
    }
}

#[test]
fn copies_tie_by_id_and_queries_exclude_their_own_id() {
    // Rows 0, 2 and 4 are copies.
    let values = [0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0];
    let graph = graph(&values, 2, 3, Metric::L2);
    let ids = |row: usize| -> Vec<u32> { graph.row(row).iter().map(|n| n.id).collect() };
    assert_eq!(ids(0), [2, 4, 1]);
    assert_eq!(ids(2), [0, 4, 1]);
    assert_eq!(ids(4), [0, 2, 1]);
    assert_eq!(ids(1), [0, 2, 3]);
    assert_eq!(graph.row(1).map_distances(), [5.0, 5.0, 5.0]);
}

trait Distances {
    fn map_distances(&self) -> Vec<f32>;
}

impl Distances for [Neighbor] {
    fn map_distances(&self) -> Vec<f32> {
        self.iter().map(|neighbor| neighbor.distance).collect()
    }
}

#[test]
fn external_queries_find_all_rows() {
    let values = [0.0, 1.0, 2.0, 3.0];
    let rows = block(vec![10, 11, 12, 13], &values, 1, Metric::L2);
    let queries = block(vec![NO_ID, 11], &[0.9, 1.0], 1, Metric::L2);
    let search = Search::new(queries, 2);
    search.add(&rows).unwrap();
    let found = search.finish();
    let ids: Vec<Vec<u32>> = (found.iter())
        .map(|list| list.iter().map(|n| n.id).collect())
        .collect();
    assert_eq!(ids, [[11, 10], [10, 12]]);
}

#[test]
fn few_rows_have_few_neighbours() {
    assert_eq!(graph(&[], 3, 5, Metric::L2).rows(), 0);
    assert_eq!(graph(&[1.0, 2.0], 2, 5, Metric::L2).k, 0);
    let two = graph(&[1.0, 2.0], 1, 5, Metric::Cosine);
    assert_eq!(two.k, 1);
    assert_eq!(two.row(0)[0].id, 1);
    // The zero vector is orthogonal to all others.
    let zero = graph(&[0.0, 0.0, 1.0, 0.0], 2, 1, Metric::Cosine);
    assert_eq!(zero.row(0)[0].distance, 1.0);
    assert_eq!(zero.row(1)[0].distance, 1.0);
}

/// Points in tight clusters, with a fixed seed.
fn clustered(n: usize, dimension: usize) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(3);
    (0..n)
        .flat_map(|row| {
            let own: Vec<f32> = (0..dimension).map(|_| random.random()).collect();
            own.into_iter().map(move |x| x + (row % 10) as f32)
        })
        .collect()
}

#[test]
fn unreachable_points_are_found_and_repaired() {
    let (n, dimension, k) = (600, 8, 5);
    let values = clustered(n, dimension);
    let whole = block((0..n as u32).collect(), &values, dimension, Metric::L2);
    let lost = [7, 8, 130, 131, 599];
    let rest: Vec<usize> = (0..n).filter(|row| !lost.contains(row)).collect();
    let index = Index::build(&whole.pick(&rest).unwrap(), &no_tick).unwrap();
    let ef = audit::choose_ef(&index, &whole, k, 0.9).unwrap();
    let found = audit::graph(&index, &whole, k, ef, &no_tick).unwrap();
    assert_eq!(found.audit.unreachable, lost.len());
    assert!(found.audit.repaired >= lost.len() && found.audit.self_recall < 1.0);
    let exact = graph(&values, dimension, k, Metric::L2);
    for row in lost {
        assert!(found.exact[row]);
        assert_eq!(found.nearest[row].items(), exact.row(row));
    }
    // They are among the neighbours of the others again.
    let contains = |items: &[Neighbor], row: usize| items.iter().any(|one| one.id as usize == row);
    for row in (0..n).filter(|row| !lost.contains(row)) {
        for missing in lost
            .iter()
            .filter(|missing| contains(exact.row(row), **missing))
        {
            assert!(
                contains(found.nearest[row].items(), *missing),
                "{row} lacks {missing}"
            );
        }
    }
}

#[test]
fn an_index_is_deterministic_and_survives_saving() {
    let values = clustered(500, 6);
    let whole = block((0..500).collect(), &values, 6, Metric::Cosine);
    let folders = [(); 2].map(|_| tempfile::tempdir().unwrap());
    for folder in &folders {
        Index::build(&whole, &no_tick)
            .unwrap()
            .save(folder.path())
            .unwrap();
    }
    let bytes = |file: &str| {
        folders
            .each_ref()
            .map(|folder| std::fs::read(folder.path().join(file)).unwrap())
    };
    for file in hnsw::FILES {
        let [first, second] = bytes(file);
        assert!(first == second && !first.is_empty(), "{file}");
    }
    let built = Index::build(&whole, &no_tick).unwrap();
    let read = Index::load(folders[0].path()).unwrap();
    assert_eq!(built.search(&whole, 10, 64), read.search(&whole, 10, 64));
    // A truncated file is an error.
    let path = folders[0].path().join(hnsw::FILES[0]);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(Index::load(folders[0].path()).is_err());
}
