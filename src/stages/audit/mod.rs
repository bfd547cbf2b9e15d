//! Gather all findings and what people said of them; writes issues.

use serde_json::{Value, json};

use super::{Context, Outcome, Stage, TableEstimate, duplicates, labels, outliers};
use crate::{error::Result, store::StageWriter};

pub const STAGE: Stage = Stage {
    name: "audit",
    version: 1,
    about: "gather all findings and what people said of them; writes issues",
    needs: &["scan", "duplicates", "labels", "outliers", "shortcuts"],
    parameters,
    estimate,
    run,
};

fn parameters(_: &Context) -> Result<Value> {
    Ok(json!({}))
}

fn estimate(_: &Context, _: u64) -> Result<Vec<TableEstimate>> {
    Ok(Vec::new())
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(0)?;
    let manifest = ctx.run.manifest()?;
    let mut findings = duplicates::findings(ctx, &manifest)?;
    findings.extend(labels::findings(ctx, &manifest)?);
    findings.extend(outliers::findings(ctx, &manifest)?);
    Ok(Outcome {
        result: None,
        summary: json!({ "findings": findings.len() }),
    })
}
