//! Stratified group folds for cross-validation.

use std::collections::HashMap;

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

/// A fold in `0..n_folds` for each row. A group stays in one fold; otherwise every class, and the rows without a label, are
/// distributed as evenly as possible. Deterministic for a seed.
///
/// Groups are assigned greedily, the largest first, in random order where equally large. Each goes to the fold with the fewest
/// rows of its most frequent class, then of its next most frequent classes, then in total. So a class of `m` equally large groups
/// is divided among `min(m, n_folds)` folds.
pub fn folds(labels: &[Option<u32>], groups: &[u32], n_folds: u16, seed: u64) -> Vec<u16> {
    let mut members: HashMap<u32, Vec<usize>> = HashMap::new();
    for (row, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(row);
    }
    // Ordered by first row, independently of the groups' ids.
    let mut groups: Vec<Vec<usize>> = members.into_values().collect();
    groups.sort_unstable_by_key(|rows| rows[0]);
    groups.shuffle(&mut StdRng::seed_from_u64(seed));
    groups.sort_by_key(|rows| std::cmp::Reverse(rows.len()));

    let n_folds = usize::from(n_folds.max(1));
    let mut of_class: HashMap<Option<u32>, Vec<usize>> = HashMap::new();
    let mut of_all = vec![0usize; n_folds];
    let mut folds = vec![0u16; labels.len()];
    for rows in groups {
        let class_counts = frequencies(rows.iter().map(|row| labels[*row]));
        let load = |fold: usize| {
            let classes = class_counts.iter();
            let classes = classes.map(|(class, _)| of_class.get(class).map_or(0, |of| of[fold]));
            (classes.collect::<Vec<usize>>(), of_all[fold])
        };
        let fold = (0..n_folds).min_by_key(|fold| load(*fold)).unwrap_or(0);
        for (class, n) in class_counts {
            of_class.entry(class).or_insert_with(|| vec![0; n_folds])[fold] += n;
        }
        of_all[fold] += rows.len();
        for row in rows {
            folds[row] = fold as u16;
        }
    }
    folds
}

/// Class frequencies: most frequent first, then by class index; rows without a label last.
fn frequencies(classes: impl Iterator<Item = Option<u32>>) -> Vec<(Option<u32>, usize)> {
    let mut found: Vec<(Option<u32>, usize)> = Vec::new();
    for class in classes {
        match found.iter_mut().find(|(other, _)| *other == class) {
            Some((_, n)) => *n += 1,
            None => found.push((class, 1)),
        }
    }
    found.sort_unstable_by_key(|(class, n)| (class.is_none(), std::cmp::Reverse(*n), *class));
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn singletons(n: usize) -> Vec<u32> {
        (0..n as u32).collect()
    }

    #[test]
    fn classes_and_folds_are_balanced() {
        // Sorted by class, like folders.
        let labels: Vec<Option<u32>> = (0..103)
            .map(|row| [Some(0), Some(1), None][row * 3 / 103])
            .collect();
        let folds = folds(&labels, &singletons(103), 5, 42);
        for class in [Some(0), Some(1), None] {
            let of_class = (0..103).filter(|row| labels[*row] == class);
            let mut n = [0; 5];
            of_class.for_each(|row| n[usize::from(folds[row])] += 1);
            assert!(
                n.iter().max().unwrap() - n.iter().min().unwrap() <= 1,
                "{n:?}"
            );
        }
        let n: Vec<usize> = (0..5)
            .map(|fold| folds.iter().filter(|f| **f == fold).count())
            .collect();
        assert!(
            n.iter().max().unwrap() - n.iter().min().unwrap() <= 2,
            "{n:?}"
        );
    }

    #[test]
    fn folds_depend_on_the_seed_but_not_on_group_ids() {
        let labels: Vec<Option<u32>> = (0..200).map(|row| Some(row % 3)).collect();
        let groups: Vec<u32> = (0..200).map(|row| row / 2).collect();
        let other: Vec<u32> = groups.iter().map(|group| 7919 * (500 - group)).collect();
        let found = folds(&labels, &groups, 5, 1);
        assert_eq!(found, folds(&labels, &other, 5, 1));
        assert_ne!(found, folds(&labels, &groups, 5, 2));
    }

    #[test]
    fn a_class_with_two_groups_is_in_two_folds() {
        // A pair of duplicates and a single row of class 1, among many of class 0.
        let mut labels = vec![Some(0); 50];
        labels.extend([Some(1), Some(1), Some(1)]);
        let mut groups = singletons(50);
        groups.extend([100, 100, 101]);
        for seed in 0..20 {
            let folds = folds(&labels, &groups, 5, seed);
            assert_eq!(folds[50], folds[51]);
            assert_ne!(folds[50], folds[52]);
        }
    }

    #[test]
    fn no_rows_have_no_folds() {
        assert!(folds(&[], &[], 5, 42).is_empty());
    }

    proptest! {
        #[test]
        fn groups_stay_together(
            rows in prop::collection::vec((prop::option::of(0u32..4), 0u32..30), 0..120),
            n_folds in 2u16..7,
            seed in 0u64..5,
        ) {
            let (labels, groups): (Vec<Option<u32>>, Vec<u32>) = rows.into_iter().unzip();
            let found = folds(&labels, &groups, n_folds, seed);
            let pairs: HashSet<(u32, u16)> = groups.iter().copied().zip(found.clone()).collect();
            let of_groups: HashSet<u32> = groups.iter().copied().collect();
            prop_assert_eq!(pairs.len(), of_groups.len());
            prop_assert!(found.iter().all(|fold| *fold < n_folds));
            // With groups of one row, every class is balanced.
            let found = folds(&labels, &singletons(labels.len()), n_folds, seed);
            for class in [Some(0), Some(1), Some(2), Some(3), None] {
                let of_class = (0..labels.len()).filter(|row| labels[*row] == class);
                let mut n = vec![0; n_folds.into()];
                of_class.for_each(|row| n[usize::from(found[row])] += 1);
                prop_assert!(n.iter().max().unwrap() - n.iter().min().unwrap() <= 1);
            }
        }
    }
}
