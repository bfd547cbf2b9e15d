//! Order of classes in which confused classes are adjacent.

use std::ops::Range;

use kodama::{Dendrogram, Method, linkage};

use super::Pair;

/// Similarity of classes with consecutive numbers: less than any confusion, so that classes without confusion keep their order.
const INDEX_SIMILARITY: f64 = 1e-6;

/// `0..n` ordered so that adjacent classes are similar, similarity being the mean of their two confusion shares: hierarchical
/// clustering by average linkage with optimal leaf ordering (Bar-Joseph, Gifford & Jaakkola 2001, "Fast optimal leaf ordering for
/// hierarchical clustering"). Pairs with a class of `n` or above are ignored.
///
/// Takes O(n³) time and O(n²) memory: 1,000 classes take less than a second and 30 MB.
pub fn order(n: usize, pairs: &[Pair]) -> Vec<u32> {
    if n < 3 {
        return (0..n as u32).collect();
    }
    let mut similarity = Matrix::new(n);
    for a in 0..n {
        for b in 0..n {
            if a != b {
                similarity.set(a, b, INDEX_SIMILARITY / a.abs_diff(b) as f64);
            }
        }
    }
    // Sums of floats depend on their order: adding in one order makes the result independent of the order of `pairs`.
    let mut pairs: Vec<&Pair> = pairs.iter().collect();
    pairs.sort_by(|x, y| {
        (x.from, x.to)
            .cmp(&(y.from, y.to))
            .then(x.share.total_cmp(&y.share))
    });
    for pair in pairs {
        let (a, b) = (pair.from as usize, pair.to as usize);
        if a != b && a < n && b < n {
            for (a, b) in [(a, b), (b, a)] {
                similarity.set(a, b, similarity.get(a, b) + pair.share / 2.0);
            }
        }
    }
    let mut order = Tree::of(&similarity).best_order(&similarity);
    // Of the two directions, the one that starts with the smaller class.
    if order.first() > order.last() {
        order.reverse();
    }
    order
}

/// A square matrix over classes or positions.
struct Matrix {
    n: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn new(n: usize) -> Matrix {
        Matrix {
            n,
            values: vec![0.0; n * n],
        }
    }

    fn get(&self, a: usize, b: usize) -> f64 {
        self.values[a * self.n + b]
    }

    fn set(&mut self, a: usize, b: usize, value: f64) {
        self.values[a * self.n + b] = value;
    }

    /// The entries of row `a` in the columns `others`.
    fn row(&self, a: usize, others: &Range<usize>) -> &[f64] {
        &self.values[a * self.n + others.start..a * self.n + others.end]
    }
}

/// Dendrogram: the classes, then the clusters in the order of merging, the root last.
struct Tree {
    nodes: Vec<Node>,
    /// The class at each position before branches are flipped: every node's classes are contiguous.
    classes: Vec<usize>,
}

struct Node {
    positions: Range<usize>,
    /// The merged nodes; the first one's positions come first.
    children: Option<[usize; 2]>,
}

impl Tree {
    fn of(similarity: &Matrix) -> Tree {
        let n = similarity.n;
        let mut distances: Vec<f64> = (0..n)
            .flat_map(|a| (a + 1..n).map(move |b| 1.0 - similarity.get(a, b)))
            .collect();
        let dendrogram: Dendrogram<f64> = linkage(&mut distances, n, Method::Average);
        let class = |_| Node {
            positions: 0..1,
            children: None,
        };
        let mut nodes: Vec<Node> = (0..n).map(class).collect();
        nodes.extend(dendrogram.steps().iter().map(|step| Node {
            positions: 0..step.size,
            children: Some([step.cluster1, step.cluster2]),
        }));
        let mut classes = vec![0; n];
        for node in (0..nodes.len()).rev() {
            // The root starts at 0, and every node is placed before its children.
            let start = nodes[node].positions.start;
            match nodes[node].children {
                None => classes[start] = node,
                Some([first, second]) => {
                    let split = start + nodes[first].positions.len();
                    let end = split + nodes[second].positions.len();
                    nodes[first].positions = start..split;
                    nodes[second].positions = split..end;
                }
            }
        }
        Tree { nodes, classes }
    }

    /// The possible last positions of a node's order that starts at `position`: those of the other branch.
    fn opposite(&self, node: usize, position: usize) -> Range<usize> {
        let node = &self.nodes[node];
        let Some(branches) = node.children else {
            return node.positions.clone();
        };
        let [first, second] = branches.map(|branch| &self.nodes[branch].positions);
        if first.contains(&position) {
            second.clone()
        } else {
            first.clone()
        }
    }

    /// The leaf order with the maximum sum of similarities of adjacent classes.
    fn best_order(&self, similarity: &Matrix) -> Vec<u32> {
        let n = similarity.n;
        let mut by_position = Matrix::new(n);
        for a in 0..n {
            for b in 0..n {
                by_position.set(a, b, similarity.get(self.classes[a], self.classes[b]));
            }
        }
        let similarity = by_position;
        // The maximum sum of the smallest node with both positions, if one is its first and the other its last.
        let mut best = Matrix::new(n);
        for branches in self.nodes.iter().filter_map(|node| node.children) {
            self.join(branches, &similarity, &mut best);
        }
        let root = self.nodes.len() - 1;
        let mut ends = (0, 0, f64::NEG_INFINITY);
        for first in self.nodes[root].positions.clone() {
            for last in self.opposite(root, first) {
                if best.get(first, last) > ends.2 {
                    ends = (first, last, best.get(first, last));
                }
            }
        }
        let mut order = Vec::with_capacity(n);
        // Stack of nodes to lay out, with the first and last position of each.
        let mut stack = vec![(root, ends.0, ends.1)];
        while let Some((node, first, last)) = stack.pop() {
            let Some([a, b]) = self.nodes[node].children else {
                order.push(self.classes[first] as u32);
                continue;
            };
            let (left, right) = if self.nodes[a].positions.contains(&first) {
                (a, b)
            } else {
                (b, a)
            };
            let mut seam = (first, last, f64::NEG_INFINITY);
            for inner in self.opposite(left, first) {
                for outer in self.opposite(right, last) {
                    let sum = best.get(first, inner)
                        + similarity.get(inner, outer)
                        + best.get(outer, last);
                    if sum > seam.2 {
                        seam = (inner, outer, sum);
                    }
                }
            }
            stack.push((right, seam.1, last));
            stack.push((left, first, seam.0));
        }
        order
    }

    /// Fills in `best` for all positions of two merged nodes.
    fn join(&self, [left, right]: [usize; 2], similarity: &Matrix, best: &mut Matrix) {
        let rights = self.nodes[right].positions.clone();
        for first in self.nodes[left].positions.clone() {
            let inner = self.opposite(left, first);
            // Maximum up to the seam, for each position of the right node next to it.
            let to_seam: Vec<f64> = (rights.clone())
                .map(|outer| max_sum(best.row(first, &inner), similarity.row(outer, &inner)))
                .collect();
            for last in rights.clone() {
                let outer = self.opposite(right, last);
                let seams = &to_seam[outer.start - rights.start..outer.end - rights.start];
                let sum = max_sum(seams, best.row(last, &outer));
                best.set(first, last, sum);
                best.set(last, first, sum);
            }
        }
    }
}

/// The maximum of elementwise sums.
fn max_sum(a: &[f64], b: &[f64]) -> f64 {
    let sums = a.iter().zip(b).map(|(a, b)| a + b);
    sums.fold(
        f64::NEG_INFINITY,
        |best, sum| if sum > best { sum } else { best },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(from: u32, to: u32, share: f64) -> Pair {
        Pair {
            from,
            to,
            count: 1,
            share,
        }
    }

    fn is_permutation(order: &[u32], n: usize) -> bool {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        sorted == (0..n as u32).collect::<Vec<_>>()
    }

    #[test]
    fn confused_classes_are_adjacent() {
        // Blocks {0, 5, 9}, {2, 7}, {1, 4, 6, 8}; 3 is alone.
        let blocks: [&[u32]; 3] = [&[0, 5, 9], &[2, 7], &[1, 4, 6, 8]];
        let mut pairs = Vec::new();
        for block in blocks {
            for &a in block {
                for &b in block {
                    pairs.push(pair(a, b, 0.1));
                }
            }
        }
        let order = order(10, &pairs);
        assert!(is_permutation(&order, 10), "{order:?}");
        let position = |class: u32| order.iter().position(|&c| c == class).unwrap();
        for block in blocks {
            let positions: Vec<usize> = block.iter().map(|&class| position(class)).collect();
            let (low, high) = (
                positions.iter().min().unwrap(),
                positions.iter().max().unwrap(),
            );
            assert_eq!(high - low + 1, block.len(), "{order:?}");
        }
    }

    #[test]
    fn a_chain_of_confusions_gives_its_order() {
        let chain = [3, 0, 6, 2, 5, 1, 4];
        let pairs: Vec<Pair> = (chain.windows(2))
            .map(|two| pair(two[0], two[1], 0.2))
            .collect();
        assert_eq!(order(7, &pairs), chain);
    }

    #[test]
    fn without_confusions_the_order_is_kept() {
        for n in [0, 1, 2, 3, 50] {
            let same: Vec<u32> = (0..n as u32).collect();
            assert_eq!(order(n, &[]), same);
            let diagonal: Vec<Pair> = same.iter().map(|&class| pair(class, class, 1.0)).collect();
            assert_eq!(order(n, &diagonal), same);
        }
    }

    /// Classes 8, 21 and 24 tie here but for the last bit of a sum.
    #[test]
    fn ties_do_not_depend_on_the_sequence_of_pairs() {
        let mut pairs = vec![
            pair(21, 8, 2.0 / 64.0),
            pair(24, 8, 1.0 / 64.0),
            pair(7, 10, 1.0 / 64.0),
            pair(8, 24, 2.0 / 64.0),
        ];
        let one = order(30, &pairs);
        pairs.reverse();
        assert_eq!(one, order(30, &pairs));
    }

    /// The maximum sum over all 2^(n-1) ways to flip the branches.
    fn best_of_all_flips(tree: &Tree, similarity: &Matrix) -> f64 {
        let n = similarity.n;
        let mut best = f64::NEG_INFINITY;
        for flipped in 0..1u32 << (n - 1) {
            let mut orders: Vec<Vec<usize>> = (0..n).map(|leaf| vec![leaf]).collect();
            let clusters = tree.nodes.iter().filter_map(|node| node.children);
            for (cluster, [a, b]) in clusters.enumerate() {
                let (a, b) = if flipped >> cluster & 1 == 1 {
                    (b, a)
                } else {
                    (a, b)
                };
                orders.push([orders[a].clone(), orders[b].clone()].concat());
            }
            best = best.max(sum(orders.last().unwrap(), similarity));
        }
        best
    }

    fn sum(order: &[usize], similarity: &Matrix) -> f64 {
        order
            .windows(2)
            .map(|two| similarity.get(two[0], two[1]))
            .sum()
    }

    proptest! {
        #[test]
        fn no_way_to_flip_the_branches_is_better(
            shares in prop::collection::vec(0.0..1.0f64, 49), n in 3..8usize,
        ) {
            let mut similarity = Matrix::new(n);
            for a in 0..n {
                for b in 0..a {
                    similarity.set(a, b, shares[a * 7 + b]);
                    similarity.set(b, a, shares[a * 7 + b]);
                }
            }
            let tree = Tree::of(&similarity);
            let order = tree.best_order(&similarity);
            prop_assert!(is_permutation(&order, n));
            let order: Vec<usize> = order.into_iter().map(|class| class as usize).collect();
            let best = best_of_all_flips(&tree, &similarity);
            prop_assert!((sum(&order, &similarity) - best).abs() < 1e-9, "{} {}", sum(&order, &similarity), best);
        }

        #[test]
        fn the_order_does_not_depend_on_the_sequence_of_pairs(
            counted in prop::collection::vec((0..30u32, 0..30u32, 0..5u32), 0..80),
        ) {
            let pairs = |counted: &[(u32, u32, u32)]| -> Vec<Pair> {
                counted.iter().map(|&(a, b, share)| pair(a, b, f64::from(share) / 64.0)).collect()
            };
            let one = order(30, &pairs(&counted));
            prop_assert!(is_permutation(&one, 30));
            let mut reversed = counted.clone();
            reversed.reverse();
            prop_assert_eq!(one, order(30, &pairs(&reversed)));
        }
    }
}
