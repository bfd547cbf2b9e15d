//! One writer per run folder.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex},
};

use prospect_common::{Error, Result, text::escaped};

use super::{RunFolder, disk};

const FILE_NAME: &str = "lock";

/// The exclusive right to write to a run folder, released when the last clone is dropped.
///
/// The operating system's locks on the folder and the file decide, not the file's existence or contents: they end with their process,
/// so the lock file of a killed process does not block others. The contents (pid, host, command) only identify the holder. The
/// folder's lock holds even if the file is deleted, but network file systems may not lock folders.
#[derive(Debug, Clone)]
pub struct RunLock {
    state: Arc<LockState>,
}

#[derive(Debug)]
struct LockState {
    file: File,
    /// The locked folder, if its file system can lock folders.
    _folder: Option<File>,
    root: PathBuf,
    /// The previous holder, if it did not release the lock.
    abandoned_by: Option<String>,
    /// The stage being written under this lock.
    writing: Mutex<Option<String>>,
}

impl RunFolder {
    /// Takes the writer's lock for `command`. [`Error::Locked`] names the current holder.
    pub fn lock(&self, command: &str) -> Result<RunLock> {
        let path = self.path(FILE_NAME);
        // Writing through a link would overwrite its target.
        if fs::symlink_metadata(&path).is_ok_and(|status| !status.is_file()) {
            return Err(Error::invalid(
                &path,
                "a lock file",
                "a link or a folder",
                "remove it, or choose another [run] dir",
            ));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path, "opening the lock file"))?;
        let folder =
            File::open(self.root()).map_err(Error::io(self.root(), "opening the folder"))?;
        let of_folder = folder.try_lock();
        let lock = match of_folder {
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
            _ => file.try_lock(),
        };
        match lock {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: self.root().to_path_buf(),
                    holder: holder(&mut file, &path)?
                        .unwrap_or_else(|| "another process".to_string()),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(
                    &path,
                    "locking (does this file system support locks?)",
                )(error));
            }
        }
        let abandoned_by = holder(&mut file, &path)?;
        let host = hostname::get().map_or("unknown host".into(), |name| {
            name.to_string_lossy().into_owned()
        });
        let line = format!("pid {} on {host}: {command}\n", process::id());
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(line.as_bytes())
        };
        match write(&mut file) {
            // The line is for people; a full disk must not keep `prospect clean` from its work.
            Err(error) if disk::is_full(&error) => {}
            written => written.map_err(Error::io(&path, "writing"))?,
        }
        Ok(RunLock {
            state: Arc::new(LockState {
                file,
                _folder: of_folder.is_ok().then_some(folder),
                root: self.root().to_path_buf(),
                abandoned_by,
                writing: Mutex::new(None),
            }),
        })
    }
}

impl RunLock {
    /// The previous holder, if it ended without releasing the lock (killed, or a power failure).
    pub fn abandoned_by(&self) -> Option<&str> {
        self.state.abandoned_by.as_deref()
    }

    pub(super) fn is_for(&self, run: &RunFolder) -> bool {
        self.state.root == run.root()
    }

    /// Marks `stage` as being written; fails with the stage that already is. Two writers, each with its own copy of the
    /// manifest, would lose each other's parts.
    pub(super) fn start_writing(&self, stage: &str) -> Result<(), String> {
        let mut writing = self.state.writing.lock().unwrap_or_else(|e| e.into_inner());
        match &*writing {
            Some(other) => Err(other.clone()),
            None => {
                *writing = Some(stage.to_string());
                Ok(())
            }
        }
    }

    pub(super) fn stop_writing(&self) {
        *self.state.writing.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

impl Drop for LockState {
    fn drop(&mut self) {
        // An empty file means that the holder ended normally. The file stays: removing it would race with a process that has
        // just opened it.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// The line in the lock file, escaped for terminals.
fn holder(file: &mut File, path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.take(1000).read_to_end(&mut bytes))
        .map_err(Error::io(path, "reading"))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = escaped(text.trim());
    Ok((!text.is_empty()).then(|| text.into_owned()))
}
