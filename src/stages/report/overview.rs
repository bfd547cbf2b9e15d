//! The first page: the main figures, the worst findings, and changes since the last run.

use std::collections::{HashMap, HashSet};

use askama::Template;
use prospect_common::{
    Result,
    text::{self as words, percent, plural},
};
use prospect_engine::schema::{changes, issues};
use prospect_findings::{Kind, changes::ChangeKind, review::Verdict};

use super::{
    super::labels::reviews,
    frame::{Figure, Frame, MESSAGE, NAME, Page, Shell, ids, shown},
    issues::Issue,
};

/// Pictures per kind of finding, and of new findings.
const PICTURES: usize = 8;
const NEW: usize = 16;

#[derive(Template)]
#[template(path = "index.html")]
struct Overview {
    shell: Shell,
    heading: String,
    subtitle: String,
    figures: Vec<Figure>,
    since: Option<Since>,
    kinds: Vec<OfKind>,
    nothing: &'static str,
    clear: String,
    /// Why the label findings may be incomplete; empty if nothing is known.
    caveat: String,
    warnings: Vec<String>,
}

struct Since {
    line: String,
    images: String,
}

struct OfKind {
    name: String,
    href: String,
    count: String,
    evidence: String,
    images: String,
}

pub fn page(frame: &Frame, issues: &[Issue]) -> Result<Page> {
    let mut images = Vec::new();
    let since = since(frame, &mut images)?;
    let kinds = Kind::ALL.into_iter().filter_map(|kind| {
        let of_kind = || {
            issues
                .iter()
                .filter(|issue| issue.kind == kind && issue.flagged)
        };
        let worst = of_kind().next()?;
        let first: Vec<u32> = of_kind()
            .map(|issue| issue.image_id)
            .take(PICTURES)
            .collect();
        images.extend(&first);
        Some(OfKind {
            name: kind.heading(),
            href: format!("{}.html#{kind}", kind.info().page.name()),
            count: words::count(of_kind().count() as u64),
            evidence: shown(&worst.evidence, MESSAGE),
            images: ids(&first),
        })
    });
    let kinds: Vec<OfKind> = kinds.collect();
    let network = frame.summary("extract")["network"].as_str();
    let subtitle = match network {
        Some(network) => format!(
            "{}, analysed with {}",
            shown(&frame.dataset, NAME),
            shown(network, NAME)
        ),
        None => format!(
            "{}, analysed without a network",
            shown(&frame.dataset, NAME)
        ),
    };
    let page = Overview {
        shell: frame.shell("index", &[]),
        heading: shown(&frame.ctx.config.report.title, 200),
        subtitle,
        figures: figures(frame, issues),
        since,
        nothing: match frame.manifest.has(issues::NAME) {
            true => "No findings: the audits flagged no image.",
            false => "The audits have not run yet. Run prospect run audit report.",
        },
        clear: frame.clear(Kind::ALL.into_iter()),
        caveat: shown(
            frame.summary("labels")["caveat"]
                .as_str()
                .unwrap_or_default(),
            MESSAGE,
        ),
        warnings: warnings(frame),
        kinds,
    };
    let mut page = frame.page("index", &page)?;
    page.large = images.clone();
    page.images = images;
    Ok(page)
}

fn figures(frame: &Frame, issues: &[Issue]) -> Vec<Figure> {
    let scan = frame.summary("scan");
    let n = |name: &str| scan[name].as_u64().unwrap_or(0);
    let images = n("images");
    let mut figures = vec![Figure::number(
        "Images",
        words::count(images),
        match (n("bad"), n("damaged")) {
            (0, 0) => "all files readable".into(),
            (bad, 0) => format!("{} unreadable", plural(bad, "file is", "files are")),
            (0, damaged) => format!(
                "{} damaged but read",
                plural(damaged, "file is", "files are")
            ),
            (bad, damaged) => format!(
                "{} unreadable, {} damaged but read",
                plural(bad, "file is", "files are"),
                words::count(damaged)
            ),
        },
    )];
    if let Some(review) = frame.summary("labels")["review"].as_str() {
        figures.push(Figure::words(
            "Yield of a review",
            review.to_string(),
            "lowest and highest of three kinds of injected errors; how many flagged labels are wrong is unknown until reviewed".into(),
        ));
    }
    if let Some((wrong, reviewed)) = reviewed_labels(issues) {
        figures.push(Figure::number(
            "Wrong labels among the reviewed",
            format!("{} of {}", words::count(wrong), words::count(reviewed)),
            "label findings with a decision".into(),
        ));
    }
    if let Some(estimate) = &frame.precision
        && let Some(precision) = reviews::precision(estimate)
    {
        figures.push(Figure::words(
            "Wrong among the suspicious labels",
            precision,
            reviews::further(estimate),
        ));
    }
    let confusion = frame.summary("confusion");
    if let (Some(accuracy), Some(evaluated)) = (
        confusion["accuracy"].as_f64(),
        confusion["evaluated_images"].as_u64().filter(|n| *n > 0),
    ) {
        figures.push(Figure::number(
            "Accuracy of the network",
            percent(accuracy),
            format!(
                "on {} labelled with its classes",
                plural(evaluated, "image", "images")
            ),
        ));
    }
    let probe = frame.summary("probe");
    if let Some(accuracy) = probe["accuracy"]
        .as_f64()
        .filter(|_| probe["source"] == "probe")
    {
        figures.push(Figure::number(
            "Accuracy of the probe",
            percent(accuracy),
            "linear classifier on the network's features, cross-validated".into(),
        ));
    }
    let extract = frame.summary("extract");
    if let Some(speed) = extract["images_per_second"].as_f64() {
        let device = extract["device"].as_str().unwrap_or("?");
        figures.push(Figure::number(
            "Images per second",
            format!("{speed:.1}"),
            format!("on {}", shown(device, NAME)),
        ));
    }
    figures
}

/// Changes of the findings since the previous run.
fn since(frame: &Frame, images: &mut Vec<u32>) -> Result<Option<Since>> {
    if !frame.manifest.has(changes::NAME) {
        return Ok(None);
    }
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut new = Vec::new();
    let rows = (frame.ctx.run).rows(&frame.manifest, (changes::path, changes::change));
    for batch in rows {
        for (path, change) in batch?.iter() {
            *counts.entry(change.to_string()).or_default() += 1;
            if change == ChangeKind::New.name() && new.len() < NEW {
                new.push(path.to_string());
            }
        }
    }
    let of = |became: ChangeKind| counts.get(became.name()).copied().unwrap_or(0);
    let known: HashMap<&str, u32> = (frame.files.values())
        .map(|file| (file.path.as_str(), file.image_id))
        .collect();
    let mut seen = HashSet::new();
    let found: Vec<u32> = (new.iter().filter_map(|path| known.get(path.as_str())))
        .copied()
        .filter(|id| seen.insert(*id))
        .collect();
    images.extend(&found);
    Ok(Some(Since {
        line: format!(
            "{} new, {} worse, {} better, {} resolved.",
            plural(of(ChangeKind::New), "finding is", "findings are"),
            words::count(of(ChangeKind::Worse)),
            words::count(of(ChangeKind::Better)),
            words::count(of(ChangeKind::Resolved))
        ),
        images: ids(&found),
    }))
}

/// Label findings decided as wrong, and all with a decision; `None` without any.
fn reviewed_labels(issues: &[Issue]) -> Option<(u64, u64)> {
    let of_labels = issues.iter().filter(|issue| issue.kind == Kind::Label);
    let verdicts: Vec<&str> = (of_labels)
        .filter_map(|issue| issue.reviewed.as_deref())
        .collect();
    let is_wrong = |verdict: &&&str| **verdict == Verdict::Fix.name();
    let wrong = verdicts.iter().filter(is_wrong).count();
    (!verdicts.is_empty()).then_some((wrong as u64, verdicts.len() as u64))
}

/// Stages that have not run, and how to run them.
fn warnings(frame: &Frame) -> Vec<String> {
    let complete = |name| {
        let record = frame.manifest.stages.get(name);
        record.is_some_and(|record| record.complete)
    };
    (frame.stages())
        .filter(|stage| !complete(stage.name))
        .map(|stage| {
            format!(
                "{} ({}): run prospect run {} report",
                stage.name, stage.about, stage.name
            )
        })
        .collect()
}
