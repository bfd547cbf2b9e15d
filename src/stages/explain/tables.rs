//! Tables `cams`, written by `extract` when it explains inline, and `explanations`.

use arrow::array::{Float32Array, Int16Array, RecordBatch, StringArray};
use half::f16;
use prospect_analysis::units::saliency::{clear_if_not_finite, summary};
use prospect_common::Result;
use prospect_engine::schema::{cams, explanations};
use prospect_model::CamMethod;
use prospect_store::{Manifest, RunFolder, declare::Lists};

use super::{images::Images, rows::Rows};

/// Counts of maps.
#[derive(Default)]
pub struct Counts {
    pub rows: u64,
    pub zero_maps: u64,
    /// Maps with a value that is not finite, stored as zeros.
    pub not_finite: u64,
}

/// Rows of `cams` of one layer, with maps of `cells` float32 values.
pub(crate) fn cams(layer: &str, cells: usize, rows: Rows) -> Result<RecordBatch> {
    cams::Columns {
        layer: StringArray::new_repeated(layer, rows.len()),
        image_id: rows.image_ids.into(),
        method: methods(&rows.methods),
        class: rows.classes.into(),
        class_kind: StringArray::from_iter_values(rows.kinds),
        logit: rows.logits.into(),
        residual: rows.residuals.into(),
        map: Lists::new(rows.maps, cells),
    }
    .batch()
}

/// Reads one layer from a part of `cams` by batch.
pub(super) fn read_cams(
    run: &RunFolder,
    manifest: &Manifest,
    part: usize,
    layer: &str,
    cells: usize,
) -> impl Iterator<Item = Result<Rows>> {
    let columns = (
        cams::image_id,
        cams::method,
        cams::class,
        cams::class_kind,
        cams::logit,
        cams::residual,
        cams::map,
    );
    let batches = (run.rows(manifest, columns))
        .part(part)
        .only(cams::layer, layer);
    batches.map(move |batch| {
        let batch = batch?;
        batch.check_length(&batch.columns().6, cells)?;
        let mut rows = Rows::default();
        for (image_id, method, class, kind, logit, residual, map) in batch.iter() {
            let method = method.parse();
            let method = method.map_err(|why| batch.unexpected("known methods", why))?;
            rows.image_ids.push(image_id);
            rows.methods.push(method);
            rows.classes.push(class);
            rows.kinds.push(kind.to_string());
            rows.logits.push(logit);
            rows.residuals.push(residual);
            rows.maps.extend_from_slice(map);
        }
        Ok(rows)
    })
}

/// Rows of `explanations` of one layer, with maps of `height` × `width`.
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
    let mut localisations = Vec::with_capacity(n);
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
        localisations.push(images.localisation(image, map, (height, width)));
        summaries.push(found);
    }
    counts.rows += n as u64;
    let clean = |value: f32| if value.is_finite() { value } else { 0.0 };
    let floats = |of: &dyn Fn(usize) -> Option<f32>| -> Float32Array { (0..n).map(of).collect() };
    let zero_maps = summaries.iter().map(|found| Some(found.zero_map));
    let hits = localisations
        .iter()
        .map(|found| found.map(|found| found.pointing_hit));
    explanations::Columns {
        image_id: rows.image_ids.into(),
        layer: StringArray::new_repeated(layer, n),
        method: methods(&rows.methods),
        class: rows.classes.into(),
        class_kind: StringArray::from_iter_values(rows.kinds),
        height: Int16Array::from_value(height as i16, n),
        width: Int16Array::from_value(width as i16, n),
        map: Lists::new(maps, cells),
        map_scale: scales.into(),
        raw_min: floats(&|row| Some(summaries[row].raw_min)),
        raw_max: floats(&|row| Some(summaries[row].raw_max)),
        positive_sum: floats(&|row| Some(summaries[row].positive_sum)),
        zero_map: zero_maps.collect(),
        center_y: floats(&|row| summaries[row].center_y),
        center_x: floats(&|row| summaries[row].center_x),
        border_fraction: floats(&|row| summaries[row].border_fraction),
        entropy: floats(&|row| summaries[row].entropy),
        logit: floats(&|row| Some(clean(rows.logits[row]))),
        residual: floats(&|row| rows.residuals[row].map(clean)),
        energy_in_box: floats(&|row| localisations[row].map(|found| found.energy_in_box)),
        pointing_hit: hits.collect(),
    }
    .batch()
}

/// The power of two by which the stored half floats are multiplied: 1 if half floats represent the map well. The gradients of
/// early layers are too small for them.
fn scale(largest: f32) -> f32 {
    const FITS: std::ops::RangeInclusive<f32> = 0.01..=65504.0;
    if largest == 0.0 || FITS.contains(&largest) {
        return 1.0;
    }
    largest.log2().floor().exp2().max(f32::MIN_POSITIVE)
}

fn methods(methods: &[CamMethod]) -> StringArray {
    StringArray::from_iter_values(methods.iter().map(|method| method.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_maps_keep_their_precision() {
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
