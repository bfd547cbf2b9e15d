//! The user's image metadata: CSV, JSON or Parquet, one row per image, with the image in the column `file_name`.
//!
//! `label` and `split` are reserved; every other column is an attribute: integers, numbers, true/false or text.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    path::Path,
};

use arrow::{
    array::{Array, ArrayRef, StringArray, UInt32Array},
    compute::take,
    datatypes::DataType,
    error::ArrowError,
};
use prospect_common::{Error, Result, text};

use crate::{
    multi_label::several_classes,
    pairing::pair,
    user_table::{Attribute, UserTable},
    votes::{LabelColumns, Votes},
};

/// Words for a missing label or split: those that pandas writes and reads as missing. A class may be called `none`.
const MISSING: [&str; 12] = [
    "NaN", "nan", "-NaN", "-nan", "NA", "<NA>", "N/A", "n/a", "#N/A", "NULL", "null", "None",
];

/// The metadata by file name.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    rows: HashMap<String, u32>,
    labels: Option<StringArray>,
    /// Cells of the column `label` that stand for no label, such as `NaN`, and their number.
    pub no_labels: BTreeMap<String, u64>,
    /// The labels of several annotators, if there are columns of them.
    pub votes: Option<Votes>,
    splits: Option<StringArray>,
    attributes: Vec<Attribute>,
    /// Columns of unsupported types, with their types.
    pub ignored: Vec<String>,
    /// What was found out about the file, such as its encoding or the spelling of its paths.
    pub notes: Vec<String>,
    /// BLAKE3 of the file; none without metadata.
    pub digest: Option<String>,
}

impl Metadata {
    /// Reads a table by its content.
    ///
    /// An attribute with a `reserved` name is renamed to `metadata_<name>`. With votes, but without a column `label`, the label
    /// is the majority.
    ///
    /// # Errors
    /// Files of another format; no column `file_name`; two rows for one file; missing or unsuitable `columns`.
    pub fn read(path: &Path, columns: &LabelColumns, reserved: &[&str]) -> Result<Metadata> {
        let refuse =
            |expected: &str, found: String, next: &str| Error::invalid(path, expected, found, next);
        let mut table = UserTable::read(path, columns)?;
        let files = table.take_file_names()?;
        let votes = Votes::take(&mut table, columns)?;
        let labels = match columns.label {
            true => Some(labels(&mut table, files.len(), votes.as_ref())?),
            false => None,
        };
        let mut no_labels = BTreeMap::new();
        let labels = labels.map(|labels| cleaned(&labels, &mut no_labels));
        let splits = table.take_text("split")?;
        let splits = splits.map(|splits| cleaned(&splits, &mut BTreeMap::new()));
        let mut rows = HashMap::with_capacity(files.len());
        for (row, name) in files.into_iter().enumerate() {
            let shown = text::escaped(&name).into_owned();
            if let Some(first) = rows.insert(name, row as u32) {
                return Err(refuse(
                    "one row per image",
                    format!(
                        "{} and {} are both about {shown}",
                        table.place(first as usize),
                        table.place(row)
                    ),
                    "remove one of them",
                ));
            }
        }
        let mut used: BTreeSet<String> = reserved.iter().map(|name| name.to_string()).collect();
        used.extend(table.columns.iter().map(|column| column.name.clone()));
        for column in &mut table.columns {
            if reserved.contains(&column.name.as_str()) {
                let mut name = format!("metadata_{}", column.name);
                while !used.insert(name.clone()) {
                    name.push('_');
                }
                column.name = name;
            }
        }
        let ignored = table.others.iter();
        Ok(Metadata {
            rows,
            labels,
            no_labels,
            votes,
            splits,
            ignored: ignored
                .map(|column| format!("{} ({})", column.name, column.values.data_type()))
                .collect(),
            attributes: table.columns,
            notes: table.notes,
            digest: Some(table.digest),
        })
    }

    /// Finds the rows of images whose paths, relative to `folder`, the table spells otherwise, and notes how.
    pub fn pair(&mut self, paths: &[&str], folder: &Path) {
        let rows = mem::take(&mut self.rows);
        let names: Vec<(&str, u32)> = rows
            .iter()
            .map(|(name, row)| (name.as_str(), *row))
            .collect();
        let pairing = pair(names.iter().map(|(name, _)| *name), paths, folder);
        let paired = names
            .iter()
            .zip(pairing.files)
            .map(|((name, row), file)| (file.map_or(*name, |at| paths[at]).to_string(), *row));
        self.rows = paired.collect();
        for (spelling, (n, [name, path])) in pairing.spellings {
            self.notes.push(format!(
                "{} found in another spelling ({spelling}), such as {} for {}",
                text::plural(n, "image", "images"),
                text::escaped(&name),
                text::escaped(&path)
            ));
        }
    }

    /// The row of an image.
    pub fn row(&self, path: &str) -> Option<u32> {
        self.rows.get(path).copied()
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// The label in a row; none if the cell is empty or labels were not requested.
    pub fn label(&self, row: u32) -> Option<&str> {
        cell(self.labels.as_ref()?, row)
    }

    /// The split in a row.
    pub fn split(&self, row: u32) -> Option<&str> {
        cell(self.splits.as_ref()?, row)
    }

    /// The files in the table that are not in `known`, sorted.
    pub fn unknown<'m>(&'m self, known: &'m BTreeSet<&str>) -> impl Iterator<Item = &'m str> {
        let all: BTreeSet<&str> = self.rows.keys().map(String::as_str).collect();
        all.into_iter().filter(|path| !known.contains(path))
    }

    /// Name and type of every attribute.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &DataType)> {
        self.attributes
            .iter()
            .map(|one| (one.name.as_str(), one.values.data_type()))
    }

    /// The attributes of these rows; null for missing rows.
    pub fn select(&self, rows: &[Option<u32>]) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = UInt32Array::from(rows.to_vec());
        self.attributes
            .iter()
            .map(|one| take(&one.values, &rows, None))
            .collect()
    }
}

/// The labels of the column `label`, or the majority of the votes.
fn labels(table: &mut UserTable, n: usize, votes: Option<&Votes>) -> Result<StringArray> {
    let path = table.path;
    let one_class = |found: String| {
        Error::invalid(
            path,
            "one class per image in the column label",
            found,
            "keep one class of each image, such as the main one; or make a run per class with labels such as dog and other; \
             or set labels = \"none\" for the audits that need no labels",
        )
    };
    if let Some(column) = table.others.iter().find(|column| column.name == "label") {
        let kind = column.values.data_type();
        return Err(one_class(format!("values of type {kind}")));
    }
    let names = table.names();
    match (table.take_text("label")?, votes) {
        (Some(labels), _) => {
            let cells: Vec<Option<&str>> = labels.iter().collect();
            if let Some((row, classes)) = several_classes(&cells) {
                let classes = classes.join(" and ");
                let classes = text::escaped(&classes);
                return Err(one_class(format!("{classes} in {}", table.place(row))));
            }
            Ok(labels)
        }
        (None, Some(votes)) => Ok((0..n).map(|row| votes.majority(row)).collect()),
        (None, None) => Err(Error::invalid(
            table.path,
            "a column label, because of [images] labels = \"metadata\"",
            format!("the columns {names}"),
            "add or rename the column, name it in [images] label_column, or set labels = \"folder\"",
        )),
    }
}

/// Without the blanks around, and with null for words that stand for a missing value; these are counted.
fn cleaned(cells: &StringArray, missing: &mut BTreeMap<String, u64>) -> StringArray {
    let clean = |cell: Option<&str>| {
        let cell = cell?.trim();
        if MISSING.contains(&cell) {
            *missing.entry(cell.to_string()).or_default() += 1;
            return None;
        }
        Some(cell.to_string())
    };
    cells.iter().map(clean).collect()
}

fn cell(column: &StringArray, row: u32) -> Option<&str> {
    let row = row as usize;
    (column.is_valid(row) && !column.value(row).is_empty()).then(|| column.value(row))
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use arrow::{
        array::{AsArray, ListBuilder, RecordBatch, StringBuilder},
        datatypes::{Field, Schema},
    };
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn label_column(label: bool) -> LabelColumns<'static> {
        LabelColumns {
            label,
            ..LabelColumns::default()
        }
    }

    fn read(text: &str, with_labels: bool) -> Result<Metadata> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.csv");
        fs::write(&path, text).unwrap();
        Metadata::read(&path, &label_column(with_labels), &["path", "label"])
    }

    #[test]
    fn columns_are_typed_and_empty_cells_are_null() {
        let table = read(
            "\u{feff}file_name,n,x,ok,code,word,void,path\n\
             a.jpg,1,1,true,007,x,,p\n./b/c.jpg,,2.5,False,12,,,q\n",
            false,
        )
        .unwrap();
        let kinds: Vec<(&str, &DataType)> = table.attributes().collect();
        assert_eq!(
            kinds,
            [
                ("n", &DataType::Int64),
                ("x", &DataType::Float64),
                ("ok", &DataType::Boolean),
                ("code", &DataType::Utf8),
                ("word", &DataType::Utf8),
                ("void", &DataType::Utf8),
                ("metadata_path", &DataType::Utf8),
            ]
        );
        assert_eq!(
            (table.row("a.jpg"), table.row("b/c.jpg"), table.row("c")),
            (Some(0), Some(1), None)
        );
        let columns = table.select(&[Some(1), None, Some(0)]).unwrap();
        let n = columns[0].as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(n.iter().collect::<Vec<_>>(), [None, None, Some(1)]);
        let known = BTreeSet::from(["a.jpg"]);
        assert_eq!(table.unknown(&known).collect::<Vec<_>>(), ["b/c.jpg"]);
    }

    #[test]
    fn labels_and_splits_are_always_text() {
        let table = read("file_name,label,split\na,3,train\nb,,\n", true).unwrap();
        assert_eq!((table.label(0), table.split(0)), (Some("3"), Some("train")));
        assert_eq!((table.label(1), table.split(1)), (None, None));
        assert_eq!(table.attributes().count(), 0);
        let table = read("file_name,label\na,3\n", false).unwrap();
        assert_eq!(table.attributes().next().unwrap().0, "metadata_label");
        assert_eq!(table.label(0), None);
    }

    #[test]
    fn words_for_missing_labels_and_blanks_around_labels_are_no_classes() {
        let table = read(
            "file_name,label,split\na, dog,train\nb,dog ,NaN\nc,nan,\nd,None,\ne,nan,\nf,none,\ng,  ,\n",
            true,
        )
        .unwrap();
        let labels: Vec<Option<&str>> = (0..7).map(|row| table.label(row)).collect();
        let dog = Some("dog");
        assert_eq!(labels, [dog, dog, None, None, None, Some("none"), None]);
        assert_eq!((table.split(0), table.split(1)), (Some("train"), None));
        let missing = BTreeMap::from([("None".to_string(), 1), ("nan".to_string(), 2)]);
        assert_eq!(table.no_labels, missing);
    }

    #[test]
    fn without_labels_the_majority_of_the_votes_is_the_label() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.csv");
        let by = ["by_*".to_string()];
        let columns = LabelColumns {
            label: true,
            annotators: &by,
            ..LabelColumns::default()
        };
        fs::write(&path, "file_name,by_1,by_2,by_3\na,owl,dog,owl\nb,,,\n").unwrap();
        let table = Metadata::read(&path, &columns, &[]).unwrap();
        assert_eq!((table.label(0), table.label(1)), (Some("owl"), None));
        fs::write(&path, "file_name,label,by_1,by_2\na,dog,owl,owl\n").unwrap();
        let table = Metadata::read(&path, &columns, &[]).unwrap();
        assert_eq!(table.label(0), Some("dog"));
        let votes = table.votes.unwrap();
        assert_eq!(
            votes.agreement(0, Some("dog")).unwrap().agreement,
            Some(0.0)
        );
    }

    #[test]
    fn lists_of_labels_are_refused() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("cat"), Some("dog")]);
        let lists: ArrayRef = Arc::new(lists.finish());
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a.jpg"]));
        let field =
            |name: &str, column: &ArrayRef| Field::new(name, column.data_type().clone(), true);
        let schema = Schema::new(vec![field("file_name", &names), field("label", &lists)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![names, lists]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.parquet");
        let mut writer =
            ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let error = Metadata::read(&path, &label_column(true), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("one class per image"), "{error}");
        assert!(Metadata::read(&path, &label_column(false), &[]).is_ok());
    }

    #[test]
    fn invalid_tables_are_refused_with_a_reason() {
        for (text, with_labels, words) in [
            ("where,label\na,b\n", false, "column file_name"),
            ("file_name\na\n", true, "column label"),
            (
                "file_name,x\na,1\na,2\n",
                false,
                "line 2 and line 3 are both about a",
            ),
            ("file_name,x\n,1\n", false, "none in line 2"),
            ("file_name,x\na\n", false, "line: 2"),
            ("file_name,x,x\na,1,2\n", false, "x as columns 2 and 3"),
            (
                "file_name,label\na,cat\nb,dog\nc,dog|cat\n",
                true,
                "one class per image in the column label, found dog and cat in line 4",
            ),
            ("", false, "column file_name"),
        ] {
            let error = read(text, with_labels).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
