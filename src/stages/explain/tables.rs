//! The rows as tables: `cams`, which `extract` leaves where it explains inline, and `explanations`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float16Array, Float32Array, Int16Array, Int32Array, RecordBatch,
    StringArray, UInt32Array,
};
use half::f16;
use prospect_analysis::units::saliency::{clear_if_not_finite, summary};
use prospect_common::Result;
use prospect_engine::tables::columns::{Columns, list, number, repeated, table};
use prospect_model::CamMethod;

use super::{images::Images, rows::Rows};

/// What goes wrong with maps, counted.
#[derive(Default)]
pub struct Counts {
    pub rows: u64,
    pub zero_maps: u64,
    /// Maps with a number that was not finite, stored as zeros.
    pub not_finite: u64,
}

/// Rows of a layer, its maps of `cells` cells, in float32.
pub(crate) fn cams(layer: &str, cells: usize, rows: Rows) -> Result<RecordBatch> {
    let n = rows.len();
    let map = list(Arc::new(Float32Array::from(rows.maps)), cells, n);
    table([
        ("layer", repeated(layer, n), false),
        (
            "image_id",
            Arc::new(UInt32Array::from(rows.image_ids)),
            false,
        ),
        ("method", texts(&rows.methods), false),
        ("class", Arc::new(Int32Array::from(rows.classes)), false),
        ("class_kind", texts(&rows.kinds), false),
        ("logit", Arc::new(Float32Array::from(rows.logits)), false),
        (
            "residual",
            Arc::new(Float32Array::from(rows.residuals)),
            true,
        ),
        ("map", map, false),
    ])
}

/// Reads rows of one layer back from a batch of `cams`.
pub(super) fn read_cams(columns: &Columns, cells: usize) -> Result<Rows> {
    let (methods, kinds) = (columns.texts("method")?, columns.texts("class_kind")?);
    let classes = columns.integers("class")?;
    let (logits, residuals) = (columns.numbers("logit")?, columns.numbers("residual")?);
    let method = |name: Option<&str>| {
        let known = name.and_then(|name| name.parse().ok());
        known
            .map(CamMethod::name)
            .ok_or_else(|| columns.unexpected("known methods", name.unwrap_or("none").to_string()))
    };
    Ok(Rows {
        image_ids: columns.image_ids()?,
        methods: methods.iter().map(method).collect::<Result<_>>()?,
        classes: classes.values().iter().map(|&class| class as i32).collect(),
        kinds: kinds
            .iter()
            .map(|kind| kind.unwrap_or_default().to_string())
            .collect(),
        logits: logits.values().iter().map(|&logit| logit as f32).collect(),
        residuals: (0..residuals.len())
            .map(|row| number(&residuals, row).map(|residual| residual as f32))
            .collect(),
        maps: columns.float_lists("map", cells)?,
    })
}

/// The rows of `explanations` of one layer, its maps `height` × `width`.
pub(super) fn explanations(
    layer: &str,
    (height, width): (usize, usize),
    mut rows: Rows,
    images: &Images,
    counts: &mut Counts,
) -> Result<RecordBatch> {
    let n = rows.len();
    let cells = height * width;
    let mut maps = Vec::with_capacity(n * cells);
    let mut scales = Vec::with_capacity(n);
    let mut summaries = Vec::with_capacity(n);
    let mut places = Vec::with_capacity(n);
    for (&image, map) in rows
        .image_ids
        .iter()
        .zip(rows.maps.chunks_exact_mut(cells.max(1)))
    {
        if clear_if_not_finite(map) {
            counts.not_finite += 1;
        }
        let found = summary(map, height, width);
        counts.zero_maps += u64::from(found.zero_map);
        let scale = scale(found.raw_min.abs().max(found.raw_max.abs()));
        maps.extend(map.iter().map(|&value| f16::from_f32(value / scale)));
        scales.push(scale);
        places.push(images.localisation(image, map, (height, width)));
        summaries.push(found);
    }
    counts.rows += n as u64;
    let clean = |value: f32| if value.is_finite() { value } else { 0.0 };
    let floats = |of: &dyn Fn(usize) -> Option<f32>| -> ArrayRef {
        Arc::new(Float32Array::from_iter((0..n).map(of)))
    };
    let sides = |side: usize| -> ArrayRef { Arc::new(Int16Array::from(vec![side as i16; n])) };
    let zero = summaries.iter().map(|found| Some(found.zero_map));
    let hits = places
        .iter()
        .map(|place| place.map(|place| place.pointing_hit));
    table([
        (
            "image_id",
            Arc::new(UInt32Array::from(rows.image_ids)),
            false,
        ),
        ("layer", repeated(layer, n), false),
        ("method", texts(&rows.methods), false),
        ("class", Arc::new(Int32Array::from(rows.classes)), false),
        ("class_kind", texts(&rows.kinds), false),
        ("height", sides(height), false),
        ("width", sides(width), false),
        (
            "map",
            list(Arc::new(Float16Array::from(maps)), cells, n),
            false,
        ),
        ("map_scale", floats(&|row| Some(scales[row])), false),
        (
            "raw_min",
            floats(&|row| Some(summaries[row].raw_min)),
            false,
        ),
        (
            "raw_max",
            floats(&|row| Some(summaries[row].raw_max)),
            false,
        ),
        (
            "positive_sum",
            floats(&|row| Some(summaries[row].positive_sum)),
            false,
        ),
        ("zero_map", Arc::new(BooleanArray::from_iter(zero)), false),
        ("center_y", floats(&|row| summaries[row].center_y), true),
        ("center_x", floats(&|row| summaries[row].center_x), true),
        (
            "border_fraction",
            floats(&|row| summaries[row].border_fraction),
            true,
        ),
        ("entropy", floats(&|row| summaries[row].entropy), true),
        ("logit", floats(&|row| Some(clean(rows.logits[row]))), false),
        (
            "residual",
            floats(&|row| rows.residuals[row].map(clean)),
            true,
        ),
        (
            "energy_in_box",
            floats(&|row| places[row].map(|place| place.energy_in_box)),
            true,
        ),
        (
            "pointing_hit",
            Arc::new(BooleanArray::from_iter(hits)),
            true,
        ),
    ])
}

/// The power of two that the stored half floats are to be multiplied by: 1 wherever they hold the map well (the gradients
/// of early layers are smaller than half floats reach).
fn scale(largest: f32) -> f32 {
    const FITS: std::ops::RangeInclusive<f32> = 0.01..=65504.0;
    if largest == 0.0 || FITS.contains(&largest) {
        return 1.0;
    }
    largest.log2().floor().exp2().max(f32::MIN_POSITIVE)
}

fn texts<T: AsRef<str>>(values: &[T]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_maps_keep_their_digits() {
        for largest in [1e-30f32, 3e-7, 0.5, 6e4, 7e5, 3e38] {
            let scale = scale(largest);
            let stored = f16::from_f32(largest / scale);
            assert!(
                (stored.to_f32() * scale / largest - 1.0).abs() < 1e-3,
                "{largest}"
            );
        }
        assert_eq!((scale(0.0), scale(1.0), scale(0.01)), (1.0, 1.0, 1.0));
    }
}
