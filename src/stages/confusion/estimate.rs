//! Size estimate of stage `confusion`.

use prospect_common::Result;
use prospect_config::Labels;
use prospect_engine::{
    Context, TableEstimate,
    estimate::picture,
    schema::{class_overlap, confusion},
};

/// Matrices of 2 to 1000 classes have 1000 x 398 to 1800 x 1410 pixels; as PNG they keep 0.05 to 0.08 of the bytes.
const MATRIX_PIXELS: u64 = 1600 * 1200;
const MATRIX_PNG: f64 = 0.07;

/// Pairs of classes, at most as many as images or neighbours, and the two matrix pictures.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    if ctx.config.images.labels == Labels::None {
        return Ok(Vec::new());
    }
    let classes = u64::try_from(ctx.model()?.graph.n_classes()).unwrap_or(0);
    let pairs = classes.saturating_mul(classes);
    let edges = images.saturating_mul(ctx.config.neighbors.k as u64);
    Ok(vec![
        TableEstimate::of(&confusion::TABLE, images.min(pairs)),
        TableEstimate::of(&class_overlap::TABLE, edges.min(pairs)),
        TableEstimate::new("pictures/confusion", 2, picture(MATRIX_PIXELS, MATRIX_PNG)),
    ])
}
