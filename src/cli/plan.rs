//! `prospect plan`.

use clap::Args;
use prospect_common::text;
use prospect_engine::{
    Context, Plan,
    progress::{Cancel, Progress, ProgressKind},
};
use prospect_stages::STAGES;
use prospect_store::RunFolder;
use serde::Serialize;

use super::{Global, output, run::describe};

/// Show what a run would do, why, and how much it would write
///
/// Reads the configuration, the listing of the image folder, the model's graph and the run folder's manifest; writes
/// nothing. Sizes are estimated from the network's shapes; for photos they are accurate within a factor of two.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect plan
  prospect plan patches --set patches.k=16
  prospect plan --json")]
pub(super) struct PlanArgs {
    /// Stages to plan, with their dependencies. Default: all
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// One JSON object: stages with their tables, images, bytes, free_bytes
    #[arg(long)]
    json: bool,
}

pub(super) fn plan(global: &Global, args: &PlanArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    prospect_engine::check_names(STAGES, &args.stages)?;
    config.check_files()?;
    let run = RunFolder::at(&config.run.dir)?;
    let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
    let ctx = Context::new(&config, &run, STAGES, &progress, &cancel);
    let planned = prospect_engine::plan(&ctx, &args.stages)?;
    let free = run.free_space().ok();
    if args.json {
        output::print_json(&Answer::new(&planned, &run, free))?;
    } else {
        output::print(&page(&planned, &run, free))?;
    }
    Ok(0)
}

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    /// Estimated output of the stages, and the run folder's maximum growth during the run.
    bytes: u64,
    growth: u64,
    free_bytes: Option<u64>,
    fits: Option<bool>,
}

impl<'a> Answer<'a> {
    fn new(plan: &'a Plan, run: &RunFolder, free: Option<u64>) -> Answer<'a> {
        Answer {
            plan,
            bytes: plan.bytes(),
            growth: plan.growth(),
            free_bytes: free,
            fits: free.map(|free| plan.check_space(run, free).is_ok()),
        }
    }
}

/// The decisions, the estimated sizes of the tables, and whether they fit on the disk.
fn page(plan: &Plan, run: &RunFolder, free: Option<u64>) -> String {
    let decisions = plan.stages.iter().map(|planned| {
        let mut what = describe(&planned.decision);
        if planned.keeps > 0 {
            what += "; reuses known rows";
        }
        vec![planned.stage.to_string(), what]
    });
    let mut page = output::columns(&decisions.collect::<Vec<_>>(), &[false, false]);
    let tables = (plan.stages.iter())
        .flat_map(|planned| planned.tables.iter().map(|table| (planned.stage, table)))
        .filter(|(_, table)| table.rows > 0);
    let mut rows: Vec<Vec<String>> = tables
        .map(|(stage, table)| {
            vec![
                stage.to_string(),
                table.table.to_string(),
                text::count(table.rows),
                text::bytes(table.raw_bytes),
                text::bytes(table.bytes),
            ]
        })
        .collect();
    let (Some(images), false) = (plan.images, rows.is_empty()) else {
        return page;
    };
    let heading = ["stage", "table", "rows", "uncompressed", "estimate"];
    rows.insert(0, heading.map(String::from).to_vec());
    page.push('\n');
    page += &output::columns(&rows, &[false, false, true, true, true]);
    page += &format!(
        "\ntotal: about {} for {} ({})",
        text::bytes(plan.bytes()),
        text::counted(images.n, "image"),
        images.source
    );
    let replaced = (plan.stages.iter()).map(|planned| planned.replaces + planned.keeps);
    let replaced: u64 = replaced.sum();
    if replaced > 0 {
        page += &format!(", replacing {}", text::bytes(replaced));
    }
    match free {
        None => page += "; free space unknown\n",
        Some(free) => {
            let dir = run.root().display().to_string();
            page += &format!("; {} free in {}\n", text::bytes(free), text::escaped(&dir));
            if let Err(error) = plan.check_space(run, free) {
                page += &format!("a run would be refused: {error}\n");
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use prospect_engine::{Decision, ImageCount, PlannedStage, TableEstimate};

    fn plan() -> Plan {
        let table = |name, rows| TableEstimate::new(name, rows, [2048.0, 1024.0]);
        let stage = |stage, decision, tables| PlannedStage {
            stage,
            about: "does something",
            decision,
            may_stay: false,
            tables,
            replaces: 0,
            keeps: 0,
        };
        let reason = "no run yet".to_string();
        Plan {
            stages: vec![
                stage("scan", Decision::Reuse, vec![]),
                stage(
                    "extract",
                    Decision::Run { reason },
                    vec![table("maps", 3000), table("layers", 0)],
                ),
                stage(
                    "patches",
                    Decision::WaitsFor {
                        stage: "extract".to_string(),
                    },
                    vec![],
                ),
            ],
            images: Some(ImageCount {
                n: 3000,
                source: "table images",
            }),
        }
    }

    #[test]
    fn json_has_one_flat_object_per_stage_and_the_totals() {
        let run = RunFolder::at("nowhere").unwrap();
        let plan = plan();
        let json = serde_json::to_value(Answer::new(&plan, &run, Some(1 << 20))).unwrap();
        assert_eq!(
            json["stages"][0],
            serde_json::json!({"stage": "scan", "about": "does something", "decision": "reuse", "replaces": 0})
        );
        let extract = &json["stages"][1];
        assert_eq!(
            (&extract["decision"], &extract["reason"]),
            (&"run".into(), &"no run yet".into())
        );
        assert_eq!(
            extract["tables"][0],
            serde_json::json!({"table": "maps", "rows": 3000, "raw_bytes": 6_144_000, "bytes": 3_072_000})
        );
        let patches = &json["stages"][2];
        assert_eq!(patches["stage"], "patches");
        assert_eq!(patches["decision"], "waits_for");
        assert_eq!(patches["waits_for"], "extract");
        assert_eq!(json["images"]["n"], 3000);
        assert_eq!(
            (&json["bytes"], &json["fits"]),
            (&3_072_000.into(), &false.into())
        );
    }

    #[test]
    fn page_shows_estimates_and_whether_they_fit() {
        let run = RunFolder::at("nowhere").unwrap();
        let shown = page(&plan(), &run, Some(1 << 30));
        assert_eq!(
            shown,
            "scan     up to date\nextract  runs: no run yet\npatches  waits for extract\n\n\
             stage    table   rows  uncompressed  estimate\n\
             extract  maps   3,000       5.9 MiB   2.9 MiB\n\n\
             total: about 2.9 MiB for 3,000 images (table images); 1.0 GiB free in nowhere\n"
        );
        let shown = page(&plan(), &run, Some(1 << 20));
        assert!(
            shown.contains("a run would be refused: nowhere: "),
            "{shown}"
        );
        let nothing = Plan {
            stages: plan().stages[..1].to_vec(),
            ..plan()
        };
        assert_eq!(page(&nothing, &run, None), "scan  up to date\n");
    }
}
