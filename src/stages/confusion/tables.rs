//! Rows of `confusion` and `class_overlap`: the pairs that occur, sorted by first and second class.

use std::collections::BTreeMap;

use arrow::array::{Float32Array, Int32Array, RecordBatch, StringArray, UInt32Array};
use prospect_analysis::space::confusion::Pair;
use prospect_common::Result;
use prospect_engine::{
    schema::{class_overlap, confusion},
    tables::classes::name_of,
};

use super::count::PairCounts;

/// Column `label` numbers classes as `images` does, `pred` as `predictions` does.
pub fn confusion(counted: &PairCounts) -> Result<RecordBatch> {
    let (pairs, names) = (&counted.confusion, &counted.names.network);
    let label = |pair: &Pair| counted.label_of.get(&(pair.from as i32)).copied();
    confusion::Columns {
        label: (pairs.iter().map(|pair| label(pair).unwrap_or(-1))).collect(),
        label_name: named(pairs, names, |pair| pair.from),
        pred: classes(pairs, |pair| pair.to),
        pred_name: named(pairs, names, |pair| pair.to),
        images: counts(pairs),
        share: shares(pairs),
    }
    .batch()
}

pub fn overlap(counted: &PairCounts) -> Result<RecordBatch> {
    let (pairs, names) = (&counted.overlap, &counted.names.dataset);
    class_overlap::Columns {
        class_a: classes(pairs, |pair| pair.from),
        name_a: named(pairs, names, |pair| pair.from),
        class_b: classes(pairs, |pair| pair.to),
        name_b: named(pairs, names, |pair| pair.to),
        share: shares(pairs),
        edges: counts(pairs),
    }
    .batch()
}

fn classes(pairs: &[Pair], of: fn(&Pair) -> u32) -> Int32Array {
    pairs.iter().map(|pair| of(pair) as i32).collect()
}

fn named(pairs: &[Pair], names: &BTreeMap<i32, String>, of: fn(&Pair) -> u32) -> StringArray {
    let names = pairs.iter().map(|pair| name_of(names, of(pair) as i32));
    StringArray::from_iter_values(names)
}

/// Counts, saturating at `u32::MAX`.
fn counts(pairs: &[Pair]) -> UInt32Array {
    let counts = pairs.iter().map(|pair| u32::try_from(pair.count));
    counts.map(|count| count.unwrap_or(u32::MAX)).collect()
}

fn shares(pairs: &[Pair]) -> Float32Array {
    pairs.iter().map(|pair| pair.share as f32).collect()
}
