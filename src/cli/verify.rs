//! `prospect verify`.

use clap::Args;
use prospect_common::text;
use prospect_engine::progress::{Progress, ProgressKind};
use prospect_store::{self as store, RunFolder};
use serde_json::json;

use super::{Global, logging, output};

/// Exit status for files that do not match the manifest: bad data.
const DAMAGED: u8 = 65;

/// Check every file of the run against the manifest
///
/// Reads all files of the run folder. Each must have the size, checksum, rows and key given in the manifest, and no other
/// files may exist; writes nothing. Exit status 65 if a check fails.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect verify
  prospect verify --json")]
pub(super) struct VerifyArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(global: &Global, args: &VerifyArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let run = RunFolder::open(&config.run.dir)?;
    logging::start(global, &Progress::new(ProgressKind::Quiet), None, "verify")?;
    let manifest = run.manifest()?;
    let problems = store::verify(&run, &manifest);
    let (files, bytes) = manifest
        .all_files()
        .fold((0, 0), |(files, bytes), (.., file)| {
            (files + 1, bytes + file.bytes)
        });
    let lines: Vec<String> = problems.iter().map(|problem| problem.to_string()).collect();
    if args.json {
        output::print_json(&json!({"files": files, "bytes": bytes, "problems": lines}))?;
    } else if !global.quiet || !lines.is_empty() {
        let mut page: String = lines
            .iter()
            .map(|line| format!("{}\n", text::escaped(line)))
            .collect();
        page += &format!(
            "{}, {}: {}",
            text::counted(files, "file"),
            text::bytes(bytes),
            match lines.len() {
                0 => "all match the manifest".to_string(),
                n => format!(
                    "{}; run `prospect clean` on the affected stages, then `prospect run`",
                    text::counted(n as u64, "problem")
                ),
            }
        );
        output::print(&page)?;
    }
    Ok(if lines.is_empty() { 0 } else { DAMAGED })
}
