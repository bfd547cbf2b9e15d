//! Several classes in one cell of a label column, such as `cat|dog`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What may separate the classes of a cell.
const SEPARATORS: [char; 3] = ['|', ';', ','];

/// The first row whose label holds several classes, with these, if the labels as a whole are of that form: most parts of the
/// separated labels are also labels of their own, or occur at different positions. The parts of a name that merely contains a
/// comma, such as `tench, Tinca tinca`, do neither; nor do those of classes such as `red, large` and `red, small`.
pub fn several_classes<'l>(labels: &[Option<&'l str>]) -> Option<(usize, Vec<&'l str>)> {
    let distinct: HashSet<&str> = labels.iter().copied().flatten().collect();
    SEPARATORS.into_iter().find_map(|separator| {
        let (mut alone, mut positions) = (HashSet::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for label in &distinct {
            match parts(label, separator).as_slice() {
                [one] => {
                    alone.insert(*one);
                }
                several => {
                    for (position, part) in several.iter().enumerate() {
                        positions.entry(*part).or_default().insert(position);
                    }
                }
            }
        }
        let recurs = |(part, at): &(&&str, &BTreeSet<_>)| at.len() > 1 || alone.contains(**part);
        if 2 * positions.iter().filter(recurs).count() <= positions.len() {
            return None;
        }
        let of_rows = labels.iter().enumerate();
        let mut of_rows =
            of_rows.filter_map(|(row, label)| Some((row, parts((*label)?, separator))));
        of_rows.find(|(_, parts)| parts.len() > 1)
    })
}

/// The parts of a label, without the brackets and quotes of a list.
fn parts(label: &str, separator: char) -> Vec<&str> {
    let wraps = |c: char| c.is_whitespace() || ['[', ']', '"', '\''].contains(&c);
    let found = label.split(separator).map(|part| part.trim_matches(wraps));
    found.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(labels: &[&'static str]) -> Option<(usize, Vec<&'static str>)> {
        let labels: Vec<Option<&str>> = (labels.iter())
            .map(|label| (!label.is_empty()).then_some(*label))
            .collect();
        several_classes(&labels)
    }

    #[test]
    fn combinations_of_classes_are_found() {
        let expected = Some((2, vec!["cat", "dog"]));
        assert_eq!(found(&["cat", "", "cat|dog", "dog"]), expected);
        assert_eq!(found(&["dog", "cat", "cat;dog", "cat"]), expected);
        assert_eq!(found(&["owl", "", "cat, dog", "dog, owl", "cat"]), expected);
        assert_eq!(found(&["['dog']", "['cat']", "['cat', 'dog']"]), expected);
        // No class has a label of its own, but each is at two positions.
        let labels = ["cat|dog", "dog|owl", "owl|cat"];
        assert_eq!(found(&labels), Some((0, vec!["cat", "dog"])));
        // A few rare classes never occur alone.
        let labels = ["a", "b", "c", "a|b", "c|rare", "b|a|c"];
        assert_eq!(found(&labels), Some((3, vec!["a", "b"])));
    }

    #[test]
    fn names_with_separators_are_single_classes() {
        let names = [
            "tench, Tinca tinca",
            "goldfish, Carassius auratus",
            "crane",
            "maillot",
            "maillot, tank suit",
            "projectile, missile",
            "missile",
            "ear, spike, capitulum",
            "sunglass",
            "sunglasses, dark glasses, shades",
        ];
        assert_eq!(found(&names), None);
        assert_eq!(found(&["red, large", "red, small", "blue, large"]), None);
        assert_eq!(found(&["animal|dog", "animal|cat", "plant|oak"]), None);
        assert_eq!(found(&["cat", "dog", "cat", ""]), None);
        assert_eq!(found(&["[cat]", "|", ",", ";;"]), None);
        assert_eq!(found(&[]), None);
    }
}
