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

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result};

pub use disk::{existing_ancestor, free_space, write_atomically};
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

/// A run folder on disk. Cheap to clone; holds no file open.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Opens the run folder at `root`, making it and its parents where they are missing.
    pub fn create(root: impl AsRef<Path>) -> Result<RunFolder> {
        let root = root.as_ref();
        fs::create_dir_all(root).map_err(Error::io(root, "making the run folder"))?;
        RunFolder::open(root)
    }

    /// Opens a run folder that is already there.
    pub fn open(root: impl AsRef<Path>) -> Result<RunFolder> {
        let named = root.as_ref();
        let root = match fs::canonicalize(named) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing {
                    what: format!("run folder {}", named.display()),
                    next: "make it with `prospect run`, or name another one with [run] dir".into(),
                });
            }
            Err(error) => return Err(Error::io(named, "opening the run folder")(error)),
        };
        if !root.is_dir() {
            return Err(Error::invalid(
                named,
                "a folder",
                "something else",
                "name another folder with [run] dir",
            ));
        }
        Ok(RunFolder { root })
    }

    /// The run folder at `root`, to be read only: one that is not there yet holds nothing.
    pub fn at(root: impl AsRef<Path>) -> Result<RunFolder> {
        match RunFolder::open(&root) {
            Err(Error::Missing { .. }) => Ok(RunFolder {
                root: root.as_ref().to_path_buf(),
            }),
            other => other,
        }
    }

    /// The folder itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The place of `relative` (`/`-separated) in this folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Bytes that may still be written to the disk that it is on.
    pub fn free_space(&self) -> io::Result<u64> {
        free_space(&self.root)
    }

    /// Takes the writer's lock, or says who holds it ([`Error::Locked`]). `command` is what that message names.
    pub fn lock(&self, command: &str) -> Result<RunLock> {
        RunLock::take(self, command)
    }

    /// Reads and checks the manifest; a run folder without one holds nothing yet.
    pub fn manifest(&self) -> Result<Manifest> {
        Manifest::load(self)
    }

    /// The names of the tables that hold at least one committed part, sorted.
    pub fn tables(&self, manifest: &Manifest) -> Vec<String> {
        let names: BTreeSet<&String> = manifest
            .files()
            .filter_map(|(_, _, file)| file.table.as_ref())
            .collect();
        names.into_iter().cloned().collect()
    }

    /// The committed files of `table` in part order.
    pub fn files(&self, manifest: &Manifest, table: &str) -> Vec<PathBuf> {
        manifest
            .table_files(table)
            .map(|(_, file)| self.path(&file.path))
            .collect()
    }

    /// Reads the committed parts of `table` in order; narrow it with [`TableReader::columns`],
    /// [`TableReader::only`] and [`TableReader::part`]. A table that is not there is the first item's error.
    pub fn read(&self, manifest: &Manifest, table: &str) -> TableReader {
        TableReader::new(self, manifest, table)
    }
}
