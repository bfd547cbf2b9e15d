//! Labels and class names, which the dataset and the network number each in their own way.

use std::collections::{BTreeMap, HashMap};

use super::columns::{Columns, integer, text};
use crate::{
    error::Result,
    store::{Manifest, RunFolder},
};

/// The dataset's class of each image, by image id.
pub(super) fn labels(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Option<i32>>> {
    let mut found = Vec::new();
    for batch in (run.read(manifest, "images")).columns(&["image_id", "label"]) {
        let batch = batch?;
        let columns = Columns::of(run, "images", &batch);
        let labels = columns.integers("label")?;
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            if id as usize != found.len() {
                return Err(columns.unexpected(
                    format!("image {}, ids being ranks", found.len()),
                    format!("image {id}"),
                ));
            }
            found.push(integer(&labels, row).and_then(|label| i32::try_from(label).ok()));
        }
    }
    Ok(found)
}

/// Names of classes by their number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClassNames {
    pub dataset: BTreeMap<i32, String>,
    /// Empty where the network names none.
    pub network: BTreeMap<i32, String>,
}

impl ClassNames {
    pub fn read(run: &RunFolder, manifest: &Manifest) -> Result<ClassNames> {
        let mut found = ClassNames::default();
        for batch in run.read(manifest, "classes") {
            let batch = batch?;
            let columns = Columns::of(run, "classes", &batch);
            let (classes, names) = (columns.integers("class")?, columns.texts("name")?);
            let sources = columns.texts("source")?;
            for row in 0..batch.num_rows() {
                let class = integer(&classes, row).and_then(|class| i32::try_from(class).ok());
                if let (Some(class), Some(name)) = (class, text(&names, row)) {
                    let of = if text(&sources, row) == Some("model") {
                        &mut found.network
                    } else {
                        &mut found.dataset
                    };
                    of.insert(class, name.to_string());
                }
            }
        }
        Ok(found)
    }

    /// The network's class of each of the dataset's that has one of the same name; names that several classes of the network
    /// share are left out, as everywhere.
    pub fn network_of_dataset(&self) -> BTreeMap<i32, i32> {
        let mut by_name: HashMap<&str, Vec<i32>> = HashMap::new();
        for (class, name) in &self.network {
            by_name.entry(name).or_default().push(*class);
        }
        let known = self.dataset.iter().filter_map(|(label, name)| {
            if self.network.is_empty() {
                // A network without names is taken to name its classes so.
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
}

/// `class 7` where there is no name.
pub(super) fn name_of(names: &BTreeMap<i32, String>, class: i32) -> String {
    let name = names.get(&class).cloned();
    name.unwrap_or_else(|| format!("class {class}"))
}
