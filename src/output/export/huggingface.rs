//! ImageFolder of Hugging Face `datasets`: one folder per split, each with renamed images and a `metadata.parquet` whose column
//! `file_name` is relative to that folder.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    path::Path,
    sync::Arc,
};

use arrow::array::{ArrayRef, Int64Array};
use prospect_common::{
    Error, Result,
    text::{counted, escaped},
};
use prospect_dataset::listing::EXTENSIONS;
use serde_json::{Map, Value, json};

use super::{
    Folder, Images, Outline, Record, Summary, Writer,
    columns::{self, Columns, Table},
    record::kinds,
    writer::literal,
};

/// Maximum number of split folders; more splits are only in the column `split`.
const MAX_SPLITS: usize = 64;
/// Folder names by which the loader recognises splits.
const KNOWN: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];
/// For images without a split, if others have one.
const NO_SPLIT: &str = "unsplit";

pub(super) struct Huggingface {
    outline: Outline,
    how: Images,
    /// Folder of each split; empty if all are in `train`.
    folders: BTreeMap<Option<String>, String>,
    tables: BTreeMap<String, Table>,
    rows: u64,
    missing: u64,
    /// Why the first one is missing.
    reason: String,
}

impl Huggingface {
    pub fn new(outline: Outline, how: Images) -> Huggingface {
        Huggingface {
            folders: split_folders(&outline.splits),
            outline,
            how,
            tables: BTreeMap::new(),
            rows: 0,
            missing: 0,
            reason: String::new(),
        }
    }

    /// The folder of a record's split; empty for the export's own folder.
    fn folder_of(&self, record: &Record) -> String {
        if self.how == Images::None {
            return String::new();
        }
        let own = self.folders.get(&record.split).cloned();
        own.unwrap_or_else(|| "train".to_string())
    }
}

impl Writer for Huggingface {
    fn write(&mut self, folder: &Folder, mut record: Record) -> Result<()> {
        let split = self.folder_of(&record);
        if self.how != Images::None {
            let name = file_name(&record);
            let source = self.outline.file(&record);
            let placed = match source {
                Some(source) => folder.image(&source, &format!("{split}/{name}"), self.how)?,
                None => Err("its path is outside the image folder".to_string()),
            };
            if let Err(reason) = placed {
                if self.missing == 0 {
                    self.reason = format!("{}: {reason}", escaped(&record.path));
                }
                self.missing += 1;
                return Ok(());
            }
        }
        // Not needed, and a whole row group is kept in memory.
        record.thumbnail = None;
        let table = match self.tables.entry(split) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let name = match entry.key().as_str() {
                    "" => "metadata.parquet".to_string(),
                    split => format!("{split}/metadata.parquet"),
                };
                let of = if self.how == Images::None {
                    in_place
                } else {
                    under_ids
                };
                let info = HashMap::from([("huggingface".to_string(), features(&self.outline))]);
                entry.insert(Table::new(folder, &name, of, info)?)
            }
        };
        self.rows += 1;
        table.push(&self.outline, record)
    }

    fn finish(self: Box<Self>, folder: &Folder) -> Result<Summary> {
        if self.rows == 0 && self.missing > 0 {
            return Err(Error::invalid(
                &self.outline.images,
                "the run's images",
                format!("none of them ({})", self.reason),
                "correct [images] dir, or run `prospect run`",
            ));
        }
        let splits: Vec<String> = self.tables.keys().cloned().collect();
        for (_, table) in self.tables {
            table.finish(&self.outline)?;
        }
        let mut remarks = Vec::new();
        if self.missing > 0 {
            let missing = counted(self.missing, "missing image");
            remarks.push(format!("skipped {missing} ({})", self.reason));
        }
        if self.how == Images::None {
            remarks.push("put metadata.parquet into the image folder first".to_string());
            return Ok(Summary {
                rows: self.rows,
                open: imagefolder(&self.outline.images),
                remarks,
            });
        }
        let mut output = folder.create("README.md")?;
        output.bytes(card(&splits).as_bytes())?;
        output.finish()?;
        let known = |split: &String| KNOWN.iter().any(|(name, _)| name == split);
        let open = match splits.iter().all(known) {
            true => imagefolder(folder.target()),
            false => format!("datasets.load_dataset({})", literal(folder.target())),
        };
        remarks.push(format!("splits {}", splits.join(", ")));
        Ok(Summary {
            rows: self.rows,
            open,
            remarks,
        })
    }
}

fn imagefolder(dir: &Path) -> String {
    format!(
        "datasets.load_dataset(\"imagefolder\", data_dir={})",
        literal(dir)
    )
}

/// `000/000123.jpg`: never the original name, which could look like a pattern or a split.
pub(super) fn file_name(record: &Record) -> String {
    let id = record.image_id;
    let own = Path::new(&record.path)
        .extension()
        .map(|own| own.to_string_lossy().to_lowercase());
    let own = own.as_deref().unwrap_or_default();
    let extension = EXTENSIONS.iter().find(|one| **one == own).unwrap_or(&"jpg");
    format!("{:03}/{id:06}.{extension}", id / 1000)
}

/// A folder for each split, none without splits, with a name that is safe in paths, patterns and YAML.
pub(super) fn split_folders(splits: &[Option<String>]) -> BTreeMap<Option<String>, String> {
    if splits.len() > MAX_SPLITS || splits.iter().all(Option::is_none) {
        return BTreeMap::new();
    }
    let mut used: BTreeSet<String> = KNOWN.iter().map(|(name, _)| name.to_string()).collect();
    let mut folder = |split: &Option<String>| {
        let own = split.as_deref().unwrap_or(NO_SPLIT);
        let lower = own.to_lowercase();
        if let Some((name, _)) = KNOWN.iter().find(|(_, all)| all.contains(&lower.as_str())) {
            return name.to_string();
        }
        let safe = own.chars().take(60).map(|one| match one {
            one if one.is_ascii_alphanumeric() => one,
            _ => '_',
        });
        let safe: String = safe.collect();
        let mut name = safe.clone();
        let mut at = 1;
        while name.is_empty() || !used.insert(name.clone()) {
            at += 1;
            name = format!("{safe}_{at}");
        }
        name
    };
    let folders = splits.iter().map(|split| (split.clone(), folder(split)));
    folders.collect()
}

/// The dataset card, from which `load_dataset(DIR)` reads the splits.
fn card(splits: &[String]) -> String {
    let files = splits
        .iter()
        .map(|split| format!("  - split: \"{split}\"\n    path: \"{split}/**\"\n"));
    let files: String = files.collect();
    format!(
        "---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n\
         Written by Prospect. `path` is the image's file in the dataset, `prediction` the network's class, `probe` the class \
         predicted by a linear classifier that has not seen the image's label, `label_score` ranks the labels from 0, the worst, to \
         1, `findings` and `evidence` the image's problems.\n"
    )
}

/// The loader's column types: labels are named classes. It infers the others.
fn features(outline: &Outline) -> String {
    let mut columns = Map::new();
    if !outline.classes.is_empty() {
        let label = json!({"names": outline.classes, "_type": "ClassLabel"});
        columns.insert("label".to_string(), label);
    }
    json!({"info": {"features": Value::Object(columns)}}).to_string()
}

/// Rows for images in the export.
fn under_ids(outline: &Outline, records: &[Record]) -> Columns {
    rows(outline, records, file_name)
}

/// Rows for images in their original folder.
fn in_place(outline: &Outline, records: &[Record]) -> Columns {
    rows(outline, records, |record| record.path.clone())
}

fn rows(outline: &Outline, records: &[Record], name: fn(&Record) -> String) -> Columns {
    let names = columns::texts(records.iter().map(|record| Some(name(record))));
    let labels = records.iter().map(|record| record.label.map(i64::from));
    let labels: ArrayRef = Arc::new(labels.collect::<Int64Array>());
    let evidence = records.iter().map(|record| {
        let all = record.findings.iter();
        all.map(|found| found.evidence.as_str()).collect()
    });
    let mut all = vec![
        ("file_name".to_string(), names),
        ("label".to_string(), labels),
    ];
    all.extend(columns::common(outline, records));
    all.push((
        "findings".to_string(),
        columns::text_lists(records.iter().map(kinds)),
    ));
    all.push(("evidence".to_string(), columns::text_lists(evidence)));
    all.extend(columns::coordinates(outline, records));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_become_folders_known_to_the_loader() {
        let of = |splits: &[Option<&str>]| -> Vec<String> {
            let splits: Vec<Option<String>> =
                splits.iter().map(|one| one.map(String::from)).collect();
            split_folders(&splits).into_values().collect()
        };
        assert_eq!(
            of(&[Some("Dev"), Some("TEST"), Some("training")]),
            ["validation", "test", "train"]
        );
        assert_eq!(of(&[None]), Vec::<String>::new());
        assert_eq!(
            of(&[
                None,
                Some(""),
                Some("../x"),
                Some(".. x"),
                Some("test hard"),
                Some("no: *")
            ]),
            ["unsplit", "_2", "___x_2", "___x", "no___", "test_hard"]
        );
        let many: Vec<Option<String>> = (0..99).map(|n| Some(n.to_string())).collect();
        assert!(split_folders(&many).is_empty());
    }

    #[test]
    fn file_names_are_replaced_except_known_extensions() {
        let name = |path: &str| {
            file_name(&Record {
                image_id: 1_234_567,
                path: path.into(),
                ..Record::default()
            })
        };
        assert_eq!(name("test/[a]*.PNG"), "1234/1234567.png");
        assert_eq!(name("a.sh\n"), "1234/1234567.jpg");
    }

    #[test]
    fn the_card_lists_every_split() {
        let card = card(&["test".to_string(), "no".to_string()]);
        assert!(
            card.starts_with(
                "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: \"test\"\n    path: \"test/**\"\n"
            ),
            "{card}"
        );
        assert!(card.contains("split: \"no\""), "{card}");
    }
}
