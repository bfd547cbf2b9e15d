//! Labels and splits from folder names; class numbers.

use std::collections::{BTreeMap, BTreeSet};

use prospect_dataset::listing::SPLITS;
use unicode_normalization::UnicodeNormalization;

/// If the folders beside the splits have images, the splits have more than this many times as many.
const MIN_SPLIT_SHARE: u64 = 4;

/// Label and split of an image by its folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderNames<'p> {
    pub label: Option<&'p str>,
    pub split: Option<&'p str>,
}

/// Labels and splits by folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FolderTree<'p> {
    /// Of each image.
    pub named: Vec<FolderNames<'p>>,
    /// The top-level folders that are splits.
    pub splits: BTreeSet<&'p str>,
    /// The top-level folders beside the splits, with their number of images. These have no label.
    pub stray: BTreeMap<&'p str, u64>,
}

/// Labels and splits by folder: the top-level folder is the label at any depth, as in PyTorch's `ImageFolder`.
///
/// If all top-level folders have names in [`SPLITS`], they are splits, and the next folder is the label: `train/cat/1.jpg`. So they
/// are if `train` and another one of these names hold folders of images, and most images. A class named `train` among other
/// classes stays a class.
pub fn from_folders<'p>(paths: &[&'p str]) -> FolderTree<'p> {
    let mut images: BTreeMap<&str, u64> = BTreeMap::new();
    let mut with_folders: BTreeSet<&str> = BTreeSet::new();
    for (top, rest) in paths.iter().filter_map(|path| path.split_once('/')) {
        *images.entry(top).or_default() += 1;
        if rest.contains('/') {
            with_folders.insert(top);
        }
    }
    let (splits, stray): (BTreeMap<&str, u64>, _) =
        images.into_iter().partition(|(top, _)| is_split(top));
    let total = |folders: &BTreeMap<&str, u64>| folders.values().sum::<u64>();
    let is_train = |top: &&str| top.eq_ignore_ascii_case("train");
    let nested = || splits.keys().filter(|top| with_folders.contains(*top));
    let have_splits = !splits.is_empty()
        && (stray.is_empty()
            || nested().count() > 1
                && nested().any(is_train)
                && MIN_SPLIT_SHARE * total(&stray) < total(&splits));
    let named = |path: &&'p str| match path.split_once('/') {
        Some((split, rest)) if have_splits && splits.contains_key(split) => FolderNames {
            label: rest.split_once('/').map(|(label, _)| label),
            split: Some(split),
        },
        Some(_) if have_splits => FolderNames::default(),
        other => FolderNames {
            label: other.map(|(label, _)| label),
            split: None,
        },
    };
    FolderTree {
        named: paths.iter().map(named).collect(),
        stray: if have_splits { stray } else { BTreeMap::new() },
        splits: match have_splits {
            true => splits.into_keys().collect(),
            false => BTreeSet::new(),
        },
    }
}

fn is_split(name: &str) -> bool {
    SPLITS.iter().any(|split| name.eq_ignore_ascii_case(split))
}

/// Labels that look like one class in several spellings: equal but for case, blanks, Unicode's composition, and zeros of numbers.
pub fn spellings<'l>(labels: &BTreeSet<&'l str>) -> Vec<Vec<&'l str>> {
    let mut by_word: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for label in labels {
        by_word.entry(word(label)).or_default().push(label);
    }
    let several = by_word.into_values().filter(|same| same.len() > 1);
    several.collect()
}

fn word(label: &str) -> String {
    let is_number = label.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match label.parse::<f64>() {
        Ok(number) if is_number => number.to_string(),
        _ => {
            let composed: String = label.nfkc().collect();
            let words = composed.split_whitespace().map(str::to_lowercase);
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

/// The class number of each label. If the model knows each label, its class (`known`), so that labels and predictions are
/// comparable; otherwise the rank among the sorted labels (by bytes, or by value if all are integers).
pub fn class_numbers(
    labels: &BTreeSet<&str>,
    known: &BTreeMap<&str, i32>,
) -> BTreeMap<String, i32> {
    if known.len() == labels.len() {
        let known = known.iter();
        return known
            .map(|(label, class)| (label.to_string(), *class))
            .collect();
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
    use prospect_engine::tables::classes::network_classes;

    use super::*;

    fn folders<'p>(paths: &[&'p str]) -> Vec<(Option<&'p str>, Option<&'p str>)> {
        let named = from_folders(paths).named.into_iter();
        named.map(|named| (named.label, named.split)).collect()
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

    #[test]
    fn a_stray_folder_beside_splits_is_no_class() {
        let mut paths = Vec::new();
        for split in ["train", "val"] {
            let of_split = (0..5).map(|at| format!("{split}/{}/{at}.jpg", ["cat", "dog"][at % 2]));
            paths.extend(of_split);
        }
        paths.push("thumbs/1.jpg".into());
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let tree = from_folders(&paths);
        assert_eq!(tree.splits, BTreeSet::from(["train", "val"]));
        assert_eq!(tree.stray, BTreeMap::from([("thumbs", 1)]));
        assert_eq!(
            (tree.named[0].label, tree.named[0].split),
            (Some("cat"), Some("train"))
        );
        assert_eq!(tree.named[10], FolderNames::default());
        // Vehicles, some of them in folders by model.
        let tree = from_folders(&["train/ice/1.jpg", "bus/2.jpg", "car/x/3.jpg", "test/4.jpg"]);
        assert!(tree.splits.is_empty() && tree.stray.is_empty());
        assert_eq!(tree.named[0].label, Some("train"));
    }

    #[test]
    fn spellings_of_one_class() {
        let labels = [
            "Cat",
            "cat",
            "dog",
            "1",
            "01",
            "1.0",
            "2",
            "caf\u{e9}",
            "cafe\u{301}",
            "nan",
            "inf",
        ];
        let found = spellings(&BTreeSet::from(labels));
        let expected = [
            vec!["01", "1", "1.0"],
            vec!["cafe\u{301}", "caf\u{e9}"],
            vec!["Cat", "cat"],
        ];
        assert_eq!(found.len(), 3);
        assert!(
            expected.iter().all(|same| found.contains(same)),
            "{found:?}"
        );
        assert!(spellings(&BTreeSet::from(["a b", "ab"])).is_empty());
    }

    fn numbers(labels: &[&str], model: &[&str]) -> Vec<(String, i32)> {
        let known = network_classes(labels, (0..).zip(model));
        class_numbers(&labels.iter().copied().collect(), &known)
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
