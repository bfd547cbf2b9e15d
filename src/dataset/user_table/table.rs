//! A table in memory.

use std::path::Path;

use arrow::array::ArrayRef;
use prospect_common::{Error, Result, text};

/// The column with the image's path, relative to the image folder, `/`-separated.
pub const FILE_NAME: &str = "file_name";
/// The columns with the image's class, and with its part of the dataset.
pub(crate) const LABEL: &str = "label";
pub(crate) const SPLIT: &str = "split";

/// Maximum number of columns.
const MAX_COLUMNS: usize = 10_000;
/// Maximum number of cells in a table of several columns.
const MAX_CELLS: usize = 64 << 20;

/// Refuses a table that takes far more memory than its text: one of many columns, most of whose cells are missing.
pub(super) fn check_size(path: &Path, n_columns: usize, n_rows: usize) -> Result<()> {
    if n_columns <= MAX_COLUMNS && n_columns.saturating_mul(n_rows) <= MAX_CELLS {
        return Ok(());
    }
    let count = |n: usize| text::count(n as u64);
    Err(Error::invalid(
        path,
        format!(
            "at most {} columns and {} cells",
            count(MAX_COLUMNS),
            count(MAX_CELLS)
        ),
        format!("{} columns of {} rows", count(n_columns), count(n_rows)),
        "keep the columns that matter",
    ))
}

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
    /// BLAKE3 of the file.
    pub digest: String,
}

impl<'t> UserTable<'t> {
    pub(super) fn new(path: &'t Path, columns: Vec<Attribute>, others: Vec<Attribute>) -> Self {
        UserTable {
            path,
            columns,
            others,
            notes: Vec::new(),
            lines: None,
            digest: String::new(),
        }
    }
}
