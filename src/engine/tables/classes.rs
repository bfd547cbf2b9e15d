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

    /// The network's class of the same name for each class of the dataset. Names shared by several classes of the network are left
    /// out.
    pub fn network_of_dataset(&self) -> BTreeMap<i32, i32> {
        let mut by_name: HashMap<&str, Vec<i32>> = HashMap::new();
        for (class, name) in &self.network {
            by_name.entry(name).or_default().push(*class);
        }
        let known = self.dataset.iter().filter_map(|(label, name)| {
            if self.network.is_empty() {
                // Default name of a class in a network without names.
                let class = name.strip_prefix("class ")?.parse().ok()?;
                return Some((*label, class));
            }
            match by_name.get(name.as_str())?.as_slice() {
                [class] => Some((*label, *class)),
                _ => None,
            }
        });
        known.collect()
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
