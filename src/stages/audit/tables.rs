//! The rows of `issues`: kinds in their order, the worst first within each.

use std::sync::Arc;

use arrow::array::{BooleanArray, Float32Array, Int32Array, RecordBatch, StringArray, UInt32Array};
use prospect_common::Result;
use prospect_engine::tables::columns::table;

use super::Issue;

pub fn issues(issues: &[Issue]) -> Result<RecordBatch> {
    let found = || issues.iter().map(|issue| &issue.finding);
    let scores = Float32Array::from_iter_values(found().map(|one| one.score));
    let flagged: BooleanArray = found().map(|one| Some(one.flagged)).collect();
    let suggested: Int32Array = found().map(|one| one.suggested_label).collect();
    let others: UInt32Array = found().map(|one| one.other_id).collect();
    let evidence = StringArray::from_iter_values(found().map(|one| &one.evidence));
    let ranks = Int32Array::from_iter_values(issues.iter().map(|issue| issue.rank));
    let ids = UInt32Array::from_iter_values(found().map(|one| one.image_id));
    let kinds = StringArray::from_iter_values(found().map(|one| one.kind.name()));
    let review = || issues.iter().map(|issue| issue.review.as_ref());
    let verdicts: StringArray = review().map(|one| Some(one?.verdict.name())).collect();
    let notes = review().map(|one| Some(one?.note.as_str()).filter(|note| !note.is_empty()));
    let notes: StringArray = notes.collect();
    table([
        ("image_id", Arc::new(ids), false),
        ("kind", Arc::new(kinds), false),
        ("score", Arc::new(scores), false),
        ("flagged", Arc::new(flagged), false),
        ("suggested_label", Arc::new(suggested), true),
        ("evidence", Arc::new(evidence), false),
        ("rank", Arc::new(ranks), false),
        ("other_id", Arc::new(others), true),
        ("reviewed", Arc::new(verdicts), true),
        ("note", Arc::new(notes), true),
    ])
}
