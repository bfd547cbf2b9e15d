//! The run folder: Parquet tables, pictures and a manifest of what is complete. Nothing outside this crate knows Parquet.
//!
//! ```text
//! runs/<name>/
//!   manifest.json            the single source of truth: stages, their keys, parts and files
//!   lock                     held by the process that writes
//!   tables/<table>/part-00017.parquet
//!   previous/<key>/<table>/  tables that a stage running again reuses rows from
//!   pictures/ report/ index/ logs/
//! ```
//!
//! A stage writes its tables in *parts*. [`StageWriter::commit`] puts a part's files in place one by one (temporary name in the
//! same folder, fsync, rename, fsync of the folder) and then replaces the manifest in the same way. A crash at any point leaves
//! either the whole part or nothing: a file that the manifest does not list does not count, and the next
//! [`StageWriter::begin`] removes it.
//!
//! A run folder may come from elsewhere, so its manifest is checked like any other input: all its paths must stay inside the
//! folder, and writes and deletions follow no links.

mod cell;
pub mod declare;
mod disk;
mod folder;
mod foreign;
mod guard;
mod key;
mod lock;
mod manifest;
mod parts;
mod previous;
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

pub use disk::{existing_ancestor, folder_of, free_space, write_atomically};
pub use folder::RunFolder;
pub use foreign::read_parquet;
pub use key::stage_key;
pub use lock::RunLock;
pub use manifest::{FileRecord, Manifest, PartRecord, StageRecord};
pub use parts::{PartWriter, StageWriter, mark_unread, remove_stage};
pub use query::{check_tables_only, query};
pub use read::{TableReader, Value};
pub use render::{Cells, Format, cells, render, render_to, save};
pub use rows::{Batch, Rows, Selection};
pub use table_file::{MAX_ROW_GROUP_ROWS, StandaloneTable, write_table};
pub use verify::{Problem, ProblemKind, check_bytes, verify};
pub use views::{derived_from, images, views};
