//! `prospect status`.

use std::time::Duration;

use clap::Args;
use prospect_common::text;
use prospect_store::{Manifest, RunFolder, StageRecord};
use serde::Serialize;
use serde_json::Value;

use super::{Global, output};

/// Show the state of the run folder
///
/// Reads only the run folder's manifest, so it also works during a run or without the images; writes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect status
  prospect status --json")]
pub(super) struct StatusArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// State of a run folder.
#[derive(Debug, Serialize)]
struct Status {
    dir: String,
    stages: Vec<StageStatus>,
    tables: Vec<TableStatus>,
}

#[derive(Debug, Serialize)]
struct StageStatus {
    stage: String,
    complete: bool,
    parts_done: usize,
    parts_total: Option<usize>,
    bytes: u64,
    /// Earlier rows, kept until the stage is complete.
    kept_bytes: u64,
    seconds: f64,
    key: String,
    summary: Value,
}

#[derive(Debug, Serialize)]
struct TableStatus {
    table: String,
    rows: u64,
    files: usize,
    bytes: u64,
}

pub(super) fn status(global: &Global, args: &StatusArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let run = RunFolder::open(&config.run.dir)?;
    let manifest = run.manifest()?;
    let status = gather(config.run.dir.display().to_string(), &run, &manifest);
    if args.json {
        output::print_json(&status)?;
    } else {
        output::print(&page(&status))?;
    }
    Ok(0)
}

fn gather(dir: String, run: &RunFolder, manifest: &Manifest) -> Status {
    let stage = |(name, record): (&String, &StageRecord)| StageStatus {
        stage: name.clone(),
        complete: record.complete,
        parts_done: record.parts.len(),
        parts_total: record.parts_total,
        bytes: record.bytes(),
        kept_bytes: record.previous_bytes(),
        seconds: record.parts.values().map(|part| part.seconds).sum(),
        key: record.key.clone(),
        summary: record.summary.clone(),
    };
    let mut stages: Vec<StageStatus> = manifest.stages.iter().map(stage).collect();
    let names: Vec<&str> = prospect_stages::STAGES
        .iter()
        .map(|stage| stage.name)
        .collect();
    stages.sort_by_key(|status| names.iter().position(|name| *name == status.stage));
    let table = |table: String| {
        let files: Vec<_> = manifest.table_files(&table).map(|(_, file)| file).collect();
        TableStatus {
            rows: files.iter().map(|file| file.rows).sum(),
            files: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            table,
        }
    };
    Status {
        dir,
        stages,
        tables: run.tables(manifest).into_iter().map(table).collect(),
    }
}

fn page(status: &Status) -> String {
    let mut page = format!("run folder {}\n\n", text::escaped(&status.dir));
    if status.stages.is_empty() {
        page += "empty; start with `prospect run`\n";
        return page;
    }
    let mut rows = vec![
        ["stage", "state", "size", "time", "summary"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(status.stages.iter().map(|stage| {
        let mut state = match (stage.complete, stage.parts_total) {
            (true, _) => "complete".to_string(),
            (false, Some(total)) => format!("{} of {total} parts", stage.parts_done),
            (false, None) => text::counted(stage.parts_done as u64, "part"),
        };
        if stage.kept_bytes > 0 {
            state += &format!(" (and {} of earlier rows)", text::bytes(stage.kept_bytes));
        }
        let time = Duration::try_from_secs_f64(stage.seconds).unwrap_or_default();
        vec![
            stage.stage.clone(),
            state,
            text::bytes(stage.bytes + stage.kept_bytes),
            text::duration(time),
            output::summary_line(&stage.summary),
        ]
    }));
    page += &output::columns(&rows, &[false, false, true, true, false]);
    if !status.tables.is_empty() {
        page.push('\n');
        let mut rows = vec![
            ["table", "rows", "files", "size"]
                .map(String::from)
                .to_vec(),
        ];
        rows.extend(status.tables.iter().map(|table| {
            vec![
                table.table.clone(),
                text::count(table.rows),
                text::count(table.files as u64),
                text::bytes(table.bytes),
            ]
        }));
        page += &output::columns(&rows, &[false, true, true, true]);
    }
    page
}
