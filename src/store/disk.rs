//! Paths inside the run folder, and the few file operations that must survive a power cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result};

use super::RunFolder;

/// What unfinished files are called: the final name and this.
pub(super) const TEMP_SUFFIX: &str = ".prospect.tmp";

/// The folders that stages may write into.
pub(super) const FOLDERS: [&str; 5] = ["tables", "pictures", "report", "index", "previous"];

/// Longest path that a manifest may name, in bytes.
const MAX_PATH: usize = 1024;

/// Says what is wrong with a path that a manifest or a stage names: it must be spelled `folder/…/name` with
/// one of the known folders first, so that it can name neither the manifest nor anything outside the run folder.
pub(super) fn check_relative(path: &str) -> Result<(), String> {
    if path.len() > MAX_PATH {
        return Err(format!("a path of {} bytes", path.len()));
    }
    if path.contains(|c: char| c == '\\' || c.is_control()) {
        return Err(format!("{path:?} with a backslash or control character"));
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.iter().any(|part| ["", ".", ".."].contains(part)) {
        return Err(format!("{path:?}, which may leave the run folder"));
    }
    if !FOLDERS.contains(&parts[0]) {
        return Err(format!("{path:?} outside {}", FOLDERS.join("/, ") + "/"));
    }
    Ok(())
}

/// As [`check_relative`], for a file: at least one folder and a name that is not a temporary one.
pub(super) fn check_relative_file(path: &str) -> Result<(), String> {
    check_relative(path)?;
    if !path.contains('/') {
        return Err(format!("{path:?}, which is a folder of its own"));
    }
    if path.ends_with(TEMP_SUFFIX) {
        return Err(format!("{path:?} with the ending of temporary files"));
    }
    Ok(())
}

/// Marks a moment at which a process may be killed; the tests do so at each of them.
#[cfg(not(test))]
pub(super) fn moment() {}

/// Whether this writer was killed at such a moment.
#[cfg(not(test))]
pub(super) fn is_killed() -> bool {
    false
}

#[cfg(test)]
pub(super) use super::tests::crash::{is_killed, moment};

impl RunFolder {
    /// Bytes that may still be written to the disk that it is on.
    pub fn free_space(&self) -> io::Result<u64> {
        free_space(self.root())
    }
}

/// The folder part of a relative file path.
pub(super) fn parent(relative: &str) -> &str {
    relative.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Where `relative` lies, refusing a link in any place on the way: writing or deleting through one could
/// reach outside the run folder.
pub(super) fn resolve(run: &RunFolder, relative: &str) -> Result<PathBuf> {
    let mut path = run.root().to_path_buf();
    if let Err(found) = check_relative(relative) {
        return Err(Error::invalid(
            &path,
            "paths inside the run folder",
            found,
            "do not trust this run folder: choose another [run] dir",
        ));
    }
    for part in relative.split('/') {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(status) if status.is_symlink() => {
                return Err(Error::invalid(
                    &path,
                    "a file or folder of the run folder itself",
                    "a symbolic link",
                    "replace the link by what it points to, or choose another [run] dir",
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path, "looking at the path")(error)),
        }
    }
    Ok(path)
}

/// Makes the folder `relative` and what is missing above it, each made durable in its parent.
pub(super) fn make_folder(run: &RunFolder, relative: &str) -> Result<PathBuf> {
    let target = resolve(run, relative)?;
    let mut path = run.root().to_path_buf();
    for part in relative.split('/') {
        let above = path.clone();
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => {
                moment();
                sync_folder(&above)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(&path, "making the folder")(error)),
        }
    }
    Ok(target)
}

/// Makes renames and deletions in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    moment();
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(folder, "syncing the folder"))
}

/// `path` itself, or the nearest folder above it that is there already.
pub fn existing_ancestor(path: &Path) -> &Path {
    let existing = path.ancestors().find(|path| path.exists());
    match existing {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    }
}

/// Bytes that this user may still write where `path` is or is going to be.
pub fn free_space(path: &Path) -> io::Result<u64> {
    fs4::available_space(existing_ancestor(path))
}

/// The temporary name beside `path`.
pub(super) fn temp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMP_SUFFIX);
    name.into()
}

/// A new empty file at `path`; whatever a cut-off writer left under that name goes first.
pub(super) fn create_new(path: &Path) -> Result<File> {
    remove_file(path)?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(Error::io(path, "making the file"))?;
    moment();
    Ok(file)
}

/// Replaces `path` by `bytes` in one step: readers see the old content or the new one, also after a power cut.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temp = temp_path(path);
    let mut file = create_new(&temp)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io(&temp, "writing"))?;
    rename(&temp, path)?;
    match path.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    moment();
    fs::rename(from, to).map_err(Error::io(to, "renaming the finished file"))?;
    moment();
    Ok(())
}

/// Deletes a file (a link itself, never what it points to); one that is gone already is fine.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    moment();
    if is_killed() {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "deleting")(error))
        }
        _ => Ok(()),
    }
}
