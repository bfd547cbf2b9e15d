//! Find images unlike all others; writes outliers.

use serde_json::{Value, json};

use super::{Context, Outcome, Stage, TableEstimate};
use crate::{
    error::Result,
    findings::Finding,
    store::{Manifest, StageWriter},
};

pub const STAGE: Stage = Stage {
    name: "outliers",
    version: 1,
    about: "find images unlike all others; writes outliers",
    needs: &["scan", "extract", "neighbors"],
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

fn run(_: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(0)?;
    Ok(Outcome {
        result: None,
        summary: json!({}),
    })
}

/// What people should look at, in no order.
pub(super) fn findings(_: &Context, _: &Manifest) -> Result<Vec<Finding>> {
    Ok(Vec::new())
}
