//! Drafts a `pipeline.toml` from a dataset and a network.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use prospect_common::{
    Error, Result,
    text::{count, escaped, shortened},
};
use prospect_config::{self as config, Setting};
use prospect_dataset::{
    image::{InputOverrides, Size},
    listing::{self, EXTENSIONS, Links},
    metadata::Metadata,
    votes::LabelColumns,
};
use prospect_engine::tables::classes::network_classes;
use prospect_model::{
    ModelInfo,
    device::{self, DeviceChoice},
    inspect,
};
use prospect_stages::scan::from_folders;
use toml::Value;

/// Maximum number of names listed.
const MAX_NAMES: usize = 10;

/// File names of metadata tables, in the image folder or its parent.
const TABLES: [&str; 7] = [
    "metadata.csv",
    "metadata.jsonl",
    "metadata.tsv",
    "metadata.parquet",
    "labels.csv",
    "labels.tsv",
    "labels.parquet",
];

/// ImageNet's mean, as used for torchvision's networks.
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

/// A configuration drafted from the images, the metadata and the network.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Names and descriptions of what was found.
    pub facts: Vec<(&'static str, String)>,
    /// Warnings for the user to check.
    pub warnings: Vec<String>,
    settings: Vec<Setting>,
}

impl Draft {
    /// Inspects the images, the metadata and the network for a configuration in `folder`.
    ///
    /// # Errors
    /// No images, invalid metadata or an invalid network.
    pub fn inspect(
        folder: &Path,
        images: &Path,
        metadata: Option<&Path>,
        model: Option<&Path>,
    ) -> Result<Draft> {
        let mut draft = Draft::default();
        let labels = draft.inspect_images(folder, images, metadata)?;
        if let Some(path) = model {
            draft.inspect_network(folder, path, &labels)?;
        }
        let device = device::name(device::choose(DeviceChoice::Auto)?);
        draft.set(
            "model",
            "device",
            None,
            format!("Found: \"auto\" selects {device}."),
        );
        draft.facts.push(("device", device));
        Ok(draft)
    }

    /// The configuration's text, dated `date`.
    pub fn to_toml(&self, date: &str) -> String {
        let mut head = vec![format!(
            "Settings of a Prospect run, written by `prospect init` on {date}. Found:"
        )];
        head.extend(
            self.facts
                .iter()
                .map(|(name, fact)| format!("  {name}: {fact}")),
        );
        config::to_toml(&head, &self.settings)
    }

    fn set(
        &mut self,
        section: &'static str,
        key: &'static str,
        value: Option<Value>,
        remark: impl Into<String>,
    ) {
        let remark = remark.into();
        self.settings.push(Setting {
            section,
            key,
            value,
            remarks: (!remark.is_empty()).then_some(remark).into_iter().collect(),
        });
    }

    /// Inspects images, labels and splits; returns the label names.
    fn inspect_images(
        &mut self,
        folder: &Path,
        images: &Path,
        metadata: Option<&Path>,
    ) -> Result<Vec<String>> {
        let listing = listing::walk(images, &folder.join("runs"), Links::Follow)?;
        if listing.entries.is_empty() {
            return Err(Error::Missing {
                what: format!("an image below {}", images.display()),
                next: format!(
                    "choose a folder of {} files with --images",
                    EXTENSIONS.join(", ")
                ),
            });
        }
        let paths: Vec<&str> = listing
            .entries
            .iter()
            .map(|entry| entry.path.as_str())
            .collect();
        let n = paths.len();
        let mut fact = format!("{} in {}", count(n as u64), shown(images));
        if listing.n_other > 0 {
            fact += &format!(", and {} other files", count(listing.n_other));
        }
        if listing.n_hidden > 0 {
            fact += &format!("; {} hidden ones are left out", count(listing.n_hidden));
        }
        self.facts.push(("images", fact));
        self.warnings.extend(
            listing
                .warnings
                .iter()
                .map(|warning| escaped(warning).into_owned()),
        );
        self.set("images", "dir", Some(path_value(folder, images)?), "");

        let table = match metadata {
            Some(path) => Some((path.to_path_buf(), read_table(path, images, &paths)?)),
            None => self.search_table(images, &paths),
        };
        let by_folder = from_folders(&paths).named;
        let in_table = |path: &str| {
            let (table, row) = table
                .as_ref()
                .and_then(|(_, table)| Some((table, table.row(path)?)))?;
            Some((table.label(row), table.split(row)))
        };
        let from_table = |path: &&str| in_table(path).and_then(|(label, _)| label);
        let table_labels = tally(paths.iter().filter_map(from_table));
        let folder_labels = tally(by_folder.iter().filter_map(|named| named.label));
        let splits = paths.iter().zip(&by_folder).filter_map(|(path, named)| {
            in_table(path).and_then(|(_, split)| split).or(named.split)
        });
        let splits = tally(splits);

        if let Some((path, table)) = &table {
            let rows = paths
                .iter()
                .filter(|path| table.row(path).is_some())
                .count();
            let columns: Vec<_> = table.attributes().map(|(name, _)| escaped(name)).collect();
            let columns = match columns.is_empty() {
                true => String::new(),
                false => format!("; its columns are {}", columns.join(", ")),
            };
            let fact = format!(
                "{} has rows for {} of the images{columns}",
                shown(path),
                count(rows as u64)
            );
            self.set(
                "images",
                "metadata",
                Some(path_value(folder, path)?),
                format!("Found: {fact}."),
            );
            self.facts.push(("metadata", fact));
        }
        let only_folder = folder_labels.keys().next().map(|top| top.to_string());
        let (word, labels, place) = match (table_labels.len(), folder_labels.len()) {
            (1.., _) => ("metadata", table_labels, "the metadata's column label"),
            (0, 2..) => ("folder", folder_labels, "the folders' names"),
            _ => ("none", BTreeMap::new(), ""),
        };
        if let (true, Some(top)) = (labels.is_empty(), only_folder) {
            let prefix = format!("{top}/");
            let below: Vec<&str> = paths
                .iter()
                .filter_map(|path| path.strip_prefix(&prefix))
                .collect();
            let deeper = tally(
                from_folders(&below)
                    .named
                    .iter()
                    .filter_map(|named| named.label),
            );
            if deeper.len() > 1 {
                self.warnings.push(format!(
                    "{} has several folders; if they are the classes, choose it with --images",
                    shown(&images.join(&top))
                ));
            }
        }
        let fact = match labels.len() {
            0 => "none: the images are in one folder, and no table has a column label".to_string(),
            n => format!(
                "{} classes by {place}: {}",
                count(n as u64),
                tally_text(&labels)
            ),
        };
        self.set(
            "images",
            "labels",
            Some(word.into()),
            format!("Found: {fact}."),
        );
        self.facts.push(("labels", fact));
        if !splits.is_empty() {
            self.facts.push(("splits", tally_text(&splits)));
        }
        Ok(labels.into_keys().map(str::to_string).collect())
    }

    /// The metadata table in one of the usual places, if any.
    fn search_table(&mut self, images: &Path, paths: &[&str]) -> Option<(PathBuf, Metadata)> {
        let beside = images.parent().unwrap_or(Path::new(""));
        let places = [images, beside].into_iter();
        let candidates = places.flat_map(|folder| TABLES.map(|name| folder.join(name)));
        for path in candidates.filter(|path| path.is_file()) {
            match read_table(&path, images, paths) {
                Ok(table) if paths.iter().any(|image| table.row(image).is_some()) => {
                    return Some((path, table));
                }
                Ok(_) => (self.warnings).push(format!(
                    "unused table {}: it lists none of the images",
                    shown(&path)
                )),
                Err(error) => self.warnings.push(format!(
                    "unused table: {}",
                    shortened(&error.to_string(), 250)
                )),
            }
        }
        None
    }

    fn inspect_network(&mut self, folder: &Path, path: &Path, labels: &[String]) -> Result<()> {
        let info = prospect_config::open_model(path, None)?;
        let (height, width) = info.graph.input_size();
        let mut fact = format!(
            "{}: input 3x{height}x{width}, {} classes",
            shown(path),
            count(info.graph.n_classes().unsigned_abs())
        );
        let classes = &info.sidecar.classes;
        if !classes.is_empty() {
            fact += &format!(" ({})", listed(classes.iter().map(String::as_str)));
            if !labels.is_empty() {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                let known = network_classes(&labels, (0..).zip(classes)).len();
                fact += &match known {
                    0 => "; none of the labels is among them".to_string(),
                    n if n == labels.len() => "; all labels are among them".to_string(),
                    n => format!(
                        "; {} of the labels are among them, {} are not",
                        count(n as u64),
                        count((labels.len() - n) as u64)
                    ),
                };
            }
        }
        self.set(
            "model",
            "path",
            Some(path_value(folder, path)?),
            format!("Found: {fact}."),
        );
        self.facts.push(("network", fact));
        for line in inspect::defaults(&info) {
            let Some((name, layers)) = line.split_once(": ") else {
                continue;
            };
            let (section, key, name) = match name {
                "tapped layers" => ("extract", "layers", "layers"),
                "feature layer" => ("extract", "feature_layer", "features"),
                _ => ("explain", "layers", "explained"),
            };
            self.set(
                section,
                key,
                None,
                format!("Found: \"auto\" selects {layers}."),
            );
            let names: Vec<&str> = layers.split(", ").collect();
            self.facts.push((
                name,
                match (key, names.as_slice()) {
                    ("layers", [first, _, _, .., last]) if name == "layers" => {
                        format!("{} layers, from {first} to {last}", names.len())
                    }
                    _ => layers.to_string(),
                },
            ));
        }
        self.complete_input(&info);
        Ok(())
    }

    /// Sets preprocessing that neither the sidecar nor the network determines.
    fn complete_input(&mut self, info: &ModelInfo) {
        if info.input_spec(&InputOverrides::default()).is_ok() {
            return;
        }
        let sidecar = &info.sidecar.input;
        let (height, width) = info.graph.input_size();
        let guess = "Not in the model's sidecar: the usual value; check it.";
        let short = (height.min(width) as f64 / 0.875).round() as i64;
        if sidecar.resize.is_none() {
            self.set("input", "resize", Some(short.into()), guess);
        }
        let crop = match sidecar.crop {
            Some(Size::Short(side)) => (i64::from(side), i64::from(side)) == (height, width),
            Some(Size::Exact {
                height: h,
                width: w,
            }) => (i64::from(h), i64::from(w)) == (height, width),
            _ => false,
        };
        if !crop {
            let size = match height == width {
                true => Value::from(height),
                false => vec![height, width].into(),
            };
            self.set(
                "input",
                "crop",
                Some(size),
                "The network's exported input size.",
            );
        }
        let numbers = |numbers: [f64; 3]| Some(Value::from(numbers.to_vec()));
        if sidecar.mean.is_none() {
            self.set("input", "mean", numbers(IMAGENET_MEAN), guess);
        }
        if sidecar.std.is_none() {
            self.set("input", "std", numbers(IMAGENET_STD), guess);
        }
        self.warnings.push(format!(
            "{} lacks part of the preprocessing: check [input]",
            shown(&info.path.with_extension("json"))
        ));
    }
}

/// A metadata table, with labels if it has them, and the rows of these images.
fn read_table(path: &Path, images: &Path, paths: &[&str]) -> Result<Metadata> {
    let columns = |label| LabelColumns {
        label,
        ..LabelColumns::default()
    };
    let mut table = Metadata::read(path, &columns(true), &[])
        .or_else(|_| Metadata::read(path, &columns(false), &[]))?;
    table.pair(paths, images);
    Ok(table)
}

/// Counts per name.
fn tally<'t>(names: impl Iterator<Item = &'t str>) -> BTreeMap<&'t str, u64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// `dress 412, hat 40 and 8 more`, most frequent first.
fn tally_text(counts: &BTreeMap<&str, u64>) -> String {
    let mut names: Vec<(&str, u64)> = counts.iter().map(|(name, n)| (*name, *n)).collect();
    names.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let names: Vec<String> = names
        .iter()
        .map(|(name, n)| format!("{name} {}", count(*n)))
        .collect();
    listed(names.iter().map(String::as_str))
}

fn listed<'t>(names: impl ExactSizeIterator<Item = &'t str>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown: Vec<_> = names
        .take(MAX_NAMES)
        .map(|name| escaped(name).into_owned())
        .collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {} more", shown.join(", "), count(more as u64)),
    }
}

fn shown(path: &Path) -> String {
    escaped(&path.display().to_string()).into_owned()
}

/// A path as a setting in `folder`: relative if below it, else absolute.
fn path_value(folder: &Path, path: &Path) -> Result<Value> {
    let absolute = |path: &Path| {
        let plain = !path.components().any(|part| part.as_os_str() == "..");
        match plain {
            true => std::path::absolute(path),
            false => path.canonicalize(),
        }
        .map_err(Error::io(path, "looking for"))
    };
    let path = absolute(path)?;
    // The folder may not exist yet.
    let folder = absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let named = match path.strip_prefix(folder) {
        Ok(below) if below.as_os_str().is_empty() => Path::new("."),
        Ok(below) => below,
        Err(_) => &path,
    };
    let text = named.to_str().ok_or_else(|| {
        Error::invalid(
            named,
            "a path in UTF-8",
            "other bytes",
            "rename it, or create a link to it",
        )
    })?;
    Ok(Value::from(text))
}
