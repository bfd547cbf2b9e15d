//! The rows of `shortcuts`.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use prospect_common::Result;
use prospect_engine::tables::{classes::name_of, columns::table};

use super::{judged::Judged, suspects::Suspect};

/// One row a suspect, best first; `pictures` by the suspect's place.
pub fn rows(
    suspects: &[Suspect],
    judged: &Judged,
    pictures: &BTreeMap<usize, String>,
) -> Result<RecordBatch> {
    let numbers = |of: &dyn Fn(&Suspect) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(suspects.iter().map(of)))
    };
    let integers = |of: &dyn Fn(&Suspect) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(suspects.iter().map(of)))
    };
    let texts = |of: &dyn Fn(&Suspect) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(suspects.iter().map(of)))
    };
    let class = |one: &Suspect| judged.classes[one.class as usize];
    let edge = |at: usize| numbers(&|one| Some(one.edges?[at]));
    let images = suspects.iter().map(|one| one.marked.len() as u32);
    let pictures = (0..suspects.len()).map(|at| pictures.get(&at).map(String::as_str));
    let flagged = suspects.iter().map(|one| Some(one.is_flagged()));
    table([
        (
            "rank",
            Arc::new(Int32Array::from_iter_values(1..=suspects.len() as i32)),
            false,
        ),
        ("class", integers(&class), false),
        (
            "class_name",
            texts(&|one| name_of(&judged.names.dataset, class(one))),
            false,
        ),
        ("layer", texts(&|one| one.layer.clone()), false),
        ("unit", integers(&|one| one.unit as i32), false),
        ("kind", texts(&|one| one.kind.name().into()), false),
        ("mark", integers(&|one| one.mark), false),
        ("score", numbers(&|one| Some(one.score)), false),
        ("exclusivity", numbers(&|one| Some(one.exclusivity)), false),
        (
            "images",
            Arc::new(UInt32Array::from_iter_values(images)),
            false,
        ),
        ("share_of_class", numbers(&|one| one.of_class), true),
        ("share_of_others", numbers(&|one| one.of_others), true),
        ("x0", edge(0), true),
        ("y0", edge(1), true),
        ("x1", edge(2), true),
        ("y1", edge(3), true),
        ("border_share", numbers(&|one| Some(one.border)), false),
        ("outside_boxes", numbers(&|one| one.outside_boxes), true),
        ("border_energy", numbers(&|one| one.border_energy), true),
        (
            "background_energy",
            numbers(&|one| one.background_energy),
            true,
        ),
        ("p_with", numbers(&|one| one.p_with), true),
        ("p_without", numbers(&|one| one.p_without), true),
        (
            "accuracy_drop",
            numbers(&|one| one.fall.of_accuracy()),
            true,
        ),
        (
            "probability_drop",
            numbers(&|one| one.fall.of_probability()),
            true,
        ),
        ("flagged", Arc::new(BooleanArray::from_iter(flagged)), false),
        ("evidence", texts(&|one| one.evidence(judged)), false),
        ("picture", Arc::new(StringArray::from_iter(pictures)), true),
    ])
}
