//! How much explain is going to write.

use prospect_common::Result;
use prospect_config::{ClassChoice, Labels};
use prospect_engine::{
    Context, TableEstimate,
    estimate::{Sum, picture, with_vector},
    schema::explanations,
};
use prospect_store::declare::Table;

use super::{pictures, rows::Choice};

/// Of the maps that explain: 0.86 for one class an image; 0.59 for two, which often are the same.
const EXPLAINING: f64 = 0.75;
const OVERLAY_PNG: f64 = 0.35;

/// `explanations` and overlays: some of every class, each a photo beside one map of each class that it was explained for.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (explain, model) = (&ctx.config.explain, ctx.model()?);
    let Some(table) = rows(ctx, images, &explanations::TABLE, 2)? else {
        return Ok(Vec::new());
    };
    let classes = u64::try_from(model.graph.n_classes()).unwrap_or(0);
    let n = images.min(explain.pictures as u64 * classes);
    let panels = 1 + classes_explained(ctx).min(pictures::MAX_MAPS as u64);
    let overlays = picture(panels * pictures::PANEL_PIXELS, OVERLAY_PNG);
    Ok(vec![
        table,
        TableEstimate::new("pictures/explanations", n, overlays)
            .or("ask for fewer [explain] pictures"),
    ])
}

/// Every image at every layer by every method for every class: `explanations`, or `cams`, whose maps are float32.
pub fn rows(
    ctx: &Context,
    images: u64,
    table: &'static Table,
    bytes_per_cell: u64,
) -> Result<Option<TableEstimate>> {
    let (explain, model) = (&ctx.config.explain, ctx.model()?);
    let classes = classes_explained(ctx);
    let mut sum = Sum::default();
    for layer in &Choice::new(explain, model)?.layers {
        let (rows, cols) = layer.sides(model);
        let vector = (rows * cols) as u64 * bytes_per_cell;
        let n = layer.methods.len() as u64 * classes;
        sum.add(n, with_vector(table.bytes, vector, EXPLAINING));
    }
    let remedy = "name fewer [explain] layers, methods or classes";
    Ok(sum.table(table.name, images, remedy))
}

/// For how many classes an image is explained at most.
fn classes_explained(ctx: &Context) -> u64 {
    let has_labels = ctx.config.images.labels != Labels::None;
    let classes = ctx.config.explain.classes.iter();
    classes
        .filter(|class| has_labels || **class != ClassChoice::Labelled)
        .count() as u64
}
