//! Size estimate of stage `neighbors`.

use prospect_common::Result;
use prospect_engine::{
    Context, TableEstimate,
    estimate::feature_dimension,
    schema::{neighbor_stats, neighbors},
};

use super::{choice::uses_index, tables::neighbor_candidates};

/// Bytes per point for its links in the index.
const INDEX_LINKS: f64 = 600.0;

/// The k nearest neighbours of each image, plus the candidates of block pairs or the index.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let settings = &ctx.config.neighbors;
    let rows = images * (settings.k as u64).min(images.saturating_sub(1));
    let mut tables = vec![
        TableEstimate::of(&neighbors::TABLE, rows).or("set a smaller [neighbors] k"),
        TableEstimate::of(&neighbor_stats::TABLE, images),
    ];
    let dimension = feature_dimension(ctx)?;
    if uses_index(ctx, images, dimension)? {
        let row = 4.0 * dimension as f64 + INDEX_LINKS;
        tables.push(TableEstimate::new("index", images, [row, row]));
    } else {
        let blocks = images.div_ceil(settings.block_size as u64);
        if blocks > 1 {
            tables.push(
                TableEstimate::of(&neighbor_candidates::TABLE, blocks * rows)
                    .or("set a larger [neighbors] block_size"),
            );
        }
    }
    Ok(tables)
}
