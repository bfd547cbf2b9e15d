//! The findings as the pages show them.

use std::collections::BTreeMap;

use arrow::array::Array;
use prospect_common::Result;
use prospect_engine::tables::{
    classes::{ClassNames, name_of},
    columns::{Columns, integer, number, text},
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
    /// What somebody has decided: `ok` or `fix`.
    pub reviewed: Option<String>,
}

impl Issue {
    /// As scripts get it.
    pub fn record(&self) -> Value {
        json!({
            "kind": self.kind.name(),
            "evidence": self.evidence,
            "flagged": self.flagged,
            "reviewed": self.reviewed,
            "other": self.other,
        })
    }
}

/// In the order of the table: by kind, the worst first. Empty without it.
pub fn read(run: &RunFolder, manifest: &Manifest, names: &ClassNames) -> Result<Vec<Issue>> {
    const TABLE: &str = "issues";
    let mut issues = Vec::new();
    if !manifest.has(TABLE) {
        return Ok(issues);
    }
    for batch in run.read(manifest, TABLE) {
        let batch = batch?;
        let columns = Columns::of(run, TABLE, &batch);
        let [kinds, evidence, reviewed] =
            ["kind", "evidence", "reviewed"].map(|name| columns.texts(name));
        let (kinds, evidence, reviewed) = (kinds?, evidence?, reviewed?);
        let (scores, suggested) = (
            columns.numbers("score")?,
            columns.integers("suggested_label")?,
        );
        let others = columns.integers("other_id")?;
        let flagged = columns.booleans("flagged")?;
        for (row, image_id) in columns.image_ids()?.into_iter().enumerate() {
            let kind = text(&kinds, row).unwrap_or_default();
            let kind =
                Kind::named(kind).ok_or_else(|| columns.unexpected("a kind of finding", kind))?;
            let label = integer(&suggested, row).and_then(|label| i32::try_from(label).ok());
            issues.push(Issue {
                image_id,
                kind,
                score: number(&scores, row).unwrap_or(1.0),
                flagged: flagged.is_valid(row) && flagged.value(row),
                suggested: label.map(|label| name_of(&names.dataset, label)),
                evidence: text(&evidence, row).unwrap_or_default().to_string(),
                other: integer(&others, row).and_then(|id| u32::try_from(id).ok()),
                reviewed: text(&reviewed, row).map(str::to_string),
            });
        }
    }
    Ok(issues)
}

/// How many of each kind are flagged.
pub fn flagged(issues: &[Issue]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for issue in issues.iter().filter(|issue| issue.flagged) {
        *counts.entry(issue.kind.name().to_string()).or_default() += 1;
    }
    counts
}

/// What a kind of finding is called over its pictures.
pub fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Label => "Probably wrong labels",
        Kind::DuplicateExact => "The same file twice",
        Kind::DuplicateNear => "The same picture twice",
        Kind::DuplicateLabel => "The same picture with two labels",
        Kind::Leak => "The same picture in two splits",
        Kind::Outlier => "Unlike all others",
        Kind::Dark => "Dark",
        Kind::Bright => "Bright",
        Kind::Blank => "Hardly anything to be seen",
        Kind::Blurred => "Blurred",
        Kind::OddAspect => "Wider or taller than the others",
        Kind::Tiny => "Smaller than the others",
        Kind::Grayscale => "Without colour",
        Kind::Unreadable => "Unreadable",
    }
}
