//! Train a linear classifier on the features, fold by fold; writes probe, probe_classes, probe_weights, probe_quality.

use serde_json::{Value, json};

use super::{Context, Outcome, Stage, TableEstimate};
use crate::{error::Result, store::StageWriter};

pub const STAGE: Stage = Stage {
    name: "probe",
    version: 1,
    about: "train a linear classifier on the features, fold by fold; writes probe, probe_classes, probe_weights, probe_quality",
    needs: &["scan", "extract", "duplicates"],
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
