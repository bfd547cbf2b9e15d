//! Labels of single files, for commands that work without a run.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

use prospect_common::Result;
use prospect_config::{Config, Labels};
use prospect_dataset::{
    listing::{self, Listing, SPLITS},
    metadata::Metadata,
};

use super::labels::from_folders;

/// Labels of files in the configured image folder, by the rules of `scan`.
pub struct FileLabels<'a> {
    config: &'a Config,
    /// The image folder, as configured and with symlinks resolved.
    folders: Vec<PathBuf>,
    metadata: Metadata,
    listing: OnceCell<Listing>,
}

impl FileLabels<'_> {
    /// Reads the metadata file, if it holds the labels, and lists the images that it is about.
    pub fn new(config: &Config) -> Result<FileLabels<'_>> {
        let images = &config.images;
        let mut metadata = match (&images.metadata, images.labels) {
            (Some(path), Labels::Metadata) => Metadata::read(path, &images.label_columns(), &[])?,
            _ => Metadata::default(),
        };
        let listing = OnceCell::new();
        if metadata.n_rows() > 0 {
            metadata.pair(&paths(listed(&listing, config)?), &images.dir);
        }
        let folders = [
            std::path::absolute(&images.dir),
            std::fs::canonicalize(&images.dir),
        ];
        Ok(FileLabels {
            config,
            folders: folders.into_iter().flatten().collect(),
            metadata,
            listing,
        })
    }

    /// The label of a file; `None` outside the image folder or without a label.
    ///
    /// # Errors
    /// The image folder, which distinguishes labels from splits, cannot be listed.
    pub fn label(&self, file: &Path) -> Result<Option<String>> {
        let Some(path) = self.relative(file) else {
            return Ok(None);
        };
        match self.config.images.labels {
            Labels::None => Ok(None),
            Labels::Metadata => {
                let row = self.metadata.row(&path);
                let label = row.and_then(|row| self.metadata.label(row));
                Ok(label.map(str::to_string))
            }
            Labels::Folder => self.by_folder(&path),
        }
    }

    fn by_folder(&self, path: &str) -> Result<Option<String>> {
        let Some((top, _)) = path.split_once('/') else {
            return Ok(None);
        };
        let dir = &self.config.images.dir;
        let is_folder = |split: &&str| dir.join(split).is_dir();
        let is_split = SPLITS.iter().any(|split| top.eq_ignore_ascii_case(split));
        if !is_split && !SPLITS.iter().any(is_folder) {
            return Ok(Some(top.to_string()));
        }
        // Which folders are splits depends on all of them.
        let mut paths = paths(listed(&self.listing, self.config)?);
        paths.push(path);
        let named = from_folders(&paths).named.pop();
        Ok(named.and_then(|named| named.label).map(str::to_string))
    }

    /// The file's path in the image folder, with `/`.
    pub fn relative(&self, file: &Path) -> Option<String> {
        let spelled = [std::path::absolute(file), std::fs::canonicalize(file)];
        let inside = spelled.iter().flatten().find_map(|file| {
            let mut folders = self.folders.iter();
            folders.find_map(|folder| file.strip_prefix(folder).ok())
        })?;
        let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
        Some(parts?.join("/"))
    }
}

/// The image folder's listing, read on first use.
fn listed<'l>(known: &'l OnceCell<Listing>, config: &Config) -> Result<&'l Listing> {
    if let Some(listing) = known.get() {
        return Ok(listing);
    }
    let images = &config.images;
    let listing = listing::walk(&images.dir, &config.run.dir, images.links)?;
    Ok(known.get_or_init(|| listing))
}

fn paths(listing: &Listing) -> Vec<&str> {
    let entries = listing.entries.iter();
    entries.map(|entry| entry.path.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn label(files: &[&str], more: &str, of: &str) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join("photos").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        fs::write(
            dir.path().join("labels.csv"),
            "file_name,label\na.jpg,cat\n",
        )
        .unwrap();
        let text = format!("[images]\ndir = \"photos\"\n{more}");
        let config = Config::parse(&dir.path().join("pipeline.toml"), &text, &[]).unwrap();
        let labels = FileLabels::new(&config).unwrap();
        labels.label(&dir.path().join(of)).unwrap()
    }

    #[test]
    fn labels_match_those_of_scan() {
        let splits = ["train/cat/1.jpg", "test/dog/2.jpg", "3.jpg"];
        assert_eq!(
            label(&splits, "", "photos/train/cat/1.jpg").as_deref(),
            Some("cat")
        );
        assert_eq!(label(&splits, "", "photos/3.jpg"), None);
        let classes = ["train/1.jpg", "bus/2.jpg"];
        assert_eq!(
            label(&classes, "", "photos/train/1.jpg").as_deref(),
            Some("train")
        );
        assert_eq!(
            label(&classes, "", "photos/bus/2.jpg").as_deref(),
            Some("bus")
        );
        assert_eq!(label(&classes, "", "labels.csv"), None, "another folder");
        assert_eq!(
            label(&classes, "labels = \"none\"", "photos/bus/2.jpg"),
            None
        );
        let table = "labels = \"metadata\"\nmetadata = \"labels.csv\"";
        assert_eq!(
            label(&["a.jpg", "b.jpg"], table, "photos/a.jpg").as_deref(),
            Some("cat")
        );
        assert_eq!(label(&["a.jpg", "b.jpg"], table, "photos/b.jpg"), None);
    }
}
