//! Estimated size of a stage's output.

use prospect_store::declare::Table;
use serde::Serialize;

/// Estimated size of a table, or of a stage's pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableEstimate {
    /// Name of the table; for other files, their folder in the run folder.
    pub table: &'static str,
    /// Rows, or files.
    pub rows: u64,
    /// Before encoding and compression; for pictures, their pixels.
    pub raw_bytes: u64,
    /// On the disk.
    pub bytes: u64,
    /// How to make it smaller, as part of a sentence.
    #[serde(skip)]
    pub remedy: Option<&'static str>,
}

impl TableEstimate {
    /// `rows` with the given bytes each, before and after compression.
    pub fn new(table: &'static str, rows: u64, [raw, disk]: [f64; 2]) -> TableEstimate {
        TableEstimate {
            table,
            rows,
            raw_bytes: (rows as f64 * raw) as u64,
            bytes: (rows as f64 * disk) as u64,
            remedy: None,
        }
    }

    /// `rows` of a declared table without its lists.
    pub fn of(table: &'static Table, rows: u64) -> TableEstimate {
        TableEstimate::new(table.name, rows, table.bytes)
    }

    /// Adds a way to make it smaller.
    pub fn or(self, remedy: &'static str) -> TableEstimate {
        TableEstimate {
            remedy: Some(remedy),
            ..self
        }
    }
}
