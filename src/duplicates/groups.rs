//! Pairs that are alike to groups that are. Connected components would chain: a like b, b like c, and in the end the first and the
//! last have nothing in common. Here each group has a centre that every member is alike to.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// The group of each image that is in one, named by its lowest image. The centre of the next group is always the image with the
/// most partners that are in none yet, ties to the lowest; an image without any stays alone.
pub fn groups(pairs: &[(u32, u32)]) -> BTreeMap<u32, u32> {
    let mut partners: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for &(a, b) in pairs {
        partners.entry(a).or_default().push(b);
        partners.entry(b).or_default().push(a);
    }
    let mut group_of = BTreeMap::new();
    let mut waiting: BinaryHeap<(usize, Reverse<u32>)> = (partners.iter())
        .map(|(image, partners)| (partners.len(), Reverse(*image)))
        .collect();
    while let Some((count, Reverse(centre))) = waiting.pop() {
        if group_of.contains_key(&centre) {
            continue;
        }
        let mut members: Vec<u32> = (partners[&centre].iter().copied())
            .filter(|partner| !group_of.contains_key(partner))
            .collect();
        if members.len() < count {
            // Some have found a group since: others may come first now.
            if !members.is_empty() {
                waiting.push((members.len(), Reverse(centre)));
            }
            continue;
        }
        members.push(centre);
        let name = members.iter().copied().min().unwrap_or(centre);
        group_of.extend(members.into_iter().map(|member| (member, name)));
    }
    group_of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pairs: &[(u32, u32)]) -> Vec<(u32, u32)> {
        groups(pairs).into_iter().collect()
    }

    #[test]
    fn copies_of_one_picture_are_a_group() {
        let pairs = [(3, 7), (3, 9), (7, 9), (20, 21)];
        let expected = [(3, 3), (7, 3), (9, 3), (20, 20), (21, 20)];
        assert_eq!(listed(&pairs), expected);
        assert!(listed(&[]).is_empty());
    }

    #[test]
    fn a_chain_falls_into_pieces_whose_members_are_alike_to_their_centre() {
        let chain: Vec<(u32, u32)> = (0..9).map(|at| (at, at + 1)).collect();
        let found = groups(&chain);
        for image in 0..10 {
            let members: Vec<u32> = (found.iter())
                .filter(|(_, group)| Some(*group) == found.get(&image))
                .map(|(member, _)| *member)
                .collect();
            assert!((1..=3).contains(&members.len().max(1)), "{found:?}");
            assert!(members.last().is_none_or(|last| last - members[0] <= 2));
        }
    }

    #[test]
    fn a_bridge_does_not_join_two_stars() {
        let pairs = [
            (0, 1),
            (0, 2),
            (0, 3),
            (10, 11),
            (10, 12),
            (10, 13),
            (3, 13),
        ];
        let found = groups(&pairs);
        assert_eq!(found[&3], 0);
        assert_eq!(found[&13], 10);
    }
}
