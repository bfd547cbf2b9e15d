//! Findings with the verdicts of reviewers.

use std::collections::{BTreeMap, HashMap};

use prospect_engine::tables::files::File;
use prospect_findings::{
    Finding, Kind, ranked,
    review::{Review, Reviews, Verdict},
};

/// A row of `issues`.
pub struct Issue {
    /// From 1 within the kind: flagged ones first, those that somebody has dismissed last.
    pub rank: i32,
    pub finding: Finding,
    /// What somebody has decided, if it was about the present content of the file.
    pub review: Option<Review>,
}

impl Issue {
    pub fn is_dismissed(&self) -> bool {
        (self.review.as_ref()).is_some_and(|review| review.verdict == Verdict::Ok)
    }
}

/// Findings with their verdicts, at least `keep` of each kind. Those reviewed as `ok` are not flagged and come last.
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
    let dismissed =
        |finding: &Finding| review(finding).is_some_and(|review| review.verdict == Verdict::Ok);
    let (mut fine, open): (Vec<_>, Vec<_>) = findings.into_iter().partition(dismissed);
    for finding in &mut fine {
        finding.flagged = false;
    }
    let mut rows = ranked(open, keep);
    let mut last: HashMap<Kind, i32> = HashMap::new();
    for (rank, finding) in &rows {
        last.insert(finding.kind, *rank);
    }
    for (rank, finding) in ranked(fine, usize::MAX) {
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
