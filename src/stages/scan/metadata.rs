//! Warnings about the user's metadata.

use std::{collections::BTreeSet, path::Path};

use prospect_common::text;
use prospect_dataset::metadata::Metadata;

/// Examples in a warning.
pub(super) const EXAMPLES: usize = 3;

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
