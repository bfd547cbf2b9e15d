//! The gallery of findings, to be looked through and decided upon.

use std::collections::{HashMap, HashSet};

use askama::Template;
use prospect_common::{Result, text::plural};
use prospect_engine::tables::columns::{Columns, text};
use prospect_findings::Kind;
use serde_json::{Value, json};

use super::{
    frame::{Frame, Page, Shell},
    issues::{Issue, heading},
};

/// Findings of a kind that are in the gallery.
const OF_KIND: usize = 600;
/// Pictures of findings about labels that are there in a larger size, and of the other kinds.
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

/// What the gallery has to know of an image before its record is loaded.
struct File {
    path: String,
    digest: Option<String>,
    label: Option<String>,
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
    let files = files(frame, &kept)?;
    let findings: Vec<Value> = (kept.iter())
        .filter_map(|issue| Some(record(issue, files.get(&issue.image_id)?)))
        .collect();
    let kinds: Vec<Value> = (Kind::ALL.into_iter())
        .filter_map(|kind| Some(json!([kind.name(), heading(kind), counts.get(&kind)?])))
        .collect();
    let review = frame.told("labels")["review"].as_str();
    let about = match (frame.flagged.get("label"), review) {
        (Some(n), Some(review)) => format!(
            "{} probably wrong. As measured on planted errors, {review}.",
            plural(*n, "label is", "labels are")
        ),
        (Some(n), None) => format!("{} probably wrong.", plural(*n, "label is", "labels are")),
        (None, _) => "No label is probably wrong; candidates and other findings are listed.".into(),
    };
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
    let ids = |wanted: &dyn Fn(&Issue) -> bool, most: usize| -> Vec<u32> {
        let mut seen: HashMap<Kind, usize> = HashMap::new();
        let mut first = |issue: &&&Issue| {
            let n = seen.entry(issue.kind).or_default();
            *n += 1;
            *n <= most
        };
        kept.iter()
            .filter(|issue| wanted(issue))
            .filter(|issue| first(issue))
            .map(|issue| issue.image_id)
            .collect()
    };
    page.large = ids(&|issue| issue.kind == Kind::Label, LARGE);
    page.large
        .extend(ids(&|issue| issue.kind != Kind::Label, LARGE_OTHERS));
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
        "kind": issue.kind.name(),
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

fn files(frame: &Frame, kept: &[&Issue]) -> Result<HashMap<u32, File>> {
    let run = frame.ctx.run;
    let wanted: HashSet<u32> = kept.iter().map(|issue| issue.image_id).collect();
    let mut files = HashMap::new();
    let names = ["image_id", "path", "digest", "label_name"];
    for batch in run.read(&frame.manifest, "images").columns(&names) {
        let batch = batch?;
        let columns = Columns::of(run, "images", &batch);
        let [paths, digests, labels] =
            ["path", "digest", "label_name"].map(|name| columns.texts(name));
        let (paths, digests, labels) = (paths?, digests?, labels?);
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            if wanted.contains(&id) {
                let word = |cells| text(cells, row).map(str::to_string);
                files.insert(
                    id,
                    File {
                        path: word(&paths).unwrap_or_default(),
                        digest: word(&digests),
                        label: word(&labels),
                    },
                );
            }
        }
    }
    Ok(files)
}
