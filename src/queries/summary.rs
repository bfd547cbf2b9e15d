//! What a run comes to, for a mail, a chat or a monitor: how many images, what was found, and what of it is new.

use std::collections::BTreeMap;

use prospect_common::{Error, Result};
use prospect_config::Config;
use prospect_engine::tables::history;
use prospect_findings::{
    Kind,
    changes::{Change, FindingByPath, Rules, counts, diff},
};
use prospect_stages::STAGES;
use prospect_store::RunFolder;
use serde::Serialize;
use serde_json::Value;

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Heading of the report's pages.
    pub title: String,
    /// The folder of images.
    pub dataset: String,
    /// The run folder.
    pub run: String,
    pub images: u64,
    /// Of these, images that cannot be read.
    pub bad: u64,
    /// Images that went through the network, and those whose rows were taken from an earlier run.
    pub through_the_network: u64,
    pub taken_from_before: u64,
    /// Findings of each kind that has any, in the order of [`Kind::ALL`].
    pub findings: Vec<OfKind>,
    /// Compared with an earlier run.
    pub since: Option<Since>,
    /// What every complete stage has told, and its time in seconds.
    pub stages: BTreeMap<String, Told>,
}

/// Findings of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfKind {
    pub kind: Kind,
    /// Bad enough to be told.
    pub flagged: usize,
    /// Of these, nobody has judged so many yet.
    pub open: usize,
}

/// What is different from an earlier run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Since {
    pub run: String,
    pub new: usize,
    pub worse: usize,
    pub better: usize,
    pub resolved: usize,
    pub changes: Vec<Change>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    pub seconds: f64,
    pub summary: Value,
}

/// Reads the configured run and, if it names a previous one, that one's findings.
///
/// # Errors
/// The run's audit is not complete, or the previous run has none.
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
            next: "make it with `prospect run`".to_string(),
        });
    }
    let found = history::findings(&run, &manifest)?;
    let since = match &config.run.previous {
        None => None,
        Some(folder) => {
            let before = RunFolder::open(folder)?;
            let before = history::findings(&before, &before.manifest()?)?;
            let changes = diff(&before, &found, Rules::default());
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
        let told = Told {
            seconds: record.parts.values().map(|part| part.seconds).sum(),
            summary: record.summary.clone(),
        };
        record.complete.then(|| (stage.name.to_string(), told))
    });
    let stages: BTreeMap<String, Told> = complete.collect();
    let number = |stage: &str, name: &str| {
        let told = stages.get(stage);
        told.and_then(|told| told.summary[name].as_u64())
            .unwrap_or(0)
    };
    let taken = manifest
        .stages
        .get("extract")
        .map_or(0, |record| record.reused());
    Ok(Summary {
        title: config.report.title.clone(),
        dataset: config.images.dir.display().to_string(),
        run: config.run.dir.display().to_string(),
        images: number("scan", "images"),
        bad: number("scan", "bad"),
        through_the_network: number("extract", "images").saturating_sub(taken),
        taken_from_before: taken,
        findings: by_kind(&found),
        since,
        stages,
    })
}

fn by_kind(found: &[FindingByPath]) -> Vec<OfKind> {
    let of_kind = |kind: Kind| {
        let flagged = found
            .iter()
            .filter(|found| found.kind == kind.name() && found.flagged);
        OfKind {
            kind,
            flagged: flagged.clone().count(),
            open: flagged.filter(|found| found.reviewed.is_none()).count(),
        }
    };
    let all = Kind::ALL.into_iter().map(of_kind);
    all.filter(|of_kind| of_kind.flagged > 0).collect()
}
