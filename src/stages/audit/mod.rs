//! Gathers what the audits have found into one table, `issues`, with what people said of it before.
//!
//! A finding that somebody has judged `ok` stays in the table, not flagged. Candidates that are not flagged are kept as far as
//! [audit] budget goes; the tables of the stages that found them tell of all images.

mod pictures;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Context, Outcome, Stage, TableEstimate, duplicates, labels, outliers};
use crate::{
    error::Result,
    findings::{Finding, Kind, ranked},
    store::StageWriter,
    text::count,
};

pub const STAGE: Stage = Stage {
    name: "audit",
    version: 1,
    about: "gather all findings and what people said of them; writes issues and sheets of the worst",
    needs: &["scan", "neighbors", "duplicates", "labels", "outliers"],
    parameters,
    estimate,
    run,
};

/// Bytes of a row of `issues`, before and after compression.
const ISSUE_ROW: [f64; 2] = [140.0, 30.0];
/// Share of the images that are thought to be told of.
const TOLD: f64 = 0.1;
const SHEET: [f64; 2] = [1.5e7, 4e6];

fn parameters(ctx: &Context) -> Result<Value> {
    Ok(json!({ "budget": ctx.config.audit.budget }))
}

fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let kinds = Kind::ALL.len() as u64;
    let candidates = kinds * images.min(ctx.config.audit.budget as u64);
    let rows = candidates.max((images as f64 * TOLD) as u64);
    Ok(vec![
        TableEstimate::new("issues", rows, ISSUE_ROW),
        TableEstimate::new("pictures/audit", kinds / 2, SHEET),
    ])
}

/// A row of `issues`.
struct Issue {
    rank: i32,
    finding: Finding,
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    let manifest = ctx.run.manifest()?;
    let bar = ctx.progress.stage("audit", 1, "tables");
    let mut findings = duplicates::findings(ctx, &manifest)?;
    ctx.cancel.check()?;
    findings.extend(labels::findings(ctx, &manifest)?);
    ctx.cancel.check()?;
    findings.extend(outliers::findings(ctx, &manifest)?);
    let ranked = ranked(findings, ctx.config.audit.budget);
    let issues = ranked
        .into_iter()
        .map(|(rank, finding)| Issue { rank, finding });
    let issues: Vec<Issue> = issues.collect();
    let flagged = flagged(&issues);
    if !writer.has_part(0) {
        let mut part = writer.part(0)?;
        part.write("issues", &tables::issues(&issues)?)?;
        pictures::draw(ctx, &manifest, &issues, |kind, png| {
            part.file(&format!("pictures/audit/{}.png", kind.name()), png)
        })?;
        writer.commit(part)?;
    }
    bar.advance(1);
    bar.finish(&line(&flagged));
    Ok(Outcome {
        result: None,
        summary: json!({
            "findings": issues.len(),
            "flagged": flagged.iter().map(|(kind, n)| (kind.name(), *n)).collect::<BTreeMap<_, _>>(),
        }),
    })
}

/// How many are flagged of each kind of which there are any.
fn flagged(issues: &[Issue]) -> BTreeMap<Kind, u64> {
    let mut flagged = BTreeMap::new();
    for issue in issues.iter().filter(|issue| issue.finding.flagged) {
        *flagged.entry(issue.finding.kind).or_default() += 1;
    }
    flagged
}

fn line(flagged: &BTreeMap<Kind, u64>) -> String {
    let kinds: Vec<String> = (flagged.iter())
        .map(|(kind, n)| format!("{} {}", count(*n), kind.name()))
        .collect();
    if kinds.is_empty() {
        return "nothing found".into();
    }
    kinds.join(", ")
}
