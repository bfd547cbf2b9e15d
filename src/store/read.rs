//! Reads tables: only the requested columns, and only row groups that can contain the requested values.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, Scalar, StringArray},
    compute::{cast, kernels::cmp},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder, RowFilter,
        },
    },
    errors::ParquetError,
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};
use prospect_common::{Error, Result};

use super::{FileRecord, Manifest, RunFolder, guard::guarded, table_file::read_error};

/// Rows per batch, unless set by [`TableReader::batch_rows`].
const BATCH_ROWS: usize = 1024;

/// What [`TableReader::only`] compares a column with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For text columns.
    Text(String),
    /// For integer columns of any width.
    Integer(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_string())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        Value::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Integer(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Integer(number.into())
    }
}

/// Iterates over a table's rows as record batches, by part and in the order written. A batch never spans two parts. Holds the
/// pages of one row group at a time.
pub struct TableReader {
    files: VecDeque<(PathBuf, FileRecord)>,
    rows: u64,
    columns: Option<Vec<String>>,
    only: Vec<(String, Value)>,
    batch_rows: usize,
    current: Option<(PathBuf, ParquetRecordBatchReader)>,
    /// Returned as the first item: building a reader reads nothing.
    missing: Option<Error>,
}

impl RunFolder {
    /// Reads the committed parts of `table` in order; narrow it with [`TableReader::columns`], [`TableReader::only`] and
    /// [`TableReader::part`]. If the table is missing, the first item is an error.
    pub fn read(&self, manifest: &Manifest, table: &str) -> TableReader {
        let files: VecDeque<(PathBuf, FileRecord)> = manifest
            .table_files(table)
            .map(|(_, file)| (self.path(&file.path), file.clone()))
            .collect();
        let missing = files.is_empty().then(|| Error::Missing {
            what: format!("table {table} in {}", self.root().display()),
            next: "run the stage that writes it first; `prospect status` lists them".into(),
        });
        TableReader {
            rows: files.iter().map(|(_, file)| file.rows).sum(),
            files,
            columns: None,
            only: Vec::new(),
            batch_rows: BATCH_ROWS,
            current: None,
            missing,
        }
    }
}

impl TableReader {
    /// Rows of the selected parts according to the manifest, before [`only`](TableReader::only).
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads only these columns, in this order.
    pub fn columns(mut self, names: &[&str]) -> TableReader {
        self.columns = Some(names.iter().map(|name| name.to_string()).collect());
        self
    }

    /// Keeps the rows in which `column` equals `value`; row groups whose statistics exclude it are not read. Further calls
    /// narrow further.
    pub fn only(mut self, column: &str, value: impl Into<Value>) -> TableReader {
        self.only.push((column.to_string(), value.into()));
        self
    }

    /// Reads only part `part`.
    pub fn part(mut self, part: usize) -> TableReader {
        let name = format!("part-{part:05}.parquet");
        self.files.retain(|(path, _)| path.ends_with(&name));
        self.rows = self.files.iter().map(|(_, file)| file.rows).sum();
        self
    }

    /// Sets the maximum number of rows per batch.
    pub fn batch_rows(mut self, rows: usize) -> TableReader {
        self.batch_rows = rows.max(1);
        self
    }

    fn open(&self, path: &Path, expected: &FileRecord) -> Result<ParquetRecordBatchReader> {
        let file = File::open(path).map_err(Error::io(path, "opening"))?;
        let bytes = file.metadata().map_err(Error::io(path, "reading"))?.len();
        if bytes != expected.bytes {
            return Err(Error::invalid(
                path,
                format!("{} bytes", expected.bytes),
                format!("{bytes} bytes"),
                "run `prospect verify`, then the stage again",
            ));
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(read_error(path))?;
        let schema = Arc::clone(builder.schema());
        let index = |name: &String| {
            schema.index_of(name).map_err(|_| {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                Error::invalid(
                    path,
                    format!("a column {name}"),
                    format!("the columns {}", names.join(", ")),
                    "choose one of these",
                )
            })
        };

        let mut groups: Vec<usize> = (0..builder.metadata().num_row_groups()).collect();
        let mut predicates = Vec::new();
        for (column, value) in &self.only {
            let root = index(column)?;
            let parquet_schema = builder.parquet_schema();
            let leaves: Vec<usize> = (0..parquet_schema.num_columns())
                .filter(|leaf| parquet_schema.get_column_root_idx(*leaf) == root)
                .collect();
            let data_type = schema.field(root).data_type().clone();
            let wanted = scalar(value, &data_type).map_err(|error| {
                Error::invalid(
                    path,
                    format!("{value:?} in column {column}"),
                    error.to_string(),
                    "compare it with a value of its type",
                )
            })?;
            if let [leaf] = leaves[..] {
                groups.retain(|group| {
                    may_hold(
                        builder.metadata().row_group(*group),
                        leaf,
                        &data_type,
                        value,
                    )
                });
            }
            let mask = ProjectionMask::roots(parquet_schema, [root]);
            let equal = move |batch: RecordBatch| -> Result<BooleanArray, ArrowError> {
                cmp::eq(batch.column(0), &wanted)
            };
            predicates.push(Box::new(ArrowPredicateFn::new(mask, equal)) as _);
        }
        let mut builder = builder
            .with_row_groups(groups)
            .with_batch_size(self.batch_rows);
        if let Some(columns) = &self.columns {
            let roots: Vec<usize> = columns.iter().map(index).collect::<Result<_>>()?;
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            builder = builder.with_projection(mask);
        }
        if !predicates.is_empty() {
            builder = builder.with_row_filter(RowFilter::new(predicates));
        }
        builder.build().map_err(read_error(path))
    }

    /// Puts the columns in the requested order; Parquet returns them in the file's.
    fn arrange(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        match &self.columns {
            None => Ok(batch),
            Some(columns) => {
                let schema = batch.schema();
                let order: Vec<usize> = columns
                    .iter()
                    .map(|name| schema.index_of(name))
                    .collect::<Result<_, _>>()?;
                batch.project(&order)
            }
        }
    }

    fn stop(&mut self, error: Error) -> Option<Result<RecordBatch>> {
        self.files.clear();
        self.current = None;
        Some(Err(error))
    }
}

impl Iterator for TableReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.missing.take() {
            return Some(Err(error));
        }
        loop {
            if let Some((path, reader)) = &mut self.current {
                match next_batch(reader) {
                    Some(Ok(batch)) if batch.num_rows() == 0 => continue,
                    Some(batch) => {
                        let path = path.clone();
                        return match batch.and_then(|batch| self.arrange(batch)) {
                            Ok(batch) => Some(Ok(batch)),
                            Err(error) => self.stop(read_error(&path)(error.into())),
                        };
                    }
                    None => self.current = None,
                }
            }
            let (path, record) = self.files.pop_front()?;
            let opened = guarded(|| self.open(&path, &record))
                .unwrap_or_else(|panic| Err(read_error(&path)(ParquetError::General(panic))));
            match opened {
                Ok(reader) => self.current = Some((path, reader)),
                Err(error) => return self.stop(error),
            }
        }
    }
}

fn next_batch(reader: &mut ParquetRecordBatchReader) -> Option<Result<RecordBatch, ArrowError>> {
    guarded(|| reader.next()).unwrap_or_else(|panic| Some(Err(ArrowError::ParquetError(panic))))
}

/// The footer of a file.
pub(super) fn footer(path: &Path) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).map_err(Error::io(path, "opening"))?;
    guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))
        .unwrap_or_else(|panic| Err(ParquetError::General(panic)))
        .map_err(read_error(path))
}

/// The schema of a file.
pub(super) fn schema(path: &Path) -> Result<SchemaRef> {
    Ok(Arc::clone(footer(path)?.schema()))
}

fn scalar(value: &Value, data_type: &DataType) -> Result<Scalar<ArrayRef>, ArrowError> {
    let array: ArrayRef = match value {
        Value::Text(text) if data_type.is_string() => {
            Arc::new(StringArray::from(vec![text.as_str()]))
        }
        Value::Integer(number) if data_type.is_integer() => {
            Arc::new(Int64Array::from(vec![*number]))
        }
        _ => return Err(ArrowError::CastError(format!("type {data_type}"))),
    };
    Ok(Scalar::new(cast(&array, data_type)?))
}

/// Whether a row group may contain `value` according to its statistics, if it has any.
fn may_hold(group: &RowGroupMetaData, leaf: usize, data_type: &DataType, value: &Value) -> bool {
    let Some(statistics) = group.column(leaf).statistics() else {
        return true;
    };
    // Parquet stores unsigned numbers in signed fields.
    let unsigned = data_type.is_unsigned_integer();
    let int32 = |v: i32| {
        if unsigned {
            i128::from(v as u32)
        } else {
            v.into()
        }
    };
    let int64 = |v: i64| {
        if unsigned {
            i128::from(v as u64)
        } else {
            v.into()
        }
    };
    match (statistics, value) {
        (Statistics::ByteArray(s), Value::Text(text)) => {
            match (s.min_bytes_opt(), s.max_bytes_opt()) {
                (Some(min), Some(max)) => min <= text.as_bytes() && text.as_bytes() <= max,
                _ => true,
            }
        }
        (Statistics::Int32(s), Value::Integer(v)) => match (s.min_opt(), s.max_opt()) {
            (Some(min), Some(max)) => (int32(*min)..=int32(*max)).contains(&i128::from(*v)),
            _ => true,
        },
        (Statistics::Int64(s), Value::Integer(v)) => match (s.min_opt(), s.max_opt()) {
            (Some(min), Some(max)) => (int64(*min)..=int64(*max)).contains(&i128::from(*v)),
            _ => true,
        },
        _ => true,
    }
}
