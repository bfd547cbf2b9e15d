//! `prospect diff`.

use std::path::PathBuf;

use clap::Args;
use prospect_common::text;
use prospect_engine::tables::history;
use prospect_findings::changes::{Change, ChangeKind, Rules, counts, diff as differences};
use prospect_store::RunFolder;
use serde::Serialize;

use super::output::{self, with_kinds};

/// Exit status if more findings are new than allowed.
pub(super) const FINDINGS: u8 = 3;

/// Show which findings are new, worse, better or resolved between two runs
///
/// Reads the tables issues and images of both run folders; writes nothing. Findings are matched by image path, kind and the
/// other image's path. Reviewed findings are left out. Exit status 3 if more findings are new than --max-new allows.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect diff runs/2026-11-22 runs/2026-11-23
  prospect diff runs/a runs/b --kind label --limit 100
  prospect diff runs/a runs/b --json --max-new 20 > changes.json")]
pub(super) struct DiffArgs {
    /// The earlier run's folder
    #[arg(value_name = "RUN_A")]
    before: PathBuf,
    /// The later run's folder
    #[arg(value_name = "RUN_B")]
    now: PathBuf,
    #[arg(long, value_name = "KIND", help = with_kinds("Only findings of this kind; repeatable"))]
    kind: Vec<String>,
    /// Include reviewed findings
    #[arg(long)]
    all: bool,
    /// Minimum score difference for worse or better
    #[arg(long, value_name = "SCORE", default_value_t = Rules::default().min_score_change)]
    least: f32,
    /// Exit with status 3 if more findings than this are new
    #[arg(long, value_name = "N")]
    max_new: Option<usize>,
    /// Rows shown of each kind of change
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// One JSON object with all changes
    #[arg(long)]
    json: bool,
}

/// Output of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    before: String,
    now: String,
    new: usize,
    worse: usize,
    better: usize,
    resolved: usize,
    changes: &'a [Change],
}

pub(super) fn diff(args: &DiffArgs) -> anyhow::Result<u8> {
    for kind in &args.kind {
        prospect_findings::review::read_kind(kind).map_err(prospect_common::Error::usage)?;
    }
    let findings = |folder: &PathBuf| {
        let run = RunFolder::open(folder)?;
        let mut found = history::findings(&run, &run.manifest()?)?;
        found.retain(|found| args.kind.is_empty() || args.kind.contains(&found.kind));
        Ok::<_, prospect_common::Error>(found)
    };
    let rules = Rules {
        min_score_change: args.least,
        include_reviewed: args.all,
    };
    let changes = differences(&findings(&args.before)?, &findings(&args.now)?, rules);
    let [new, worse, better, resolved] = counts(&changes);
    if args.json {
        output::print_json(&Answer {
            before: args.before.display().to_string(),
            now: args.now.display().to_string(),
            new,
            worse,
            better,
            resolved,
            changes: &changes,
        })?;
    } else {
        output::print(&page(&changes, args.limit))?;
    }
    Ok(match args.max_new {
        Some(most) if new > most => FINDINGS,
        _ => 0,
    })
}

/// The counts, and the first `limit` changes of each kind.
fn page(changes: &[Change], limit: usize) -> String {
    let counted: Vec<String> = (ChangeKind::ALL.iter().zip(counts(changes)))
        .map(|(kind, n)| format!("{} {}", text::count(n as u64), kind.name()))
        .collect();
    let mut page = counted.join(", ") + "\n";
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut left_out = Vec::new();
    for kind in ChangeKind::ALL {
        let of_kind: Vec<&Change> = (changes.iter())
            .filter(|change| change.change == kind)
            .collect();
        rows.extend(of_kind.iter().take(limit).map(|change| row(change)));
        if of_kind.len() > limit {
            left_out.push(format!(
                "{} {}",
                text::count((of_kind.len() - limit) as u64),
                kind.name()
            ));
        }
    }
    if !rows.is_empty() {
        let heading = ["change", "kind", "before", "now", "image", "evidence"];
        rows.insert(0, heading.map(String::from).to_vec());
        page.push('\n');
        page += &output::columns(&rows, &[false, false, true, true, false, false]);
    }
    if !left_out.is_empty() {
        page += &format!("and {}: see --limit and --json\n", left_out.join(", "));
    }
    page
}

fn row(change: &Change) -> Vec<String> {
    let score = |score: Option<f32>| score.map_or("-".to_string(), |score| format!("{score:.2}"));
    let image = match &change.other_path {
        Some(other) => format!("{} ~ {other}", change.path),
        None => change.path.clone(),
    };
    vec![
        change.change.name().to_string(),
        change.kind.clone(),
        score(change.score_before),
        score(change.score),
        image,
        change.evidence.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_counts_all_changes_and_shows_the_first() {
        let change = |path: &str, change, other: Option<&str>| Change {
            path: path.to_string(),
            kind: "leak".to_string(),
            other_path: other.map(str::to_string),
            change,
            score_before: None,
            score: Some(0.25),
            evidence: "the same file".to_string(),
        };
        let changes = [
            change("a", ChangeKind::New, Some("b")),
            change("c", ChangeKind::New, None),
            change("d", ChangeKind::Resolved, None),
        ];
        assert_eq!(
            page(&changes, 1),
            "2 new, 0 worse, 0 better, 1 resolved\n\n\
             change    kind  before   now  image  evidence\n\
             new       leak       -  0.25  a ~ b  the same file\n\
             resolved  leak       -  0.25  d      the same file\n\
             and 1 new: see --limit and --json\n"
        );
        assert_eq!(page(&[], 5), "0 new, 0 worse, 0 better, 0 resolved\n");
    }
}
