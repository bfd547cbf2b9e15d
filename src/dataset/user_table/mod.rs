//! The user's tables: CSV, JSON (lines, or an array) or Parquet, with the image of each row in the column `file_name`.

mod csv;
mod json;
mod roles;
mod table;
mod text;

use std::{path::Path, str::FromStr, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray},
    compute::{can_cast_types, cast, concat},
    datatypes::DataType,
};
use prospect_common::{Error, Result, text::escaped};
use prospect_store::read_parquet;

use crate::votes::LabelColumns;

pub use table::{Attribute, FILE_NAME, UserTable};
pub(crate) use table::{LABEL, SPLIT};

impl UserTable<'_> {
    /// Reads a table by its content; gzip files are decompressed. The columns of the images' paths, the labels and the splits are renamed
    /// to `file_name`, `label` and `split`; in CSV, they and those of the annotators are text, whatever they look like.
    ///
    /// # Errors
    /// Files of another format; duplicate columns; no column of a name in `columns`.
    pub fn read<'t>(path: &'t Path, columns: &LabelColumns) -> Result<UserTable<'t>> {
        let (bytes, digest) = text::read(path)?;
        if bytes.starts_with(b"PAR1") {
            let mut table = from_parquet(path, bytes)?.with_roles(columns)?;
            table.digest = digest;
            return Ok(table);
        }
        let is_workbook = [&b"PK\x03\x04"[..], b"\xd0\xcf\x11\xe0"];
        if is_workbook.iter().any(|start| bytes.starts_with(start)) {
            return Err(Error::invalid(
                path,
                "CSV, JSON or Parquet",
                "a workbook such as Excel's, or another archive",
                "export the table as CSV",
            ));
        }
        let (text, encoding) = text::decode(bytes);
        let is_json = text.trim_start().starts_with(['{', '[']);
        let mut table = if is_json {
            json::read(path, &text)?
        } else {
            csv::read(path, &text)?
        };
        (table.notes).extend(encoding.map(|name| format!("it is not UTF-8; read as {name}")));
        let mut table = table.with_roles(columns)?;
        table.digest = digest;
        for column in table.columns.iter_mut().filter(|_| !is_json) {
            let is_role = [FILE_NAME, LABEL, SPLIT].contains(&column.name.as_str());
            if !is_role && !columns.is_text(&column.name) {
                column.values = typed(column.values.as_string());
            }
        }
        Ok(table)
    }

    /// The columns' names, for messages.
    pub fn names(&self) -> String {
        let all = self.columns.iter().chain(&self.others);
        let names: Vec<_> = all.map(|column| escaped(&column.name)).collect();
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
                "add or rename the column, or name it in [images] file_column",
            ));
        };
        let name = |(row, name): (usize, Option<&str>)| {
            let name = name.unwrap_or_default();
            let name = name.strip_prefix("./").unwrap_or(name);
            if name.trim().is_empty() {
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

fn from_parquet(path: &Path, content: Vec<u8>) -> Result<UserTable<'_>> {
    let batches = read_parquet(path, content)?;
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
    Ok(UserTable::new(path, columns, others))
}

/// Parses cells as the narrowest type that fits all non-empty ones: integers, numbers, true/false or text. Codes such as `007`
/// stay text.
fn typed(cells: &StringArray) -> ArrayRef {
    fn all<T>(cells: &StringArray, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
        let parsed = cells
            .iter()
            .map(|cell| match cell.unwrap_or_default().trim() {
                "" => Some(None),
                cell => parse(cell).map(Some),
            });
        parsed.collect()
    }
    fn number<T: FromStr>(cell: &str) -> Option<T> {
        let digits = cell.trim_start_matches(['-', '+']);
        let is_code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        if is_code { None } else { cell.parse().ok() }
    }
    let texts = || Arc::new(cells.clone()) as ArrayRef;
    if cells.iter().flatten().all(|cell| cell.trim().is_empty()) {
        return texts();
    }
    if let Some(values) = all::<i64>(cells, number) {
        return Arc::new(Int64Array::from(values));
    }
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
    texts()
}

#[cfg(test)]
mod tests;
