//! The interface of all formats.

use std::path::Path;

use prospect_common::Result;
use serde::Serialize;

use super::{Folder, Record};

/// Writes one format.
pub trait Writer {
    /// Writes the next image.
    fn write(&mut self, folder: &Folder, record: Record) -> Result<()>;

    /// Finishes the files.
    fn finish(self: Box<Self>, folder: &Folder) -> Result<Summary>;
}

/// The summary of a finished export.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Images in it.
    pub rows: u64,
    /// A line of Python or shell that opens it.
    pub open: String,
    /// Further remarks.
    pub remarks: Vec<String>,
}

/// A path as a Python (and JSON) string literal.
pub(super) fn literal(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

/// A path as a shell word.
pub(super) fn word(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
