//! The folder of an export, which appears only when complete.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use prospect_common::{Error, Result};
use prospect_store::existing_ancestor;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::Format;

/// Marks a folder as an export. Hidden from readers that load all files.
const MARKER: &str = ".prospect-export.json";
/// Suffixes of the folder while being written, and of the one being replaced.
const STAGING: &str = ".prospect.tmp";
const REPLACED: &str = ".prospect.old";

/// How images are included in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Images {
    /// Hard links, or symbolic links if not possible
    Link,
    /// Copies
    Copy,
    /// Not included: put metadata.parquet into the image folder
    None,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    format: String,
    rows: u64,
    /// Number of files, without this one.
    files: u64,
}

/// The contents of a finished export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    pub files: u64,
}

/// An export being written beside its target.
#[derive(Debug)]
pub struct Folder {
    target: PathBuf,
    staging: PathBuf,
    format: Format,
    /// Held until dropped.
    _lock: File,
    is_finished: bool,
}

impl Folder {
    /// Starts an export of `format` to `target`, which must be missing, empty, or an unchanged earlier export of this format.
    ///
    /// # Errors
    /// Any other target, or one that another process is writing.
    pub fn begin(target: &Path, format: Format) -> Result<Folder> {
        let target = match fs::canonicalize(target) {
            Ok(existing) => existing,
            Err(_) => std::path::absolute(target).map_err(Error::io(target, "finding"))?,
        };
        let (Some(_), Some(parent)) = (target.file_name(), target.parent()) else {
            return Err(not_ours(
                &target,
                format,
                "a folder that cannot be replaced",
            ));
        };
        check_replaceable(&target, format)?;
        fs::create_dir_all(parent).map_err(Error::io(parent, "creating the folder"))?;
        let staging = beside(&target, STAGING);
        match fs::create_dir(&staging) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(&staging, "creating the folder")(error));
            }
            _ => {}
        }
        let lock = File::open(&staging).map_err(Error::io(&staging, "opening"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: target,
                    holder: "another prospect export".to_string(),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(&staging, "locking")(error));
            }
        }
        let folder = Folder {
            target,
            staging,
            format,
            _lock: lock,
            is_finished: false,
        };
        folder.empty()?;
        Ok(folder)
    }

    /// The absolute path of the finished export.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The path to write file `name` (`/`-separated) to, creating its folders.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.staging.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent, "creating the folder"))?;
        }
        Ok(path)
    }

    /// Creates the file `name`.
    pub fn create(&self, name: &str) -> Result<Output> {
        let path = self.path(name)?;
        let file = File::create_new(&path).map_err(Error::io(&path, "creating the file"))?;
        Ok(Output {
            file: BufWriter::with_capacity(1 << 16, file),
            path,
        })
    }

    /// Adds an image to the export. The inner error is the reason why it is unavailable.
    pub fn image(&self, source: &Path, name: &str, how: Images) -> Result<Result<(), String>> {
        // A hard link to a relative symbolic link would be broken here.
        let source = match fs::canonicalize(source) {
            Ok(source) if source.is_file() => source,
            Ok(_) => return Ok(Err("not a regular file".to_string())),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let path = self.path(name)?;
        let placed = match how {
            Images::None => Ok(()),
            Images::Copy => fs::copy(&source, &path).map(|_| ()),
            // On another file system, or another user's file.
            Images::Link => fs::hard_link(&source, &path).or_else(|_| symlink(&source, &path)),
        };
        placed.map_err(Error::io(&path, "linking or copying the image"))?;
        Ok(Ok(()))
    }

    /// Moves the export to its target, replacing an earlier one.
    pub fn finish(mut self, rows: u64) -> Result<Contents> {
        let files = count(&self.staging)?;
        let marker = Marker {
            format: self.format.name().to_string(),
            rows,
            files,
        };
        let mut output = self.create(MARKER)?;
        output.json(&marker)?;
        output.finish()?;
        let replaced = beside(&self.target, REPLACED);
        remove(&replaced)?;
        check_replaceable(&self.target, self.format)?;
        let rename = |from: &Path, to: &Path| {
            fs::rename(from, to).map_err(Error::io(to, "moving the export to its target"))
        };
        if self.target.exists() {
            rename(&self.target, &replaced)?;
        }
        rename(&self.staging, &self.target)?;
        self.is_finished = true;
        if let Some(parent) = self.target.parent() {
            File::open(parent)
                .and_then(|parent| parent.sync_all())
                .map_err(Error::io(parent, "syncing the folder"))?;
        }
        remove(&replaced)?;
        Ok(Contents { files })
    }

    /// Removes the leftovers of a killed export.
    fn empty(&self) -> Result<()> {
        let failed = |error| Error::io(&self.staging, "emptying")(error);
        for entry in fs::read_dir(&self.staging).map_err(failed)? {
            let failed = |error| Error::io(&self.staging, "emptying")(error);
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let removed = match kind.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
            removed.map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_finished {
            // The next export removes any leftovers.
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}

/// A file of an export.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Output {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        (self.file.write_all(bytes)).map_err(Error::io(&self.path, "writing"))
    }

    /// Appends a value as JSON on one line. Non-finite numbers become null.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.file, value).map_err(|error| match error.is_io() {
            true => Error::io(&self.path, "writing")(error.into()),
            false => Error::internal(self.path.display(), error),
        })
    }

    /// Syncs the file and returns it.
    pub fn finish(self) -> Result<File> {
        let file = (self.file.into_inner())
            .map_err(|error| Error::io(&self.path, "writing")(error.into_error()))?;
        file.sync_all().map_err(Error::io(&self.path, "syncing"))?;
        Ok(file)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Appends to a path: `/a/b` and `.tmp` give `/a/b.tmp`.
fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(suffix);
    name.into()
}

/// Number of files and links in a folder and its subfolders, without the marker.
fn count(folder: &Path) -> Result<u64> {
    let mut files = 0;
    for entry in WalkDir::new(folder) {
        let entry = entry.map_err(|error| Error::io(folder, "listing")(error.into()))?;
        let is_marker = entry.depth() == 1 && entry.file_name() == MARKER;
        files += u64::from(!entry.file_type().is_dir() && !is_marker);
    }
    Ok(files)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(folder, "removing")(error))
        }
        _ => Ok(()),
    }
}

fn not_ours(target: &Path, format: Format, found: impl Into<String>) -> Error {
    Error::invalid(
        target,
        format!(
            "a new or empty folder, or an earlier export of {}",
            format.name()
        ),
        found,
        "choose another folder with --out, or remove this one",
    )
}

/// Refuses to replace anything but an unchanged export of this format.
fn check_replaceable(target: &Path, format: Format) -> Result<()> {
    let refuse = |found: String| Err(not_ours(target, format, found));
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return refuse("a file".to_string());
        }
        Err(error) => return Err(Error::io(target, "reading the folder")(error)),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let Ok(text) = fs::read_to_string(target.join(MARKER)) else {
        return refuse("a folder with other files".to_string());
    };
    let Ok(marker) = serde_json::from_str::<Marker>(&text) else {
        return refuse(format!("an invalid {MARKER}"));
    };
    if marker.format != format.name() {
        return refuse(format!("an export of {}", marker.format));
    }
    let files = count(target)?;
    if files != marker.files {
        return refuse(format!(
            "an export of {} files that now has {files}",
            marker.files
        ));
    }
    Ok(())
}

/// Whether `target`, which need not exist, is `folder` or inside it.
pub fn is_inside(target: &Path, folder: &Path) -> bool {
    let target = std::path::absolute(target).unwrap_or_else(|_| target.to_path_buf());
    let existing = existing_ancestor(&target);
    let (Ok(resolved), Ok(folder)) = (fs::canonicalize(existing), fs::canonicalize(folder)) else {
        return false;
    };
    let rest = target.strip_prefix(existing).unwrap_or(Path::new(""));
    resolved.join(rest).starts_with(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(target: &Path) -> Result<Folder> {
        Folder::begin(target, Format::Coco)
    }

    fn write(target: &Path, text: &str) -> Result<Contents> {
        let folder = begin(target)?;
        let mut output = folder.create("a/b.txt")?;
        output.bytes(text.as_bytes())?;
        output.finish()?;
        folder.finish(1)
    }

    #[test]
    fn an_export_appears_when_complete_and_replaces_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new/export");
        assert_eq!(write(&target, "one").unwrap(), Contents { files: 1 });
        write(&target, "two").unwrap();
        let dropped = begin(&target).unwrap();
        dropped.create("half.txt").unwrap();
        assert!(matches!(begin(&target), Err(Error::Locked { .. })));
        drop(dropped);
        assert_eq!(fs::read_to_string(target.join("a/b.txt")).unwrap(), "two");
        let names = fs::read_dir(dir.path().join("new")).unwrap();
        assert_eq!(names.count(), 1);
        // Leftovers of a killed process are not part of the next export.
        let left = beside(&target, STAGING);
        fs::create_dir_all(left.join("a/deep")).unwrap();
        fs::write(left.join("a/deep/old.txt"), "").unwrap();
        assert_eq!(write(&target, "three").unwrap().files, 1);
        assert!(!target.join("a/deep").exists());
    }

    #[test]
    fn other_folders_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |target: &Path, why: &str| {
            let error = write(target, "x").unwrap_err();
            assert_eq!(error.exit_code(), 65);
            assert!(error.to_string().contains(why), "{error}");
        };
        let mine = dir.path().join("mine");
        fs::create_dir(&mine).unwrap();
        write(&mine, "an empty folder will do").unwrap();
        fs::write(mine.join("a/notes.txt"), "").unwrap();
        refused(&mine, "an export of 1 files that now has 2");
        let other = Folder::begin(&dir.path().join("other"), Format::Cleanlab).unwrap();
        other.finish(0).unwrap();
        refused(&dir.path().join("other"), "an export of cleanlab");
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("thesis.txt"), "").unwrap();
        refused(&theirs, "a folder with other files");
        refused(&theirs.join("thesis.txt"), "a file");
        refused(Path::new("/"), "cannot be replaced");
        assert!(theirs.join("thesis.txt").exists());
    }

    #[test]
    fn images_are_linked_or_copied_and_missing_ones_reported() {
        let dir = tempfile::tempdir().unwrap();
        let photo = dir.path().join("photo.png");
        fs::write(&photo, "pixels").unwrap();
        let linked = dir.path().join("linked.png");
        symlink("photo.png", &linked).unwrap();
        let folder = begin(&dir.path().join("export")).unwrap();
        let put = |source: &Path, name: &str, how| folder.image(source, name, how).unwrap();
        put(&photo, "0.png", Images::Link).unwrap();
        put(&linked, "1.png", Images::Link).unwrap();
        put(&linked, "2.png", Images::Copy).unwrap();
        assert!(put(&dir.path().join("gone.png"), "3.png", Images::Link).is_err());
        assert!(put(dir.path(), "4.png", Images::Link).is_err());
        folder.finish(3).unwrap();
        for name in ["0.png", "1.png", "2.png"] {
            let bytes = fs::read(dir.path().join("export").join(name)).unwrap();
            assert_eq!(bytes, b"pixels", "{name}");
        }
        assert!(!dir.path().join("export/3.png").exists());
    }

    #[test]
    fn missing_targets_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        symlink(dir.path(), dir.path().join("link")).unwrap();
        assert!(is_inside(&dir.path().join("link/not/yet"), dir.path()));
        assert!(is_inside(dir.path(), dir.path()));
        assert!(!is_inside(
            &dir.path().join("a"),
            &dir.path().join("link/b")
        ));
        assert!(!is_inside(Path::new("/elsewhere"), dir.path()));
    }
}
