//! Groups similar pairs. Connected components would chain: a is similar to b, b to c, but the first and last member have nothing
//! in common. Here every member of a group is similar to the group's centre.

use std::collections::BTreeMap;

use prospect_common::Result;

struct Group {
    centre: u32,
    /// Including the centre.
    members: Vec<u32>,
}

/// The group of each grouped image, identified by its lowest image. Pairs (two images and their similarity) are processed in
/// descending similarity; their groups merge if every member of the smaller (or later) group `is_similar` to the centre of the
/// other, which remains the centre.
pub fn groups(
    pairs: &[(u32, u32, f32)],
    mut is_similar: impl FnMut(u32, u32) -> Result<bool>,
) -> Result<BTreeMap<u32, u32>> {
    let mut pairs = pairs.to_vec();
    pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    // Keyed by the group's first image.
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
        let (target, merged) = match order(&of_a) < order(&of_b) {
            true => (of_a, of_b),
            false => (of_b, of_a),
        };
        let centre = groups[&target].centre;
        let mut all_similar = true;
        for member in &groups[&merged].members {
            // The current pair is known to be similar.
            let known = (centre, *member) == (a, b) || (centre, *member) == (b, a);
            all_similar =
                all_similar && (known || is_similar(centre.min(*member), centre.max(*member))?);
        }
        if all_similar && let Some(merged) = groups.remove(&merged) {
            group_of.extend(merged.members.iter().map(|member| (*member, target)));
            if let Some(group) = groups.get_mut(&target) {
                group.members.extend(merged.members);
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

    /// Images are similar if their numbers differ by at most `within`.
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
    fn a_chain_is_split_into_groups_around_centres() {
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
    fn a_pair_with_any_member_is_enough_if_similar_to_the_centre() {
        // 4 is paired with 2 only but close enough to the centre 1; 9 is not.
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
