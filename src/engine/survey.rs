//! The images and their metadata, as found before an image is opened.

use std::{collections::BTreeSet, path::Path};

use prospect_common::{Error, Result, text};
use prospect_config::{ImagesConfig, Labels};
use prospect_dataset::{
    listing::{self, EXTENSIONS, Listing},
    metadata::Metadata,
};

use crate::schema::images;

/// The image files, and the user's metadata paired with them.
#[derive(Debug)]
pub struct Survey {
    pub listing: Listing,
    pub metadata: Metadata,
}

impl Survey {
    /// Lists the images, except those in the run's `root`, and reads the metadata.
    ///
    /// # Errors
    /// The folder cannot be listed or has no images; the metadata cannot be read, lacks a column, or does not match the images.
    pub fn read(images: &ImagesConfig, root: &Path) -> Result<Survey> {
        let listing = list(images, root)?;
        let paths = listing.entries.iter().map(|entry| entry.path.as_str());
        let metadata = paired(read_metadata(images)?, images, &paths.collect::<Vec<_>>())?;
        Ok(Survey { listing, metadata })
    }
}

fn list(images: &ImagesConfig, root: &Path) -> Result<Listing> {
    let listing = listing::walk(&images.dir, root, images.links)?;
    if listing.entries.is_empty() {
        let hidden = match listing.n_hidden {
            0 => String::new(),
            n => format!(", {n} hidden images"),
        };
        let message = format!(
            "no images in {} ({} other files{hidden}); set this to a folder of {} files",
            images.dir.display(),
            listing.n_other,
            EXTENSIONS.join(", ")
        );
        return Err(Error::setting("images", "dir", message));
    }
    if u32::try_from(listing.entries.len()).is_err() {
        return Err(Error::invalid(
            &images.dir,
            "at most 4,294,967,295 images",
            text::count(listing.entries.len() as u64),
            "split the folder",
        ));
    }
    Ok(listing)
}

/// Reads the metadata, if there is any, without regard to the images.
///
/// # Errors
/// A file that cannot be read as a table of images; missing columns; settings that need metadata.
pub(crate) fn read_metadata(images: &ImagesConfig) -> Result<Metadata> {
    let Some(file) = &images.metadata else {
        let lists = [("votes", &images.votes), ("annotators", &images.annotators)];
        let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
        let columns = [
            ("file_column", &images.file_column),
            ("label_column", &images.label_column),
            ("split_column", &images.split_column),
        ];
        let columns = columns.into_iter().filter(|(_, name)| name.is_some());
        let mut keys = lists.map(|(key, _)| key).chain(columns.map(|(key, _)| key));
        return match keys.next() {
            None => Ok(Metadata::default()),
            Some(key) => {
                let message = "needs [images] metadata, which is not set";
                Err(Error::setting("images", key, message))
            }
        };
    };
    let reserved = images::TABLE.columns.iter();
    let reserved: Vec<&str> = reserved.map(|column| column.name).collect();
    Metadata::read(file, &images.label_columns(), &reserved)
}

/// Pairs the rows of the metadata with the images.
///
/// # Errors
/// More rows without an image than `max_bad_fraction` of them, or, if it has the labels, more images without a row: their paths are
/// likely to be spelled in a way that is not understood.
fn paired(mut metadata: Metadata, images: &ImagesConfig, paths: &[&str]) -> Result<Metadata> {
    let Some(file) = &images.metadata else {
        return Ok(metadata);
    };
    metadata.pair(paths, &images.dir);
    let known: BTreeSet<&str> = paths.iter().copied().collect();
    let rows: Vec<&str> = metadata.unknown(&known).collect();
    let without_row = paths.iter().filter(|path| metadata.row(path).is_none());
    let files: Vec<&str> = without_row.copied().collect();
    let too_many =
        |missing: usize, all: usize| missing as f64 > images.max_bad_fraction * all as f64;
    let (rows_missing, all_rows) = (rows.len(), metadata.n_rows());
    let example = |of: &[&str]| text::escaped(of.first().copied().unwrap_or("none")).into_owned();
    let found = if too_many(rows_missing, all_rows) {
        format!("{rows_missing} of {all_rows} rows without an image")
    } else if images.labels == Labels::Metadata && too_many(files.len(), paths.len()) {
        format!("{} of {} images without a row", files.len(), paths.len())
    } else {
        return Ok(metadata);
    };
    Err(Error::invalid(
        file,
        format!("the paths of the images in {}", images.dir.display()),
        format!(
            "{found}; a row without an image: {}; an image without a row: {}",
            example(&rows),
            example(&files)
        ),
        "correct the paths or [images] dir, or raise [images] max_bad_fraction if they are right",
    ))
}
