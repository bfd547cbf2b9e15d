//! Estimated output of the stage.

use prospect_common::Result;
use prospect_config::Labels;
use prospect_engine::{
    Context, TableEstimate,
    estimate::{SHEET_PNG, picture},
    schema::{associations, groups},
};

use super::sheets::{MAX_SHEETS, PIXELS};

/// Eight quality metrics and a few metadata columns, each with about five values in ten classes.
const ATTRIBUTES: u64 = 10;
const GROUPS: u64 = 55;

/// The output hardly depends on the number of images.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    if ctx.config.images.labels == Labels::None || images == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![
        TableEstimate::of(&associations::TABLE, ATTRIBUTES),
        TableEstimate::of(&groups::TABLE, ATTRIBUTES * GROUPS),
        TableEstimate::new(
            "pictures/shortcuts",
            MAX_SHEETS as u64,
            picture(PIXELS, SHEET_PNG),
        ),
    ])
}
