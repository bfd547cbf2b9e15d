//! Runs the stages that are out of date, in sequence.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use prospect_common::{Error, Result, text};
use prospect_store::{RunLock, StageRecord, StageWriter};

use super::{
    Context, Outcome,
    decision::{Decision, decide},
    plan::{plan_prepared, prepare},
    reuse,
};

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
    let free = match ctx.run.free_space() {
        Ok(free) => free,
        Err(error) => {
            tracing::warn!("free space is unknown and not checked: {error}");
            u64::MAX
        }
    };
    run_within(ctx, lock, wanted, free, watch)
}

/// As [`run`], with `free` bytes left on the disk.
///
/// All parameters and the space are checked before the first stage starts. Each stage is decided when its turn comes, because an
/// earlier stage may have produced the same result as before: an unchanged image list makes no other stage stale.
pub fn run_within(
    ctx: &Context,
    lock: &RunLock,
    wanted: &[String],
    free: u64,
    watch: &mut dyn FnMut(Event),
) -> Result<()> {
    let prepared = prepare(ctx, wanted)?;
    let plan = plan_prepared(ctx, &prepared)?;
    plan.check_space(ctx.run, free)?;
    tracing::info!("estimated output: {}", text::bytes(plan.bytes()));
    let mut ready: BTreeMap<&'static str, String> = BTreeMap::new();
    let n_stages = prepared.len();
    for (at, prepared) in prepared.into_iter().enumerate() {
        ctx.cancel.check()?;
        let stage = prepared.stage;
        let verdict = decide(ctx.run, &prepared, &ctx.run.manifest()?, &ready);
        watch(Event::Decided {
            stage: stage.name,
            nth: (at + 1, n_stages),
            decision: &verdict.decision,
        });
        tracing::info!(stage = stage.name, decision = ?verdict.decision, "decided");
        if verdict.decision != Decision::Reuse {
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
    Ok(())
}
