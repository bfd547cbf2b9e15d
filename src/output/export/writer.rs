//! What every format's writer does and tells.

use std::path::Path;

use prospect_common::Result;
use serde::Serialize;

use super::{Folder, Record};

/// Writes one format.
pub trait Writer {
    /// Takes the next image.
    fn write(&mut self, folder: &Folder, record: Record) -> Result<()>;

    /// Ends the files.
    fn finish(self: Box<Self>, folder: &Folder) -> Result<Told>;
}

/// What a finished export tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Images in it.
    pub rows: u64,
    /// One line that opens it, in Python or for the shell.
    pub open: String,
    /// What else its reader should know.
    pub remarks: Vec<String>,
}

/// A path as a string literal of Python (and of JSON).
pub(super) fn literal(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

/// A path as one word for the shell.
pub(super) fn word(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
