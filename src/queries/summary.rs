//! Summary of a run for mail, chat and monitoring: image counts, findings and what is new.

use std::collections::BTreeMap;

use prospect_analysis::audit::label_issues::precision::Estimate;
use prospect_common::{Error, Result};
use prospect_config::Config;
use prospect_engine::tables::history;
use prospect_findings::{
    Kind,
    changes::{Change, FindingByPath, Rules, counts, diff},
};
use prospect_stages::{
    STAGES,
    labels::reviews::{self, Ranking},
};
use prospect_store::RunFolder;
use serde::Serialize;
use serde_json::Value;

/// Summary of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Heading of the report's pages.
    pub title: String,
    /// The image folder.
    pub dataset: String,
    /// The run folder.
    pub run: String,
    pub images: u64,
    /// Unreadable images.
    pub bad: u64,
    /// Images that the network processed in this run.
    pub through_the_network: u64,
    /// Images whose rows were reused from an earlier run.
    pub reused: u64,
    /// Findings by kind, in the order of [`Kind::ALL`]; kinds without findings are left out.
    pub findings: Vec<KindCount>,
    /// What the reviews say about the suspicious labels; `None` without any.
    pub reviews: Option<Reviews>,
    /// Comparison with an earlier run.
    pub since: Option<Since>,
    /// Summary and duration of every complete stage.
    pub stages: BTreeMap<String, StageSummary>,
}

/// Reviews of labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reviews {
    #[serde(flatten)]
    pub estimate: Estimate,
    /// In words.
    pub message: String,
}

impl Reviews {
    fn new(estimate: Estimate) -> Reviews {
        let sentences = [
            reviews::precision(&estimate),
            Some(reviews::further(&estimate)),
        ];
        Reviews {
            message: sentences
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
            estimate,
        }
    }
}

/// Number of findings of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindCount {
    pub kind: Kind,
    /// Flagged findings.
    pub flagged: usize,
    /// Flagged findings not yet reviewed.
    pub open: usize,
}

/// Differences from an earlier run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Since {
    pub run: String,
    pub new: usize,
    pub worse: usize,
    pub better: usize,
    pub resolved: usize,
    pub changes: Vec<Change>,
}

/// A complete stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageSummary {
    pub seconds: f64,
    pub summary: Value,
}

/// Summarises the configured run, compared with the previous one if configured.
///
/// # Errors
/// The audit of either run is missing or incomplete.
pub fn summary(config: &Config) -> Result<Summary> {
    let run = RunFolder::open(&config.run.dir)?;
    let manifest = run.manifest()?;
    if !manifest
        .stages
        .get("audit")
        .is_some_and(|record| record.complete)
    {
        return Err(Error::Missing {
            what: format!("a complete audit in {}", run.root().display()),
            next: "create it with `prospect run`".to_string(),
        });
    }
    let findings = history::findings(&run, &manifest)?;
    let since = match &config.run.previous {
        None => None,
        Some(folder) => {
            let before = RunFolder::open(folder)?;
            let before = history::findings(&before, &before.manifest()?)?;
            let changes = diff(&before, &findings, Rules::default());
            let [new, worse, better, resolved] = counts(&changes);
            Some(Since {
                run: folder.display().to_string(),
                new,
                worse,
                better,
                resolved,
                changes,
            })
        }
    };
    let complete = STAGES.iter().filter_map(|stage| {
        let record = manifest.stages.get(stage.name)?;
        let summary = StageSummary {
            seconds: record.parts.values().map(|part| part.seconds).sum(),
            summary: record.summary.clone(),
        };
        record.complete.then(|| (stage.name.to_string(), summary))
    });
    let stages: BTreeMap<String, StageSummary> = complete.collect();
    let number = |stage: &str, name: &str| {
        let stage = stages.get(stage);
        stage
            .and_then(|stage| stage.summary[name].as_u64())
            .unwrap_or(0)
    };
    let reused = manifest
        .stages
        .get("extract")
        .map_or(0, |record| record.reused());
    Ok(Summary {
        title: config.report.title.clone(),
        dataset: config.images.dir.display().to_string(),
        run: config.run.dir.display().to_string(),
        images: number("scan", "images"),
        bad: number("scan", "bad"),
        through_the_network: number("extract", "images").saturating_sub(reused),
        reused,
        findings: by_kind(&findings),
        reviews: Ranking::read(config, &run, &manifest)?
            .estimate()
            .map(Reviews::new),
        since,
        stages,
    })
}

fn by_kind(findings: &[FindingByPath]) -> Vec<KindCount> {
    let count = |kind: Kind| {
        let flagged = findings
            .iter()
            .filter(|finding| finding.kind == kind.name() && finding.flagged);
        KindCount {
            kind,
            flagged: flagged.clone().count(),
            open: flagged.filter(|finding| finding.reviewed.is_none()).count(),
        }
    };
    let all = Kind::ALL.into_iter().map(count);
    all.filter(|count| count.flagged > 0).collect()
}
