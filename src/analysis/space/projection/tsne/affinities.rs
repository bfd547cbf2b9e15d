//! t-SNE's affinities and their divergence from those of a map.

use barnes_hut_tree::{BarnesHutTree, Dim, Morton};
use rayon::prelude::*;

use super::super::sparse::SparseRows;
use crate::space::neighbors::{Graph, Neighbor};

/// Maximum steps of the bandwidth search.
const STEPS: usize = 200;
/// Tolerance of the entropy.
const TOLERANCE: f64 = 1e-5;
/// Maximum number of points for a sum over all pairs.
const ALL_PAIRS: usize = 20_000;
/// Opening angle of the tree for more points.
const FINE_THETA: f32 = 0.1;

/// Barnes-Hut tree of positions in the plane.
pub type Tree = BarnesHutTree<f32, u64, 2>;

/// Joint probabilities P of pairs of points, with sum 1.
pub struct Affinities {
    pub rows: SparseRows,
}

impl Affinities {
    /// Gaussian kernels over each point's first `k` neighbours, with bandwidths for `perplexity` (van der Maaten & Hinton 2008),
    /// symmetrised: `P_ij = (p_j|i + p_i|j) / 2n`.
    pub fn new(neighbors: &Graph, k: usize, perplexity: f64) -> Affinities {
        let n = neighbors.rows();
        let mut directed = vec![0f32; n * k];
        directed
            .par_chunks_mut(k.max(1))
            .enumerate()
            .for_each(|(i, row)| conditional(&neighbors.row(i)[..k], perplexity, row));
        let scale = 0.5 / n as f32;
        let mut rows = SparseRows::symmetric(neighbors, k, &directed, |ours, theirs| {
            (ours + theirs) * scale
        });
        rows.retain(|p| p > 0.0);
        Affinities { rows }
    }

    /// `Σ P ln(P / Q)` in nats, where Q are the affinities of the map `xy`, `[n, 2]`: Student's t with one degree of freedom. The
    /// normaliser of Q is a sum over all pairs up to 20,000 points; beyond, it is computed by a tree with an error of some
    /// thousandths of a nat.
    pub fn divergence(&self, xy: &[f32]) -> f64 {
        let normaliser = normaliser(xy, ALL_PAIRS).ln();
        let rows: Vec<f64> = (0..self.rows.rows())
            .into_par_iter()
            .map(|i| {
                (self.rows.row(i).iter())
                    .map(|&(j, p)| {
                        let p = f64::from(p);
                        let squared =
                            f64::from(squared_distance(position(xy, i), position(xy, j as usize)));
                        p * (p.ln() + squared.ln_1p() + normaliser)
                    })
                    .sum()
            })
            .collect();
        rows.iter().sum()
    }
}

/// Normalised probabilities `exp(-β d²)` with entropy `ln perplexity`; if it cannot be reached, the nearest neighbours get
/// all weight.
pub fn conditional(neighbors: &[Neighbor], perplexity: f64, out: &mut [f32]) {
    let squared = |neighbor: &Neighbor| f64::from(neighbor.distance).powi(2);
    let Some(min) = neighbors.first().map(squared) else {
        return;
    };
    // Relative to the nearest neighbour, whose exponent is then 0, so that the sum never vanishes.
    let excess: Vec<f64> = neighbors
        .iter()
        .map(|neighbor| squared(neighbor) - min)
        .collect();
    let mut kernel = vec![0.0; excess.len()];
    let (mut low, mut high, mut beta) = (0.0, f64::INFINITY, 1.0);
    let target = perplexity.ln();
    let mut total = 1.0;
    for _ in 0..STEPS {
        total = 0.0;
        let mut moment = 0.0;
        for (value, excess) in kernel.iter_mut().zip(&excess) {
            *value = (-beta * excess).exp();
            total += *value;
            moment += *value * excess;
        }
        let entropy = total.ln() + beta * moment / total;
        if (entropy - target).abs() < TOLERANCE {
            break;
        }
        if entropy > target {
            low = beta;
            beta = if high.is_finite() {
                (low + high) / 2.0
            } else {
                beta * 2.0
            };
        } else {
            high = beta;
            beta = (low + high) / 2.0;
        }
    }
    for (out, value) in out.iter_mut().zip(&kernel) {
        *out = (value / total) as f32;
    }
}

/// `Σ 1 / (1 + |y_i - y_j|²)` over all ordered pairs: exactly up to `all_pairs` points, otherwise by a tree.
pub fn normaliser(xy: &[f32], all_pairs: usize) -> f64 {
    let n = xy.len() / 2;
    let rows: Vec<f64> = if n <= all_pairs {
        (0..n)
            .into_par_iter()
            .map(|i| {
                // The own term, 1, is left out rather than subtracted: it would hide those of points far away.
                let others = (0..n).filter(|j| *j != i);
                let affinity = |j| 1.0 / (1.0 + squared_distance(position(xy, i), position(xy, j)));
                others.map(|j| f64::from(affinity(j))).sum()
            })
            .collect()
    } else {
        let tree = Tree::new_uniform(xy);
        (0..n)
            .into_par_iter()
            .map_init(<Dim<2> as Morton<2>>::empty_stack, |stack, i| {
                f64::from(repulsion(&tree, xy, i, FINE_THETA, stack.as_mut())[2])
            })
            .collect()
    };
    rows.iter().sum()
}

/// For point `i`: the sums over the others of `q² (y_i - y_j)`, two components, and of `q = 1 / (1 + |y_i - y_j|²)`. Tree
/// cells of half width `w` at distance `d` are summarised if `w / d < theta`.
#[inline]
pub fn repulsion(tree: &Tree, xy: &[f32], i: usize, theta: f32, stack: &mut [u32]) -> [f32; 3] {
    let (mut force, mut sum) = ([0.0; 2], 0.0);
    tree.compute_non_edge_forces(i, theta * theta, xy, &mut force, &mut sum, stack);
    [force[0], force[1], sum]
}

pub fn position(xy: &[f32], i: usize) -> [f32; 2] {
    [xy[2 * i], xy[2 * i + 1]]
}

pub fn squared_distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}
