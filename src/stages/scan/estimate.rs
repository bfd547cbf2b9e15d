//! How much scan is going to write.

use prospect_common::Result;
use prospect_engine::{Context, TableEstimate};

/// Bytes of a row that are not among the vectors, before and after compression. `images`: 74 to 105 on the disk;
/// `predictions` without logits: 40 to 62; `patches`: 9 to 20; `unit_stats`: 27 to 37; `explanations` without maps: 27 to 70;
/// `confusion` and `class_overlap`: 3 to 32, less for many rows.
const IMAGE_ROW: [f64; 2] = [150.0, 110.0];
const CLASS_ROW: [f64; 2] = [24.0, 12.0];
/// Of the user's columns in `images`, relative to the file that holds them.
const METADATA: f64 = 0.5;

/// `images`, with the user's columns, and `classes`.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let metadata = ctx.config.images.metadata.as_ref();
    let theirs = metadata.and_then(|path| path.metadata().ok());
    let theirs = theirs.map_or(0, |file| file.len());
    let mut table = TableEstimate::new("images", images, IMAGE_ROW);
    table.raw_bytes += theirs;
    table.bytes += (theirs as f64 * METADATA) as u64;
    let classes = match &ctx.config.model.path {
        Some(_) => ctx.model()?.sidecar.classes.len(),
        None => 0,
    };
    Ok(vec![
        table,
        TableEstimate::new("classes", classes as u64, CLASS_ROW),
    ])
}
