//! Rows of `unit_gradients`.

use arrow::array::{Float32Array, RecordBatch, StringArray};
use prospect_common::Result;
use prospect_dataset::image::FileBox;
use prospect_engine::{
    schema::unit_gradients,
    tables::{layers::Layer, units::Patch},
};

use super::trace::Trace;

/// One row per patch; values are null where the image is unreadable or the gradient is zero.
pub fn unit_gradients(
    layer: &Layer,
    rf: &str,
    patches: &[Patch],
    traces: &[Option<Trace>],
) -> Result<RecordBatch> {
    let n = patches.len();
    let floats = |of: &dyn Fn(&Trace) -> Option<f32>| -> Float32Array {
        let values = traces.iter().map(|trace| of(trace.as_ref()?));
        values.collect()
    };
    let field = |of: fn(&FileBox) -> f32| floats(&|trace| trace.field.as_ref().map(of));
    let effective = |of: fn(&FileBox) -> f32| {
        floats(&|trace| trace.effective.as_ref().map(|(part, _)| of(part)))
    };
    let zero = |trace: &Option<Trace>| Some(trace.as_ref()?.effective.is_none());
    unit_gradients::Columns {
        layer: StringArray::new_repeated(&layer.name, n),
        unit: patches.iter().map(|patch| patch.unit as i32).collect(),
        rank: patches.iter().map(|patch| patch.rank).collect(),
        image_id: patches.iter().map(|patch| patch.image_id).collect(),
        row: patches.iter().map(|patch| patch.cell.0 as i16).collect(),
        col: patches.iter().map(|patch| patch.cell.1 as i16).collect(),
        rf: StringArray::new_repeated(rf, n),
        box_x0: field(|part| part.x0),
        box_y0: field(|part| part.y0),
        box_x1: field(|part| part.x1),
        box_y1: field(|part| part.y1),
        effective_x0: effective(|part| part.x0),
        effective_y0: effective(|part| part.y0),
        effective_x1: effective(|part| part.x1),
        effective_y1: effective(|part| part.y1),
        energy: floats(&|trace| trace.effective.map(|(_, energy)| energy)),
        gradient_max: floats(&|trace| trace.effective.map(|_| trace.gradient_max)),
        zero_gradient: traces.iter().map(zero).collect(),
    }
    .batch()
}
