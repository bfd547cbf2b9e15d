//! Pairs that are alike to groups that are. Connected components would chain: a like b, b like c, and in the end the first and the
//! last have nothing in common. Here each group has a centre that every member is alike to.

use std::collections::BTreeMap;

use prospect_common::Result;

struct Group {
    centre: u32,
    /// The centre among them.
    members: Vec<u32>,
}

/// The group of each image that is in one, named by its lowest image. Pairs (two images and how alike they are) are taken from the
/// most alike on; the groups of both become one if every member of the smaller, or later, one is also `alike` to the centre of the
/// other, which stays the centre.
pub fn groups(
    pairs: &[(u32, u32, f32)],
    mut alike: impl FnMut(u32, u32) -> Result<bool>,
) -> Result<BTreeMap<u32, u32>> {
    let mut pairs = pairs.to_vec();
    pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    // Named by what was its centre when it began.
    let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
    let mut group_of: BTreeMap<u32, u32> = BTreeMap::new();
    for (a, b, _) in pairs {
        let [of_a, of_b] = [a, b].map(|image| {
            *group_of.entry(image).or_insert_with(|| {
                let members = vec![image];
                groups.insert(
                    image,
                    Group {
                        centre: image,
                        members,
                    },
                );
                image
            })
        });
        if of_a == of_b {
            continue;
        }
        let order = |name: &u32| {
            (
                std::cmp::Reverse(groups[name].members.len()),
                groups[name].centre,
            )
        };
        let (stays, goes) = match order(&of_a) < order(&of_b) {
            true => (of_a, of_b),
            false => (of_b, of_a),
        };
        let centre = groups[&stays].centre;
        let mut all_alike = true;
        for member in &groups[&goes].members {
            // This pair is known to be.
            let given = (centre, *member) == (a, b) || (centre, *member) == (b, a);
            all_alike = all_alike && (given || alike(centre.min(*member), centre.max(*member))?);
        }
        if all_alike && let Some(gone) = groups.remove(&goes) {
            group_of.extend(gone.members.iter().map(|member| (*member, stays)));
            if let Some(group) = groups.get_mut(&stays) {
                group.members.extend(gone.members);
            }
        }
    }
    let named = groups.into_values().filter(|group| group.members.len() > 1);
    Ok(named
        .flat_map(|group| {
            let name = group.members.iter().copied().min().unwrap_or(group.centre);
            group.members.into_iter().map(move |member| (member, name))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images are alike that are at most so far apart.
    fn listed(pairs: &[(u32, u32, f32)], within: u32) -> Vec<(u32, u32)> {
        let found = groups(pairs, |a, b| Ok(a.abs_diff(b) <= within));
        found.unwrap().into_iter().collect()
    }

    #[test]
    fn copies_of_one_picture_are_a_group() {
        let pairs = [(3, 7, 0.95), (3, 9, 0.99), (7, 9, 0.94), (20, 21, 1.0)];
        let expected = [(3, 3), (7, 3), (9, 3), (20, 20), (21, 20)];
        assert_eq!(listed(&pairs, 10), expected);
        assert!(listed(&[], 10).is_empty());
    }

    #[test]
    fn a_chain_falls_into_pieces_whose_members_are_alike_to_a_centre() {
        let chain: Vec<(u32, u32, f32)> = (0..20).map(|at| (at, at + 1, 0.99)).collect();
        let found = groups(&chain, |a, b| Ok(a.abs_diff(b) <= 2)).unwrap();
        for name in found.values() {
            let members: Vec<u32> = (found.iter())
                .filter(|(_, group)| *group == name)
                .map(|(member, _)| *member)
                .collect();
            assert!((2..=5).contains(&members.len()), "{found:?}");
            assert!(members[members.len() - 1] - members[0] <= 4);
        }
    }

    #[test]
    fn a_link_to_one_member_is_enough_for_what_is_alike_to_the_centre() {
        // 4 is paired with 2 alone, and near enough to the centre 1; 9 is not.
        let pairs = [(1, 2, 0.99), (1, 3, 0.99), (2, 4, 0.95), (3, 9, 0.94)];
        assert_eq!(listed(&pairs, 4), [(1, 1), (2, 1), (3, 1), (4, 1)]);
    }

    #[test]
    fn the_order_of_the_pairs_does_not_matter() {
        let mut pairs: Vec<(u32, u32, f32)> = (0..30)
            .map(|at| {
                (
                    at,
                    (at * 7 + 3) % 40 + 40,
                    0.9 + (at * 13 % 10) as f32 / 100.0,
                )
            })
            .collect();
        let found = listed(&pairs, 45);
        pairs.reverse();
        assert_eq!(listed(&pairs, 45), found);
    }
}
