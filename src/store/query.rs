//! SQL over the tables of a run folder.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use polars::{
    error::{PolarsError, PolarsResult},
    prelude::{DataFrame, LazyFrame, PlRefPath, ScanArgsParquet},
    sql::{SQLContext, extract_table_identifiers},
};

use super::{Manifest, RunFolder, read};
use crate::error::{Error, Result};

/// Answers one SQL statement (Polars' dialect). Every table of the run is there under its name; of a table that is
/// still being written, the committed parts. Only the columns and row groups that the answer needs are read.
pub fn query(run: &RunFolder, sql: &str) -> Result<DataFrame> {
    let manifest = run.manifest()?;
    // Polars panics on some statements that it cannot answer; to the user that is an error like any other.
    let answer = panic::catch_unwind(AssertUnwindSafe(|| {
        let mut context = SQLContext::new();
        for table in run.tables(&manifest) {
            let scan = scan(&run.files(&manifest, &table))?;
            context.register(&table, scan);
        }
        context.execute(sql)?.collect()
    }));
    match answer {
        Ok(Ok(frame)) => Ok(frame),
        Ok(Err(error)) => Err(Error::Query(explain(run, &manifest, sql, &error))),
        Err(payload) => Err(Error::Query(format!(
            "the SQL engine gave up on this statement: {}; ask in another way",
            panic_text(payload.as_ref())
        ))),
    }
}

fn scan(files: &[impl AsRef<Path>]) -> PolarsResult<LazyFrame> {
    let paths: Vec<PlRefPath> = files
        .iter()
        .map(|path| PlRefPath::try_from_path(path.as_ref()))
        .collect::<PolarsResult<_>>()?;
    let mut options = ScanArgsParquet {
        // A run folder's name may hold `*`, `[` or `key=value`.
        glob: false,
        ..ScanArgsParquet::default()
    };
    options.hive_options.enabled = Some(false);
    LazyFrame::scan_parquet_files(paths.into(), options)
}

/// The engine's complaint, and the names to choose from where a name was wrong.
fn explain(run: &RunFolder, manifest: &Manifest, sql: &str, error: &PolarsError) -> String {
    let full = error.to_string();
    // What follows an empty line is the engine's plan, not for users.
    let mut text = full
        .split("\n\n")
        .next()
        .unwrap_or(&full)
        .trim()
        .to_string();
    let tables = run.tables(manifest);
    let used = extract_table_identifiers(sql, false, true).unwrap_or_default();
    let unknown_table = used.iter().any(|table| !tables.contains(table));
    let root = root(error);
    let is_relation =
        matches!(root, PolarsError::SQLInterface(message) if message.starts_with("relation "));
    if is_relation && unknown_table {
        if tables.is_empty() {
            text += "\nthere are no tables yet: make some with `prospect run`";
        } else {
            text += &format!("\nthe tables are: {}", tables.join(", "));
        }
    } else if names_a_column(root) {
        let used: BTreeSet<&String> = used.iter().filter(|table| tables.contains(table)).collect();
        for table in used {
            let columns = run
                .files(manifest, table)
                .first()
                .and_then(|path| read::schema(path).ok());
            if let Some(schema) = columns {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                text += &format!("\n{table} has the columns: {}", names.join(", "));
            }
        }
    }
    text
}

/// The error inside the engine's layers of context.
fn root(error: &PolarsError) -> &PolarsError {
    match error {
        PolarsError::Context { error, .. } | PolarsError::ExprContext { error, .. } => root(error),
        error => error,
    }
}

fn names_a_column(error: &PolarsError) -> bool {
    match error {
        PolarsError::ColumnNotFound(_) | PolarsError::SchemaFieldNotFound(_) => true,
        PolarsError::SQLInterface(message) => message.contains("column"),
        _ => false,
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}
