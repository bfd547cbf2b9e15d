//! The gallery of findings, for review.

use std::collections::HashMap;

use askama::Template;
use prospect_common::Result;
use prospect_engine::tables::files::File;
use prospect_findings::{Kind, ReportPage, Subject};
use serde_json::{Value, json};

use super::{
    super::labels::reviews,
    frame::{Frame, Page, Shell},
    issues::Issue,
};

/// Findings per kind in the gallery.
const OF_KIND: usize = 600;
/// Large pictures per kind: findings about labels, and others.
const LARGE: usize = 400;
const LARGE_OTHERS: usize = 60;

#[derive(Template)]
#[template(path = "labels.html")]
struct Labels {
    shell: Shell,
    about: String,
    empty: bool,
    total: usize,
}

pub fn page(frame: &Frame, issues: &[Issue]) -> Result<Page> {
    let mut kept: Vec<&Issue> = Vec::new();
    let mut counts: HashMap<Kind, usize> = HashMap::new();
    for issue in issues {
        let n = counts.entry(issue.kind).or_default();
        if *n < OF_KIND {
            kept.push(issue);
        }
        *n += 1;
    }
    let findings: Vec<Value> = (kept.iter())
        .filter_map(|issue| Some(record(issue, frame.files.get(&issue.image_id)?)))
        .collect();
    let kinds: Vec<Value> = (Kind::ALL.into_iter())
        .filter_map(|kind| {
            let n = counts.get(&kind)?;
            Some(json!([kind, kind.heading(), n, kind.info().subject]))
        })
        .collect();
    let mut about = frame.counts(ReportPage::Labels);
    match frame.summary("labels")["review"].as_str() {
        Some(review) if frame.flagged.contains_key(&Kind::Label) => {
            about += &format!(" Measured on injected errors, {review}.");
        }
        _ => about += " Candidates and other findings are listed as well.",
    }
    if let Some(precision) = (frame.precision.as_ref()).and_then(reviews::precision) {
        about += &format!(" By the reviews, {precision}.");
    }
    let page = Labels {
        shell: frame.shell("labels", &["labels.js"]),
        about,
        empty: findings.is_empty(),
        total: issues.len(),
    };
    let mut page = frame.page("labels", &page)?;
    page.data.push((
        "findings".into(),
        json!({ "kinds": kinds, "findings": findings, "most": OF_KIND }),
    ));
    let ids = |wanted: &dyn Fn(&Issue) -> bool, max: usize| -> Vec<u32> {
        let mut seen: HashMap<Kind, usize> = HashMap::new();
        let mut first = |issue: &&&Issue| {
            let n = seen.entry(issue.kind).or_default();
            *n += 1;
            *n <= max
        };
        kept.iter()
            .filter(|issue| wanted(issue))
            .filter(|issue| first(issue))
            .map(|issue| issue.image_id)
            .collect()
    };
    page.large = ids(&|issue| issue.kind.info().subject == Subject::Label, LARGE);
    page.large.extend(ids(
        &|issue| issue.kind.info().subject != Subject::Label,
        LARGE_OTHERS,
    ));
    page.images = kept
        .iter()
        .flat_map(|issue| [Some(issue.image_id), issue.other])
        .flatten()
        .collect();
    Ok(page)
}

fn record(issue: &Issue, file: &File) -> Value {
    json!({
        "image": issue.image_id,
        "kind": issue.kind,
        "path": file.path,
        "digest": file.digest,
        "label": file.label,
        "suggested": issue.suggested,
        "score": (issue.score * 1e4).round() / 1e4,
        "evidence": issue.evidence,
        "flagged": issue.flagged,
        "reviewed": issue.reviewed,
        "other": issue.other,
    })
}
