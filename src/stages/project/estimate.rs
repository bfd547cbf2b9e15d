//! How much project is going to write.

use prospect_common::Result;
use prospect_config::Labels;
use prospect_engine::{
    Context, TableEstimate,
    estimate::{FLOATS, feature_dimension, with_vector},
};
use prospect_output::picture::scatter;

/// A map's coordinates hardly compress: 13 to 22.
const PROJECTION_ROW: [f64; 2] = [21.0, 16.0];
const QUALITY_ROW: [f64; 2] = [40.0, 2200.0];
/// A scatter as PNG, of 5 MB of pixels: 0.15 to 0.77 MB. As SVG, its legend, and each point: 64 to 65 bytes.
const SCATTER_PNG: [f64; 2] = [5.2e6, 5e5];
const SCATTER_SVG: [f64; 2] = [2e4, 65.0];

/// Maps, their pictures and the principal components.
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
        TableEstimate::new("projection", images * methods, PROJECTION_ROW),
        TableEstimate::new(
            "pca_components",
            components,
            with_vector([20.0, 20.0], 8 * dimension, FLOATS),
        ),
        TableEstimate::new("projection_quality", methods, QUALITY_ROW),
        TableEstimate::new(
            "pictures/project",
            2 * methods * colourings,
            SCATTER_PNG.map(|png| (png + svg) / 2.0),
        )
        .or("name fewer [project] methods"),
    ])
}
