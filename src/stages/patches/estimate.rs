//! Size estimate of stage `patches`.

use prospect_common::Result;
use prospect_engine::{
    Context, TableEstimate,
    estimate::{SHEET_PNG, picture, shape},
    schema::{patches, unit_stats},
};

use super::sheets::{TILE_PIXELS, max_sheets};

/// `patches`, `unit_stats` and the contact sheets; none grows with the number of images.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (config, model) = (&ctx.config.patches, ctx.model()?);
    let k = images.min(config.k as u64);
    let (mut units, mut sheets) = (0, 0);
    for layer in &model.layers(&ctx.config.extract.layers)? {
        let channels = shape(model, layer)[0];
        units += channels;
        sheets += max_sheets(&config.units, channels as usize) as u64;
    }
    Ok(vec![
        TableEstimate::of(&patches::TABLE, units * k),
        TableEstimate::of(&unit_stats::TABLE, units),
        TableEstimate::new(
            "pictures/patches",
            sheets,
            picture(k * TILE_PIXELS, SHEET_PNG),
        )
        .or("set [patches] units = \"selective\" or a smaller k"),
    ])
}
