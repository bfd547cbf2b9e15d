//! The page of bad images: unreadable files and photos of poor quality.

use askama::Template;
use prospect_common::{Result, text as words};
use prospect_engine::schema::issues;
use prospect_findings::{ReportPage, Subject};

use super::{
    frame::{Frame, MESSAGE, PATH, Page, Shell, ids, shown},
    issues::Issue,
};

/// Photos and files shown per kind.
const PHOTOS: usize = 60;
const FILES: usize = 500;

#[derive(Template)]
#[template(path = "files.html")]
struct Files {
    shell: Shell,
    about: String,
    kinds: Vec<OfKind>,
    nothing: &'static str,
}

struct OfKind {
    anchor: &'static str,
    name: String,
    count: String,
    /// Evidence of the worst photo.
    evidence: String,
    images: String,
    /// Listed in place of photos that cannot be shown.
    files: Vec<File>,
    more: String,
    query: String,
}

struct File {
    path: String,
    evidence: String,
}

pub fn page(frame: &Frame, issues: &[Issue]) -> Result<Page> {
    let mut images = Vec::new();
    let mut sections = Vec::new();
    for kind in ReportPage::Files.kinds() {
        let of_kind = issues
            .iter()
            .filter(|issue| issue.kind == kind && issue.flagged);
        let of_kind: Vec<&Issue> = of_kind.collect();
        let Some(worst) = of_kind.first() else {
            continue;
        };
        let is_file = kind.info().subject == Subject::File;
        let first = &of_kind[..of_kind.len().min(if is_file { FILES } else { PHOTOS })];
        let mut section = OfKind {
            anchor: kind.name(),
            name: kind.heading(),
            count: words::count(of_kind.len() as u64),
            evidence: String::new(),
            images: String::new(),
            files: Vec::new(),
            more: match of_kind.len() - first.len() {
                0 => String::new(),
                more => format!("{} more:", words::count(more as u64)),
            },
            query: format!("prospect query findings -p kind={kind}"),
        };
        if is_file {
            section.files = listed(frame, first);
        } else {
            let first: Vec<u32> = first.iter().map(|issue| issue.image_id).collect();
            section.evidence = format!("Worst: {}", shown(&worst.evidence, MESSAGE));
            section.images = ids(&first);
            images.extend(first);
        }
        sections.push(section);
    }
    let page = Files {
        shell: frame.shell("files", &[]),
        about: frame.counts(ReportPage::Files),
        nothing: match frame.manifest.has(issues::NAME) {
            true => "No bad images found.",
            false => "The audit has not run yet. Run prospect run audit report.",
        },
        kinds: sections,
    };
    let mut page = frame.page("files", &page)?;
    page.images = images;
    Ok(page)
}

/// Findings about files that cannot be shown.
fn listed(frame: &Frame, issues: &[&Issue]) -> Vec<File> {
    let path = |id: u32| frame.files.get(&id).map(|file| shown(&file.path, PATH));
    let files = issues.iter().map(|issue| File {
        path: path(issue.image_id).unwrap_or_default(),
        evidence: shown(&issue.evidence, MESSAGE),
    });
    files.collect()
}
