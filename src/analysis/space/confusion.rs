//! Confusion between classes: labels against predictions, and overlap of classes in feature space.

mod order;

use std::collections::HashMap;

pub use order::order;

/// Count of a pair of classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    pub from: u32,
    pub to: u32,
    pub count: u64,
    /// Fraction of all counts of `from`, in 0..=1.
    pub share: f64,
}

/// Counts of ordered pairs of classes: an image's label and its prediction, or its label and a neighbour's.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pairs: HashMap<(u32, u32), u64>,
}

impl Counts {
    pub fn add(&mut self, from: u32, to: u32) {
        *self.pairs.entry((from, to)).or_default() += 1;
    }

    /// Every counted pair, by `from` and then by `to`.
    pub fn pairs(&self) -> Vec<Pair> {
        let mut counted: Vec<((u32, u32), u64)> =
            self.pairs.iter().map(|(&k, &n)| (k, n)).collect();
        counted.sort_unstable();
        let mut pairs = Vec::with_capacity(counted.len());
        for of_class in counted.chunk_by(|(a, _), (b, _)| a.0 == b.0) {
            let total: u64 = of_class.iter().map(|(_, count)| count).sum();
            pairs.extend(of_class.iter().map(|&((from, to), count)| Pair {
                from,
                to,
                count,
                share: count as f64 / total as f64,
            }));
        }
        pairs
    }
}

/// Fraction of counts on the diagonal; `None` without counts.
pub fn agreement(pairs: &[Pair]) -> Option<f64> {
    let sum = |pairs: &mut dyn Iterator<Item = &Pair>| pairs.map(|pair| pair.count).sum::<u64>();
    let all = sum(&mut pairs.iter());
    let own = sum(&mut pairs.iter().filter(|pair| pair.from == pair.to));
    (all > 0).then(|| own as f64 / all as f64)
}

/// The `n` pairs of different classes with the highest counts; ties go to the larger share, then the smaller class numbers.
pub fn most_confused(pairs: &[Pair], n: usize) -> Vec<Pair> {
    let mut others: Vec<Pair> = (pairs.iter())
        .filter(|pair| pair.from != pair.to)
        .copied()
        .collect();
    others.sort_by(|a, b| {
        (b.count.cmp(&a.count))
            .then(b.share.total_cmp(&a.share))
            .then((a.from, a.to).cmp(&(b.from, b.to)))
    });
    others.truncate(n);
    others
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs_of(counted: &[(u32, u32)]) -> Vec<Pair> {
        let mut counts = Counts::default();
        counted.iter().for_each(|&(from, to)| counts.add(from, to));
        counts.pairs()
    }

    #[test]
    fn counts_and_shares_by_hand() {
        // Class 0: 3 correct, 1 predicted as 2; class 2: 1 correct, 1 predicted as 0; class 5: predicted as 9.
        let pairs = pairs_of(&[(2, 2), (0, 0), (0, 2), (0, 0), (5, 9), (2, 0), (0, 0)]);
        let pair = |from, to, count, share| Pair {
            from,
            to,
            count,
            share,
        };
        let expected = [
            pair(0, 0, 3, 0.75),
            pair(0, 2, 1, 0.25),
            pair(2, 0, 1, 0.5),
            pair(2, 2, 1, 0.5),
            pair(5, 9, 1, 1.0),
        ];
        assert_eq!(pairs, expected);
        assert_eq!(agreement(&pairs), Some(4.0 / 7.0));
        let most = most_confused(&pairs, 2);
        assert_eq!(most, [expected[4], expected[2]]);
        assert_eq!(most_confused(&pairs, 9).len(), 3);
        assert_eq!((agreement(&[]), pairs_of(&[])), (None, Vec::new()));
    }

    proptest! {
        #[test]
        fn shares_of_a_class_sum_to_one(
            counted in prop::collection::vec((0..6u32, 0..9u32), 0..200),
        ) {
            let pairs = pairs_of(&counted);
            let all: u64 = pairs.iter().map(|pair| pair.count).sum();
            prop_assert_eq!(all as usize, counted.len());
            for of_class in pairs.chunk_by(|a, b| a.from == b.from) {
                let sum: f64 = of_class.iter().map(|pair| pair.share).sum();
                prop_assert!((sum - 1.0).abs() < 1e-12);
            }
            let mut reversed = counted.clone();
            reversed.reverse();
            prop_assert_eq!(pairs, pairs_of(&reversed));
        }
    }
}
