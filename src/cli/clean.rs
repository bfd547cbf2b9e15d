//! `prospect clean`.

use std::fs;

use clap::Args;
use prospect_common::{Complaint, Complaints, Error, text};
use prospect_stages::STAGES;
use prospect_store::{Manifest, RunFolder, remove_stage};

use super::{Global, output};

const LOGS: &str = "logs";
const ALL: &str = "all";

/// Delete the output of stages, or the logs
///
/// Reads the run folder's manifest; deletes files listed there and writes the manifest without them. Files that Prospect did
/// not write are kept. The next run recreates what was deleted; stages that depend on it stay valid.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect clean --dry-run all    show what would be deleted
  prospect clean extract          the largest tables; later stages keep theirs
  prospect clean --yes all        everything, without asking")]
pub(super) struct CleanArgs {
    /// Stage names, `logs`, or `all`
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// Only list what would be deleted
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

/// What to delete.
#[derive(Debug, PartialEq)]
struct Selection {
    stages: Vec<String>,
    logs: bool,
}

pub(super) fn clean(global: &Global, args: &CleanArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let run = RunFolder::open(&config.run.dir)?;
    let selection = choose(&args.what, &run.manifest()?)?;
    let listing = listing(&selection, &run)?;
    if listing.is_empty() {
        output::print("nothing to delete")?;
        return Ok(0);
    }
    if args.dry_run {
        output::print(&format!(
            "would delete from {}:\n{listing}",
            config.run.dir.display()
        ))?;
        return Ok(0);
    }
    if !args.yes {
        output::print(&format!("{}:\n{listing}", config.run.dir.display()))?;
        if !output::confirm("Delete this?")? {
            output::print("nothing deleted")?;
            return Ok(0);
        }
    }
    let lock = run.lock("prospect clean")?;
    for stage in &selection.stages {
        remove_stage(&run, &lock, stage)?;
    }
    if selection.logs {
        for path in log_files(&run)? {
            fs::remove_file(&path).map_err(Error::io(&path, "deleting"))?;
        }
    }
    if !global.quiet {
        output::print(&format!("deleted:\n{listing}"))?;
    }
    Ok(0)
}

/// The stages and logs named. Stages of another version of Prospect count if the manifest lists them.
fn choose(what: &[String], manifest: &Manifest) -> Result<Selection, Error> {
    let mut selection = Selection {
        stages: Vec::new(),
        logs: false,
    };
    let mut unknown = Complaints::default();
    for word in what {
        match word.as_str() {
            ALL => {
                selection.logs = true;
                selection.stages = manifest.stages.keys().cloned().collect();
            }
            LOGS => selection.logs = true,
            name if manifest.stages.contains_key(name) => selection.stages.push(name.to_string()),
            name if STAGES.iter().any(|stage| stage.name == name) => {}
            name => {
                let mut known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
                known.extend([LOGS, ALL]);
                let hint = prospect_common::text::did_you_mean(name, &known);
                unknown.push(Complaint::new(format!(
                    "unknown stage {name:?}{hint}; choose from {}",
                    known.join(", ")
                )));
            }
        }
    }
    unknown.into_result()?;
    selection.stages.sort();
    selection.stages.dedup();
    Ok(selection)
}

/// One line with the size for each stage and the logs; empty if there is nothing to delete.
fn listing(selection: &Selection, run: &RunFolder) -> Result<String, Error> {
    let manifest = run.manifest()?;
    let mut rows = Vec::new();
    for name in &selection.stages {
        let files: Vec<_> = (manifest.all_files())
            .filter(|(stage, ..)| stage == name)
            .map(|(.., file)| file.bytes)
            .collect();
        rows.push(row(name, files.len(), files.iter().sum()));
    }
    if selection.logs {
        let files = log_files(run)?;
        let bytes = files
            .iter()
            .filter_map(|path| path.metadata().ok())
            .map(|status| status.len());
        if !files.is_empty() {
            rows.push(row(LOGS, files.len(), bytes.sum()));
        }
    }
    Ok(output::columns(&rows, &[false, true, true]))
}

fn row(name: &str, files: usize, bytes: u64) -> Vec<String> {
    vec![
        format!("  {name}"),
        text::counted(files as u64, "file"),
        text::bytes(bytes),
    ]
}

/// The logs that Prospect wrote: `*.jsonl` in `logs/`, links not followed.
fn log_files(run: &RunFolder) -> Result<Vec<std::path::PathBuf>, Error> {
    let folder = run.path(LOGS);
    // A link in place of the folder leads outside the run folder.
    if !fs::symlink_metadata(&folder).is_ok_and(|status| status.is_dir()) {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).map_err(Error::io(&folder, "listing"))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(&folder, "listing"))?;
        let path = entry.path();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file
            && path
                .extension()
                .is_some_and(|extension| extension == "jsonl")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prospect_store::StageRecord;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn arguments_select_stages_and_logs() {
        let mut manifest = Manifest::default();
        for stage in ["scan", "extract"] {
            manifest
                .stages
                .insert(stage.to_string(), StageRecord::default());
        }
        let selection = choose(&words(&["extract", "extract"]), &manifest).unwrap();
        assert_eq!(
            (selection.stages, selection.logs),
            (words(&["extract"]), false)
        );
        let selection = choose(&words(&["all"]), &manifest).unwrap();
        assert_eq!(
            (selection.stages, selection.logs),
            (words(&["extract", "scan"]), true)
        );
        let error = choose(&words(&["extrct", "log"]), &manifest).unwrap_err();
        assert!(error.to_string().contains("did you mean `logs`"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn only_log_files_count_as_logs() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::create(folder.path()).unwrap();
        assert!(log_files(&run).unwrap().is_empty());
        fs::create_dir(run.path("logs")).unwrap();
        fs::write(run.path("logs/20261123T000000Z-run.jsonl"), "{}").unwrap();
        fs::write(run.path("logs/notes.txt"), "mine").unwrap();
        let files = log_files(&run).unwrap();
        assert_eq!(files.len(), 1, "{files:?}");
    }
}
