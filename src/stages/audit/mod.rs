//! Gathers the findings of all audits into one table, `issues`, with their reviews.
//!
//! A finding reviewed as `ok` stays in the table, but is not flagged. Candidates are kept up to `[audit] budget` findings per kind;
//! the tables of their stages cover all images.

mod issue;
mod pictures;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use prospect_common::Result;
use prospect_engine::{
    Context, Needs, Outcome, Stage, TableEstimate,
    schema::{changes, issues},
    tables::{
        files::{File, files},
        history,
    },
};
use prospect_findings::{
    Finding, Kind,
    changes::{ChangeKind, FindingByPath, counts},
    review::Reviews,
};
use prospect_store::StageWriter;
use serde_json::{Value, json};

use self::issue::{Issue, reviewed};

pub const STAGE: Stage = Stage {
    name: "audit",
    version: 1,
    about: "gather all findings with their reviews, and draw the worst",
    needs: Needs::Findings(&["scan", "neighbors", "explain"]),
    writes: &[&issues::TABLE, &changes::TABLE],
    findings: None,
    reuse: None,
    parameters,
    estimate,
    run,
};

/// Expected fraction of images with findings.
const FRACTION_WITH_FINDINGS: f64 = 0.1;
const SHEET: [f64; 2] = [1.5e7, 4e6];

fn parameters(ctx: &Context) -> Result<Value> {
    let reviews = Reviews::read(&ctx.config.reviews_path())?;
    let decisions: Vec<_> = reviews
        .iter()
        .map(|review| {
            let (kind, verdict) = (review.kind.name(), review.verdict.name());
            let (note, digest, label) = (&review.note, &review.digest, &review.label);
            json!([review.path, kind, verdict, note, digest, label])
        })
        .collect();
    let n = decisions.len();
    let decisions = Value::from(decisions).to_string();
    Ok(json!({
        "budget": ctx.config.audit.budget,
        "previous": history::previous_digest(ctx)?,
        "reviews": { "n": n, "digest": blake3::hash(decisions.as_bytes()).to_hex()[..16] },
    }))
}

fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let kinds = Kind::ALL.len() as u64;
    let candidates = kinds * images.min(ctx.config.audit.budget as u64);
    let rows = candidates.max((images as f64 * FRACTION_WITH_FINDINGS) as u64);
    let changes = match &ctx.config.run.previous {
        Some(_) => rows / 10,
        None => 0,
    };
    Ok(vec![
        TableEstimate::of(&issues::TABLE, rows),
        TableEstimate::of(&changes::TABLE, changes),
        TableEstimate::new("pictures/audit", kinds / 2, SHEET),
    ])
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    let manifest = ctx.run.manifest()?;
    let bar = ctx.progress.stage("audit", 1, "tables");
    let mut findings = Vec::new();
    for found in ctx.stages.iter().filter_map(|stage| stage.findings) {
        findings.extend(found(ctx, &manifest)?);
        ctx.cancel.check()?;
    }
    let reviews = Reviews::read(&ctx.config.reviews_path())?;
    let ids = |finding: &Finding| [Some(finding.image_id), finding.other_id];
    let named: HashSet<u32> = findings.iter().flat_map(ids).flatten().collect();
    let files = files(ctx.run, &manifest, |id, _| named.contains(&id))?;
    let issues = reviewed(findings, &reviews, &files, ctx.config.audit.budget);
    let flagged = flagged(&issues);
    let changes = history::since_previous(ctx, &by_path(&issues, &files))?;
    if !writer.has_part(0) {
        let mut part = writer.part(0)?;
        part.write(issues::NAME, &tables::issues(&issues)?)?;
        if let Some(changes) = &changes {
            part.write(changes::NAME, &history::changes(changes)?)?;
        }
        pictures::draw(ctx, &manifest, &issues, |kind, png| {
            part.file(&format!("pictures/audit/{}.png", kind.name()), png)
        })?;
        writer.commit(part)?;
    }
    bar.advance(1);
    bar.finish(&line(&flagged));
    let mut summary = json!({
        "findings": issues.len(),
        "dismissed": issues.iter().filter(|issue| issue.is_dismissed()).count(),
        "flagged": flagged.iter().map(|(kind, n)| (kind.name(), *n)).collect::<BTreeMap<_, _>>(),
    });
    if let (Some(changes), Some(summary)) = (&changes, summary.as_object_mut()) {
        for (change, n) in ChangeKind::ALL.iter().zip(counts(changes)) {
            summary.insert(change.name().into(), json!(n));
        }
    }
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// The findings by path, comparable between runs.
fn by_path(issues: &[Issue], files: &BTreeMap<u32, File>) -> Vec<FindingByPath> {
    let path = |id: u32| {
        files
            .get(&id)
            .map_or_else(String::new, |file| file.path.clone())
    };
    let found = issues.iter().map(|issue| {
        let finding = &issue.finding;
        FindingByPath {
            path: path(finding.image_id),
            kind: finding.kind.name().to_string(),
            other_path: finding.other_id.map(path),
            score: finding.score,
            flagged: finding.flagged,
            reviewed: (issue.review.as_ref()).map(|review| review.verdict.name().to_string()),
            evidence: finding.evidence.clone(),
        }
    });
    found.collect()
}

/// Number of flagged findings by kind; kinds without any are left out.
fn flagged(issues: &[Issue]) -> BTreeMap<Kind, u64> {
    let mut flagged = BTreeMap::new();
    for issue in issues.iter().filter(|issue| issue.finding.flagged) {
        *flagged.entry(issue.finding.kind).or_default() += 1;
    }
    flagged
}

fn line(flagged: &BTreeMap<Kind, u64>) -> String {
    let kinds: Vec<String> = (flagged.iter()).map(|(kind, n)| kind.counted(*n)).collect();
    if kinds.is_empty() {
        return "no findings".into();
    }
    kinds.join(", ")
}
