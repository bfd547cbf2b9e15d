//! Groups of duplicates: the connected components of the pairs. A copy of a copy is in the group of the original.

use std::collections::BTreeMap;

/// The group of each paired image, identified by its lowest image.
pub fn groups(pairs: impl IntoIterator<Item = (u32, u32)>) -> BTreeMap<u32, u32> {
    let mut parent: BTreeMap<u32, u32> = BTreeMap::new();
    for (a, b) in pairs {
        let [a, b] = [a, b].map(|image| root(&mut parent, image));
        parent.insert(a.max(b), a.min(b));
    }
    let images: Vec<u32> = parent.keys().copied().collect();
    let group = |image| (image, root(&mut parent, image));
    images.into_iter().map(group).collect()
}

/// The lowest image of the component; shortens the path to it.
fn root(parent: &mut BTreeMap<u32, u32>, image: u32) -> u32 {
    let mut at = image;
    loop {
        let next = *parent.entry(at).or_insert(at);
        if next == at {
            break;
        }
        let after = parent.get(&next).copied().unwrap_or(next);
        parent.insert(at, after);
        at = after;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_copies_are_one_group() {
        let found = groups([(3, 7), (20, 21), (9, 7), (1, 9)]);
        let expected = [(1, 1), (3, 1), (7, 1), (9, 1), (20, 20), (21, 20)];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
        assert!(groups([]).is_empty());
    }

    #[test]
    fn the_order_of_the_pairs_does_not_matter() {
        let mut pairs: Vec<(u32, u32)> =
            (0..40).map(|at| (at * 7 % 40, (at * 7 + 3) % 40)).collect();
        let found = groups(pairs.iter().copied());
        pairs.reverse();
        assert_eq!(groups(pairs), found);
        assert!(found.values().all(|group| *group == 0));
    }
}
