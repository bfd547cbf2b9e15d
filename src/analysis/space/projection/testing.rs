//! Test data of this folder.

use crate::space::neighbors::{Graph, Neighbor};

/// `[n, width]` numbers in 0..1 from a linear congruential generator, reproducible in any language.
pub fn random(n: usize, width: usize, mut state: u64) -> Vec<f32> {
    (0..n * width)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        })
        .collect()
}

/// `n` points in distant clusters of width 1, point `i` in cluster `i % clusters`.
pub fn clustered(n: usize, clusters: usize, dimension: usize) -> Vec<f32> {
    let centres = random(clusters, dimension, 11);
    let mut points = random(n, dimension, 12);
    for (i, point) in points.chunks_exact_mut(dimension).enumerate() {
        let centre = &centres[i % clusters * dimension..][..dimension];
        for (value, centre) in point.iter_mut().zip(centre) {
            *value += 40.0 * centre;
        }
    }
    points
}

/// The `k` nearest neighbours of each point, by brute force.
pub fn graph(points: &[f32], dimension: usize, k: usize) -> Graph {
    let n = points.len() / dimension;
    let k = k.min(n.saturating_sub(1));
    let row = |i: usize| &points[i * dimension..(i + 1) * dimension];
    let neighbors = (0..n)
        .flat_map(|i| {
            let mut all: Vec<Neighbor> = (0..n)
                .filter(|&j| j != i)
                .map(|j| Neighbor {
                    id: j as u32,
                    distance: (row(i).iter().zip(row(j)))
                        .map(|(a, b)| (a - b).powi(2))
                        .sum::<f32>()
                        .sqrt(),
                })
                .collect();
            all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
            all.truncate(k);
            all
        })
        .collect();
    Graph { k, neighbors }
}

/// The first two coordinates, centred: for these points as good a start as principal components.
pub fn start(points: &[f32], dimension: usize) -> Vec<f32> {
    let n = (points.len() / dimension).max(1) as f32;
    let mean = [0, 1].map(|axis| {
        points
            .chunks_exact(dimension)
            .map(|point| point[axis])
            .sum::<f32>()
            / n
    });
    points
        .chunks_exact(dimension)
        .flat_map(|point| [point[0] - mean[0], point[1] - mean[1]])
        .collect()
}

/// Mean distance in the map between points of the same cluster, and of different clusters.
pub fn cluster_distances(xy: &[f32], clusters: usize) -> (f64, f64) {
    let n = xy.len() / 2;
    let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
    for i in 0..n {
        for j in 0..i {
            let other = usize::from(i % clusters != j % clusters);
            sums[other] += f64::from((xy[2 * i] - xy[2 * j]).hypot(xy[2 * i + 1] - xy[2 * j + 1]));
            counts[other] += 1.0;
        }
    }
    (sums[0] / counts[0], sums[1] / counts[1])
}

/// Results of `run` on thread pools of one and five threads.
pub fn on_one_and_five_threads<T: Send>(run: impl Fn() -> T + Sync) -> [T; 2] {
    [1, 5].map(|threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(&run)
    })
}
