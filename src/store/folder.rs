//! The folder of one run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result};

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
}
