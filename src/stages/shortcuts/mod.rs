//! Hold attributes and units against labels; writes associations, groups, shortcuts.

use serde_json::{Value, json};

use super::{Context, Outcome, Stage, TableEstimate};
use crate::{error::Result, store::StageWriter};

pub const STAGE: Stage = Stage {
    name: "shortcuts",
    version: 1,
    about: "hold attributes and units against labels; writes associations, groups, shortcuts",
    needs: &["scan", "extract", "patches", "explain", "probe"],
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
