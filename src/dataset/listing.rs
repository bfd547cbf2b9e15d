//! The image files of a folder, in the order of their ids.

use std::{
    cell::Cell,
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use prospect_common::{Error, Result, names, text::plural};
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

    /// What a summary says of symbolic links, such as `; 3 links not followed`.
    pub fn about_links(&self) -> String {
        let mut about = String::new();
        for (n, one, many) in [
            (
                self.n_outside,
                "image by a link that leads outside the folder",
                "images by links that lead outside the folder",
            ),
            (
                self.n_links_skipped,
                "link not followed",
                "links not followed",
            ),
        ] {
            if n > 0 {
                about += &format!("; {}", plural(n, one, many));
            }
        }
        about
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
        !(is_skipped || entry.file_type().is_dir() && is_without(entry.path()))
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

pub(crate) fn has_image_extension(path: &Path) -> bool {
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
mod tests;
