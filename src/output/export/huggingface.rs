//! ImageFolder of Hugging Face `datasets`: a folder a split, each with the images under names of our own and a
//! `metadata.parquet` whose column `file_name` counts from that folder.

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
    Folder, Images, Outline, Record, Told, Writer,
    columns::{self, Columns, Table},
    record::kinds,
    writer::literal,
};

/// With more splits than this they are left to the column `split`.
const MOST_SPLITS: usize = 64;
/// How the loader knows a split by its folder's name.
const KNOWN: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];
/// For images without a split beside others that have one.
const NO_SPLIT: &str = "unsplit";

pub(super) struct Huggingface {
    outline: Outline,
    how: Images,
    /// Folder of each split; empty where all go into `train`.
    folders: BTreeMap<Option<String>, String>,
    tables: BTreeMap<String, Table>,
    rows: u64,
    gone: u64,
    /// Why the first of them is.
    reason: String,
}

impl Huggingface {
    pub fn new(outline: Outline, how: Images) -> Huggingface {
        Huggingface {
            folders: folders(&outline.splits),
            outline,
            how,
            tables: BTreeMap::new(),
            rows: 0,
            gone: 0,
            reason: String::new(),
        }
    }

    /// The folder of a record's split; empty: the export's own.
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
                None => Err("its path leaves the folder of images".to_string()),
            };
            if let Err(reason) = placed {
                if self.gone == 0 {
                    self.reason = format!("{}: {reason}", escaped(&record.path));
                }
                self.gone += 1;
                return Ok(());
            }
        }
        // Not needed any more, and a row group of them is held in memory.
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
                let told = HashMap::from([("huggingface".to_string(), features(&self.outline))]);
                entry.insert(Table::new(folder, &name, of, told)?)
            }
        };
        self.rows += 1;
        table.push(&self.outline, record)
    }

    fn finish(self: Box<Self>, folder: &Folder) -> Result<Told> {
        if self.rows == 0 && self.gone > 0 {
            return Err(Error::invalid(
                &self.outline.images,
                "the images of the run",
                format!("none of them ({})", self.reason),
                "correct [images] dir, or run `prospect run`",
            ));
        }
        let splits: Vec<String> = self.tables.keys().cloned().collect();
        for (_, table) in self.tables {
            table.finish(&self.outline)?;
        }
        let mut remarks = Vec::new();
        if self.gone > 0 {
            let gone = counted(self.gone, "image");
            remarks.push(format!("left out {gone} not there ({})", self.reason));
        }
        if self.how == Images::None {
            remarks.push("put metadata.parquet into the folder of images first".to_string());
            return Ok(Told {
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
        Ok(Told {
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

/// `000/000123.jpg`: no name of a stranger's, which could be taken for a pattern or a split.
fn file_name(record: &Record) -> String {
    let id = record.image_id;
    let own = Path::new(&record.path)
        .extension()
        .map(|own| own.to_string_lossy().to_lowercase());
    let own = own.as_deref().unwrap_or_default();
    let extension = EXTENSIONS.iter().find(|one| **one == own).unwrap_or(&"jpg");
    format!("{:03}/{id:06}.{extension}", id / 1000)
}

/// A folder for each split, by a name that is safe in paths, patterns and YAML.
fn folders(splits: &[Option<String>]) -> BTreeMap<Option<String>, String> {
    if splits.len() > MOST_SPLITS || splits.iter().all(Option::is_none) {
        return BTreeMap::new();
    }
    let mut taken: BTreeSet<String> = KNOWN.iter().map(|(name, _)| name.to_string()).collect();
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
        while name.is_empty() || !taken.insert(name.clone()) {
            at += 1;
            name = format!("{safe}_{at}");
        }
        name
    };
    let folders = splits.iter().map(|split| (split.clone(), folder(split)));
    folders.collect()
}

/// The dataset card: `load_dataset(DIR)` takes the splits from it.
fn card(splits: &[String]) -> String {
    let files = splits
        .iter()
        .map(|split| format!("  - split: \"{split}\"\n    path: \"{split}/**\"\n"));
    let files: String = files.collect();
    format!(
        "---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n\
         Written by Prospect. `path` is the image's file in the dataset, `prediction` the network's class, `probe` that of a \
         linear classifier which has not seen the image's label, `label_score` how likely the label is right (0 to 1), \
         `findings` and `evidence` what is wrong with the image.\n"
    )
}

/// What the loader is told of the columns: labels are classes with names. The others it sees by itself.
fn features(outline: &Outline) -> String {
    let mut columns = Map::new();
    if !outline.classes.is_empty() {
        let label = json!({"names": outline.classes, "_type": "ClassLabel"});
        columns.insert("label".to_string(), label);
    }
    json!({"info": {"features": Value::Object(columns)}}).to_string()
}

/// Rows of images that are in the export.
fn under_ids(outline: &Outline, records: &[Record]) -> Columns {
    rows(outline, records, file_name)
}

/// Rows of images that are where they were.
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
    all.extend(columns::places(outline, records));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_become_folders_that_the_loader_knows() {
        let of = |splits: &[Option<&str>]| -> Vec<String> {
            let splits: Vec<Option<String>> =
                splits.iter().map(|one| one.map(String::from)).collect();
            folders(&splits).into_values().collect()
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
        assert!(folders(&many).is_empty());
    }

    #[test]
    fn names_are_ours_and_keep_known_extensions() {
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
    fn the_card_names_every_split() {
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
