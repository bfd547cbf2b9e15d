//! The rows of `unit_gradients`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, RecordBatch, UInt32Array,
};
use prospect_common::Result;
use prospect_dataset::image::FileBox;
use prospect_engine::tables::{
    columns::{repeated, table},
    layers::Layer,
    units::Patch,
};

use super::trace::Trace;

/// One row per patch; what is not known of a patch whose image cannot be read again, or whose gradient is zero, is null.
pub fn unit_gradients(
    layer: &Layer,
    rf: &str,
    patches: &[Patch],
    traces: &[Option<Trace>],
) -> Result<RecordBatch> {
    let floats = |of: &dyn Fn(&Trace) -> Option<f32>| -> ArrayRef {
        let values = traces.iter().map(|trace| of(trace.as_ref()?));
        Arc::new(Float32Array::from_iter(values))
    };
    let field = |of: fn(&FileBox) -> f32| floats(&|trace| trace.field.as_ref().map(of));
    let effective = |of: fn(&FileBox) -> f32| {
        floats(&|trace| trace.effective.as_ref().map(|(part, _)| of(part)))
    };
    let shorts = |of: fn(&Patch) -> i16| -> ArrayRef {
        Arc::new(Int16Array::from_iter_values(patches.iter().map(of)))
    };
    let units = patches.iter().map(|patch| patch.unit as i32);
    let images = patches.iter().map(|patch| patch.image_id);
    let zero = traces
        .iter()
        .map(|trace| Some(trace.as_ref()?.effective.is_none()));
    table([
        ("layer", repeated(&layer.name, patches.len()), false),
        ("unit", Arc::new(Int32Array::from_iter_values(units)), false),
        ("rank", shorts(|patch| patch.rank), false),
        (
            "image_id",
            Arc::new(UInt32Array::from_iter_values(images)),
            false,
        ),
        ("row", shorts(|patch| patch.cell.0 as i16), false),
        ("col", shorts(|patch| patch.cell.1 as i16), false),
        ("rf", repeated(rf, patches.len()), false),
        ("box_x0", field(|part| part.x0), true),
        ("box_y0", field(|part| part.y0), true),
        ("box_x1", field(|part| part.x1), true),
        ("box_y1", field(|part| part.y1), true),
        ("effective_x0", effective(|part| part.x0), true),
        ("effective_y0", effective(|part| part.y0), true),
        ("effective_x1", effective(|part| part.x1), true),
        ("effective_y1", effective(|part| part.y1), true),
        (
            "energy",
            floats(&|trace| trace.effective.map(|(_, energy)| energy)),
            true,
        ),
        (
            "gradient_max",
            floats(&|trace| trace.effective.map(|_| trace.gradient_max)),
            true,
        ),
        (
            "zero_gradient",
            Arc::new(BooleanArray::from_iter(zero)),
            true,
        ),
    ])
}
