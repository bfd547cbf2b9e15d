//! How much shortcuts is going to write.

use prospect_common::Result;
use prospect_config::Labels;
use prospect_engine::{
    Context, TableEstimate,
    estimate::{SHEET_PNG, picture},
};

/// Our own eight measures of a picture and a few of the user's columns, each of about five values in ten classes.
const ATTRIBUTES: u64 = 10;
const GROUPS: u64 = 55;
const ATTRIBUTE_ROW: [f64; 2] = [90.0, 250.0];
const GROUP_ROW: [f64; 2] = [80.0, 40.0];

/// Attributes against labels, and the units that fire for a mark: hardly any of it grows with the images.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    if ctx.config.images.labels == Labels::None || images == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![
        TableEstimate::new("associations", ATTRIBUTES, ATTRIBUTE_ROW),
        TableEstimate::new("groups", ATTRIBUTES * GROUPS, GROUP_ROW),
        TableEstimate::new(
            "pictures/shortcuts",
            super::SHEETS as u64,
            picture(super::SHEET_PIXELS, SHEET_PNG),
        ),
    ])
}
