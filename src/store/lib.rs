//! The run folder: Parquet tables, pictures, and one manifest that says what of them is complete. Nothing
//! outside this module knows Parquet.
//!
//! ```text
//! runs/<name>/
//!   manifest.json            the only truth: which stage, under which key, which parts, which files
//!   lock                     held by the one process that writes
//!   tables/<table>/part-00017.parquet
//!   previous/<key>/<table>/   what a stage that is being done anew still takes rows from
//!   pictures/ report/ index/ logs/
//! ```
//!
//! A stage writes its tables in *parts*. [`StageWriter::commit`] puts a part's files in place one by one
//! (temporary name in the same folder, fsync, rename, fsync of the folder) and then replaces the manifest in
//! the same way, so a kill at any moment leaves either the whole part or nothing that counts: a file that the
//! manifest does not name does not exist, and the next [`StageWriter::begin`] removes it.
//!
//! A run folder may come from elsewhere, so its manifest is checked like any other input: every path in it must
//! stay inside the folder and no link is followed when something is written or deleted.

pub mod declare;
mod disk;
mod folder;
mod foreign;
mod guard;
mod kept;
mod key;
mod lock;
mod manifest;
mod parts;
mod query;
mod read;
mod render;
mod rows;
mod sweep;
mod table_file;
mod verify;
mod views;

#[cfg(test)]
mod tests;

pub use disk::{existing_ancestor, free_space, write_atomically};
pub use folder::RunFolder;
pub use foreign::read_parquet;
pub use key::stage_key;
pub use lock::RunLock;
pub use manifest::{FileRecord, Manifest, PartRecord, StageRecord};
pub use parts::{PartWriter, StageWriter, remove_stage};
pub use query::query;
pub use read::{TableReader, Value};
pub use render::{Cells, Format, cells, render, render_to, save};
pub use rows::{Batch, Rows, Selection};
pub use table_file::{LooseTable, MAX_ROW_GROUP_ROWS, write_table};
pub use verify::{Problem, ProblemKind, check_bytes, verify};
pub use views::{made_from, views};
