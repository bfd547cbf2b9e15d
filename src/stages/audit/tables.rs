//! The rows of `issues`, by kind, worst first.

use arrow::array::RecordBatch;
use prospect_common::Result;
use prospect_engine::schema::issues;

use super::issue::Issue;

pub fn issues(issues: &[Issue]) -> Result<RecordBatch> {
    let found = || issues.iter().map(|issue| &issue.finding);
    let reviews = || issues.iter().map(|issue| issue.review.as_ref());
    let notes = reviews().map(|one| Some(one?.note.as_str()).filter(|note| !note.is_empty()));
    issues::Columns {
        image_id: found().map(|one| one.image_id).collect(),
        kind: found().map(|one| Some(one.kind.name())).collect(),
        score: found().map(|one| one.score).collect(),
        flagged: found().map(|one| Some(one.flagged)).collect(),
        suggested_label: found().map(|one| one.suggested_label).collect(),
        evidence: found().map(|one| Some(&one.evidence)).collect(),
        rank: issues.iter().map(|issue| issue.rank).collect(),
        other_id: found().map(|one| one.other_id).collect(),
        reviewed: (reviews().map(|one| Some(one?.verdict.name()))).collect(),
        note: notes.collect(),
    }
    .batch()
}
