//! The image files again, for the few that a stage after `extract` has to look at.

use std::{collections::HashMap, fs, path::Path};

use super::{
    Context,
    columns::{Columns, text},
};
use crate::{
    error::Result,
    image::{self, DecodeOptions, RgbImage},
    store::Manifest,
};

/// Where an image lies, and what it was when the folder was scanned.
pub struct Source {
    pub path: String,
    digest: String,
}

impl Source {
    /// The image, if it is still what it was; else why not.
    pub fn decode(&self, dir: &Path, options: &DecodeOptions) -> Result<RgbImage, String> {
        let bytes = fs::read(dir.join(&self.path)).map_err(|error| error.to_string())?;
        if blake3::hash(&bytes).to_hex().as_str() != self.digest {
            return Err("the file is not what it was when the folder was scanned".into());
        }
        image::decode(&bytes, options).map_err(|error| error.to_string())
    }
}

/// How the run's images are decoded.
pub fn decode_options(ctx: &Context) -> DecodeOptions {
    DecodeOptions {
        max_pixels: ctx.config.images.max_pixels,
        exif_orientation: ctx.config.images.exif_orientation,
    }
}

/// The sources of the wanted images, by their ids.
pub fn read_sources(
    ctx: &Context,
    manifest: &Manifest,
    wanted: impl Fn(u32) -> bool,
) -> Result<HashMap<u32, Source>> {
    let mut sources = HashMap::new();
    for batch in (ctx.run.read(manifest, "images")).columns(&["image_id", "path", "digest"]) {
        let batch = batch?;
        let columns = Columns {
            run: ctx.run,
            table: "images",
            batch: &batch,
        };
        let (paths, digests) = (columns.texts("path")?, columns.texts("digest")?);
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            if wanted(id) {
                let text = |array| text(array, row).unwrap_or_default().to_string();
                let source = Source {
                    path: text(&paths),
                    digest: text(&digests),
                };
                sources.insert(id, source);
            }
        }
    }
    Ok(sources)
}
