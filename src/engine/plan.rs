//! Plans a run.

use std::collections::BTreeMap;

use prospect_common::{Complaint, Complaints, Result, text::did_you_mean};
use prospect_store::{Manifest, StageRecord, stage_key};

use super::{
    Context, Stage, TableEstimate,
    decision::{Decision, Prepared, decide},
    reuse,
    space::{ImageCount, Plan, PlannedStage, missing},
};

/// The plan for the named stages (default: all) and their dependencies; changes nothing.
pub fn plan(ctx: &Context, wanted: &[String]) -> Result<Plan> {
    plan_prepared(ctx, &prepare(ctx, wanted)?)
}

/// The plan for prepared stages.
pub(super) fn plan_prepared(ctx: &Context, prepared: &[Prepared]) -> Result<Plan> {
    let manifest = ctx.run.manifest()?;
    let mut ready = BTreeMap::new();
    let mut planned = Vec::new();
    for prepared in prepared {
        let stage = prepared.stage;
        let mut needs = prepared.needs.iter();
        let waits = needs.find(|need| !ready.contains_key(need.name));
        let decision = match waits {
            Some(need) => Decision::WaitsFor {
                stage: need.name.to_string(),
            },
            None => decide(ctx.run, prepared, &manifest, &ready).decision,
        };
        let record = manifest.stages.get(stage.name);
        if let (Decision::Reuse, Some(record)) = (&decision, record) {
            ready.insert(stage.name, record.dependency_key().to_string());
        }
        planned.push(sized(prepared, decision, &manifest));
    }
    let images = ImageCount::of(prepared, &planned, &manifest);
    if let Some(images) = images {
        for (planned, prepared) in planned.iter_mut().zip(prepared) {
            planned.tables = tables(ctx, prepared, &planned.decision, &manifest, images)?;
        }
    }
    Ok(Plan {
        stages: planned,
        images,
    })
}

/// The plan for one stage whose dependencies are complete.
pub(super) fn plan_stage(
    ctx: &Context,
    all: &[Prepared],
    stage: &Prepared,
    decision: Decision,
) -> Result<Plan> {
    let manifest = ctx.run.manifest()?;
    let images = ImageCount::now(all, &manifest);
    let mut planned = sized(stage, decision, &manifest);
    if let Some(images) = images {
        planned.tables = tables(ctx, stage, &planned.decision, &manifest, images)?;
    }
    Ok(Plan {
        stages: vec![planned],
        images,
    })
}

/// A stage of a plan, without its estimated tables.
fn sized(prepared: &Prepared, decision: Decision, manifest: &Manifest) -> PlannedStage {
    let stage = prepared.stage;
    let record = manifest.stages.get(stage.name);
    let (replaces, keeps) = match (&decision, record) {
        (Decision::Run { .. } | Decision::WaitsFor { .. }, Some(record)) => {
            let kept = record
                .worth_keeping(&|record| reuse::is_reusable(stage, &prepared.parameters, record));
            let kept = kept.map_or(0, StageRecord::bytes);
            (record.bytes() + record.previous_bytes() - kept, kept)
        }
        (Decision::Resume { .. }, Some(record)) => (0, record.previous_bytes()),
        _ => (0, 0),
    };
    let is_same = |record: &StageRecord| {
        record.complete
            && record.key
                == stage_key(
                    stage.name,
                    stage.version,
                    &prepared.parameters,
                    &record.needs,
                )
    };
    let waits = matches!(decision, Decision::WaitsFor { .. });
    PlannedStage {
        stage: stage.name,
        about: stage.about,
        may_stay: waits && record.is_some_and(is_same),
        decision,
        tables: Vec::new(),
        replaces,
        keeps,
    }
}

/// The estimated output of a stage that is still to be written.
fn tables(
    ctx: &Context,
    prepared: &Prepared,
    decision: &Decision,
    manifest: &Manifest,
    images: ImageCount,
) -> Result<Vec<TableEstimate>> {
    if *decision == Decision::Reuse {
        return Ok(Vec::new());
    }
    let tables = (prepared.stage.estimate)(ctx, images.n)?;
    Ok(match (decision, manifest.stages.get(prepared.stage.name)) {
        (Decision::Resume { .. }, Some(record)) => {
            let tables = tables.into_iter();
            tables
                .map(|table| missing(table, ctx.run, record))
                .collect()
        }
        _ => tables,
    })
}

/// Checks that every name is a stage.
pub fn check_names(stages: &[Stage], wanted: &[String]) -> Result<()> {
    let names: Vec<&str> = stages.iter().map(|stage| stage.name).collect();
    let complaints: Complaints = wanted
        .iter()
        .filter(|name| !names.contains(&name.as_str()))
        .map(|name| {
            Complaint::new(format!(
                "unknown stage {name:?}{}; stages are {}",
                did_you_mean(name, &names),
                names.join(", ")
            ))
        })
        .collect();
    complaints.into_result()
}

/// The requested stages and all their dependencies, in run order, with parameters checked before any work starts.
pub(super) fn prepare<'s>(ctx: &Context<'s>, wanted: &[String]) -> Result<Vec<Prepared<'s>>> {
    let stages = ctx.stages;
    check_names(stages, wanted)?;
    reuse::check(ctx)?;
    let mut chosen: Vec<(&Stage, Vec<&Stage>)> = Vec::new();
    // Backwards, so that a stage is visited after its dependents.
    for (at, stage) in stages.iter().enumerate().rev() {
        let named = wanted.is_empty() || wanted.iter().any(|name| name == stage.name);
        let mut needed = chosen.iter().flat_map(|(_, needs)| needs);
        if named || needed.any(|need| need.name == stage.name) {
            chosen.push((stage, stage.needs.among(&stages[..at])));
        }
    }
    let mut prepared = Vec::with_capacity(chosen.len());
    let mut complaints = Complaints::default();
    for (stage, needs) in chosen.into_iter().rev() {
        if let Some(parameters) = complaints.keep((stage.parameters)(ctx))? {
            prepared.push(Prepared {
                stage,
                needs,
                parameters,
            });
        }
    }
    complaints.into_result()?;
    Ok(prepared)
}
