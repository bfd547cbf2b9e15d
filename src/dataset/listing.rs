//! The image files of a folder, in the order of their ids.

use std::{
    cell::Cell,
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use prospect_common::{Error, Result, names};
use walkdir::{DirEntry, WalkDir};

/// Extensions of image files, case-insensitive. The actual format is detected from the content.
pub const EXTENSIONS: [&str; 10] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff",
];

/// Top-level folders that are splits of the dataset, case-insensitive.
pub const SPLITS: [&str; 5] = ["train", "val", "valid", "validation", "test"];

/// Folders that systems and tools create beside images. Like hidden files, they are not part of the dataset.
const SYSTEM_FOLDERS: [&str; 5] = [
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
];

names! {
    /// What to do with symbolic links in the image folder.
    pub enum Links {
        Follow = "follow",
        /// Follow those that lead into the image folder.
        Inside = "inside",
        Skip = "skip",
    }
}

/// A file with the name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the folder, `/`-separated. Non-UTF-8 bytes are written as `%FF`.
    pub path: String,
    /// The path to open.
    pub file: PathBuf,
    /// Why it cannot be used, if already known.
    pub problem: Option<String>,
    size: u64,
    modified_ns: u128,
}

/// The result of [`walk`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by the bytes of the relative path; the rank is the image id.
    pub entries: Vec<Entry>,
    /// Number of other files.
    pub n_other: u64,
    /// Number of image files that are hidden or in hidden or system folders, and one of them. They are not entries.
    pub n_hidden: u64,
    pub hidden: Option<String>,
    /// Number of entries reached by links that lead outside the folder.
    pub n_outside: u64,
    /// Number of links not followed.
    pub n_links_skipped: u64,
    /// Unreadable folders and circular links, one line each.
    pub warnings: Vec<String>,
}

impl Listing {
    /// Changes when a file is added, removed, renamed, resized or rewritten.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for entry in &self.entries {
            hasher.update(&(entry.path.len() as u64).to_le_bytes());
            hasher.update(entry.path.as_bytes());
            hasher.update(&entry.size.to_le_bytes());
            hasher.update(&entry.modified_ns.to_le_bytes());
            hasher.update(entry.problem.as_deref().unwrap_or_default().as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_string()
    }
}

/// Lists the image files under `folder`, following symbolic `links` and skipping the folder `without` (such as the run folder), and
/// hidden and system files: those below an item whose name begins with a dot, such as `.ipynb_checkpoints` and `._1.jpg`, or is
/// that of a system folder, such as `__MACOSX`.
///
/// # Errors
/// `folder` does not exist, is not a folder or cannot be read, or a folder inside cannot. Broken and circular links become warnings;
/// unreadable items with the name of an image, entries with a problem.
pub fn walk(folder: &Path, without: &Path, links: Links) -> Result<Listing> {
    if !std::fs::metadata(folder)
        .map_err(Error::io(folder, "listing the images"))?
        .is_dir()
    {
        return Err(Error::invalid(
            folder,
            "a folder of images",
            "a file",
            "set [images] dir to the folder",
        ));
    }
    let without = std::fs::canonicalize(without).ok();
    let is_without = |path: &Path| {
        let Some(without) = &without else {
            return false;
        };
        path.file_name() == without.file_name()
            && std::fs::canonicalize(path).is_ok_and(|path| path == *without)
    };
    let root = std::fs::canonicalize(folder).map_err(Error::io(folder, "listing the images"))?;
    let is_link = |entry: &DirEntry| entry.depth() > 0 && entry.path_is_symlink();
    let leads_outside =
        |path: &Path| std::fs::canonicalize(path).is_ok_and(|path| !path.starts_with(&root));
    let n_links_skipped = Cell::new(0);
    let is_listed = |entry: &DirEntry| {
        let is_skipped = is_link(entry)
            && match links {
                Links::Follow => false,
                Links::Inside => leads_outside(entry.path()),
                Links::Skip => true,
            };
        n_links_skipped.set(n_links_skipped.get() + u64::from(is_skipped));
        !is_skipped && !(entry.file_type().is_dir() && is_without(entry.path()))
    };
    let mut listing = Listing::default();
    let mut found = Vec::new();
    // The linked folders above an item: their depth, and whether they lead outside.
    let mut above: Vec<(usize, bool)> = Vec::new();
    let files = WalkDir::new(folder)
        .follow_links(links != Links::Skip)
        .into_iter();
    for item in files.filter_entry(is_listed) {
        if let Ok(entry) = &item {
            while above.last().is_some_and(|link| link.0 >= entry.depth()) {
                above.pop();
            }
            if is_link(entry) && entry.file_type().is_dir() {
                above.push((entry.depth(), leads_outside(entry.path())));
            }
        }
        let (path, state) = match &item {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => (
                entry.path(),
                entry.metadata().map_err(|error| io_reason(&error)),
            ),
            Err(error) => {
                let Some(path) = error.path() else {
                    listing.warnings.push(io_reason(error));
                    continue;
                };
                if error.depth() == 0 {
                    let source = std::io::Error::other(io_reason(error));
                    return Err(Error::io(path, "listing the images")(source));
                }
                (path, Err(io_reason(error)))
            }
        };
        let relative = path.strip_prefix(folder).unwrap_or(path);
        let bytes = relative_bytes(relative);
        if is_hidden(relative) {
            if has_image_extension(relative) {
                listing.n_hidden += 1;
                let name = escaped_name(&bytes);
                let first = listing.hidden.get_or_insert_with(|| name.clone());
                // The same one whatever the folder's order.
                if name < *first {
                    *first = name;
                }
            }
            continue;
        }
        if !has_image_extension(relative) {
            // Whatever is in a folder that cannot be listed would be missing without a word.
            if let Err(error) = &item
                && let Some(reason) = error.io_error()
                && reason.kind() != io::ErrorKind::NotFound
            {
                let next = "its images would be missing; make it readable, or move it away";
                let source = io::Error::new(reason.kind(), format!("{reason}; {next}"));
                return Err(Error::io(path, "listing a folder of images")(source));
            }
            match state {
                Ok(_) => listing.n_other += 1,
                Err(reason) => listing
                    .warnings
                    .push(format!("{}: {reason}", escaped_name(&bytes))),
            }
            continue;
        }
        let (size, modified_ns, mut problem) = match state {
            Ok(metadata) if metadata.is_file() => {
                let modified = metadata.modified().ok();
                let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                (
                    metadata.len(),
                    since.map_or(0, |since| since.as_nanos()),
                    None,
                )
            }
            // Reading a pipe or a device could block forever.
            Ok(_) => (0, 0, Some("not a regular file".to_string())),
            Err(reason) => (0, 0, Some(reason)),
        };
        if std::str::from_utf8(&bytes).is_err() {
            problem = Some("file name is not UTF-8".to_string());
        }
        let is_outside = match &item {
            Ok(entry) if is_link(entry) => leads_outside(entry.path()),
            Ok(_) => above.last().is_some_and(|link| link.1),
            Err(_) => false,
        };
        listing.n_outside += u64::from(is_outside);
        let entry = Entry {
            path: escaped_name(&bytes),
            file: path.to_path_buf(),
            problem,
            size,
            modified_ns,
        };
        found.push((bytes, entry));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    listing.n_links_skipped = n_links_skipped.get();
    listing.warnings.sort();
    listing.entries = found.into_iter().map(|(_, entry)| entry).collect();
    Ok(listing)
}

fn is_hidden(relative: &Path) -> bool {
    relative.iter().any(|part| {
        part.as_encoded_bytes().starts_with(b".") || SYSTEM_FOLDERS.iter().any(|name| part == *name)
    })
}

fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|own| {
        EXTENSIONS
            .iter()
            .any(|known| own.eq_ignore_ascii_case(known))
    })
}

fn io_reason(error: &walkdir::Error) -> String {
    if error.loop_ancestor().is_some() {
        return "a symbolic link that leads back to a folder above it".to_string();
    }
    match error.io_error() {
        Some(io) => format!("cannot be read: {io}"),
        None => "cannot be read".to_string(),
    }
}

/// The path's bytes with `/` between components.
fn relative_bytes(relative: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> = relative
        .iter()
        .map(|part| part.as_encoded_bytes())
        .collect();
    parts.join(&b'/')
}

fn escaped_name(bytes: &[u8]) -> String {
    let mut name = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        name.push_str(chunk.valid());
        for byte in chunk.invalid() {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink};

    use super::*;

    fn names(listing: &Listing) -> Vec<(&str, Option<&str>)> {
        let entries = listing.entries.iter();
        entries
            .map(|entry| (entry.path.as_str(), entry.problem.as_deref()))
            .collect()
    }

    #[test]
    fn images_are_sorted_by_path_bytes_and_other_files_only_counted() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "b/1.JPG",
            "a/x.jpeg",
            "a.png",
            "a/b/c.tiff",
            "Z.gif",
            "notes.txt",
            "a/no_extension",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let listing = walk(folder.path(), Path::new("nowhere"), Links::Follow).unwrap();
        let paths: Vec<&str> = names(&listing).iter().map(|(path, _)| *path).collect();
        // '.' sorts before '/', upper case before lower case.
        assert_eq!(
            paths,
            ["Z.gif", "a.png", "a/b/c.tiff", "a/x.jpeg", "b/1.JPG"]
        );
        assert_eq!(listing.n_other, 2);
        assert!(listing.warnings.is_empty());
    }

    #[test]
    fn hidden_and_system_files_are_not_of_the_dataset() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "cat/1.png",
            "cat/.ipynb_checkpoints/1-checkpoint.png",
            "cat/._1.png",
            "cat/@eaDir/1.png/THUMB.jpg",
            "__MACOSX/cat/._1.png",
            ".thumbnails/1.png",
            ".DS_Store",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let listing = walk(folder.path(), Path::new("nowhere"), Links::Follow).unwrap();
        assert_eq!(names(&listing), [("cat/1.png", None)]);
        assert_eq!((listing.n_hidden, listing.n_other), (5, 0));
        assert_eq!(listing.hidden.as_deref(), Some(".thumbnails/1.png"));
        // The image folder itself may be hidden.
        let listing = walk(
            &folder.path().join(".thumbnails"),
            Path::new("nowhere"),
            Links::Follow,
        )
        .unwrap();
        assert_eq!(listing.entries.len(), 1);
    }

    #[test]
    fn the_digest_changes_with_additions_and_rewrites() {
        let folder = tempfile::tempdir().unwrap();
        let digest = || {
            walk(folder.path(), Path::new("nowhere"), Links::Follow)
                .unwrap()
                .digest()
        };
        let empty = digest();
        fs::write(folder.path().join("a.png"), "x").unwrap();
        let one = digest();
        assert_ne!(empty, one);
        assert_eq!(one, digest());
        fs::write(folder.path().join("a.png"), "xy").unwrap();
        assert_ne!(one, digest());
    }

    #[test]
    fn hostile_folders_are_listed_completely() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("deep/er")).unwrap();
        fs::write(at("deep/er/ok.png"), "x").unwrap();
        symlink(folder.path(), at("deep/er/loop")).unwrap();
        symlink("self.png", at("self.png")).unwrap();
        symlink("gone.png", at("broken.png")).unwrap();
        symlink("deep", at("again")).unwrap();
        fs::write(at("new\nline \u{1b}[31m.png"), "x").unwrap();
        fs::write(
            at("<script>alert(1)</script>.png".replace('/', "_").as_str()),
            "x",
        )
        .unwrap();
        fs::write(
            folder
                .path()
                .join(std::ffi::OsStr::from_bytes(b"\xff\xfe.jpg")),
            "x",
        )
        .unwrap();
        fs::create_dir(at("folder.png")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
        fs::create_dir_all(at("runs/it/pictures")).unwrap();
        fs::write(at("runs/it/pictures/sheet.png"), "x").unwrap();
        let listing = walk(folder.path(), &at("runs/it"), Links::Follow).unwrap();
        let found = names(&listing);
        let paths: Vec<&str> = found.iter().map(|(path, _)| *path).collect();
        assert_eq!(
            paths,
            [
                "<script>alert(1)<_script>.png",
                "again/er/ok.png",
                "broken.png",
                "deep/er/ok.png",
                "new\nline \u{1b}[31m.png",
                "self.png",
                "socket.png",
                "%FF%FE.jpg",
            ]
        );
        assert!(
            found[2]
                .1
                .unwrap()
                .starts_with("cannot be read: No such file")
        );
        assert!(found[5].1.unwrap().starts_with("cannot be read"));
        assert_eq!(found[6].1, Some("not a regular file"));
        assert_eq!(found[7].1, Some("file name is not UTF-8"));
        assert_eq!(listing.warnings.len(), 2, "{:?}", listing.warnings);
        assert!(listing.warnings[0].contains("leads back"));
    }

    #[test]
    fn a_folder_that_cannot_be_listed_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1.png"), "x").unwrap();
        // Nested so deep that its path is too long for the system, which holds for any user.
        let nest = "n=$(printf 'd%.0s' {1..200}); for _ in {1..25}; do mkdir $n && cd $n; done";
        let made = std::process::Command::new("bash")
            .args(["-c", nest])
            .current_dir(folder.path())
            .status();
        assert!(made.unwrap().success());
        let error = walk(folder.path(), Path::new("nowhere"), Links::Follow)
            .unwrap_err()
            .to_string();
        assert!(error.contains("listing a folder of images"), "{error}");
        assert!(error.contains("would be missing"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_named_in_the_error() {
        let error = walk(
            Path::new("/no/such/folder"),
            Path::new("nowhere"),
            Links::Follow,
        )
        .unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }

    #[test]
    fn links_that_lead_outside_are_counted_or_left_out() {
        let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir_all(other.path().join("er")).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        for file in [folder.path().join("a/1.png"), other.path().join("er/2.png")] {
            fs::write(file, "x").unwrap();
        }
        for (target, link) in [
            (folder.path().join("a/1.png"), "in.png"),
            (folder.path().join("a"), "b"),
            (other.path().join("er/2.png"), "out.png"),
            (other.path().to_path_buf(), "c"),
            (folder.path().join("missing.png"), "d.png"),
        ] {
            symlink(target, folder.path().join(link)).unwrap();
        }
        let list = |links| walk(folder.path(), Path::new("nowhere"), links).unwrap();
        let paths = |listing: &Listing| -> Vec<String> {
            let entries = listing.entries.iter();
            entries.map(|entry| entry.path.clone()).collect()
        };
        let all = list(Links::Follow);
        let expected = [
            "a/1.png",
            "b/1.png",
            "c/er/2.png",
            "d.png",
            "in.png",
            "out.png",
        ];
        assert_eq!(paths(&all), expected);
        assert_eq!((all.n_outside, all.n_links_skipped), (2, 0));
        let inside = list(Links::Inside);
        assert_eq!(paths(&inside), ["a/1.png", "b/1.png", "d.png", "in.png"]);
        assert_eq!((inside.n_outside, inside.n_links_skipped), (0, 2));
        let none = list(Links::Skip);
        assert_eq!(paths(&none), ["a/1.png"]);
        assert_eq!((none.n_outside, none.n_links_skipped), (0, 5));
        // The image folder itself may be a link.
        let link = other.path().join("dataset");
        symlink(folder.path(), &link).unwrap();
        let through = walk(&link, Path::new("nowhere"), Links::Skip).unwrap();
        assert_eq!(paths(&through), ["a/1.png"]);
    }
}
