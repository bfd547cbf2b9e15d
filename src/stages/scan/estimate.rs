//! Size estimate of stage `scan`.

use prospect_common::Result;
use prospect_engine::{
    Context, TableEstimate,
    schema::{classes, images, label_votes},
};

/// Bytes of the user's columns in `images`, relative to the metadata file.
const METADATA: f64 = 0.5;

/// `images`, with the user's columns, and `classes`.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let metadata = ctx.config.images.metadata.as_ref();
    let metadata = metadata.and_then(|path| path.metadata().ok());
    let metadata = metadata.map_or(0, |file| file.len());
    let mut table = TableEstimate::of(&images::TABLE, images);
    table.raw_bytes += metadata;
    table.bytes += (metadata as f64 * METADATA) as u64;
    let classes = match &ctx.config.model.path {
        Some(_) => ctx.model()?.sidecar.classes.len(),
        None => 0,
    };
    let columns = ctx.config.images.label_columns();
    let has_votes = !columns.votes.is_empty() || !columns.annotators.is_empty();
    let votes = has_votes.then(|| TableEstimate::of(&label_votes::TABLE, images));
    let tables = [table, TableEstimate::of(&classes::TABLE, classes as u64)];
    Ok(tables.into_iter().chain(votes).collect())
}
