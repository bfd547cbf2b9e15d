//! An order of classes in which those that are taken for one another stand together.

use std::ops::Range;

use kodama::{Dendrogram, Method, linkage};

use super::Pair;

/// What it counts for two classes to have neighbouring numbers: less than any confusion, so that classes without one keep the order
/// of their numbers.
const ORDERLY: f64 = 1e-6;

/// `0..n` so that neighbours are as alike as possible, two classes being alike by the mean of their shares in each other: hierarchical
/// clustering by average linkage, its branches turned so that the sum over neighbours is greatest (Bar-Joseph, Gifford & Jaakkola
/// 2001, "Fast optimal leaf ordering for hierarchical clustering"). Pairs with a class of `n` or above are ignored.
///
/// Takes time with n³ and memory with n²: 1,000 classes take less than a second and 30 MB.
pub fn order(n: usize, pairs: &[Pair]) -> Vec<u32> {
    if n < 3 {
        return (0..n as u32).collect();
    }
    let mut alike = Square::new(n);
    for a in 0..n {
        for b in 0..n {
            if a != b {
                alike.set(a, b, ORDERLY / a.abs_diff(b) as f64);
            }
        }
    }
    for pair in pairs {
        let (a, b) = (pair.from as usize, pair.to as usize);
        if a != b && a < n && b < n {
            for (a, b) in [(a, b), (b, a)] {
                alike.set(a, b, alike.get(a, b) + pair.share / 2.0);
            }
        }
    }
    let mut order = Tree::of(&alike).best_order(&alike);
    // It reads as well backwards.
    if order.first() > order.last() {
        order.reverse();
    }
    order
}

/// A number for every two classes, or for every two places.
struct Square {
    n: usize,
    values: Vec<f64>,
}

impl Square {
    fn new(n: usize) -> Square {
        Square {
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

    /// The numbers of `a` and each of `others`.
    fn row(&self, a: usize, others: &Range<usize>) -> &[f64] {
        &self.values[a * self.n + others.start..a * self.n + others.end]
    }
}

/// The classes, then the clusters in the order in which they were joined, the whole last.
struct Tree {
    nodes: Vec<Node>,
    /// The class at each place before any branch is turned: every node's classes have neighbouring places.
    classes: Vec<usize>,
}

struct Node {
    places: Range<usize>,
    /// The nodes that it was joined from; the first one's places come first.
    children: Option<[usize; 2]>,
}

impl Tree {
    fn of(alike: &Square) -> Tree {
        let n = alike.n;
        let mut apart: Vec<f64> = (0..n)
            .flat_map(|a| (a + 1..n).map(move |b| 1.0 - alike.get(a, b)))
            .collect();
        let joined: Dendrogram<f64> = linkage(&mut apart, n, Method::Average);
        let class = |_| Node {
            places: 0..1,
            children: None,
        };
        let mut nodes: Vec<Node> = (0..n).map(class).collect();
        nodes.extend(joined.steps().iter().map(|step| Node {
            places: 0..step.size,
            children: Some([step.cluster1, step.cluster2]),
        }));
        let mut classes = vec![0; n];
        for node in (0..nodes.len()).rev() {
            // The whole begins at 0, and every node is placed before those that it was joined from.
            let start = nodes[node].places.start;
            match nodes[node].children {
                None => classes[start] = node,
                Some([first, second]) => {
                    let middle = start + nodes[first].places.len();
                    let end = middle + nodes[second].places.len();
                    nodes[first].places = start..middle;
                    nodes[second].places = middle..end;
                }
            }
        }
        Tree { nodes, classes }
    }

    /// The places that can end a node's order which `place` begins: those of its other branch.
    fn opposite(&self, node: usize, place: usize) -> Range<usize> {
        let node = &self.nodes[node];
        let Some(branches) = node.children else {
            return node.places.clone();
        };
        let [first, second] = branches.map(|branch| &self.nodes[branch].places);
        if first.contains(&place) {
            second.clone()
        } else {
            first.clone()
        }
    }

    /// The order of all classes with the greatest sum over neighbours among those that the tree allows.
    fn best_order(&self, alike: &Square) -> Vec<u32> {
        let n = alike.n;
        let mut placed = Square::new(n);
        for a in 0..n {
            for b in 0..n {
                placed.set(a, b, alike.get(self.classes[a], self.classes[b]));
            }
        }
        let alike = placed;
        // The greatest sum of the smallest node with both places, ordered so that one begins it and the other ends it.
        let mut best = Square::new(n);
        for branches in self.nodes.iter().filter_map(|node| node.children) {
            self.join(branches, &alike, &mut best);
        }
        let root = self.nodes.len() - 1;
        let mut ends = (0, 0, f64::NEG_INFINITY);
        for first in self.nodes[root].places.clone() {
            for last in self.opposite(root, first) {
                if best.get(first, last) > ends.2 {
                    ends = (first, last, best.get(first, last));
                }
            }
        }
        let mut order = Vec::with_capacity(n);
        // Nodes still to be laid out, with the places at their ends; the next one is the last.
        let mut open = vec![(root, ends.0, ends.1)];
        while let Some((node, first, last)) = open.pop() {
            let Some([a, b]) = self.nodes[node].children else {
                order.push(self.classes[first] as u32);
                continue;
            };
            let (left, right) = if self.nodes[a].places.contains(&first) {
                (a, b)
            } else {
                (b, a)
            };
            let mut seam = (first, last, f64::NEG_INFINITY);
            for inner in self.opposite(left, first) {
                for outer in self.opposite(right, last) {
                    let sum =
                        best.get(first, inner) + alike.get(inner, outer) + best.get(outer, last);
                    if sum > seam.2 {
                        seam = (inner, outer, sum);
                    }
                }
            }
            open.push((right, seam.1, last));
            open.push((left, first, seam.0));
        }
        order
    }

    /// Fills in `best` for all places of two nodes that are joined.
    fn join(&self, [left, right]: [usize; 2], alike: &Square, best: &mut Square) {
        let rights = self.nodes[right].places.clone();
        for first in self.nodes[left].places.clone() {
            let inner = self.opposite(left, first);
            // With each place of the right node next to the seam.
            let to_seam: Vec<f64> = (rights.clone())
                .map(|outer| greatest(best.row(first, &inner), alike.row(outer, &inner)))
                .collect();
            for last in rights.clone() {
                let outer = self.opposite(right, last);
                let seams = &to_seam[outer.start - rights.start..outer.end - rights.start];
                let sum = greatest(seams, best.row(last, &outer));
                best.set(first, last, sum);
                best.set(last, first, sum);
            }
        }
    }
}

/// The greatest sum of two numbers at one place.
fn greatest(a: &[f64], b: &[f64]) -> f64 {
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
    fn classes_that_are_confused_stand_together() {
        // Blocks {0, 5, 9}, {2, 7}, {1, 4, 6, 8}; 3 stands alone.
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
        let place = |class: u32| order.iter().position(|&c| c == class).unwrap();
        for block in blocks {
            let places: Vec<usize> = block.iter().map(|&class| place(class)).collect();
            let (low, high) = (places.iter().min().unwrap(), places.iter().max().unwrap());
            assert_eq!(high - low + 1, block.len(), "{order:?}");
        }
    }

    #[test]
    fn a_chain_of_confusions_is_followed() {
        let chain = [3, 0, 6, 2, 5, 1, 4];
        let pairs: Vec<Pair> = (chain.windows(2))
            .map(|two| pair(two[0], two[1], 0.2))
            .collect();
        assert_eq!(order(7, &pairs), chain);
    }

    #[test]
    fn without_confusions_the_order_stays() {
        for n in [0, 1, 2, 3, 50] {
            let same: Vec<u32> = (0..n as u32).collect();
            assert_eq!(order(n, &[]), same);
            let diagonal: Vec<Pair> = same.iter().map(|&class| pair(class, class, 1.0)).collect();
            assert_eq!(order(n, &diagonal), same);
        }
    }

    /// The greatest sum over all 2^(n-1) ways to turn the branches.
    fn best_of_all_turns(tree: &Tree, alike: &Square) -> f64 {
        let n = alike.n;
        let mut best = f64::NEG_INFINITY;
        for turned in 0..1u32 << (n - 1) {
            let mut laid: Vec<Vec<usize>> = (0..n).map(|leaf| vec![leaf]).collect();
            let clusters = tree.nodes.iter().filter_map(|node| node.children);
            for (cluster, [a, b]) in clusters.enumerate() {
                let (a, b) = if turned >> cluster & 1 == 1 {
                    (b, a)
                } else {
                    (a, b)
                };
                laid.push([laid[a].clone(), laid[b].clone()].concat());
            }
            best = best.max(sum(laid.last().unwrap(), alike));
        }
        best
    }

    fn sum(order: &[usize], alike: &Square) -> f64 {
        order.windows(2).map(|two| alike.get(two[0], two[1])).sum()
    }

    proptest! {
        #[test]
        fn no_way_to_turn_the_branches_is_better(
            shares in prop::collection::vec(0.0..1.0f64, 49), n in 3..8usize,
        ) {
            let mut alike = Square::new(n);
            for a in 0..n {
                for b in 0..a {
                    alike.set(a, b, shares[a * 7 + b]);
                    alike.set(b, a, shares[a * 7 + b]);
                }
            }
            let tree = Tree::of(&alike);
            let order = tree.best_order(&alike);
            prop_assert!(is_permutation(&order, n));
            let order: Vec<usize> = order.into_iter().map(|class| class as usize).collect();
            let best = best_of_all_turns(&tree, &alike);
            prop_assert!((sum(&order, &alike) - best).abs() < 1e-9, "{} {}", sum(&order, &alike), best);
        }

        #[test]
        fn the_same_pairs_in_any_sequence_give_the_same_order(
            met in prop::collection::vec((0..30u32, 0..30u32, 0..5u32), 0..80),
        ) {
            let pairs = |met: &[(u32, u32, u32)]| -> Vec<Pair> {
                met.iter().map(|&(a, b, share)| pair(a, b, f64::from(share) / 64.0)).collect()
            };
            let one = order(30, &pairs(&met));
            prop_assert!(is_permutation(&one, 30));
            let mut reversed = met.clone();
            reversed.reverse();
            prop_assert_eq!(one, order(30, &pairs(&reversed)));
        }
    }
}
