//! Tables in JSON: an array of objects, or an object per line.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, ListBuilder, StringArray,
    StringBuilder, StructArray,
};
use prospect_common::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::table::{Attribute, UserTable, check_size};

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
    let mut table = Table::default();
    let mut lines = None;
    if text.trim_start().starts_with('[') {
        let mut array = serde_json::Deserializer::from_str(text);
        let read = Rows(&mut table).deserialize(&mut array);
        read.and_then(|()| array.end())
            .map_err(|error| refuse(error.to_string()))?;
    } else {
        let rows = (1..).zip(text.lines());
        let rows = rows.filter(|(_, line)| !line.trim().is_empty());
        let numbers = rows.map(|(number, line)| {
            let mut object = serde_json::Deserializer::from_str(line);
            let read = Row(&mut table).deserialize(&mut object);
            read.and_then(|()| object.end()).map_err(|error| {
                let error = error.to_string();
                let why = error.split(" at line").next().unwrap_or_default();
                refuse(format!("line {number}: {why}"))
            })?;
            Ok(number)
        });
        lines = Some(numbers.collect::<Result<_>>()?);
    }
    let n_rows = table.n_rows;
    check_size(path, table.columns.len(), n_rows)?;
    let (mut columns, mut others) = (Vec::new(), Vec::new());
    for (name, present) in table.columns {
        let mut cells = vec![&Value::Null; n_rows];
        present.iter().for_each(|(row, cell)| cells[*row] = cell);
        let is_nested = cells.iter().any(|cell| cell.is_array() || cell.is_object());
        let values = if is_nested {
            nested(&cells)
        } else {
            scalars(&cells)
        };
        if is_nested { &mut others } else { &mut columns }.push(Attribute { name, values });
    }
    Ok(UserTable {
        lines,
        ..UserTable::new(path, columns, others)
    })
}

/// The cells of each column that are present, with their rows.
#[derive(Default)]
struct Table {
    columns: BTreeMap<String, Vec<(usize, Value)>>,
    n_rows: usize,
}

/// Reads an array of objects, one after the other.
struct Rows<'t>(&'t mut Table);

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Row(self.0))?.is_some() {}
        Ok(())
    }
}

/// Adds an object. Of two members of one name, the last counts.
struct Row<'t>(&'t mut Table);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Table { columns, n_rows } = self.0;
        while let Some(name) = members.next_key::<String>()? {
            let cell: Value = members.next_value()?;
            columns.entry(name).or_default().push((*n_rows, cell));
        }
        *n_rows += 1;
        Ok(())
    }
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
