//! Labels and splits from folder names; class numbers.

use std::collections::{BTreeMap, BTreeSet};

use prospect_dataset::listing::SPLITS;

/// Label and split of an image by its folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderNames<'p> {
    pub label: Option<&'p str>,
    pub split: Option<&'p str>,
}

/// Labels and splits by folder: the top-level folder is the label at any depth, as in PyTorch's `ImageFolder`.
///
/// If *all* top-level folders have names in [`SPLITS`], they are splits, and the next folder is the label: `train/cat/1.jpg`.
/// A class named `train` among other classes stays a class.
pub fn from_folders<'p>(paths: &[&'p str]) -> Vec<FolderNames<'p>> {
    let is_split = |name: &str| SPLITS.iter().any(|split| name.eq_ignore_ascii_case(split));
    let mut tops = paths
        .iter()
        .filter_map(|path| path.split_once('/'))
        .map(|(top, _)| top)
        .peekable();
    let have_splits = tops.peek().is_some() && tops.all(is_split);
    let named = |path: &&'p str| {
        let top = path.split_once('/');
        match top {
            Some((split, rest)) if have_splits => FolderNames {
                label: rest.split_once('/').map(|(label, _)| label),
                split: Some(split),
            },
            other => FolderNames {
                label: other.map(|(label, _)| label),
                split: None,
            },
        }
    };
    paths.iter().map(named).collect()
}

/// The class number of each label. If each label names exactly one of the model's classes, that class's index, so that labels and
/// predictions are comparable; otherwise the rank among the sorted labels (by bytes, or by value if all are integers).
pub fn class_numbers(labels: &BTreeSet<&str>, model: &[String]) -> BTreeMap<String, i32> {
    let mut index: BTreeMap<&str, Option<i32>> = BTreeMap::new();
    for (class, name) in model.iter().enumerate() {
        let twice = index.contains_key(name.as_str());
        index.insert(name, (!twice).then_some(class as i32));
    }
    let by_model: Option<BTreeMap<String, i32>> = labels
        .iter()
        .map(|&label| Some((label.to_string(), (*index.get(label)?)?)))
        .collect();
    if let Some(numbers) = by_model {
        return numbers;
    }
    let mut sorted: Vec<&str> = labels.iter().copied().collect();
    let value = |label: &str| label.parse::<u64>().ok();
    if sorted.iter().all(|label| value(label).is_some()) {
        sorted.sort_by_key(|label| value(label));
    }
    let ranks = sorted.into_iter().zip(0..);
    ranks
        .map(|(label, rank)| (label.to_string(), rank))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders<'p>(paths: &[&'p str]) -> Vec<(Option<&'p str>, Option<&'p str>)> {
        let named = from_folders(paths);
        named
            .into_iter()
            .map(|named| (named.label, named.split))
            .collect()
    }

    #[test]
    fn the_top_folder_is_the_label_unless_all_are_splits() {
        assert_eq!(
            folders(&["cat/1.jpg", "cat/deep/2.jpg", "train/3.jpg", "4.jpg"]),
            [
                (Some("cat"), None),
                (Some("cat"), None),
                (Some("train"), None),
                (None, None)
            ]
        );
        assert_eq!(
            folders(&[
                "0.jpg",
                "Test/dress/1.jpg",
                "train/hat/x/2.jpg",
                "validation/3.jpg"
            ]),
            [
                (None, None),
                (Some("dress"), Some("Test")),
                (Some("hat"), Some("train")),
                (None, Some("validation")),
            ]
        );
        assert_eq!(folders(&["1.jpg"]), [(None, None)]);
    }

    fn numbers(labels: &[&str], model: &[&str]) -> Vec<(String, i32)> {
        let model: Vec<String> = model.iter().map(|name| name.to_string()).collect();
        class_numbers(&labels.iter().copied().collect(), &model)
            .into_iter()
            .collect()
    }

    #[test]
    fn classes_are_numbered_by_the_model_if_it_knows_them_all() {
        let pairs = |list: &[(&str, i32)]| {
            list.iter()
                .map(|(name, n)| (name.to_string(), *n))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            numbers(&["dog", "ant"], &["cat", "dog", "ant"]),
            pairs(&[("ant", 2), ("dog", 1)])
        );
        // Ranks, since the model does not know bee, or knows crane twice.
        assert_eq!(
            numbers(&["dog", "bee"], &["cat", "dog"]),
            pairs(&[("bee", 0), ("dog", 1)])
        );
        assert_eq!(
            numbers(&["crane", "dog"], &["dog", "crane", "crane"]),
            pairs(&[("crane", 0), ("dog", 1)])
        );
        assert_eq!(
            numbers(&["10", "9", "0"], &[]),
            pairs(&[("0", 0), ("10", 2), ("9", 1)])
        );
        assert_eq!(numbers(&[], &["cat"]), pairs(&[]));
    }
}
