//! The original files again, for stages that draw what tables speak of.

use std::{collections::HashMap, fs, path::PathBuf};

use prospect_common::{Result, text as words};
use prospect_dataset::image::{self, DecodeOptions, RgbImage};
use prospect_output::picture::{self, Picture, PixelBox, neighbors::SIDE};
use prospect_store::Manifest;

use super::columns::{Columns, text};
use crate::Context;

/// Where images lie, and what they were when the folder was scanned.
pub struct Sources {
    dir: PathBuf,
    options: DecodeOptions,
    by_id: HashMap<u32, Source>,
}

struct Source {
    path: String,
    digest: String,
}

impl Sources {
    /// Reads the rows of the wanted images.
    pub fn read(
        ctx: &Context,
        manifest: &Manifest,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Sources> {
        let mut by_id = HashMap::new();
        for batch in (ctx.run.read(manifest, "images")).columns(&["image_id", "path", "digest"]) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "images", &batch);
            let (paths, digests) = (columns.texts("path")?, columns.texts("digest")?);
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if wanted(id) {
                    let text = |array| text(array, row).unwrap_or_default().to_string();
                    let source = Source {
                        path: text(&paths),
                        digest: text(&digests),
                    };
                    by_id.insert(id, source);
                }
            }
        }
        let images = &ctx.config.images;
        Ok(Sources {
            dir: images.dir.clone(),
            options: DecodeOptions {
                max_pixels: images.max_pixels,
                exif_orientation: images.exif_orientation,
            },
            by_id,
        })
    }

    /// The image's path in the image folder; empty where there is no such image.
    pub fn path(&self, image_id: u32) -> &str {
        self.by_id
            .get(&image_id)
            .map_or("", |source| source.path.as_str())
    }

    /// The image, upright, if its file is still what was scanned; else why not.
    pub fn decode(&self, image_id: u32) -> Result<RgbImage, String> {
        let source = self
            .by_id
            .get(&image_id)
            .ok_or("no row in the table images")?;
        let bytes = fs::read(self.dir.join(&source.path)).map_err(|error| error.to_string())?;
        if blake3::hash(&bytes).to_hex().as_str() != source.digest {
            return Err("the file is not what it was when the folder was scanned".into());
        }
        image::decode(&bytes, &self.options).map_err(|error| error.to_string())
    }

    /// Tells that an image could not be drawn; `what` is what will be missing.
    pub fn warn(&self, what: &str, image_id: u32, reason: &str) {
        tracing::warn!(
            "no {what} of image {image_id} ({}): {}",
            words::escaped(self.path(image_id)),
            words::escaped(reason)
        );
    }
}

/// The whole image, small enough for a sheet of images.
pub fn small(image: &RgbImage) -> Result<Picture, String> {
    fitted(image, SIDE)
}

/// The whole image, scaled so that its longer side has `side` pixels.
pub fn fitted(image: &RgbImage, side: u32) -> Result<Picture, String> {
    let (width, height) = (image.width, image.height);
    let whole = PixelBox {
        x0: 0,
        y0: 0,
        x1: width,
        y1: height,
    };
    picture::tile(&image.pixels, width, height, whole, side).map_err(|error| error.to_string())
}
