//! Candidates between the parts: the table `shortcut_candidates`, a part a layer.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int32Array, ListBuilder, RecordBatch, StringArray,
        UInt32Builder,
    },
    datatypes::UInt32Type,
};
use prospect_common::Result;
use prospect_engine::tables::columns::{Columns, integer, number, table, text};
use prospect_store::{Manifest, RunFolder};

use super::{judged::Judged, layer::Candidate};

pub const TABLE: &str = "shortcut_candidates";

/// The rows of one layer.
pub fn rows(candidates: &[Candidate], judged: &Judged) -> Result<RecordBatch> {
    let numbers = |of: &dyn Fn(&Candidate) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(candidates.iter().map(of)))
    };
    let mut marked = ListBuilder::new(UInt32Builder::new());
    for candidate in candidates {
        marked.values().append_slice(&candidate.marked);
        marked.append(true);
    }
    let layers = candidates.iter().map(|candidate| candidate.layer.as_str());
    let classes = (candidates.iter()).map(|candidate| judged.classes[candidate.class as usize]);
    let units = candidates.iter().map(|candidate| candidate.unit as i32);
    let edge = |at: usize| numbers(&|candidate| Some(candidate.edges[at]));
    table([
        (
            "layer",
            Arc::new(StringArray::from_iter_values(layers)),
            false,
        ),
        (
            "class",
            Arc::new(Int32Array::from_iter_values(classes)),
            false,
        ),
        ("unit", Arc::new(Int32Array::from_iter_values(units)), false),
        ("score", numbers(&|candidate| Some(candidate.score)), false),
        (
            "share_of_class",
            numbers(&|candidate| Some(candidate.of_class)),
            false,
        ),
        (
            "share_of_others",
            numbers(&|candidate| Some(candidate.of_others)),
            false,
        ),
        ("x0", edge(0), false),
        ("y0", edge(1), false),
        ("x1", edge(2), false),
        ("y1", edge(3), false),
        (
            "exclusivity",
            numbers(&|candidate| Some(candidate.exclusivity)),
            false,
        ),
        (
            "border",
            numbers(&|candidate| Some(candidate.border)),
            false,
        ),
        (
            "outside_boxes",
            numbers(&|candidate| candidate.outside_boxes),
            true,
        ),
        ("marked", Arc::new(marked.finish()), false),
    ])
}

/// The candidates of all layers, in their order.
pub fn read(run: &RunFolder, manifest: &Manifest, judged: &Judged) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    if !manifest.has(TABLE) {
        return Ok(found);
    }
    for batch in run.read(manifest, TABLE) {
        let batch = batch?;
        let columns = Columns::of(run, TABLE, &batch);
        let layers = columns.texts("layer")?;
        let (classes, units) = (columns.integers("class")?, columns.integers("unit")?);
        let names = [
            "score",
            "share_of_class",
            "share_of_others",
            "exclusivity",
            "border",
        ];
        let [score, of_class, of_others, exclusivity, border] =
            names.map(|name| columns.numbers(name));
        let (score, of_class, of_others) = (score?, of_class?, of_others?);
        let (exclusivity, border) = (exclusivity?, border?);
        let [x0, y0, x1, y1] = ["x0", "y0", "x1", "y1"].map(|name| columns.numbers(name));
        let edges = [x0?, y0?, x1?, y1?];
        let outside = columns.numbers("outside_boxes")?;
        let marked = columns.column("marked")?;
        let marked = marked
            .as_list_opt::<i32>()
            .ok_or_else(|| columns.unexpected("lists in column marked", "others"))?;
        for row in 0..batch.num_rows() {
            let class = integer(&classes, row).and_then(|class| i32::try_from(class).ok());
            let class = class.and_then(|class| judged.classes.binary_search(&class).ok());
            let unit = integer(&units, row).and_then(|unit| usize::try_from(unit).ok());
            let ids = marked.value(row);
            let ids = ids.as_primitive_opt::<UInt32Type>();
            let (Some(class), Some(unit), Some(ids)) = (class, unit, ids) else {
                return Err(columns.unexpected("labels, units and image ids", "others"));
            };
            let value = |array| number(array, row).unwrap_or(0.0);
            found.push(Candidate {
                layer: text(&layers, row).unwrap_or_default().to_string(),
                unit,
                class: class as u32,
                score: value(&score),
                of_class: value(&of_class),
                of_others: value(&of_others),
                edges: [0, 1, 2, 3].map(|edge| value(&edges[edge])),
                exclusivity: value(&exclusivity),
                border: value(&border),
                outside_boxes: number(&outside, row),
                marked: ids.values().to_vec(),
            });
        }
    }
    Ok(found)
}
