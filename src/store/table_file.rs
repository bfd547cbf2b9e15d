//! Writing one Parquet file so that the same rows always give the same bytes.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, SchemaRef},
};
use parquet::{
    arrow::{ArrowSchemaConverter, ArrowWriter},
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use prospect_common::{Error, Result};

use super::disk;

/// No row group is longer, so that a reader can hold one in memory and skip the others.
pub const MAX_ROW_GROUP_ROWS: usize = 25_000;

/// A row group of wide rows (feature maps) ends at about this many bytes.
const MAX_ROW_GROUP_BYTES: usize = 256 << 20;

/// Values handed to the Parquet writer at a time: for half floats it makes an object of 40 bytes of each.
const WRITE_VALUES: usize = 1 << 15;

/// Names the program, not its version: a new version must not change the bytes of an old table.
const CREATED_BY: &str = "prospect";

/// Footer entries that say which stage wrote the file, and under which key.
pub(super) const KEY_ENTRY: &str = "prospect.key";
pub(super) const STAGE_ENTRY: &str = "prospect.stage";

/// A Parquet file being written under its temporary name.
pub(super) struct TableFile {
    path: PathBuf,
    writer: ArrowWriter<Hashing>,
    rows: u64,
}

/// What a finished file holds.
pub(super) struct Written {
    pub rows: u64,
    pub bytes: u64,
    pub blake3: String,
}

impl TableFile {
    pub(super) fn create(path: PathBuf, schema: SchemaRef, stage: &str, key: &str) -> Result<Self> {
        let properties = properties(&schema, stage, key).map_err(write_error(&path))?;
        let file = Hashing {
            file: disk::create_new(&path)?,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        };
        let writer =
            ArrowWriter::try_new(file, schema, Some(properties)).map_err(write_error(&path))?;
        Ok(TableFile {
            path,
            writer,
            rows: 0,
        })
    }

    /// Appends rows and ends the row group.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let n_rows = batch.num_rows();
        let step = (WRITE_VALUES / values_per_row(batch)).max(1);
        for start in (0..n_rows).step_by(step) {
            self.writer
                .write(&batch.slice(start, step.min(n_rows - start)))
                .map_err(write_error(&self.path))?;
        }
        self.writer.flush().map_err(write_error(&self.path))?;
        self.rows += n_rows as u64;
        Ok(())
    }

    /// Writes the footer and makes the bytes durable.
    pub(super) fn finish(self) -> Result<Written> {
        let written = self.writer.into_inner().map_err(write_error(&self.path))?;
        disk::moment();
        written
            .file
            .sync_all()
            .map_err(Error::io(&self.path, "syncing"))?;
        Ok(Written {
            rows: self.rows,
            bytes: written.bytes,
            blake3: written.hasher.finalize().to_hex().to_string(),
        })
    }
}

/// A table outside of any run folder, written a row group at a time.
pub struct LooseTable(TableFile);

impl LooseTable {
    /// A new file; what else its readers are to know stands in the schema's metadata.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<LooseTable> {
        TableFile::create(path.to_path_buf(), schema, "", "").map(LooseTable)
    }

    /// Appends rows and ends the row group.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch)
    }

    /// Writes the footer and makes the bytes durable.
    pub fn finish(self) -> Result<()> {
        self.0.finish().map(|_| ())
    }
}

/// Writes a single table outside of any run folder, replacing what was there.
pub fn write_table(path: &Path, batch: &RecordBatch) -> Result<()> {
    let temp = disk::temp_path(path);
    let written = TableFile::create(temp.clone(), batch.schema(), "", "")
        .and_then(|mut file| file.write(batch).and_then(|()| file.finish()))
        .and_then(|_| disk::rename(&temp, path));
    if written.is_err() {
        disk::remove_file(&temp)?;
    }
    written
}

/// The most values that a column of `batch` has for each row, on average.
fn values_per_row(batch: &RecordBatch) -> usize {
    let rows = batch.num_rows().max(1);
    let values = |column: &ArrayRef| match column.data_type() {
        DataType::FixedSizeList(_, n) => usize::try_from(*n).unwrap_or(0),
        DataType::List(_) => column
            .as_list::<i32>()
            .value_offsets()
            .last()
            .map_or(0, |last| {
                let first = column.as_list::<i32>().value_offsets()[0];
                usize::try_from(last - first).unwrap_or(0) / rows
            }),
        _ => 1,
    };
    batch.columns().iter().map(values).max().unwrap_or(0).max(1)
}

/// zstd level 1 (features gain little from more); dictionary and statistics for scalar columns only: within
/// vectors they cost time and space and serve no reader.
fn properties(
    schema: &SchemaRef,
    stage: &str,
    key: &str,
) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(MAX_ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(MAX_ROW_GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(vec![
            KeyValue::new(KEY_ENTRY.into(), key.to_string()),
            KeyValue::new(STAGE_ENTRY.into(), stage.to_string()),
        ]));
    let leaves = ArrowSchemaConverter::new().convert(schema)?;
    for leaf in leaves
        .columns()
        .iter()
        .filter(|leaf| leaf.max_rep_level() > 0)
    {
        properties = properties
            .set_column_dictionary_enabled(leaf.path().clone(), false)
            .set_column_statistics_enabled(leaf.path().clone(), EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// Counts and hashes what goes into the file, so that finished files need no second reading.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Why a table cannot be read. An I/O error inside stays one.
pub(super) fn read_error(path: &Path) -> impl Fn(ParquetError) -> Error + use<> {
    let path = path.to_path_buf();
    move |error| match io_error(error) {
        Ok(source) => Error::io(&path, "reading")(source),
        Err(found) => Error::invalid(
            &path,
            "a Parquet file written by prospect",
            found,
            "run `prospect verify`",
        ),
    }
}

/// Why a table cannot be written: what is not an I/O error is a batch that its schema or Parquet has no place for.
fn write_error(path: &Path) -> impl Fn(ParquetError) -> Error + use<> {
    let path = path.to_path_buf();
    move |error| match io_error(error) {
        Ok(source) => Error::io(&path, "writing")(source),
        Err(found) => Error::internal(path.display(), found),
    }
}

/// The I/O error inside, or else the error in words.
fn io_error(error: ParquetError) -> Result<io::Error, String> {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => Ok(*source),
            Err(inner) => Err(inner.to_string()),
        },
        other => Err(other.to_string()),
    }
}
