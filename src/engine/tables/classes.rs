//! Labels and class names of the dataset and of the network, which number classes differently.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prospect_common::Result;
use prospect_store::{Manifest, RunFolder};

use crate::schema::{classes, images, predictions};

/// The dataset's class of each image, by image id.
pub fn labels(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Option<i32>>> {
    let mut found = Vec::new();
    for batch in run.rows(manifest, (images::image_id, images::label)) {
        let batch = batch?;
        for (id, label) in batch.iter() {
            if id as usize != found.len() {
                return Err(batch.unexpected(
                    format!("image {}, ids being ranks", found.len()),
                    format!("image {id}"),
                ));
            }
            found.push(label);
        }
    }
    Ok(found)
}

/// The network's class of each label that it knows by name: the class of the same name, or else the one whose name is the same
/// word: case, blanks, WordNet ids and synonyms do not count. Left out are names that several classes of the network have, and
/// words that several labels have.
pub fn network_classes<'l>(
    labels: &[&'l str],
    network: impl Iterator<Item = (i32, impl AsRef<str>)>,
) -> BTreeMap<&'l str, i32> {
    let (mut by_name, mut by_word) = (HashMap::new(), HashMap::new());
    for (class, name) in network {
        let name = name.as_ref();
        let is_new = |known: Option<Option<i32>>| known.is_none().then_some(class);
        let only = is_new(by_name.get(name).copied());
        by_name.insert(name.to_string(), only);
        let word = class_word(name);
        let only = is_new(by_word.get(&word).copied());
        by_word.insert(word, only);
    }
    let mut of_word: BTreeMap<String, u32> = BTreeMap::new();
    for label in labels {
        *of_word.entry(class_word(label)).or_default() += 1;
    }
    let class = |label: &str| match by_name.get(label) {
        Some(only) => *only,
        None => {
            let word = class_word(label);
            (*by_word.get(&word)?).filter(|_| of_word.get(&word) == Some(&1))
        }
    };
    let known = labels.iter();
    known
        .filter_map(|label| Some((*label, class(label)?)))
        .collect()
}

/// A class name without what differs between lists of the same classes: case, `_` and `-` for blanks, a WordNet id as in
/// `n02084071_dog`, synonyms as in `tench, Tinca tinca`.
fn class_word(name: &str) -> String {
    let is_id = |id: &str| {
        let digits = id.strip_prefix(['n', 'N']);
        digits.is_some_and(|id| id.len() == 8 && id.bytes().all(|b| b.is_ascii_digit()))
    };
    let name = match name.split_once(['_', '-', ' ']) {
        Some((id, name)) if is_id(id) => name,
        _ => name,
    };
    let first = name.split(',').next().unwrap_or_default();
    let words = first.split(|c: char| c.is_whitespace() || "_-".contains(c));
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Names of classes by their number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassNames {
    pub dataset: BTreeMap<i32, String>,
    /// Empty if the network has no class names.
    pub network: BTreeMap<i32, String>,
}

impl ClassNames {
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<ClassNames> {
        let mut found = ClassNames::default();
        let columns = (classes::class, classes::name, classes::source);
        for batch in run.rows(manifest, columns) {
            for (class, name, source) in batch?.iter() {
                let of = match source {
                    "model" => &mut found.network,
                    _ => &mut found.dataset,
                };
                of.insert(class, name.to_string());
            }
        }
        Ok(found)
    }

    /// The [network's class](network_classes) for each class of the dataset that it knows by name.
    pub fn network_of_dataset(&self) -> BTreeMap<i32, i32> {
        if self.network.is_empty() {
            // Default name of a class in a network without names.
            let numbered = self.dataset.iter().filter_map(|(label, name)| {
                let class = name.strip_prefix("class ")?.parse().ok()?;
                Some((*label, class))
            });
            return numbered.collect();
        }
        let labels: Vec<&str> = self.dataset.values().map(String::as_str).collect();
        let network = self.network.iter();
        let known = network_classes(
            &labels,
            network.map(|(class, name)| (*class, name.as_str())),
        );
        let of_dataset = self.dataset.iter();
        let of_dataset =
            of_dataset.filter_map(|(label, name)| Some((*label, *known.get(name.as_str())?)));
        of_dataset.collect()
    }

    /// The classes of images by label and by prediction.
    pub fn of_images(
        &self,
        run: &RunFolder,
        manifest: &Manifest,
        image_ids: &[u32],
    ) -> Result<ImageClasses> {
        let labels = labels(run, manifest)?;
        let predictions = predictions(run, manifest)?;
        let network = self.network_of_dataset();
        let mut names = Vec::new();
        let (mut of_label, mut of_class) = (BTreeMap::new(), BTreeMap::new());
        let present: BTreeSet<i32> = labels.iter().flatten().copied().collect();
        for label in present {
            let place = names.len() as u32;
            names.push(name_of(&self.dataset, label));
            of_label.insert(label, place);
            if let Some(class) = network.get(&label) {
                of_class.insert(*class, place);
            }
        }
        let predicted: BTreeSet<i32> = predictions.values().copied().collect();
        for class in predicted {
            of_class.entry(class).or_insert_with(|| {
                names.push(name_of(&self.network, class));
                names.len() as u32 - 1
            });
        }
        let label_of = |id: &u32| labels.get(*id as usize).copied().flatten();
        let label = |id: &u32| of_label.get(&label_of(id)?).copied();
        let prediction = |id: &u32| of_class.get(predictions.get(id)?).copied();
        let right = |id: &u32| Some(predictions.get(id)? == network.get(&label_of(id)?)?);
        Ok(ImageClasses {
            labels: image_ids.iter().map(label).collect(),
            predictions: image_ids.iter().map(prediction).collect(),
            right: image_ids.iter().map(right).collect(),
            names,
        })
    }
}

/// Classes of images as indices into one list, shared by labels and predictions.
pub struct ImageClasses {
    pub names: Vec<String>,
    pub labels: Vec<Option<u32>>,
    pub predictions: Vec<Option<u32>>,
    /// Whether the prediction is correct; `None` if the network does not know the label.
    pub right: Vec<Option<bool>>,
}

/// Predicted class of each extracted image.
pub fn predictions(run: &RunFolder, manifest: &Manifest) -> Result<HashMap<u32, i32>> {
    let mut found = HashMap::new();
    for batch in run.rows(manifest, (predictions::image_id, predictions::pred)) {
        found.extend(batch?.iter());
    }
    Ok(found)
}

/// The name of a class, or `class 7` without one.
pub fn name_of(names: &BTreeMap<i32, String>, class: i32) -> String {
    let name = names.get(&class).cloned();
    name.unwrap_or_else(|| format!("class {class}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(labels: &[&'static str], network: &[&str]) -> Vec<(&'static str, i32)> {
        let found = network_classes(labels, (0..).zip(network));
        found.into_iter().collect()
    }

    #[test]
    fn classes_are_known_by_name_or_by_word() {
        let network = [
            "Ant",
            "n02084071_golden_retriever",
            "tench, Tinca tinca",
            "cat",
            "crane",
            "crane",
        ];
        assert_eq!(
            known(
                &["ant", "Golden-Retriever", "n01440764_tench", "owl", "crane"],
                &network
            ),
            [("Golden-Retriever", 1), ("ant", 0), ("n01440764_tench", 2)]
        );
        // The exact name first; two spellings of one word stay unknown.
        assert_eq!(known(&["cat", "Cat"], &network), [("cat", 3)]);
        assert_eq!(known(&["ANT", "ant"], &network), []);
        // Numbers and names of one word are not cut.
        assert_eq!(known(&["n1", "12"], &["n1", "12"]), [("12", 1), ("n1", 0)]);
    }
}
