//! Files that cannot be read, and photos that show too little.

use askama::Template;
use prospect_common::{
    Result,
    text::{self as words, plural},
};
use prospect_engine::tables::columns::{Columns, text};
use prospect_findings::Kind;

use super::{
    frame::{Frame, MESSAGE, PATH, Page, Shell, ids, shown},
    issues::{Issue, heading},
};

/// Photos of a kind, and unreadable files, that are shown.
const PHOTOS: usize = 60;
const FILES: usize = 500;

#[derive(Template)]
#[template(path = "files.html")]
struct Files {
    shell: Shell,
    about: String,
    kinds: Vec<OfKind>,
    n_bad: String,
    bad: Vec<BadFile>,
    more_bad: String,
    nothing: &'static str,
}

struct OfKind {
    anchor: &'static str,
    name: &'static str,
    count: String,
    evidence: String,
    images: String,
    more: String,
    query: String,
}

struct BadFile {
    path: String,
    error: String,
}

pub fn page(frame: &Frame, issues: &[Issue]) -> Result<Page> {
    let kinds = [
        Kind::Blank,
        Kind::Dark,
        Kind::Bright,
        Kind::Blurred,
        Kind::Tiny,
        Kind::OddAspect,
        Kind::Grayscale,
        Kind::Outlier,
    ];
    let mut images = Vec::new();
    let mut sections = Vec::new();
    for kind in kinds {
        let of_kind = || {
            issues
                .iter()
                .filter(move |issue| issue.kind == kind && issue.flagged)
        };
        let Some(worst) = of_kind().next() else {
            continue;
        };
        let first: Vec<u32> = of_kind().map(|issue| issue.image_id).take(PHOTOS).collect();
        let n = of_kind().count();
        images.extend(&first);
        sections.push(OfKind {
            anchor: kind.name(),
            name: heading(kind),
            count: words::count(n as u64),
            evidence: format!("The worst: {}", shown(&worst.evidence, MESSAGE)),
            images: ids(&first),
            more: match n - first.len() {
                0 => String::new(),
                more => format!("And {} more:", words::count(more as u64)),
            },
            query: format!(
                "prospect query \"select * from issues where kind = '{}' order by rank\"",
                kind.name()
            ),
        });
    }
    let (bad, n_bad) = unreadable(frame)?;
    let page = Files {
        shell: frame.shell("files", &[]),
        about: format!(
            "{}. Photos that are dark, bright, blank, blurred or unlike all others are below.",
            match n_bad {
                0 => "Every file could be decoded".to_string(),
                n => format!("{} cannot be decoded", plural(n, "file", "files")),
            }
        ),
        more_bad: match n_bad - bad.len() as u64 {
            0 => String::new(),
            more => format!("And {} more:", words::count(more)),
        },
        n_bad: words::count(n_bad),
        bad,
        kinds: sections,
        nothing: match frame.manifest.has("issues") {
            true => "Every file could be read, and no photo stands out.",
            false => {
                "Every file could be read. Photos are judged by the stage audit: prospect run audit, then prospect run report."
            }
        },
    };
    let mut page = frame.page("files", &page)?;
    page.images = images;
    Ok(page)
}

/// The first of them, and how many there are.
fn unreadable(frame: &Frame) -> Result<(Vec<BadFile>, u64)> {
    let run = frame.ctx.run;
    let (mut bad, mut n) = (Vec::new(), 0);
    for batch in run
        .read(&frame.manifest, "images")
        .columns(&["path", "error"])
    {
        let batch = batch?;
        let columns = Columns::of(run, "images", &batch);
        let (paths, errors) = (columns.texts("path")?, columns.texts("error")?);
        for row in 0..batch.num_rows() {
            let Some(error) = text(&errors, row) else {
                continue;
            };
            n += 1;
            if bad.len() < FILES {
                bad.push(BadFile {
                    path: shown(text(&paths, row).unwrap_or_default(), PATH),
                    error: shown(error, MESSAGE),
                });
            }
        }
    }
    Ok((bad, n))
}
