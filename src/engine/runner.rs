//! Runs what is stale among the wanted stages, one after another.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use prospect_common::{Error, Result, text};
use prospect_store::{RunLock, StageRecord, StageWriter};

use super::{
    Context, Outcome, Stage,
    decision::{Decision, decide},
    plan::{foresee, prepare},
    takeover,
};

/// What a run tells whoever watches it.
#[derive(Debug)]
pub enum Event<'e> {
    /// A stage begins, or is passed over: the n-th of so many.
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

/// Brings the wanted stages (all, if none is named) and what they need up to date, if what they are expected to write fits
/// on the run folder's disk.
pub fn run(
    ctx: &Context,
    lock: &RunLock,
    stages: &[Stage],
    wanted: &[String],
    watch: &mut dyn FnMut(Event),
) -> Result<()> {
    let free = match ctx.run.free_space() {
        Ok(free) => free,
        Err(error) => {
            tracing::warn!("free space unknown, so it is not checked: {error}");
            u64::MAX
        }
    };
    run_within(ctx, lock, stages, wanted, free, watch)
}

/// As [`run`], `free` being the bytes that may still be written to the disk.
///
/// All parameters and the space are checked before the first stage starts. Each decision is made when its turn comes, because
/// a stage that ran may have found the same as before: an unchanged image list makes nothing else stale.
pub fn run_within(
    ctx: &Context,
    lock: &RunLock,
    stages: &[Stage],
    wanted: &[String],
    free: u64,
    watch: &mut dyn FnMut(Event),
) -> Result<()> {
    let prepared = prepare(ctx, stages, wanted)?;
    let plan = foresee(ctx, &prepared)?;
    plan.check_space(ctx.run, free)?;
    tracing::info!("expected to write about {}", text::bytes(plan.bytes()));
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
            let holds = |record: &StageRecord| takeover::holds(stage, &prepared.parameters, record);
            let mut writer = StageWriter::begin_keeping(ctx.run, lock, stage.name, wanted, &holds)?;
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
