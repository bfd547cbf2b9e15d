//! Paths inside the run folder, and file operations that must survive a power failure.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result};

use super::RunFolder;

/// Appended to the names of unfinished files.
pub(super) const TEMP_SUFFIX: &str = ".prospect.tmp";

/// The folders that stages may write to.
pub(super) const FOLDERS: [&str; 5] = ["tables", "pictures", "report", "index", "previous"];

/// Maximum length of a path in the manifest, in bytes.
const MAX_PATH: usize = 1024;

/// Checks a path from the manifest or a stage. It must be spelled `folder/…/name`, starting with a known folder, so that it
/// names neither the manifest nor anything outside the run folder.
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

/// Like [`check_relative`], for a file: at least one folder, and not a temporary name.
pub(super) fn check_relative_file(path: &str) -> Result<(), String> {
    check_relative(path)?;
    if !path.contains('/') {
        return Err(format!("{path:?}, which is a top-level folder"));
    }
    if path.ends_with(TEMP_SUFFIX) {
        return Err(format!("{path:?} with the suffix of temporary files"));
    }
    Ok(())
}

/// Marks a point at which a crash would leave a different state on disk; tests crash at every one.
#[cfg(not(test))]
pub(super) fn crash_point() {}

/// Whether a test has killed this writer.
#[cfg(not(test))]
pub(super) fn is_killed() -> bool {
    false
}

#[cfg(test)]
pub(super) use super::tests::crash::{crash_point, is_killed};

impl RunFolder {
    /// Free bytes on its disk.
    pub fn free_space(&self) -> io::Result<u64> {
        free_space(self.root())
    }
}

/// Whether the disk has no space left for this user.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The folder of a relative file path.
pub(super) fn parent(relative: &str) -> &str {
    relative.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The absolute path of `relative`. Refuses symbolic links anywhere in it: writing or deleting through one could reach outside
/// the run folder.
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
                    "replace the link by its target, or choose another [run] dir",
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path, "inspecting the path")(error)),
        }
    }
    Ok(path)
}

/// Creates the folder `relative` and its missing parents, syncing each parent.
pub(super) fn make_folder(run: &RunFolder, relative: &str) -> Result<PathBuf> {
    let target = resolve(run, relative)?;
    let mut path = run.root().to_path_buf();
    for part in relative.split('/') {
        let above = path.clone();
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => {
                crash_point();
                sync_folder(&above)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(&path, "creating the folder")(error)),
        }
    }
    Ok(target)
}

/// Makes renames and deletions in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    crash_point();
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(folder, "syncing the folder"))
}

/// `path` itself, or its nearest existing ancestor.
pub fn existing_ancestor(path: &Path) -> &Path {
    let existing = path.ancestors().find(|path| path.exists());
    match existing {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    }
}

/// Bytes available to this user on the disk of `path`, which need not exist yet.
pub fn free_space(path: &Path) -> io::Result<u64> {
    fs4::available_space(existing_ancestor(path))
}

/// The temporary name beside `path`.
pub(super) fn temp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMP_SUFFIX);
    name.into()
}

/// Creates an empty file at `path`, replacing the leftover of an interrupted writer.
pub(super) fn create_new(path: &Path) -> Result<File> {
    remove_file(path)?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(Error::io(path, "creating the file"))?;
    crash_point();
    Ok(file)
}

/// Atomically replaces the contents of `path`: readers see the old or the new ones, even after a power failure.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temp = temp_path(path);
    let mut file = create_new(&temp)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io(&temp, "writing"))?;
    rename(&temp, path)?;
    sync_folder(folder_of(path))
}

/// The folder of a file; of a bare file name, the working folder.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    crash_point();
    fs::rename(from, to).map_err(Error::io(to, "renaming the finished file"))?;
    crash_point();
    Ok(())
}

/// Deletes a file (or a link, never its target) if it exists.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    crash_point();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_file_name_is_in_the_working_folder() {
        let of = |path: &str| folder_of(Path::new(path)).to_path_buf();
        assert_eq!(of("night.json"), Path::new("."));
        assert_eq!(of("out/night.json"), Path::new("out"));
        assert_eq!(of("/night.json"), Path::new("/"));
    }
}
