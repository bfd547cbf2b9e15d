//! Reads the findings.

use std::collections::BTreeMap;

use prospect_common::Result;
use prospect_engine::{
    schema::issues,
    tables::classes::{ClassNames, name_of},
};
use prospect_findings::Kind;
use prospect_store::{Manifest, RunFolder};
use serde_json::{Value, json};

/// A row of `issues`.
pub struct Issue {
    pub image_id: u32,
    pub kind: Kind,
    pub score: f64,
    pub flagged: bool,
    pub suggested: Option<String>,
    pub evidence: String,
    pub other: Option<u32>,
    /// The review's verdict: `ok` or `fix`.
    pub reviewed: Option<String>,
}

impl Issue {
    /// The record in data files.
    pub fn record(&self) -> Value {
        json!({
            "kind": self.kind.info().words[0],
            "evidence": self.evidence,
            "flagged": self.flagged,
            "reviewed": self.reviewed,
            "other": self.other,
        })
    }
}

/// In the order of the table: by kind, worst first. Empty if the table is missing.
pub fn read(run: &RunFolder, manifest: &Manifest, names: &ClassNames) -> Result<Vec<Issue>> {
    let mut found = Vec::new();
    if !manifest.has(issues::NAME) {
        return Ok(found);
    }
    let columns = (
        issues::image_id,
        issues::kind,
        issues::score,
        issues::flagged,
        issues::suggested_label,
        issues::evidence,
        issues::other_id,
        issues::reviewed,
    );
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for (image_id, kind, score, flagged, suggested, evidence, other, reviewed) in batch.iter() {
            found.push(Issue {
                image_id,
                kind: (kind.parse()).map_err(|_| batch.unexpected("a kind of finding", kind))?,
                score: score.into(),
                flagged,
                suggested: suggested.map(|label| name_of(&names.dataset, label)),
                evidence: evidence.to_string(),
                other,
                reviewed: reviewed.map(str::to_string),
            });
        }
    }
    Ok(found)
}

/// Number of flagged findings per kind.
pub fn flagged(issues: &[Issue]) -> BTreeMap<Kind, u64> {
    let mut counts = BTreeMap::new();
    for issue in issues.iter().filter(|issue| issue.flagged) {
        *counts.entry(issue.kind).or_default() += 1;
    }
    counts
}
