//! A table in memory.

use std::path::Path;

use arrow::array::ArrayRef;

/// The column with the image's path, relative to the image folder, `/`-separated.
pub const FILE_NAME: &str = "file_name";
/// The columns with the image's class, and with its part of the dataset.
pub(crate) const LABEL: &str = "label";
pub(crate) const SPLIT: &str = "split";

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
    /// What was found out about the file, such as its encoding or the column with the labels.
    pub notes: Vec<String>,
    /// In a text file, the line on which each row starts.
    pub(super) lines: Option<Vec<u64>>,
}
