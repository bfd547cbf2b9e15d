//! Estimated output of the stage.

use prospect_common::Result;
use prospect_config::MapStorage;
use prospect_engine::{
    Context, TableEstimate,
    estimate::{FLOATS, Sum, feature_dimension, shape, with_vector},
    schema::{cams, extracted, features, layers, maps, predictions, units},
};

use crate::explain;

/// Compressed size of each column, as a fraction of its raw size.
const FEATURES: f64 = 0.8;
/// `units`, six bytes per channel: 0.70 to 0.81.
const UNITS: f64 = 0.77;
/// Float16 maps without a ReLU: 0.90 to 0.93.
const DENSE: f64 = 0.93;
/// Float16 maps after a ReLU: 0.46 to 0.71 before the last blocks, 0.21 to 0.29 in them.
const RECTIFIED: f64 = 0.6;
/// The rectified map before the head if it is wide, as few of its units are active at a time: 0.11 to 0.20 with 512 to 2048
/// channels, 0.55 with 64.
const LAST_RECTIFIED: f64 = 0.2;
const WIDE: u64 = 256;

/// `predictions`, `features`, `units`, `layers`, `extracted`, and `maps` or, with inline explanations, `cams`.
pub fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (config, model) = (ctx.config, ctx.model()?);
    let units = model.layers(&config.extract.layers)?;
    let length = feature_dimension(ctx)?;
    let n_classes = u64::try_from(model.graph.n_classes()).unwrap_or(0);
    let channels: u64 = units.iter().map(|layer| shape(model, layer)[0]).sum();
    let n_layers = units.len() as u64;
    let mut tables = vec![
        TableEstimate::new(
            predictions::NAME,
            images,
            with_vector(predictions::TABLE.bytes, 4 * n_classes, FLOATS),
        ),
        TableEstimate::new(
            features::NAME,
            images,
            with_vector(features::TABLE.bytes, 4 * length, FEATURES),
        )
        .or("choose a narrower [extract] feature_layer"),
        {
            let row = with_vector(units::TABLE.bytes, 6 * channels / n_layers.max(1), UNITS);
            TableEstimate::new(units::NAME, images * n_layers, row)
                .or("choose fewer [extract] layers")
        },
        TableEstimate::of(&layers::TABLE, n_layers),
        TableEstimate::of(&extracted::TABLE, images),
    ];
    match config.explain.maps {
        MapStorage::Inline => tables.extend(explain::estimate::rows(ctx, images, &cams::TABLE, 4)?),
        MapStorage::Stored => tables.extend(maps(ctx, images)?),
    }
    Ok(tables)
}

/// `maps`, if any are stored.
fn maps(ctx: &Context, images: u64) -> Result<Option<TableEstimate>> {
    let model = ctx.model()?;
    let last = model.analysis.explanation;
    let last = last.map(|index| model.analysis.taps[index].value);
    let layers = explain::rows::Choice::new(&ctx.config.explain, model)?.maps();
    let mut sum = Sum::default();
    for layer in &layers {
        let [channels, rows, cols] = shape(model, layer);
        let share = if !model.analysis.is_rectified(&model.graph, layer.value) {
            DENSE
        } else if last == Some(layer.value) && channels >= WIDE {
            LAST_RECTIFIED
        } else {
            RECTIFIED
        };
        let vector = 2 * channels * rows * cols;
        sum.add(1, with_vector(maps::TABLE.bytes, vector, share));
    }
    let remedy = "set [explain] maps = \"inline\", choose fewer [explain] layers";
    Ok(sum.table(maps::NAME, images, remedy))
}
