//! Tables in JSON: an array of objects, or an object per line.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, ListBuilder, StringArray,
    StringBuilder, StructArray,
};
use prospect_common::{Error, Result};
use serde_json::{Map, Value};

use super::table::{Attribute, UserTable};

type Row = Map<String, Value>;

/// Reads the rows; columns are in the order of their names.
pub(super) fn read<'t>(path: &'t Path, text: &str) -> Result<UserTable<'t>> {
    let refuse = |found: String| {
        Error::invalid(
            path,
            "an object per line, or one array of objects",
            found,
            "correct the file",
        )
    };
    let (rows, lines): (Vec<Row>, Option<Vec<u64>>) = match text.trim_start().starts_with('[') {
        true => (
            serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?,
            None,
        ),
        false => {
            let lines = (1..)
                .zip(text.lines())
                .filter(|(_, line)| !line.trim().is_empty());
            let rows = lines.map(|(number, line)| match serde_json::from_str(line) {
                Ok(row) => Ok((row, number)),
                Err(error) => {
                    let error = error.to_string();
                    let why = error.split(" at line").next().unwrap_or_default();
                    Err(refuse(format!("line {number}: {why}")))
                }
            });
            let (rows, lines) = rows.collect::<Result<Vec<_>>>()?.into_iter().unzip();
            (rows, Some(lines))
        }
    };
    let mut cells: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        for (name, value) in row {
            let column = cells.entry(name).or_default();
            column.resize(at, &Value::Null);
            column.push(value);
        }
    }
    let (mut columns, mut others) = (Vec::new(), Vec::new());
    for (name, mut cells) in cells {
        cells.resize(rows.len(), &Value::Null);
        let is_nested = cells.iter().any(|cell| cell.is_array() || cell.is_object());
        let values = if is_nested {
            nested(&cells)
        } else {
            scalars(&cells)
        };
        let name = name.to_string();
        if is_nested { &mut others } else { &mut columns }.push(Attribute { name, values });
    }
    Ok(UserTable {
        path,
        columns,
        others,
        notes: Vec::new(),
        lines,
    })
}

/// Of the narrowest type that fits all cells: true/false, integers, numbers or text.
fn scalars(cells: &[&Value]) -> ArrayRef {
    fn all<T>(cells: &[&Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<Option<T>>> {
        let read = |cell: &&Value| match cell {
            Value::Null => Some(None),
            cell => read(cell).map(Some),
        };
        cells.iter().map(read).collect()
    }
    if cells.iter().all(|cell| cell.is_null()) {
        return Arc::new(StringArray::new_null(cells.len()));
    }
    if let Some(values) = all(cells, Value::as_bool) {
        return Arc::new(BooleanArray::from(values));
    }
    if let Some(values) = all(cells, Value::as_i64) {
        return Arc::new(Int64Array::from(values));
    }
    if let Some(values) = all(cells, Value::as_f64) {
        return Arc::new(Float64Array::from(values));
    }
    let text = |cell: &&Value| match cell {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        other => Some(other.to_string()),
    };
    Arc::new(cells.iter().map(text).collect::<StringArray>())
}

/// Lists of numbers or of texts; objects are not read.
fn nested(cells: &[&Value]) -> ArrayRef {
    if cells.iter().any(|cell| cell.is_object()) {
        return Arc::new(StructArray::new_empty_fields(cells.len(), None));
    }
    let lists = || cells.iter().map(|cell| cell.as_array());
    if lists().flatten().flatten().all(Value::is_number) {
        let mut builder = ListBuilder::new(Float64Builder::new());
        lists().for_each(|list| {
            builder.append_option(list.map(|list| list.iter().map(Value::as_f64)))
        });
        return Arc::new(builder.finish());
    }
    let mut builder = ListBuilder::new(StringBuilder::new());
    let text = |value: &Value| Some(value.as_str().map_or(value.to_string(), str::to_string));
    lists().for_each(|list| builder.append_option(list.map(|list| list.iter().map(text))));
    Arc::new(builder.finish())
}
