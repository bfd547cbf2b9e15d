//! Columns of record batches: reading them by name and kind, whatever width their numbers have, and making them.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch,
        StringArray,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{
        DataType, Field, Float16Type, Float32Type, Float64Type, Int64Type, Schema, UInt16Type,
        UInt32Type,
    },
};
use half::{f16, slice::HalfFloatSliceExt};
use prospect_common::{Error, Result};
use prospect_store::RunFolder;

/// A batch of `table`, with what an error about it has to say.
pub struct Columns<'a> {
    pub run: &'a RunFolder,
    pub table: &'a str,
    pub batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    pub fn of(run: &'a RunFolder, table: &'a str, batch: &'a RecordBatch) -> Columns<'a> {
        Columns { run, table, batch }
    }

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

    pub fn booleans(&self, name: &str) -> Result<BooleanArray> {
        let array = self.column(name)?.as_boolean_opt().cloned();
        array.ok_or_else(|| {
            self.unexpected(format!("true or false in column {name}"), "another type")
        })
    }

    /// The image ids, none of which may be missing.
    pub fn image_ids(&self) -> Result<Vec<u32>> {
        let ids = self.integers("image_id")?;
        ids.iter()
            .map(|id| id.and_then(|id| u32::try_from(id).ok()))
            .collect::<Option<Vec<u32>>>()
            .ok_or_else(|| self.unexpected("image ids", "something else in column image_id"))
    }

    /// The values of a column of lists that all have `length` values, one list after another.
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
                lists.values().slice(first, column.len() * length)
            }
            DataType::FixedSizeList(_, n) if *n as usize == length => {
                let lists = column.as_fixed_size_list();
                let first = lists.value_offset_at(0);
                lists.values().slice(first, column.len() * length)
            }
            other => return Err(wrong(other.to_string())),
        };
        if column.null_count() > 0 || values.null_count() > 0 {
            return Err(wrong("nulls".into()));
        }
        Ok(values)
    }

    /// The one length of all lists of a column; 0 without rows.
    pub fn list_length(&self, name: &str) -> Result<usize> {
        let column = self.column(name)?;
        match column.data_type() {
            DataType::List(_) => Ok(column
                .as_list::<i32>()
                .offsets()
                .lengths()
                .next()
                .unwrap_or(0)),
            DataType::FixedSizeList(_, n) => Ok(*n as usize),
            other => Err(self.unexpected(format!("lists in column {name}"), other.to_string())),
        }
    }

    /// As [`Columns::lists`], of floats of either width.
    pub fn float_lists(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let values = self.lists(name, length)?;
        match values.data_type() {
            DataType::Float16 => {
                let values: &[f16] = values.as_primitive::<Float16Type>().values();
                let mut out = vec![0.0; values.len()];
                values.convert_to_f32_slice(&mut out);
                Ok(out)
            }
            DataType::Float32 => Ok(values.as_primitive::<Float32Type>().values().to_vec()),
            other => Err(self.unexpected(format!("floats in column {name}"), other.to_string())),
        }
    }

    /// As [`Columns::lists`], of cell numbers (row * width + column) of either width.
    pub fn cells(&self, name: &str, length: usize) -> Result<Vec<u32>> {
        let cells = self.lists(name, length)?;
        match cells.data_type() {
            DataType::UInt16 => {
                let cells = cells.as_primitive::<UInt16Type>().values();
                Ok(cells.iter().map(|&cell| cell.into()).collect())
            }
            DataType::UInt32 => Ok(cells.as_primitive::<UInt32Type>().values().to_vec()),
            other => {
                Err(self.unexpected(format!("cell numbers in column {name}"), other.to_string()))
            }
        }
    }

    pub fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| self.unexpected(format!("a column {name}"), "none of that name"))
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
pub fn text(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

/// The value at `row`, `None` where it is null.
pub fn integer(array: &Int64Array, row: usize) -> Option<i64> {
    array.is_valid(row).then(|| array.value(row))
}

/// The value at `row`, `None` where it is null.
pub fn number(array: &Float64Array, row: usize) -> Option<f64> {
    array.is_valid(row).then(|| array.value(row))
}

/// A record batch of columns (name, values, whether they may be null).
pub fn table<const N: usize>(columns: [(&str, ArrayRef, bool); N]) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array, optional)| Field::new(*name, array.data_type().clone(), *optional))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(schema, arrays).map_err(|error| Error::internal("a table's rows", error))
}

/// One text in every row.
pub fn repeated(text: &str, n: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, n)))
}

/// Lists of one length each, which differs from layer to layer and therefore is no part of the type.
pub fn list(values: ArrayRef, length: usize, rows: usize) -> ArrayRef {
    let field = Field::new("item", values.data_type().clone(), false);
    let offsets = OffsetBuffer::from_repeated_length(length, rows);
    Arc::new(ListArray::new(Arc::new(field), offsets, values, None))
}
