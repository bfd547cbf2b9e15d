//! The image files.

use std::collections::BTreeMap;

use prospect_common::Result;
use prospect_store::{Manifest, RunFolder};

use crate::schema::images;

/// A row of the table `images`, without the quality measures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    pub image_id: u32,
    /// Relative to the image folder.
    pub path: String,
    /// BLAKE3 of its bytes; none if unreadable.
    pub digest: Option<String>,
    /// Width and height, as stored.
    pub size: Option<[i32; 2]>,
    /// Name of its label.
    pub label: Option<String>,
    pub split: Option<String>,
    /// Why it is unusable.
    pub error: Option<String>,
}

/// The files selected by id and path, by id.
pub fn files(
    run: &RunFolder,
    manifest: &Manifest,
    wanted: impl Fn(u32, &str) -> bool,
) -> Result<BTreeMap<u32, File>> {
    let columns = (
        images::image_id,
        images::path,
        images::digest,
        images::width,
        images::height,
        images::label_name,
        images::split,
        images::error,
    );
    let mut found = BTreeMap::new();
    for batch in run.rows(manifest, columns) {
        for (image_id, path, digest, width, height, label, split, error) in batch?.iter() {
            if wanted(image_id, path) {
                let file = File {
                    image_id,
                    path: path.to_string(),
                    digest: digest.map(str::to_string),
                    size: width.zip(height).map(|(width, height)| [width, height]),
                    label: label.map(str::to_string),
                    split: split.map(str::to_string),
                    error: error.map(str::to_string),
                };
                found.insert(image_id, file);
            }
        }
    }
    Ok(found)
}
