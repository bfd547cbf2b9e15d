//! The user's tables: CSV, TSV or Parquet, with the image of each row in the column `file_name`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray},
    compute::{can_cast_types, cast, concat},
    datatypes::DataType,
};
use prospect_common::{Error, Result, text};
use prospect_store::read_parquet;

/// The column with the image's path, relative to the image folder, `/`-separated.
pub const FILE_NAME: &str = "file_name";

/// A column of the user's table.
#[derive(Debug, Clone)]
pub struct Attribute {
    pub name: String,
    /// In [`UserTable::columns`]: Int64, Float64, Boolean or Utf8, with nulls for empty cells.
    pub values: ArrayRef,
}

/// A table with typed columns.
pub struct UserTable<'t> {
    pub(crate) path: &'t Path,
    /// Columns of numbers, true/false and text, in the file's order.
    pub columns: Vec<Attribute>,
    /// Columns of other types, such as lists, in their original type.
    pub others: Vec<Attribute>,
    /// In a text file, the line on which each row starts.
    lines: Option<Vec<u64>>,
}

impl UserTable<'_> {
    /// Reads CSV, TSV (by extension) or Parquet (by content). File names and the columns of which `is_text` holds are text, whatever they look
    /// like.
    ///
    /// # Errors
    /// Files of another format; duplicate columns.
    pub fn read<'t>(path: &'t Path, is_text: &dyn Fn(&str) -> bool) -> Result<UserTable<'t>> {
        let bytes = std::fs::read(path).map_err(Error::io(path, "reading the table"))?;
        if bytes.starts_with(b"PAR1") {
            return from_parquet(path);
        }
        if let Some(found) = other_format(&bytes) {
            return Err(Error::invalid(
                path,
                "CSV, TSV or Parquet",
                found,
                "save the table as CSV in UTF-8",
            ));
        }
        from_csv(path, &bytes, |name| name == FILE_NAME || is_text(name))
    }

    /// The columns' names, for messages.
    pub fn names(&self) -> String {
        let all = self.columns.iter().chain(&self.others);
        let names: Vec<_> = all.map(|column| text::escaped(&column.name)).collect();
        names.join(", ")
    }

    /// The position of a row, counted from 1: `line 7`, or `row 6` if the file has no lines.
    pub fn place(&self, row: usize) -> String {
        match self.lines.as_ref().and_then(|lines| lines.get(row)) {
            Some(line) => format!("line {line}"),
            None => format!("row {}", row + 1),
        }
    }

    /// Removes a column and returns it as text.
    pub fn take_text(&mut self, name: &str) -> Result<Option<StringArray>> {
        let Some(at) = self.columns.iter().position(|column| column.name == name) else {
            return Ok(None);
        };
        let column = self.columns.remove(at);
        let text = cast(&column.values, &DataType::Utf8).map_err(|error| {
            Error::invalid(
                self.path,
                "text",
                format!("column {name}: {error}"),
                "correct the column",
            )
        })?;
        Ok(Some(text.as_string::<i32>().clone()))
    }

    /// Removes the column of file names and returns them without a leading `./`.
    ///
    /// # Errors
    /// A missing column; a row without a file name.
    pub fn take_file_names(&mut self) -> Result<Vec<String>> {
        let names = self.names();
        let Some(files) = self.take_text(FILE_NAME)? else {
            return Err(Error::invalid(
                self.path,
                "a column file_name with the images' paths relative to [images] dir",
                format!("the columns {names}"),
                "add or rename the column",
            ));
        };
        let name = |(row, name): (usize, Option<&str>)| {
            let name = name.unwrap_or_default();
            let name = name.strip_prefix("./").unwrap_or(name);
            if name.is_empty() {
                return Err(Error::invalid(
                    self.path,
                    "a file name in every row",
                    format!("none in {}", self.place(row)),
                    "fill the cell or remove the row",
                ));
            }
            Ok(name.to_string())
        };
        files.iter().enumerate().map(name).collect()
    }
}

/// The format of a file that is not text, if it is a usual one.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 9] = [
        (b"PK\x03\x04", "an Excel workbook or another zip file"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"SQLite format 3", "an SQLite database"),
        (b"ARROW1", "an Arrow file"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"%PDF", "a PDF"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"\xfe\xff", "text in UTF-16"),
    ];
    let known = FORMATS.iter().find(|(start, _)| bytes.starts_with(start));
    let binary = bytes.iter().take(8192).any(|byte| *byte == 0);
    known
        .map(|(_, name)| *name)
        .or(binary.then_some("a binary file"))
}

fn from_parquet(path: &Path) -> Result<UserTable<'_>> {
    let batches = read_parquet(path)?;
    let Some(first) = batches.first() else {
        return Err(Error::invalid(
            path,
            "at least one row",
            "none",
            "rewrite the table, or remove it from the configuration",
        ));
    };
    let (mut columns, mut others) = (Vec::new(), Vec::new());
    for (at, field) in first.schema().fields().iter().enumerate() {
        let kind = field.data_type();
        let wanted = match kind {
            kind if kind.is_integer() => DataType::Int64,
            kind if kind.is_floating() => DataType::Float64,
            DataType::Boolean => DataType::Boolean,
            _ => DataType::Utf8,
        };
        let is_kept = !kind.is_nested() && can_cast_types(kind, &wanted);
        let parts: Vec<&dyn Array> = batches
            .iter()
            .map(|batch| batch.column(at).as_ref())
            .collect();
        let values = concat(&parts).and_then(|whole| match is_kept {
            true => cast(&whole, &wanted),
            false => Ok(whole),
        });
        let column = Attribute {
            name: field.name().clone(),
            values: values.map_err(|error| {
                Error::invalid(
                    path,
                    format!("column {} as {wanted}", field.name()),
                    error.to_string(),
                    "correct the column",
                )
            })?,
        };
        if is_kept {
            columns.push(column);
        } else {
            others.push(column);
        }
    }
    Ok(UserTable {
        path,
        columns,
        others,
        lines: None,
    })
}

fn from_csv<'t>(
    path: &'t Path,
    bytes: &[u8],
    is_text: impl Fn(&str) -> bool,
) -> Result<UserTable<'t>> {
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
            "UTF-8 CSV with a header line and rows as long as the header",
            error.to_string(),
            "correct that line",
        )
    };
    let mut names: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (at, name) in reader.headers().map_err(refuse)?.iter().enumerate() {
        let name = match name.trim() {
            // pandas writes its index without a name.
            "" => format!("column_{}", at + 1),
            name => name.to_string(),
        };
        if let Some(first) = seen.insert(name.clone(), at) {
            return Err(Error::invalid(
                path,
                "unique column names",
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
    let mut lines = Vec::new();
    for record in reader.into_records() {
        let record = record.map_err(refuse)?;
        lines.push(record.position().map_or(0, |position| position.line()));
        for (column, cell) in cells.iter_mut().zip(record.iter()) {
            column.push(cell.to_string());
        }
    }
    let columns = names.into_iter().zip(cells).map(|(name, cells)| {
        let values = if is_text(&name) {
            texts(&cells)
        } else {
            typed(&cells)
        };
        Attribute { name, values }
    });
    Ok(UserTable {
        path,
        columns: columns.collect(),
        others: Vec::new(),
        lines: Some(lines),
    })
}

fn texts(cells: &[String]) -> ArrayRef {
    let some = cells
        .iter()
        .map(|cell| (!cell.is_empty()).then_some(cell.as_str()));
    Arc::new(some.collect::<StringArray>())
}

/// Parses cells as the narrowest type that fits all non-empty ones: integers, numbers, true/false or text. Codes such as `007`
/// stay text.
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
    use super::*;

    #[test]
    fn other_formats_are_named_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let workbook = [b"PK\x03\x04".to_vec(), vec![7; 15_000]].concat();
        for (bytes, name) in [
            (workbook, "Excel workbook"),
            (b"\xff\xfef\0i\0".to_vec(), "UTF-16"),
            (b"file_name\0,label\n".to_vec(), "a binary file"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = UserTable::read(&path, &|_| false)
                .err()
                .unwrap()
                .to_string();
            assert!(
                error.contains(name) && error.contains("save the table as CSV"),
                "{error}"
            );
            assert!(error.len() < 300, "{error}");
        }
    }
}
