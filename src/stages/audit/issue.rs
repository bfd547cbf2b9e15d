//! Findings with their reviews.

use std::collections::{BTreeMap, HashMap};

use prospect_engine::tables::files::File;
use prospect_findings::{
    Finding, Kind, ranked,
    review::{Review, Reviews, Verdict},
};

/// A row of `issues`.
pub struct Issue {
    /// From 1 within the kind: flagged findings first, settled ones last.
    pub rank: i32,
    pub finding: Finding,
    /// The review, if it applies to the file's current content.
    pub review: Option<Review>,
}

impl Issue {
    pub fn is_dismissed(&self) -> bool {
        (self.review.as_ref()).is_some_and(|review| review.verdict == Verdict::Ok)
    }
}

/// Ranks findings with their reviews: all flagged ones, and candidates up to `keep` per kind. Settled findings are not flagged and
/// come last: those reviewed as `ok`, and labels whose right label is known.
pub fn reviewed(
    findings: Vec<Finding>,
    reviews: &Reviews,
    files: &BTreeMap<u32, File>,
    keep: usize,
) -> Vec<Issue> {
    let review = |finding: &Finding| {
        let file = files.get(&finding.image_id)?;
        (reviews.find(&file.path, finding.kind, file.digest.as_deref())).cloned()
    };
    let is_settled = |finding: &Finding| review(finding).is_some_and(|review| review.is_settled());
    let (mut settled, open): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_settled);
    for finding in &mut settled {
        finding.flagged = false;
    }
    let mut rows = ranked(open, keep);
    let mut last: HashMap<Kind, i32> = HashMap::new();
    for (rank, finding) in &rows {
        last.insert(finding.kind, *rank);
    }
    for (rank, finding) in ranked(settled, usize::MAX) {
        let before = last.get(&finding.kind).copied().unwrap_or(0);
        rows.push((before + rank, finding));
    }
    rows.sort_by_key(|(rank, finding)| (finding.kind, *rank));
    let issue = |(rank, finding)| Issue {
        rank,
        review: review(&finding),
        finding,
    };
    rows.into_iter().map(issue).collect()
}
