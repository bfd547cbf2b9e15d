//! The rows of `associations` and `groups`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use prospect_analysis::audit::{
    association::{Contingency, TopPair},
    groups::Group,
};
use prospect_common::Result;
use prospect_engine::tables::{
    classes::name_of,
    columns::{repeated, table},
};

use super::{attributes::Attribute, judged::Judged};

/// What one attribute has to do with the labels.
pub struct Association {
    pub values: usize,
    pub images: u64,
    pub nmi: f64,
    pub p_value: f64,
    pub top: Option<TopPair>,
}

impl Association {
    /// `None` where fewer than two values or labels occur together.
    pub fn of(
        attribute: &Attribute,
        judged: &Judged,
        permutations: usize,
        seed: u64,
    ) -> Option<Association> {
        let pairs = (attribute.of_image.iter().zip(&judged.label))
            .filter_map(|(value, label)| Some(((*value)?, (*label)?)));
        let counted = Contingency::of(pairs, attribute.values.len(), judged.classes.len());
        let least = super::LEAST_IMAGES.max(counted.total() / super::LEAST_SHARE);
        counted.varies().then(|| Association {
            values: attribute.values.len(),
            images: counted.total(),
            nmi: counted.nmi(),
            p_value: counted.p_value(permutations, seed),
            top: counted.top_pair(least),
        })
    }
}

/// One row an attribute.
pub fn associations(found: &[(&Attribute, Association)], judged: &Judged) -> Result<RecordBatch> {
    let texts = |of: &dyn Fn(&Attribute, &Association) -> Option<String>| -> ArrayRef {
        let texts = found.iter().map(|(attribute, one)| of(attribute, one));
        Arc::new(StringArray::from_iter(texts))
    };
    let numbers = |of: &dyn Fn(&Association) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(
            found.iter().map(|(_, one)| of(one)),
        ))
    };
    let counts = |of: &dyn Fn(&Association) -> Option<u64>| -> ArrayRef {
        let counts = found.iter().map(|(_, one)| of(one).map(|n| n as u32));
        Arc::new(UInt32Array::from_iter(counts))
    };
    let label = |one: &Association| Some(judged.classes[one.top?.label]);
    let labels = found.iter().map(|(_, one)| label(one));
    let values = found.iter().map(|(_, one)| one.values as i32);
    table([
        (
            "attribute",
            texts(&|attribute, _| Some(attribute.name.clone())),
            false,
        ),
        (
            "kind",
            texts(&|attribute, _| Some(attribute.kind.into())),
            false,
        ),
        (
            "values",
            Arc::new(Int32Array::from_iter_values(values)),
            false,
        ),
        ("images", counts(&|one| Some(one.images)), false),
        ("nmi", numbers(&|one| Some(one.nmi)), false),
        ("p_value", numbers(&|one| Some(one.p_value)), false),
        (
            "top_value",
            texts(&|attribute, one| Some(attribute.values[one.top?.value].clone())),
            true,
        ),
        ("top_label", Arc::new(Int32Array::from_iter(labels)), true),
        (
            "top_label_name",
            texts(&|_, one| Some(name_of(&judged.names.dataset, label(one)?))),
            true,
        ),
        ("lift", numbers(&|one| Some(one.top?.lift)), true),
        ("support", counts(&|one| Some(one.top?.support)), true),
    ])
}

/// The groups of one attribute.
pub fn groups(attribute: &Attribute, found: &[Group], judged: &Judged) -> Result<RecordBatch> {
    let numbers = |of: &dyn Fn(&Group) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(found.iter().map(of)))
    };
    let label = |group: &Group| Some(judged.classes[group.label? as usize]);
    let name = |group: &Group| Some(name_of(&judged.names.dataset, label(group)?));
    let images = found.iter().map(|group| group.tally.images as u32);
    let values = (found.iter()).map(|group| attribute.values[group.value as usize].as_str());
    let sources = found.iter().map(|_| judged.source.as_deref());
    table([
        ("attribute", repeated(&attribute.name, found.len()), false),
        (
            "value",
            Arc::new(StringArray::from_iter_values(values)),
            false,
        ),
        (
            "label",
            Arc::new(Int32Array::from_iter(found.iter().map(label))),
            true,
        ),
        (
            "label_name",
            Arc::new(StringArray::from_iter(found.iter().map(name))),
            true,
        ),
        (
            "images",
            Arc::new(UInt32Array::from_iter_values(images)),
            false,
        ),
        ("accuracy", numbers(&|group| group.tally.accuracy()), true),
        (
            "accuracy_low",
            numbers(&|group| Some(group.tally.interval()?.0)),
            true,
        ),
        (
            "accuracy_high",
            numbers(&|group| Some(group.tally.interval()?.1)),
            true,
        ),
        ("overall", numbers(&|group| group.overall), true),
        (
            "worst",
            Arc::new(BooleanArray::from_iter(
                found.iter().map(|group| Some(group.worst)),
            )),
            false,
        ),
        ("source", Arc::new(StringArray::from_iter(sources)), true),
    ])
}
