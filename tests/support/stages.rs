//! Writes tables of single stages, and runs single stages.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch},
    datatypes::{DataType, Field},
};
use prospect_common::Result;
use prospect_engine::{Context, Stage};
use prospect_store::{RunFolder, RunLock, StageWriter, remove_stage};
use serde_json::{Value, json};

/// Begins or resumes a stage without parameters.
pub fn begin(run: &RunFolder, lock: &RunLock, stage: &str) -> StageWriter {
    begin_with(run, lock, stage, json!({}))
}

/// [`begin`] with these parameters on record.
pub fn begin_with(run: &RunFolder, lock: &RunLock, stage: &str, parameters: Value) -> StageWriter {
    let key = format!("key of {stage}");
    StageWriter::begin(run, lock, stage, 1, key, parameters, BTreeMap::new()).unwrap()
}

/// Adds a part with these tables to a stage.
pub fn add_tables(run: &RunFolder, stage: &str, tables: &[(&str, RecordBatch)]) {
    let lock = run.lock("test").unwrap();
    finish(begin(run, &lock, stage), tables);
}

/// Replaces all tables of a stage, with these parameters on record.
pub fn replace_tables(
    run: &RunFolder,
    stage: &str,
    parameters: Value,
    tables: &[(&str, RecordBatch)],
) {
    let lock = run.lock("test").unwrap();
    remove_stage(run, &lock, stage).unwrap();
    finish(begin_with(run, &lock, stage, parameters), tables);
}

fn finish(writer: StageWriter, tables: &[(&str, RecordBatch)]) {
    let mut part = writer.part(writer.parts_done()).unwrap();
    for (name, rows) in tables {
        part.write(name, rows).unwrap();
    }
    writer.commit(part).unwrap();
    writer.finish(None, json!({})).unwrap();
}

/// Begins or resumes a stage under a key of its parameters alone; dependencies are ignored.
pub fn begin_stage(ctx: &Context, lock: &RunLock, stage: &Stage) -> Result<StageWriter> {
    let parameters = (stage.parameters)(ctx)?;
    let (key, needs) = (parameters.to_string(), BTreeMap::new());
    StageWriter::begin(
        ctx.run,
        lock,
        stage.name,
        stage.version,
        key,
        parameters,
        needs,
    )
}

/// Runs or resumes one stage; returns its summary.
pub fn run_stage(ctx: &Context, stage: &Stage) -> Result<Value> {
    let lock = ctx.run.lock("test")?;
    let mut writer = begin_stage(ctx, &lock, stage)?;
    let outcome = (stage.run)(ctx, &mut writer)?;
    writer.finish(outcome.result, outcome.summary.clone())?;
    Ok(outcome.summary)
}

/// A column of vectors of this length.
pub fn vectors(values: impl IntoIterator<Item = f32>, length: usize) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values = Arc::new(Float32Array::from_iter_values(values));
    Arc::new(FixedSizeListArray::new(item, length as i32, values, None))
}
