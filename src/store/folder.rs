//! The run folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result};

/// A run folder on disk. Cheap to clone; keeps no file open.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Opens the run folder at `root`, creating it and its parents if missing.
    pub fn create(root: impl AsRef<Path>) -> Result<RunFolder> {
        let root = root.as_ref();
        fs::create_dir_all(root).map_err(Error::io(root, "creating the run folder"))?;
        RunFolder::open(root)
    }

    /// Opens an existing run folder.
    pub fn open(root: impl AsRef<Path>) -> Result<RunFolder> {
        let named = root.as_ref();
        let root = match fs::canonicalize(named) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing {
                    what: format!("run folder {}", named.display()),
                    next: "create it with `prospect run`, or set [run] dir to another folder"
                        .into(),
                });
            }
            Err(error) => return Err(Error::io(named, "opening the run folder")(error)),
        };
        if !root.is_dir() {
            return Err(Error::invalid(
                named,
                "a folder",
                "a file",
                "set [run] dir to another folder",
            ));
        }
        Ok(RunFolder { root })
    }

    /// Opens the run folder at `root` for reading; a missing one is empty.
    pub fn at(root: impl AsRef<Path>) -> Result<RunFolder> {
        match RunFolder::open(&root) {
            Err(Error::Missing { .. }) => Ok(RunFolder {
                root: root.as_ref().to_path_buf(),
            }),
            other => other,
        }
    }

    /// The folder's absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of `relative` (`/`-separated) in this folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }
}
