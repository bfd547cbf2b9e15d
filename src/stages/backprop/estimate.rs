//! Size estimate of stage `backprop`.

use prospect_common::Result;
use prospect_engine::{
    Context, TableEstimate,
    estimate::{picture, shape},
    schema::unit_gradients,
};

use super::trace::TILE_PIXELS;

const GRADIENT_PNG: f64 = 0.2;

/// `unit_gradients`, and one picture per unit: for each patch, the crop and a gradient per rule.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (config, model) = (&ctx.config.backprop, ctx.model()?);
    let k = images.min(ctx.config.patches.k as u64);
    let mut units = 0;
    for layer in &model.layers(&ctx.config.extract.layers)? {
        units += shape(model, layer)[0].min(config.units_per_layer as u64);
    }
    let rules = config.rules.len() as u64;
    Ok(vec![
        TableEstimate::of(&unit_gradients::TABLE, units * k),
        TableEstimate::new(
            "pictures/backprop",
            units,
            picture(k * (1 + rules) * TILE_PIXELS, GRADIENT_PNG),
        )
        .or("set a smaller [backprop] units_per_layer"),
    ])
}
