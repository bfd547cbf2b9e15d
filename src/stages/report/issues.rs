//! The findings as the pages show them.

use std::collections::{BTreeMap, HashMap, HashSet};

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
            "kind": self.kind.info().words[0],
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
            let kind = kind
                .parse()
                .map_err(|_| columns.unexpected("a kind of finding", kind))?;
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
pub fn flagged(issues: &[Issue]) -> BTreeMap<Kind, u64> {
    let mut counts = BTreeMap::new();
    for issue in issues.iter().filter(|issue| issue.flagged) {
        *counts.entry(issue.kind).or_default() += 1;
    }
    counts
}

/// What is known of a finding's image without its record.
pub struct File {
    pub path: String,
    pub digest: Option<String>,
    pub label: Option<String>,
}

/// The files of some images.
pub fn files(
    run: &RunFolder,
    manifest: &Manifest,
    wanted: &HashSet<u32>,
) -> Result<HashMap<u32, File>> {
    const TABLE: &str = "images";
    let mut files = HashMap::new();
    let names = ["image_id", "path", "digest", "label_name"];
    for batch in run.read(manifest, TABLE).columns(&names) {
        let batch = batch?;
        let columns = Columns::of(run, TABLE, &batch);
        let [paths, digests, labels] =
            ["path", "digest", "label_name"].map(|name| columns.texts(name));
        let (paths, digests, labels) = (paths?, digests?, labels?);
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            if wanted.contains(&id) {
                let word = |cells| text(cells, row).map(str::to_string);
                let file = File {
                    path: word(&paths).unwrap_or_default(),
                    digest: word(&digests),
                    label: word(&labels),
                };
                files.insert(id, file);
            }
        }
    }
    Ok(files)
}
