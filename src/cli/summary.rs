//! `prospect summary`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use prospect_common::text;
use prospect_findings::changes::{Change, ChangeKind};
use prospect_queries::summary::{KindCount, Summary, summary as gather};
use prospect_store::write_atomically;

use super::{Global, diff::FINDINGS, output};

/// Changes of each kind on the page.
const SHOWN: usize = 20;

/// Summarise a run, and what is new since the previous one, for mail, chat and monitoring
///
/// Reads the tables issues and images of the run and of the one in [run] previous; writes a Markdown page, one JSON object, or
/// metrics in Prometheus' text format (for node_exporter's textfile collector), to standard output or to files, which are
/// replaced atomically. Exit status 3 if more findings are new than --max-new allows.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect summary
  prospect summary --json
  prospect summary --set run.previous=runs/2026-11-22 --max-new 0
  prospect summary --json night.json --prometheus /var/lib/prometheus/node-exporter/prospect.prom")]
pub(super) struct SummaryArgs {
    /// File of the Markdown page; `-` is standard output, the default without --json and --prometheus
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// File of the JSON object; standard output if no file is named
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// File of the Prometheus metrics
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Exit with status 3 if more findings than this are new
    #[arg(long, value_name = "N")]
    max_new: Option<usize>,
}

pub(super) fn summary(global: &Global, args: &SummaryArgs) -> anyhow::Result<u8> {
    let summary = gather(&global.config()?)?;
    let none = args.markdown.is_none() && args.json.is_none() && args.prometheus.is_none();
    let standard = PathBuf::from("-");
    let page = args.markdown.as_ref().or(none.then_some(&standard));
    if let Some(path) = page {
        deliver(path, &markdown(&summary))?;
    }
    if let Some(path) = &args.prometheus {
        deliver(path, &prometheus(&summary, chrono::Utc::now().timestamp()))?;
    }
    if let Some(path) = &args.json {
        deliver(path, &output::json(&summary)?)?;
    }
    let new = summary.since.as_ref().map_or(0, |since| since.new);
    Ok(match args.max_new {
        Some(most) if new > most => FINDINGS,
        _ => 0,
    })
}

fn deliver(path: &Path, text: &str) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return Ok(output::print(text)?);
    }
    Ok(write_atomically(path, text.as_bytes())?)
}

/// The last part of a path; for a nightly run folder, its date.
fn last(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

fn markdown(summary: &Summary) -> String {
    let count = |n: usize| text::count(n as u64);
    let mut page = format!(
        "# {}: {}\n\n",
        cell(&summary.title),
        cell(last(&summary.run))
    );
    if let Some(since) = &summary.since {
        page += &format!(
            "**{} new**, {} worse, {} better, {} resolved since {}.\n\n",
            count(since.new),
            count(since.worse),
            count(since.better),
            count(since.resolved),
            cell(last(&since.run))
        );
    }
    page += &format!(
        "{} in {}",
        text::counted(summary.images, "image"),
        cell(&summary.dataset)
    );
    if summary.bad > 0 {
        page += &format!(", {} of them unreadable", text::count(summary.bad));
    }
    page += &format!(
        "; {} through the network",
        text::count(summary.through_the_network)
    );
    if summary.reused > 0 {
        page += &format!(", {} reused", text::count(summary.reused));
    }
    page += ".\n";
    let labels = summary.stages.get("labels");
    if let Some(caveat) = labels.and_then(|labels| labels.summary["caveat"].as_str()) {
        page += &format!("\n**Labels:** {}.\n", cell(caveat));
    }
    if let Some(reviews) = &summary.reviews {
        page += &format!("\n**Reviews:** {}.\n", cell(&reviews.message));
    }
    if summary.findings.is_empty() {
        page += "\nNo findings.\n";
    } else {
        page += "\n| findings | kind | count | not reviewed |\n|---|---|---:|---:|\n";
        for KindCount {
            kind,
            flagged,
            open,
        } in &summary.findings
        {
            let (flagged, open) = (count(*flagged), count(*open));
            page += &format!(
                "| {} | {} | {flagged} | {open} |\n",
                kind.heading(),
                cell(kind.name())
            );
        }
    }
    for kind in ChangeKind::ALL {
        let all = summary.since.iter().flat_map(|since| &since.changes);
        let changes: Vec<&Change> = all.filter(|change| change.change == kind).collect();
        if changes.is_empty() {
            continue;
        }
        let mut name = kind.name().to_string();
        name[..1].make_ascii_uppercase();
        page += &format!("\n## {name}: {}\n\n", count(changes.len()));
        page += "| image | kind | score | evidence |\n|---|---|---:|---|\n";
        for change in changes.iter().take(SHOWN) {
            let other = change.other_path.as_ref();
            let other = other.map_or(String::new(), |path| format!(" ~ {}", cell(path)));
            let score = change.score.or(change.score_before).unwrap_or(1.0);
            page += &format!(
                "| {}{other} | {} | {score:.2} | {} |\n",
                cell(&change.path),
                change.kind,
                cell(&change.evidence)
            );
        }
        if changes.len() > SHOWN {
            page += &format!("\nand {} more\n", count(changes.len() - SHOWN));
        }
    }
    page
}

/// Text on one line, with Markdown's special characters escaped.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text::escaped(text).chars() {
        if "\\`*_[]<>|#".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// One gauge with its samples.
fn metric(out: &mut String, name: &str, help: &str, samples: &[(String, f64)]) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "# HELP prospect_{name} {help}\n# TYPE prospect_{name} gauge"
    );
    for (labels, value) in samples {
        let _ = writeln!(out, "prospect_{name}{{{labels}}} {value}");
    }
}

/// Prometheus' text format; `now` is a Unix timestamp in seconds.
fn prometheus(summary: &Summary, now: i64) -> String {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", text.replace('\n', "\\n"))
    };
    let dataset = format!("dataset={}", quoted(&summary.dataset));
    let one = |value: f64| vec![(dataset.clone(), value)];
    let by = |label: &str, value: &str, sample: f64| {
        (format!("{dataset},{label}={}", quoted(value)), sample)
    };
    let mut out = String::new();
    let mut gauge =
        |name, help, samples: Vec<(String, f64)>| metric(&mut out, name, help, &samples);
    gauge(
        "completed_timestamp_seconds",
        "When the last run was summarised.",
        one(now as f64),
    );
    gauge(
        "images",
        "Images in the dataset.",
        one(summary.images as f64),
    );
    gauge(
        "images_unreadable",
        "Unreadable images.",
        one(summary.bad as f64),
    );
    gauge(
        "images_through_the_network",
        "Images that are new or have changed.",
        one(summary.through_the_network as f64),
    );
    let kinds = summary.findings.iter();
    gauge(
        "findings",
        "Findings, by kind.",
        kinds
            .clone()
            .map(|of| by("kind", of.kind.name(), of.flagged as f64))
            .collect(),
    );
    gauge(
        "findings_open",
        "Findings not reviewed, by kind.",
        kinds
            .map(|of| by("kind", of.kind.name(), of.open as f64))
            .collect(),
    );
    if let Some(since) = &summary.since {
        let counts = [
            ("new", since.new),
            ("worse", since.worse),
            ("better", since.better),
            ("resolved", since.resolved),
        ];
        gauge(
            "findings_changed",
            "Findings that changed since the previous run, by change.",
            counts
                .map(|(change, n)| by("change", change, n as f64))
                .to_vec(),
        );
    }
    let stages = summary.stages.iter();
    gauge(
        "stage_seconds",
        "Duration of each stage.",
        stages
            .map(|(stage, summary)| by("stage", stage, summary.seconds))
            .collect(),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use prospect_findings::Kind;
    use prospect_queries::summary::Since;

    fn example() -> Summary {
        let change = |path: &str, change| Change {
            path: path.to_string(),
            kind: "label".to_string(),
            other_path: None,
            change,
            score_before: Some(0.5),
            score: Some(0.03),
            evidence: "labelled a|b; probe says *shoes*".to_string(),
        };
        Summary {
            title: "Photos".to_string(),
            dataset: "/data/a \"b\"\\c".to_string(),
            run: "runs/2026-11-23".to_string(),
            images: 1040,
            bad: 2,
            through_the_network: 55,
            reused: 983,
            findings: vec![KindCount {
                kind: Kind::OddAspect,
                flagged: 34,
                open: 30,
            }],
            reviews: None,
            since: Some(Since {
                run: "runs/2026-11-22/".to_string(),
                new: 1,
                worse: 0,
                better: 0,
                resolved: 1,
                changes: vec![
                    change("a_1.jpg", ChangeKind::New),
                    change("b.jpg", ChangeKind::Resolved),
                ],
            }),
            stages: Default::default(),
        }
    }

    #[test]
    fn page_starts_with_the_changes() {
        let page = markdown(&example());
        assert!(
            page.starts_with("# Photos: 2026-11-23\n\n**1 new**, 0 worse, 0 better, 1 resolved since 2026-11-22.\n"),
            "{page}"
        );
        for piece in [
            "1,040 images in /data/a \"b\"\\\\c, 2 of them unreadable; 55 through the network, 983 reused.\n",
            "| Photos with unusual aspect ratios | odd\\_aspect | 34 | 30 |\n",
            "## New: 1\n",
            "| a\\_1.jpg | label | 0.03 | labelled a\\|b; probe says \\*shoes\\* |\n",
        ] {
            assert!(page.contains(piece), "{piece}: {page}");
        }
        assert!(!page.contains("## Worse"), "{page}");
    }

    #[test]
    fn metrics_are_in_the_text_format() {
        let text = prometheus(&example(), 1_795_000_000);
        let dataset = r#"dataset="/data/a \"b\"\\c""#;
        for line in [
            format!("prospect_completed_timestamp_seconds{{{dataset}}} 1795000000"),
            format!("prospect_findings_open{{{dataset},kind=\"odd_aspect\"}} 30"),
            format!("prospect_findings_changed{{{dataset},change=\"new\"}} 1"),
            "# TYPE prospect_images gauge".to_string(),
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
        assert!(text.ends_with('\n'));
    }
}
