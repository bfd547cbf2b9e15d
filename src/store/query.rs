//! SQL queries over the tables of a run folder.

use std::{collections::BTreeSet, path::PathBuf};

use polars::{
    error::{PolarsError, PolarsResult},
    prelude::{
        Column, DataFrame, DataType, LazyFrame, OptFlags, PlRefPath, ScanArgsParquet, UnionArgs,
        col, concat, lit,
    },
    sql::{SQLContext, extract_table_identifiers},
};
use prospect_common::{Error, Result};

use super::{
    Manifest, RunFolder,
    guard::guarded,
    read,
    views::{ATTRIBUTES, attributes, images},
};

/// The first words of read-only statements.
const STATEMENTS: [&str; 8] = [
    "select", "with", "from", "values", "show", "explain", "describe", "(",
];

/// The table functions of Polars' SQL, which read files by path.
const READERS: [&str; 5] = [
    "read_csv",
    "read_ipc",
    "read_json",
    "read_ndjson",
    "read_parquet",
];

/// Refuses a statement that may read files other than the run's tables: one that mentions a table function, be it in a comment.
pub fn check_tables_only(sql: &str) -> Result<()> {
    let sql = sql.to_lowercase();
    match READERS.into_iter().find(|reader| sql.contains(reader)) {
        Some(reader) => Err(Error::Query(format!(
            "{reader} reads files by path, which --tables-only forbids: query the run's tables"
        ))),
        None => Ok(()),
    }
}

/// Runs one SQL statement (Polars' dialect, and `describe TABLE`) over the run's tables; of a table still being written, over
/// the committed parts. Reads only the columns and row groups needed. Half floats become `f32`, which the engine's functions
/// support. A statement that mentions `attributes` gets that table, derived from `images`. It may read other Parquet files by path,
/// unless [`check_tables_only`] refuses it.
pub fn query(run: &RunFolder, sql: &str) -> Result<DataFrame> {
    let words = first_words(sql);
    let first = words.first().map_or("nothing", String::as_str);
    if !STATEMENTS.contains(&first) {
        return Err(Error::Query(format!(
            "expected a query (select …, with …, show tables, describe TABLE, explain …), found {first}"
        )));
    }
    let manifest = run.manifest()?;
    let tables = run.tables(&manifest);
    let derived = match sql.to_lowercase().contains(ATTRIBUTES) {
        true if !tables.iter().any(|table| table == ATTRIBUTES) => attribute_rows(run, &manifest)?,
        _ => None,
    };
    let answer = guarded(|| {
        if let [first, table] = &words[..]
            && first == "describe"
        {
            if let Some(derived) = derived.filter(|_| table == ATTRIBUTES) {
                return describe(derived?);
            }
            if !tables.contains(table) {
                let message = format!("relation '{table}' was not found");
                return Err(PolarsError::SQLInterface(message.into()));
            }
            return describe(scan(&run.files(&manifest, table))?);
        }
        let mut context = SQLContext::new();
        for table in &tables {
            context.register(table, scan(&run.files(&manifest, table))?);
        }
        if let Some(derived) = derived {
            context.register(ATTRIBUTES, derived?);
        }
        context.execute(sql)?.collect()
    });
    match answer {
        Ok(Ok(frame)) => Ok(frame),
        Ok(Err(error)) => Err(Error::Query(explain(run, &manifest, sql, &error))),
        Err(reason) => Err(Error::Query(format!(
            "the SQL engine failed on this statement ({reason}): rephrase it, or run `prospect verify` to check the tables"
        ))),
    }
}

/// The table [`ATTRIBUTES`]; none without `images`.
fn attribute_rows(run: &RunFolder, manifest: &Manifest) -> Result<Option<PolarsResult<LazyFrame>>> {
    let names = attributes(run, manifest)?;
    if names.is_empty() {
        return Ok(None);
    }
    let rows = || {
        let all = scan(&run.files(manifest, images::NAME))?;
        let rows = names.iter().map(|name| {
            let value = col(name.as_str()).cast(DataType::String).alias("value");
            let attribute = lit(name.as_str()).alias("attribute");
            let known = all.clone().filter(col(name.as_str()).is_not_null());
            known.select([col(images::image_id.name), attribute, value])
        });
        let rows = concat(rows.collect::<Vec<_>>(), UnionArgs::default())?;
        // The engine cannot count the rows of a bare union; this hides the union.
        Ok(rows.map(Ok, OptFlags::PREDICATE_PUSHDOWN, None, None))
    };
    Ok(Some(rows()))
}

/// A statement's first three words in lower case, without comments and the final semicolon.
fn first_words(sql: &str) -> Vec<String> {
    let mut rest = sql.trim_start();
    loop {
        let after = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            break;
        };
        rest = after.trim_start();
    }
    if rest.starts_with('(') {
        return vec!["(".into()];
    }
    let rest = rest.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    rest.split_whitespace()
        .take(3)
        .map(str::to_lowercase)
        .collect()
}

fn scan(files: &[PathBuf]) -> PolarsResult<LazyFrame> {
    let paths: Vec<PlRefPath> = files
        .iter()
        .map(|path| PlRefPath::try_from_path(path))
        .collect::<PolarsResult<_>>()?;
    let mut options = ScanArgsParquet {
        // A run folder's name may contain `*`, `[` or `key=value`.
        glob: false,
        ..ScanArgsParquet::default()
    };
    options.hive_options.enabled = Some(false);
    let mut frame = LazyFrame::scan_parquet_files(paths.into(), options)?;
    let schema = frame.collect_schema()?;
    let halves: Vec<_> = schema
        .iter()
        .filter_map(|(name, dtype)| Some(col(name.clone()).cast(widened(dtype)?)))
        .collect();
    if halves.is_empty() {
        Ok(frame)
    } else {
        Ok(frame.with_columns(halves))
    }
}

/// The `f32` type for a column of half floats.
fn widened(dtype: &DataType) -> Option<DataType> {
    match dtype {
        DataType::Float16 => Some(DataType::Float32),
        DataType::List(item) => Some(DataType::List(Box::new(widened(item)?))),
        DataType::Array(item, n) => Some(DataType::Array(Box::new(widened(item)?), *n)),
        _ => None,
    }
}

/// The columns of a table and their types.
fn describe(mut frame: LazyFrame) -> PolarsResult<DataFrame> {
    let schema = frame.collect_schema()?;
    let (names, types): (Vec<String>, Vec<String>) = schema
        .iter()
        .map(|(name, dtype)| (name.to_string(), dtype.to_string()))
        .unzip();
    DataFrame::new_infer_height(vec![
        Column::new("column".into(), names),
        Column::new("type".into(), types),
    ])
}

/// The engine's error message, with the known names if a name was wrong.
fn explain(run: &RunFolder, manifest: &Manifest, sql: &str, error: &PolarsError) -> String {
    let mut text = brief(&error.to_string());
    let tables = run.tables(manifest);
    let root = root(error);
    let is_relation =
        matches!(root, PolarsError::SQLInterface(message) if message.starts_with("relation "));
    let is_column = matches!(
        root,
        PolarsError::ColumnNotFound(_) | PolarsError::SchemaFieldNotFound(_)
    ) || text.contains("column");
    if is_relation && tables.is_empty() {
        text += "\nno tables yet: create them with `prospect run`";
    } else if is_relation {
        text += &format!("\ntables: {}", tables.join(", "));
    } else if is_column {
        let used = extract_table_identifiers(sql, false, true).unwrap_or_default();
        let used: BTreeSet<&String> = used.iter().filter(|table| tables.contains(table)).collect();
        for table in used {
            let columns = run
                .files(manifest, table)
                .first()
                .and_then(|path| read::schema(path).ok());
            if let Some(schema) = columns {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                text += &format!("\ncolumns of {table}: {}", names.join(", "));
            }
        }
    } else if text.contains("field access") {
        text += "\nwrite array_get(column, 1) for a list's item and struct_column.field for a struct's field; \
                 unnest a list of structs first, with unnest(column) in a subquery";
    } else if text.contains("UInt128") {
        text = "the SQL engine does not support count(*) of a union: use count(column)".into();
    }
    text
}

/// The engine's message without its plans, syntax trees and lists.
fn brief(full: &str) -> String {
    let text = full.split("\n\n").next().unwrap_or(full).trim();
    let text = text.split("; valid columns").next().unwrap_or(text);
    match text.split_once(['{', '(']) {
        // A syntax tree follows.
        Some((before, after)) if after.contains("Span(") => match before.rsplit_once(':') {
            Some((message, _)) => message.trim().to_string(),
            None => format!("{} is not supported", before.trim()),
        },
        _ => text.to_string(),
    }
}

/// The innermost error, without the engine's context.
fn root(error: &PolarsError) -> &PolarsError {
    match error {
        PolarsError::Context { error, .. } | PolarsError::ExprContext { error, .. } => root(error),
        error => error,
    }
}
