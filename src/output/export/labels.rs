//! The labels with the reviews applied: `labels.csv`, `labels.parquet`, and links to the images in a folder per class.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use prospect_common::{Error, Result, text::counted};

use super::{
    Folder, Images, Outline, Record, Summary, Writer,
    columns::{Columns, Table, texts},
    csv_cells::{Csv, optional},
    huggingface::{file_name, split_folders},
    writer::literal,
};

const COLUMNS: [&str; 5] = ["path", "given_label", "label", "verdict", "split"];
/// Folder of the links.
const LINKS: &str = "images";

/// Without images that have no label, or a wrong one whose right one is unknown.
pub(super) struct Labels {
    outline: Outline,
    how: Images,
    /// Folder of each split; empty without splits.
    splits: BTreeMap<Option<String>, String>,
    csv: Csv,
    table: Table,
    rows: u64,
    confirmed: u64,
    corrected: u64,
    unknown: u64,
    unlabelled: u64,
    missing: u64,
}

impl Labels {
    pub fn new(folder: &Folder, outline: Outline, how: Images) -> Result<Labels> {
        if how != Images::None {
            for class in &outline.classes {
                check_folder_name(class)?;
            }
        }
        Ok(Labels {
            how,
            splits: split_folders(&outline.splits),
            csv: Csv::new(folder.create("labels.csv")?, &COLUMNS)?,
            table: Table::new(folder, "labels.parquet", columns, HashMap::new())?,
            outline,
            rows: 0,
            confirmed: 0,
            corrected: 0,
            unknown: 0,
            unlabelled: 0,
            missing: 0,
        })
    }

    /// `train/hat/000/000123.jpg`
    fn link(&self, record: &Record, label: i32) -> String {
        let name = format!("{}/{}", self.outline.class(label), file_name(record));
        match self.splits.get(&record.split) {
            Some(split) => format!("{split}/{name}"),
            None => name,
        }
    }
}

impl Writer for Labels {
    fn write(&mut self, folder: &Folder, record: Record) -> Result<()> {
        let Some(given) = record.label else {
            self.unlabelled += 1;
            return Ok(());
        };
        let Some(label) = right_label(&record) else {
            self.unknown += 1;
            return Ok(());
        };
        if self.how != Images::None {
            let link = self.link(&record, label);
            let placed = match self.outline.file(&record) {
                Some(source) => folder
                    .image(&source, &format!("{LINKS}/{link}"), self.how)?
                    .is_ok(),
                None => false,
            };
            if !placed {
                self.missing += 1;
                return Ok(());
            }
        }
        self.rows += 1;
        match record.review {
            Some(_) if label == given => self.confirmed += 1,
            Some(_) => self.corrected += 1,
            None => {}
        }
        let [path, given, label, verdict, split] = cells(&self.outline, &record);
        self.csv.row([
            optional(path.as_deref()),
            optional(given.as_deref()),
            optional(label.as_deref()),
            Cow::Borrowed(verdict.as_deref().unwrap_or_default()),
            optional(split.as_deref()),
        ])?;
        self.table.push(&self.outline, record)
    }

    fn finish(self: Box<Self>, folder: &Folder) -> Result<Summary> {
        self.csv.finish()?;
        self.table.finish(&self.outline)?;
        let mut remarks = vec![format!(
            "{} corrected and {} confirmed by reviews",
            counted(self.corrected, "label"),
            counted(self.confirmed, "label")
        )];
        let left_out = [
            (
                self.unknown,
                "whose label is wrong and the right one unknown",
            ),
            (self.unlabelled, "without a label"),
            (self.missing, "whose file is missing"),
        ];
        for (n, why) in left_out.into_iter().filter(|(n, _)| *n > 0) {
            remarks.push(format!("left out {} {why}", counted(n, "image")));
        }
        let open = match self.how {
            Images::None => format!(
                "pandas.read_csv({})",
                literal(&folder.target().join("labels.csv"))
            ),
            _ => format!(
                "datasets.load_dataset(\"imagefolder\", data_dir={})",
                literal(&folder.target().join(LINKS))
            ),
        };
        Ok(Summary {
            rows: self.rows,
            open,
            remarks,
        })
    }
}

/// The reviewed label, or else the given one; `None` if neither is right.
fn right_label(record: &Record) -> Option<i32> {
    match &record.review {
        Some(review) => review.label,
        None => record.label,
    }
}

/// In the order of [`COLUMNS`].
fn cells(outline: &Outline, record: &Record) -> [Option<String>; COLUMNS.len()] {
    [
        Some(record.path.clone()),
        record.label.map(|label| outline.class(label)),
        right_label(record).map(|label| outline.class(label)),
        (record.review.as_ref()).map(|review| review.verdict.clone()),
        record.split.clone(),
    ]
}

fn columns(outline: &Outline, records: &[Record]) -> Columns {
    let rows: Vec<_> = records
        .iter()
        .map(|record| cells(outline, record))
        .collect();
    let column = |at: usize| texts(rows.iter().map(move |row| row[at].clone()));
    let named = COLUMNS.iter().enumerate();
    named
        .map(|(at, name)| (name.to_string(), column(at)))
        .collect()
}

/// Class names come from metadata, and could point out of the export.
fn check_folder_name(class: &str) -> Result<()> {
    if !matches!(class, "" | "." | "..") && !class.contains(['/', '\\', '\0']) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "class {class:?} is not a possible name of a folder; write the labels without links with --images none"
    )))
}
