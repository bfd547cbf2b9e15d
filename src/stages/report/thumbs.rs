//! Thumbnails and large pictures for the pages.

use prospect_common::{Error, Result};
use prospect_engine::tables::sources::{Sources, fitted};
use prospect_output::picture::{Picture, palette::sheet::GONE};
use prospect_store::PartWriter;
use rayon::prelude::*;

use super::images::{SHARD, Selection};

/// Maximum width and height in pixels. Smaller images are not enlarged.
const SIDE: u32 = 128;
const LARGE: u32 = 480;
/// JPEG quality: 80 shows no artefacts at these sizes.
const QUALITY: u8 = 80;
/// Images in memory at a time.
const CHUNK: usize = 64;

/// Estimated bytes of a thumbnail and of a large picture.
pub const BYTES: [u64; 2] = [4 << 10, 40 << 10];

/// `thumbs/000/000123.jpg`, in the folder `report`.
fn path(folder: &str, id: u32) -> String {
    format!("report/{folder}/{:03}/{id:06}.jpg", id / SHARD)
}

/// JPEG files of one image.
struct Thumbnails {
    small: Vec<u8>,
    large: Option<Vec<u8>>,
}

/// Writes the pictures of some images. An image that can no longer be read gets a grey placeholder and a warning.
pub fn draw(
    sources: &Sources,
    shown: &Selection,
    ids: &[u32],
    files: &mut PartWriter,
    done: impl Fn(u64),
) -> Result<()> {
    for chunk in ids.chunks(CHUNK) {
        let drawn: Vec<Result<Thumbnails, String>> = (chunk.par_iter())
            .map(|id| drawn(sources, shown, *id))
            .collect();
        for (id, drawn) in chunk.iter().zip(drawn) {
            let drawn = drawn.map_err(|error| Error::internal(path("thumbs", *id), error))?;
            files.file(&path("thumbs", *id), &drawn.small)?;
            if let Some(large) = drawn.large {
                files.file(&path("large", *id), &large)?;
            }
        }
        done(chunk.len() as u64);
    }
    Ok(())
}

fn drawn(sources: &Sources, shown: &Selection, id: u32) -> Result<Thumbnails, String> {
    let picture = sources.decode(id);
    if let Err(reason) = &picture {
        sources.warn("thumbnail", id, reason);
    }
    let at = |side: u32| match &picture {
        Ok(image) => jpeg(&fitted(image, side.min(image.width.max(image.height)))?),
        // The file has changed or disappeared since the scan.
        Err(_) => jpeg(&Picture::filled(SIDE, SIDE, GONE)),
    };
    Ok(Thumbnails {
        small: at(SIDE)?,
        large: (shown.large.contains(&id)).then(|| at(LARGE)).transpose()?,
    })
}

fn jpeg(picture: &Picture) -> Result<Vec<u8>, String> {
    let side = |length: u32| u16::try_from(length).map_err(|error| error.to_string());
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, QUALITY)
        .encode(
            &picture.pixels,
            side(picture.width)?,
            side(picture.height)?,
            jpeg_encoder::ColorType::Rgb,
        )
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}
