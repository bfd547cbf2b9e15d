//! Size estimate of stage `project`.

use prospect_common::Result;
use prospect_config::Labels;
use prospect_engine::{
    Context, TableEstimate,
    estimate::{FLOATS, feature_dimension, with_vector},
    schema::{pca_components, projection, projection_quality},
};
use prospect_output::picture::scatter;

/// A scatter plot as PNG: 5 MB of pixels make 0.15 to 0.77 MB. As SVG: the legend, and 64 to 65 bytes per point.
const SCATTER_PNG: [f64; 2] = [5.2e6, 5e5];
const SCATTER_SVG: [f64; 2] = [2e4, 65.0];

/// Projections, their pictures and the principal components.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let settings = &ctx.config.project;
    let methods = settings.methods.len() as u64;
    let dimension = feature_dimension(ctx)?;
    let components = dimension.min(settings.components as u64).min(images) + 1;
    let colourings = if ctx.config.images.labels == Labels::None {
        1
    } else {
        3
    };
    let svg = SCATTER_SVG[0] + SCATTER_SVG[1] * images.min(scatter::SVG_POINTS as u64) as f64;
    Ok(vec![
        TableEstimate::of(&projection::TABLE, images * methods),
        TableEstimate::new(
            pca_components::NAME,
            components,
            with_vector(pca_components::TABLE.bytes, 8 * dimension, FLOATS),
        ),
        TableEstimate::of(&projection_quality::TABLE, methods),
        TableEstimate::new(
            "pictures/project",
            2 * methods * colourings,
            SCATTER_PNG.map(|png| (png + svg) / 2.0),
        )
        .or("choose fewer [project] methods"),
    ])
}
