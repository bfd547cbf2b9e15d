//! Runs the stages that are out of date, in sequence.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use prospect_common::{Error, Result, text};
use prospect_store::{RunLock, StageRecord, StageWriter, mark_unread};

use super::{
    Context, Outcome, Stage,
    decision::{Decision, Prepared, decide},
    plan::{plan_prepared, plan_stage, prepare},
    reuse,
    schema::images,
};

/// Maximum number of times that a run scans images again which a later stage could not read as scanned.
const MAX_RESCANS: usize = 2;

/// Events of a run.
#[derive(Debug)]
pub enum Event<'e> {
    /// A stage starts or is skipped; `nth` is its number and the total.
    Decided {
        stage: &'static str,
        nth: (usize, usize),
        decision: &'e Decision,
    },
    /// A stage is complete.
    Finished {
        stage: &'static str,
        outcome: &'e Outcome,
        elapsed: Duration,
    },
}

/// Brings the named stages (default: all) and their dependencies up to date, if the estimated output fits on the disk.
pub fn run(
    ctx: &Context,
    lock: &RunLock,
    wanted: &[String],
    watch: &mut dyn FnMut(Event),
) -> Result<()> {
    let free = || match ctx.run.free_space() {
        Ok(free) => free,
        Err(error) => {
            tracing::warn!("free space is unknown and not checked: {error}");
            u64::MAX
        }
    };
    run_within(ctx, lock, wanted, &free, watch)
}

/// As [`run`], with `free()` bytes left on the disk.
///
/// All parameters and the space are checked before the first stage starts; the space of stages that may stay as they are, when their
/// turn comes. Each stage is decided when its turn comes, because an
/// earlier stage may have produced the same result as before: an unchanged image list makes no other stage stale. If a stage cannot
/// read some images as scanned, the run starts again from the scan, which finds them changed, unreadable or well.
pub fn run_within(
    ctx: &Context,
    lock: &RunLock,
    wanted: &[String],
    free: &dyn Fn() -> u64,
    watch: &mut dyn FnMut(Event),
) -> Result<()> {
    for rescans_left in (0..=MAX_RESCANS).rev() {
        ctx.forget_survey();
        let prepared = prepare(ctx, wanted)?;
        let plan = plan_prepared(ctx, &prepared)?;
        plan.check_space(ctx.run, free())?;
        tracing::info!("estimated output: {}", text::bytes(plan.bytes()));
        let turn = Turn {
            ctx,
            lock,
            all: &prepared,
            may_stay: (plan.stages.iter())
                .filter(|planned| planned.may_stay)
                .map(|planned| planned.stage)
                .collect(),
            free,
            may_scan_again: rescans_left > 0,
        };
        if turn.run(watch)? == Ending::Complete {
            break;
        }
    }
    Ok(())
}

#[derive(PartialEq)]
enum Ending {
    Complete,
    /// Images could not be read as scanned: the stages must run again, from the scan on.
    ScanAgain,
}

/// The prepared stages, run from the first to the last.
struct Turn<'t, 'c> {
    ctx: &'t Context<'c>,
    lock: &'t RunLock,
    all: &'t [Prepared<'c>],
    /// Stages whose space is not yet checked.
    may_stay: BTreeSet<&'static str>,
    free: &'t dyn Fn() -> u64,
    /// Whether to stop after the first stage that could not read all images as scanned.
    may_scan_again: bool,
}

impl Turn<'_, '_> {
    fn run(&self, watch: &mut dyn FnMut(Event)) -> Result<Ending> {
        let Turn { ctx, lock, all, .. } = *self;
        let mut ready: BTreeMap<&'static str, String> = BTreeMap::new();
        for (at, prepared) in all.iter().enumerate() {
            ctx.cancel.check()?;
            let stage = prepared.stage;
            let verdict = decide(ctx.run, prepared, &ctx.run.manifest()?, &ready);
            watch(Event::Decided {
                stage: stage.name,
                nth: (at + 1, all.len()),
                decision: &verdict.decision,
            });
            tracing::info!(stage = stage.name, decision = ?verdict.decision, "decided");
            if verdict.decision != Decision::Reuse {
                if self.may_stay.contains(stage.name) {
                    let plan = plan_stage(ctx, all, prepared, verdict.decision.clone())?;
                    plan.check_space(ctx.run, (self.free)())?;
                }
                let started = Instant::now();
                let wanted = StageRecord {
                    key: verdict.key,
                    version: stage.version,
                    parameters: prepared.parameters.clone(),
                    needs: verdict.needs,
                    ..StageRecord::default()
                };
                let reusable =
                    |record: &StageRecord| reuse::is_reusable(stage, &prepared.parameters, record);
                let mut writer =
                    StageWriter::begin_keeping(ctx.run, lock, stage.name, wanted, &reusable)?;
                let outcome = (stage.run)(ctx, &mut writer)?;
                writer.finish(outcome.result.clone(), outcome.summary.clone())?;
                let elapsed = started.elapsed();
                tracing::info!(stage = stage.name, seconds = elapsed.as_secs_f64(), summary = %outcome.summary, "finished");
                watch(Event::Finished {
                    stage: stage.name,
                    outcome: &outcome,
                    elapsed,
                });
                let unread = ctx.unread.take();
                if !unread.is_empty() {
                    self.scan_again(stage, &unread)?;
                    if self.may_scan_again {
                        return Ok(Ending::ScanAgain);
                    }
                }
            }
            if stage.lists_images() {
                ctx.forget_survey();
            }
            let manifest = ctx.run.manifest()?;
            let record = manifest
                .stages
                .get(stage.name)
                .ok_or_else(|| Error::Missing {
                    what: format!("the manifest's entry of stage {}", stage.name),
                    next: "run the same command again".to_string(),
                })?;
            ready.insert(stage.name, record.dependency_key().to_string());
        }
        Ok(Ending::Complete)
    }

    /// Marks what must be written again because a stage could not read these images as scanned: their parts of the scan, and the
    /// stage's own, unless it has marked them.
    fn scan_again(&self, stage: &Stage, unread: &BTreeSet<u32>) -> Result<()> {
        let Turn { ctx, lock, all, .. } = *self;
        tracing::warn!(
            "{} could not read {} as scanned; they are scanned again",
            stage.name,
            text::plural(unread.len() as u64, "image", "images")
        );
        let manifest = ctx.run.manifest()?;
        if let Some(own) = manifest
            .stages
            .get(stage.name)
            .filter(|own| own.unread() == 0)
        {
            let parts = own.parts.keys().map(|part| (*part, unread.len() as u64));
            mark_unread(ctx.run, lock, stage.name, &parts.collect())?;
        }
        let lister = all.iter().find(|prepared| prepared.stage.lists_images());
        let Some(lister) = lister.filter(|lister| lister.stage.name != stage.name) else {
            return Ok(());
        };
        // Image ids are ranks, so a part's images are consecutive.
        let (mut first, mut parts) = (0, BTreeMap::new());
        for (part, file) in manifest.table_files(images::NAME) {
            let end = first + file.rows as u32;
            match unread.range(first..end).count() {
                0 => {}
                n => drop(parts.insert(part, n as u64)),
            }
            first = end;
        }
        mark_unread(ctx.run, lock, lister.stage.name, &parts)
    }
}
