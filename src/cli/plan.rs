//! `prospect plan`.

use clap::Args;

use super::{Global, output, run::describe};
use crate::{
    progress::{Cancel, Progress, ProgressKind},
    stages::{self, Context, Planned, STAGES},
    store::RunFolder,
};

/// Show what a run would do, and why
///
/// Reads the configuration, the listing of the image folder, the model's graph and the run folder's manifest; writes
/// nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect plan
  prospect plan patches --set patches.k=16
  prospect plan --json")]
pub(super) struct PlanArgs {
    /// Stages to plan for, with what they need; all if none is named
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// One JSON list
    #[arg(long)]
    json: bool,
}

pub(super) fn plan(global: &Global, args: &PlanArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let run = RunFolder::at(&config.run.dir)?;
    let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
    let ctx = Context::new(&config, &run, &progress, &cancel);
    let planned = stages::plan(&ctx, STAGES, &args.stages)?;
    if args.json {
        output::print_json(&planned)?;
    } else {
        output::print(&table(&planned))?;
    }
    Ok(0)
}

fn table(planned: &[Planned]) -> String {
    let rows: Vec<Vec<String>> = planned
        .iter()
        .map(|planned| vec![planned.stage.to_string(), describe(&planned.decision)])
        .collect();
    output::columns(&rows, &[false, false])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Decision;

    #[test]
    fn json_has_one_flat_object_per_stage() {
        let planned = Planned {
            stage: "extract",
            about: "runs the network",
            decision: Decision::Run {
                reason: "no run yet".into(),
            },
        };
        assert_eq!(
            serde_json::to_value([&planned]).unwrap(),
            serde_json::json!([{"stage": "extract", "about": "runs the network", "decision": "run", "reason": "no run yet"}])
        );
        assert_eq!(table(&[planned]), "extract  runs: no run yet\n");
    }
}
