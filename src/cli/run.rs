//! `prospect run`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use prospect_common::{Error, text};
use prospect_engine::{Context, Decision, Event, FIRST, progress::Cancel};
use prospect_stages::STAGES;
use prospect_store::{Manifest, RunFolder};

use super::{Global, interrupt, logging, output};

/// Bring stages up to date, or resume an interrupted run
///
/// Reads the image folder, the model and the run folder; writes tables, pictures, the report and a log into the run
/// folder ([run] dir). Stages whose settings and input are unchanged are skipped. Ctrl-C stops after the current
/// part; finished parts are kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect run                              all stages that are out of date
  prospect run extract                      this stage and its dependencies
  prospect run --set extract.part_size=256  with a setting changed for this run")]
pub(super) struct RunArgs {
    /// Stages to run, with their dependencies. Default: all
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Run even if the estimated output exceeds the free space on the disk
    #[arg(long)]
    no_space_check: bool,
}

pub(super) fn run(global: &Global, args: &RunArgs) -> anyhow::Result<u8> {
    let started = Instant::now();
    let run = bring_up_to_date(
        global,
        &args.stages,
        args.no_space_check,
        &output::try_print,
    )?;
    if !global.quiet {
        output::try_print(&done(&run, started.elapsed()));
    }
    Ok(0)
}

/// Runs the named stages and their dependencies where out of date, and prints a line about each.
pub(super) fn bring_up_to_date(
    global: &Global,
    stages: &[String],
    no_space_check: bool,
    print: &dyn Fn(&str),
) -> anyhow::Result<RunFolder> {
    let config = global.config()?;
    prospect_engine::check_names(STAGES, stages)?;
    config.check_files()?;
    let run = RunFolder::create(&config.run.dir)?;
    let lock = run.lock("prospect run")?;
    let progress = global.progress();
    logging::start(global, &progress, Some(&run.path("logs")), "run")?;
    if let Some(holder) = lock.abandoned_by() {
        tracing::warn!(
            "the previous run did not shut down cleanly ({holder}); its finished parts are reused"
        );
    }
    let cancel = Cancel::default();
    interrupt::install(&cancel, &progress, interrupt::PARTS)?;
    let ctx = Context::new(&config, &run, STAGES, &progress, &cancel);
    let mut watch = |event: Event| {
        if let Event::Decided { nth, .. } = event {
            progress.begin(nth);
        }
        let line = line(&event, progress.remark()).filter(|_| !global.quiet);
        if let Some(line) = line {
            progress.suspend(|| print(&line));
        }
    };
    let result = match no_space_check {
        false => prospect_engine::run(&ctx, &lock, stages, &mut watch),
        true => prospect_engine::run_within(&ctx, &lock, stages, &|| u64::MAX, &mut watch),
    };
    if let (Err(Error::Interrupted), false) = (&result, global.quiet) {
        unfinished(&run.manifest()?).lines().for_each(print);
    }
    result?;
    Ok(run)
}

/// The closing lines: duration, run folder and report.
fn done(run: &RunFolder, elapsed: Duration) -> String {
    let mut lines = format!(
        "done in {}: {}\n",
        text::duration(elapsed),
        run.root().display()
    );
    let report = report(run);
    if report.exists() {
        lines += &format!("report: {}\n", report.display());
    }
    lines
}

/// Path of the report's first page.
pub(super) fn report(run: &RunFolder) -> PathBuf {
    let page = run.path("report/index.html");
    std::path::absolute(&page).unwrap_or(page)
}

/// Progress of the incomplete stages, one line each.
fn unfinished(manifest: &Manifest) -> String {
    let stages = manifest
        .stages
        .iter()
        .filter(|(_, record)| !record.complete);
    let lines = stages.map(|(name, record)| {
        let done = record.parts.len();
        match record.parts_total {
            Some(total) => format!("{name:<10} {done} of {total} parts done\n"),
            None => format!("{name:<10} started\n"),
        }
    });
    lines.collect()
}

/// The line printed for an event; `remark` is the stage's own closing remark.
fn line(event: &Event, remark: Option<String>) -> Option<String> {
    let line = match event {
        Event::Decided {
            decision: Decision::Run { reason },
            ..
        } if reason == FIRST => return None,
        Event::Decided {
            stage, decision, ..
        } => {
            format!("{stage:<10} {}", describe(decision))
        }
        Event::Finished {
            stage,
            outcome,
            elapsed,
        } => {
            let remark = remark.unwrap_or_else(|| output::summary_line(&outcome.summary));
            let dash = if remark.is_empty() { "" } else { ": " };
            format!(
                "{stage:<10} done in {}{dash}{remark}",
                text::duration(*elapsed)
            )
        }
    };
    Some(line)
}

/// A decision in words.
pub(super) fn describe(decision: &Decision) -> String {
    match decision {
        Decision::Reuse => "up to date".to_string(),
        Decision::Resume { done, total, lost } => {
            let done = match total {
                Some(total) => format!("{done} of {total} parts done"),
                None => format!("{} done", text::counted(*done as u64, "part")),
            };
            let lost = match lost {
                0 => String::new(),
                lost => format!(", {} to write again", text::counted(*lost as u64, "part")),
            };
            format!("resuming, {done}{lost}")
        }
        Decision::Run { reason } => format!("runs: {reason}"),
        Decision::WaitsFor { stage } => format!("waits for {stage}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prospect_engine::Outcome;

    #[test]
    fn each_event_is_one_line() {
        let decision = Decision::Resume {
            done: 3,
            total: Some(12),
            lost: 0,
        };
        let event = Event::Decided {
            stage: "extract",
            nth: (2, 15),
            decision: &decision,
        };
        assert_eq!(
            line(&event, None).unwrap(),
            "extract    resuming, 3 of 12 parts done"
        );
        let reason = FIRST.to_string();
        let event = Event::Decided {
            stage: "extract",
            nth: (2, 15),
            decision: &Decision::Run { reason },
        };
        assert_eq!(line(&event, None), None);
        let outcome = Outcome {
            result: None,
            summary: serde_json::json!({"images": 64}),
        };
        let event = Event::Finished {
            stage: "scan",
            outcome: &outcome,
            elapsed: Duration::from_millis(300),
        };
        assert_eq!(
            line(&event, None).unwrap(),
            "scan       done in 0.3 s: 64 images"
        );
        assert_eq!(
            line(&event, Some("all well".to_string())).unwrap(),
            "scan       done in 0.3 s: all well"
        );
    }
}
