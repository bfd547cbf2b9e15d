//! Columns of record batches by name and kind, whatever width their numbers have.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef},
};

use crate::{
    error::{Error, Result},
    store::RunFolder,
};

/// A batch of `table`, with what an error about it has to say.
pub(super) struct Columns<'a> {
    pub run: &'a RunFolder,
    pub table: &'a str,
    pub batch: &'a RecordBatch,
}

impl Columns<'_> {
    pub fn texts(&self, name: &str) -> Result<StringArray> {
        Ok(self.cast(name, DataType::Utf8)?.as_string::<i32>().clone())
    }

    pub fn integers(&self, name: &str) -> Result<Int64Array> {
        let array = self.cast(name, DataType::Int64)?;
        Ok(array.as_primitive::<Int64Type>().clone())
    }

    pub fn numbers(&self, name: &str) -> Result<Float64Array> {
        let array = self.cast(name, DataType::Float64)?;
        Ok(array.as_primitive::<Float64Type>().clone())
    }

    /// The image ids, none of which may be missing.
    pub fn image_ids(&self) -> Result<Vec<u32>> {
        let ids = self.integers("image_id")?;
        ids.iter()
            .map(|id| id.and_then(|id| u32::try_from(id).ok()))
            .collect::<Option<Vec<u32>>>()
            .ok_or_else(|| self.unexpected("image ids", "something else in column image_id"))
    }

    pub fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| self.unexpected(format!("a column {name}"), "none of that name"))
    }

    /// The lists of a column one after another: `[rows, length]`.
    pub fn lists(&self, name: &str, length: usize) -> Result<ArrayRef> {
        let column = self.column(name)?;
        let wrong = |found: String| {
            self.unexpected(format!("lists of {length} numbers in column {name}"), found)
        };
        let values = match column.data_type() {
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                if let Some(odd) = lists.offsets().lengths().find(|&n| n != length) {
                    return Err(wrong(format!("one of {odd}")));
                }
                let first = lists.value_offsets().first().map_or(0, |&at| at as usize);
                let values = lists.values();
                let n = column.len() * length;
                values.slice(first, n)
            }
            DataType::FixedSizeList(_, n) if *n as usize == length => {
                let lists = column.as_fixed_size_list();
                lists
                    .values()
                    .slice(lists.value_offset_at(0), column.len() * length)
            }
            other => return Err(wrong(other.to_string())),
        };
        if column.null_count() > 0 || values.null_count() > 0 {
            return Err(wrong("nulls".into()));
        }
        Ok(values)
    }

    /// What to say of a table that is not as its stage writes it.
    pub fn unexpected(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::invalid(
            self.run.path(&format!("tables/{}", self.table)),
            expected,
            found,
            "run `prospect verify`, then the stage that wrote it again",
        )
    }

    fn cast(&self, name: &str, kind: DataType) -> Result<ArrayRef> {
        let column = self.column(name)?;
        cast(column, &kind).map_err(|_| {
            self.unexpected(
                format!("{kind} in column {name}"),
                column.data_type().to_string(),
            )
        })
    }
}

/// The value at `row`, `None` where it is null.
pub(super) fn text(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

/// The value at `row`, `None` where it is null.
pub(super) fn integer(array: &Int64Array, row: usize) -> Option<i64> {
    array.is_valid(row).then(|| array.value(row))
}

/// The value at `row`, `None` where it is null.
pub(super) fn number(array: &Float64Array, row: usize) -> Option<f64> {
    array.is_valid(row).then(|| array.value(row))
}

/// One text in every row.
pub(super) fn repeated(text: &str, n: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, n)))
}

/// A batch of `table` of named columns, and whether each may hold nulls.
pub(super) fn record<const N: usize>(
    table: &str,
    columns: [(&str, ArrayRef, bool); N],
) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array, optional)| Field::new(*name, array.data_type().clone(), *optional))
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(schema, arrays).map_err(|error| {
        Error::invalid(
            table,
            "columns of one length",
            error.to_string(),
            "please report this mistake of prospect's",
        )
    })
}
