//! The image files, for stages that draw them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use prospect_common::{Result, text};
use prospect_dataset::image::{self, DecodeOptions, RgbImage};
use prospect_output::picture::{self, Picture, PixelBox, neighbors::PICTURE_SIZE};
use prospect_store::Manifest;

use super::files::{File, files};
use crate::{Context, Unread};

/// Locations and digests of images as scanned.
pub struct Sources {
    dir: PathBuf,
    options: DecodeOptions,
    by_id: BTreeMap<u32, File>,
    unread: Unread,
}

impl Sources {
    /// Reads the rows of the wanted images.
    pub fn read(
        ctx: &Context,
        manifest: &Manifest,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Sources> {
        let files = files(ctx.run, manifest, |id, _| wanted(id))?;
        Ok(Sources::of(ctx, files))
    }

    /// From rows already read.
    pub fn of(ctx: &Context, files: BTreeMap<u32, File>) -> Sources {
        let images = &ctx.config.images;
        Sources {
            dir: images.dir.clone(),
            options: images.decode_options(),
            by_id: files,
            unread: ctx.unread.clone(),
        }
    }

    /// The image's path in the image folder; empty if unknown.
    pub fn path(&self, image_id: u32) -> &str {
        self.by_id.get(&image_id).map_or("", |file| &file.path)
    }

    /// The upright image, or an error if its file cannot be read or has changed since the scan; a run scans such files again.
    pub fn decode(&self, image_id: u32) -> Result<RgbImage, String> {
        let file = (self.by_id.get(&image_id)).ok_or("no row in the table images")?;
        let digest = file.digest.as_deref().unwrap_or_default();
        let bytes = read_as_scanned(&self.dir.join(&file.path), digest)
            .inspect_err(|_| self.unread.add(image_id))?;
        image::decode(&bytes, &self.options).map_err(|error| error.to_string())
    }

    /// Warns that an image could not be drawn; `what` names the missing picture.
    pub fn warn(&self, what: &str, image_id: u32, reason: &str) {
        tracing::warn!(
            "no {what} of image {image_id} ({}): {}",
            text::escaped(self.path(image_id)),
            text::escaped(reason)
        );
    }
}

/// The file's bytes, or an error if it cannot be read or its content has another digest.
pub fn read_as_scanned(file: &Path, digest: &str) -> Result<Vec<u8>, String> {
    let bytes = fs::read(file).map_err(|error| format!("cannot be read: {error}"))?;
    match blake3::hash(&bytes).to_hex().as_str() == digest {
        true => Ok(bytes),
        false => Err("the file has changed since the scan".to_string()),
    }
}

/// The whole image, scaled for a contact sheet.
pub fn small(image: &RgbImage) -> Result<Picture, String> {
    fitted(image, PICTURE_SIZE)
}

/// The whole image, scaled so that its longer side has `side` pixels.
pub fn fitted(image: &RgbImage, side: u32) -> Result<Picture, String> {
    let (width, height) = (image.width, image.height);
    let whole = PixelBox::whole(width, height);
    picture::tile(&image.pixels, width, height, whole, side).map_err(|error| error.to_string())
}
