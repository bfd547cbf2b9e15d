//! The user's metadata and the images it is about.

use std::{collections::BTreeSet, path::Path};

use prospect_common::{Error, Result, text};
use prospect_config::{ImagesConfig, Labels};
use prospect_dataset::metadata::Metadata;
use prospect_engine::schema::images;

/// Examples in a warning.
pub(super) const EXAMPLES: usize = 3;

/// Reads the metadata, if there is any, and pairs its rows with the images.
///
/// # Errors
/// More rows without an image than `max_bad_fraction` of them, or, if it has the labels, more images without a row: their paths are
/// likely to be spelled in a way that is not understood.
pub fn read(images: &ImagesConfig, paths: &[&str]) -> Result<Metadata> {
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
    let mut metadata = Metadata::read(file, &images.label_columns(), &reserved)?;
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

/// Warns of what the metadata lacks, and says how it was read.
pub fn warn(metadata: &Metadata, paths: &BTreeSet<&str>, folder: &Path) {
    for note in &metadata.notes {
        tracing::warn!("metadata: {note}");
    }
    for (word, n) in &metadata.no_labels {
        tracing::warn!(
            "metadata: {} in the column label {} no label",
            text::plural(*n, &format!("cell {word}"), &format!("cells {word}")),
            if *n == 1 { "is" } else { "are" }
        );
    }
    for column in &metadata.ignored {
        tracing::warn!(
            "metadata: column {} is ignored: only numbers, booleans and text are supported",
            text::escaped(column)
        );
    }
    let missing: Vec<&str> = metadata.unknown(paths).collect();
    if !missing.is_empty() {
        let examples: Vec<_> = missing
            .iter()
            .take(EXAMPLES)
            .map(|path| text::escaped(path))
            .collect();
        tracing::warn!(
            "metadata: {} row(s) without an image file in {}, for example {}",
            text::count(missing.len() as u64),
            text::escaped(&folder.display().to_string()),
            examples.join(", ")
        );
    }
}
