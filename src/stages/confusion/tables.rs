//! The rows of `confusion` and `class_overlap`: pairs that occur, by the first class and then by the second.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch, StringArray, UInt32Array};
use prospect_analysis::space::confusion::Pair;
use prospect_common::Result;
use prospect_engine::tables::{classes::name_of, columns::table};

use super::count::Counted;

/// `label` is numbered as in `images`, `pred` as in `predictions`.
pub fn confusion(counted: &Counted) -> Result<RecordBatch> {
    let (pairs, names) = (&counted.confusion, &counted.names.network);
    let label = |pair: &Pair| counted.label_of.get(&(pair.from as i32)).copied();
    let labels = Int32Array::from_iter_values(pairs.iter().map(|pair| label(pair).unwrap_or(-1)));
    table([
        ("label", Arc::new(labels), false),
        ("label_name", named(pairs, names, |pair| pair.from), false),
        ("pred", classes(pairs, |pair| pair.to), false),
        ("pred_name", named(pairs, names, |pair| pair.to), false),
        ("images", counts(pairs), false),
        ("share", shares(pairs), false),
    ])
}

pub fn overlap(counted: &Counted) -> Result<RecordBatch> {
    let (pairs, names) = (&counted.overlap, &counted.names.dataset);
    table([
        ("class_a", classes(pairs, |pair| pair.from), false),
        ("name_a", named(pairs, names, |pair| pair.from), false),
        ("class_b", classes(pairs, |pair| pair.to), false),
        ("name_b", named(pairs, names, |pair| pair.to), false),
        ("share", shares(pairs), false),
        ("edges", counts(pairs), false),
    ])
}

fn classes(pairs: &[Pair], of: fn(&Pair) -> u32) -> ArrayRef {
    let classes = pairs.iter().map(|pair| of(pair) as i32);
    Arc::new(Int32Array::from_iter_values(classes))
}

fn named(pairs: &[Pair], names: &BTreeMap<i32, String>, of: fn(&Pair) -> u32) -> ArrayRef {
    let names = pairs.iter().map(|pair| name_of(names, of(pair) as i32));
    Arc::new(StringArray::from_iter_values(names))
}

/// A pair that has more than a u32 holds has them all.
fn counts(pairs: &[Pair]) -> ArrayRef {
    let counts = pairs
        .iter()
        .map(|pair| u32::try_from(pair.count).unwrap_or(u32::MAX));
    Arc::new(UInt32Array::from_iter_values(counts))
}

fn shares(pairs: &[Pair]) -> ArrayRef {
    let shares = pairs.iter().map(|pair| pair.share as f32);
    Arc::new(Float32Array::from_iter_values(shares))
}
