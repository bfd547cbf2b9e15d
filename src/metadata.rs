//! The user's table about the images: CSV or Parquet, one row per image, named by the column `file_name`.
//!
//! `label` and `split` are understood; every further column is an attribute: whole numbers, numbers, true/false or text.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, UInt32Array,
    },
    compute::{can_cast_types, cast, concat, take},
    datatypes::DataType,
    error::ArrowError,
};

use crate::{
    error::{Error, Result},
    store::read_parquet,
    text,
};

/// The column that names the image, relative to the folder of images, with `/`.
pub const FILE_NAME: &str = "file_name";

/// One column of the user's, as many values as the file has rows.
#[derive(Debug, Clone)]
pub struct Attribute {
    pub name: String,
    /// Int64, Float64, Boolean or Utf8, with nulls where the file says nothing.
    pub values: ArrayRef,
}

/// The table, by file name.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    rows: HashMap<String, u32>,
    labels: Option<StringArray>,
    splits: Option<StringArray>,
    attributes: Vec<Attribute>,
    /// Columns of a kind that is not kept, with the kind.
    pub ignored: Vec<String>,
}

impl Metadata {
    /// Reads CSV, TSV (by extension) or Parquet (by content).
    ///
    /// An attribute that bears a name of `reserved` is renamed to `metadata_<name>`. The column `label` is an attribute like others unless
    /// `with_labels`.
    ///
    /// # Errors
    /// What is no such table; no column `file_name`; two rows that name one file; no `label` though `with_labels`.
    pub fn read(path: &Path, with_labels: bool, reserved: &[&str]) -> Result<Metadata> {
        let bytes = std::fs::read(path).map_err(Error::io(path, "reading the metadata"))?;
        let (columns, ignored) = if bytes.starts_with(b"PAR1") {
            parquet_columns(path)?
        } else {
            (csv_columns(path, &bytes)?, Vec::new())
        };
        let table = Table { path, columns };
        table.into_metadata(with_labels, reserved, ignored)
    }

    /// The row about an image.
    pub fn row(&self, path: &str) -> Option<u32> {
        self.rows.get(path).copied()
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// The label in a row; none where the cell is empty or labels were not asked for.
    pub fn label(&self, row: u32) -> Option<&str> {
        cell(self.labels.as_ref()?, row)
    }

    /// The split in a row.
    pub fn split(&self, row: u32) -> Option<&str> {
        cell(self.splits.as_ref()?, row)
    }

    /// The files named by rows, of which `known` knows nothing, sorted.
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

    /// The attributes of these rows, null where there is no row.
    pub fn select(&self, rows: &[Option<u32>]) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = UInt32Array::from(rows.to_vec());
        self.attributes
            .iter()
            .map(|one| take(&one.values, &rows, None))
            .collect()
    }
}

fn cell(column: &StringArray, row: u32) -> Option<&str> {
    let row = row as usize;
    (column.is_valid(row) && !column.value(row).is_empty()).then(|| column.value(row))
}

struct Table<'t> {
    path: &'t Path,
    columns: Vec<Attribute>,
}

impl Table<'_> {
    fn refuse(&self, expected: &str, found: String, next: &str) -> Error {
        Error::invalid(self.path, expected, found, next)
    }

    /// Takes the column out and gives it as text.
    fn text(&mut self, name: &str) -> Result<Option<StringArray>> {
        let Some(at) = self.columns.iter().position(|column| column.name == name) else {
            return Ok(None);
        };
        let column = self.columns.remove(at);
        let text = cast(&column.values, &DataType::Utf8).map_err(|error| {
            self.refuse(
                "text",
                format!("column {name}: {error}"),
                "correct the column",
            )
        })?;
        Ok(Some(text.as_string::<i32>().clone()))
    }

    fn into_metadata(
        mut self,
        with_labels: bool,
        reserved: &[&str],
        ignored: Vec<String>,
    ) -> Result<Metadata> {
        let names = self
            .columns
            .iter()
            .map(|column| text::escaped(&column.name).into_owned());
        let names = names.collect::<Vec<_>>().join(", ");
        let Some(files) = self.text(FILE_NAME)? else {
            return Err(self.refuse(
                "a column file_name with the images' paths relative to [images] dir",
                format!("the columns {names}"),
                "add or rename the column",
            ));
        };
        let labels = if with_labels {
            let labels = self.text("label")?;
            Some(labels.ok_or_else(|| {
                self.refuse(
                    "a column label, as [images] labels = \"metadata\" says",
                    format!("the columns {names}"),
                    "add or rename the column, or take labels = \"folder\"",
                )
            })?)
        } else {
            None
        };
        let splits = self.text("split")?;
        let mut rows = HashMap::with_capacity(files.len());
        for row in 0..files.len() {
            let name = if files.is_valid(row) {
                files.value(row)
            } else {
                ""
            };
            let name = name.strip_prefix("./").unwrap_or(name);
            if name.is_empty() {
                return Err(self.refuse(
                    "a file name in every row",
                    format!("none in row {}", row + 1),
                    "fill the cell or remove the row",
                ));
            }
            if let Some(first) = rows.insert(name.to_string(), row as u32) {
                return Err(self.refuse(
                    "one row per image",
                    format!(
                        "rows {} and {} both name {}",
                        first + 1,
                        row + 1,
                        text::escaped(name)
                    ),
                    "remove one of them",
                ));
            }
        }
        let mut taken: BTreeSet<String> = reserved.iter().map(|name| name.to_string()).collect();
        taken.extend(self.columns.iter().map(|column| column.name.clone()));
        for column in &mut self.columns {
            if reserved.contains(&column.name.as_str()) {
                let mut name = format!("metadata_{}", column.name);
                while !taken.insert(name.clone()) {
                    name.push('_');
                }
                column.name = name;
            }
        }
        Ok(Metadata {
            rows,
            labels,
            splits,
            attributes: self.columns,
            ignored,
        })
    }
}

fn parquet_columns(path: &Path) -> Result<(Vec<Attribute>, Vec<String>)> {
    let batches = read_parquet(path)?;
    let Some(first) = batches.first() else {
        return Err(Error::invalid(
            path,
            "one row per image",
            "no rows",
            "write the table anew, or leave out [images] metadata",
        ));
    };
    let (mut columns, mut ignored) = (Vec::new(), Vec::new());
    for (at, field) in first.schema().fields().iter().enumerate() {
        let kind = field.data_type();
        let wanted = match kind {
            kind if kind.is_integer() => DataType::Int64,
            kind if kind.is_floating() => DataType::Float64,
            DataType::Boolean => DataType::Boolean,
            _ => DataType::Utf8,
        };
        if kind.is_nested() || !can_cast_types(kind, &wanted) {
            ignored.push(format!("{} ({kind})", field.name()));
            continue;
        }
        let parts: Vec<&dyn Array> = batches
            .iter()
            .map(|batch| batch.column(at).as_ref())
            .collect();
        let values = concat(&parts).and_then(|whole| cast(&whole, &wanted));
        columns.push(Attribute {
            name: field.name().clone(),
            values: values.map_err(|error| {
                Error::invalid(
                    path,
                    format!("column {} as {wanted}", field.name()),
                    error.to_string(),
                    "correct the column",
                )
            })?,
        });
    }
    Ok((columns, ignored))
}

fn csv_columns(path: &Path, bytes: &[u8]) -> Result<Vec<Attribute>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let is_tsv = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if is_tsv { b'\t' } else { b',' })
        .from_reader(bytes);
    let refuse = |error: csv::Error| {
        Error::invalid(
            path,
            "CSV with one header line, in UTF-8, all rows as long as the header",
            error.to_string(),
            "correct that line",
        )
    };
    let mut names: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (at, name) in reader.headers().map_err(refuse)?.iter().enumerate() {
        let name = match name.trim() {
            // pandas writes its index under no name.
            "" => format!("column_{}", at + 1),
            name => name.to_string(),
        };
        if let Some(first) = seen.insert(name.clone(), at) {
            return Err(Error::invalid(
                path,
                "every column once",
                format!(
                    "{} as columns {} and {}",
                    text::escaped(&name),
                    first + 1,
                    at + 1
                ),
                "rename one of them",
            ));
        }
        names.push(name);
    }
    let mut cells: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    for record in reader.into_records() {
        let record = record.map_err(refuse)?;
        for (column, cell) in cells.iter_mut().zip(record.iter()) {
            column.push(cell.to_string());
        }
    }
    let columns = names.into_iter().zip(cells);
    Ok(columns
        .map(|(name, cells)| {
            let as_text = matches!(name.as_str(), FILE_NAME | "label" | "split");
            let values = if as_text {
                texts(&cells)
            } else {
                typed(&cells)
            };
            Attribute { name, values }
        })
        .collect())
}

fn texts(cells: &[String]) -> ArrayRef {
    let some = cells
        .iter()
        .map(|cell| (!cell.is_empty()).then_some(cell.as_str()));
    Arc::new(some.collect::<StringArray>())
}

/// The narrowest of whole numbers, numbers, true/false and text that every cell that is not empty fits.
/// Codes such as `007` stay text.
fn typed(cells: &[String]) -> ArrayRef {
    fn all<T>(cells: &[String], parse: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
        let parsed = cells.iter().map(|cell| match cell.trim() {
            "" => Some(None),
            cell => parse(cell).map(Some),
        });
        parsed.collect()
    }
    let is_code = |cell: &str| {
        let digits = cell.trim_start_matches(['-', '+']);
        digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.")
    };
    if cells.iter().all(|cell| cell.trim().is_empty()) {
        return texts(cells);
    }
    let whole = |cell: &str| {
        if is_code(cell) {
            None
        } else {
            cell.parse().ok()
        }
    };
    if let Some(values) = all::<i64>(cells, whole) {
        return Arc::new(Int64Array::from(values));
    }
    let number = |cell: &str| {
        if is_code(cell) {
            None
        } else {
            cell.parse().ok()
        }
    };
    if let Some(values) = all::<f64>(cells, number) {
        return Arc::new(Float64Array::from(values));
    }
    let truth = |cell: &str| match cell.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    if let Some(values) = all::<bool>(cells, truth) {
        return Arc::new(BooleanArray::from(values));
    }
    texts(cells)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str, with_labels: bool) -> Result<Metadata> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.csv");
        fs::write(&path, text).unwrap();
        Metadata::read(&path, with_labels, &["path", "label"])
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
    fn labels_and_splits_are_text_whatever_they_look_like() {
        let table = read("file_name,label,split\na,3,train\nb,,\n", true).unwrap();
        assert_eq!((table.label(0), table.split(0)), (Some("3"), Some("train")));
        assert_eq!((table.label(1), table.split(1)), (None, None));
        assert_eq!(table.attributes().count(), 0);
        let table = read("file_name,label\na,3\n", false).unwrap();
        assert_eq!(table.attributes().next().unwrap().0, "metadata_label");
        assert_eq!(table.label(0), None);
    }

    #[test]
    fn every_broken_table_says_what_is_wrong() {
        for (text, with_labels, words) in [
            ("path,label\na,b\n", false, "column file_name"),
            ("file_name\na\n", true, "column label"),
            ("file_name,x\na,1\na,2\n", false, "rows 1 and 2 both name a"),
            ("file_name,x\n,1\n", false, "none in row 1"),
            ("file_name,x\na\n", false, "line: 2"),
            ("file_name,x,x\na,1,2\n", false, "x as columns 2 and 3"),
            ("", false, "column file_name"),
        ] {
            let error = read(text, with_labels).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
