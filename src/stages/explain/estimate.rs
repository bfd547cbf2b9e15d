//! Estimated output of the stage.

use prospect_common::Result;
use prospect_config::{ClassChoice, Labels};
use prospect_engine::{
    Context, TableEstimate,
    estimate::{Sum, dataset_classes, picture, with_vector},
    schema::explanations,
};
use prospect_store::declare::Table;

use super::{pictures, rows::Choice};

/// Compressed size of maps, as a fraction of their raw size: 0.86 for one class per image, 0.59 for two, which often coincide.
const MAPS: f64 = 0.75;
const OVERLAY_PNG: f64 = 0.35;

/// `explanations`, and overlays of some images per class: the photo and a map per explained class.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (explain, model) = (&ctx.config.explain, ctx.model()?);
    let Some(table) = rows(ctx, images, &explanations::TABLE, 2)? else {
        return Ok(Vec::new());
    };
    let classes = match ctx.config.images.labels {
        Labels::None => u64::try_from(model.graph.n_classes()).unwrap_or(0),
        Labels::Folder | Labels::Metadata => dataset_classes(ctx)?,
    };
    let n = (images.min(explain.max_pictures as u64)).min(explain.pictures as u64 * classes);
    let panels = 1 + classes_explained(ctx).min(pictures::MAX_MAPS as u64);
    let overlays = picture(panels * pictures::PANEL_PIXELS, OVERLAY_PNG);
    Ok(vec![
        table,
        TableEstimate::new("pictures/explanations", n, overlays).or("lower [explain] max_pictures"),
    ])
}

/// Rows of `explanations`, or of `cams` with its float32 maps: one per image, layer, method and class.
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
        let (rows, cols) = layer.map_size(model);
        let vector = (rows * cols) as u64 * bytes_per_cell;
        let n = layer.methods.len() as u64 * classes;
        sum.add(n, with_vector(table.bytes, vector, MAPS));
    }
    let remedy = "choose fewer [explain] layers, methods or classes";
    Ok(sum.table(table.name, images, remedy))
}

/// Maximum number of classes explained per image.
fn classes_explained(ctx: &Context) -> u64 {
    let has_labels = ctx.config.images.labels != Labels::None;
    let classes = ctx.config.explain.classes.iter();
    classes
        .filter(|class| has_labels || **class != ClassChoice::Labelled)
        .count() as u64
}
