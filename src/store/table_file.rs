//! Writes a Parquet file deterministically: the same rows give the same bytes.

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

/// Maximum rows of a row group, so that a reader can hold one in memory and skip the others.
pub const MAX_ROW_GROUP_ROWS: usize = 25_000;

/// Approximate maximum size of a row group of wide rows (feature maps).
const MAX_ROW_GROUP_BYTES: usize = 256 << 20;

/// Values passed to the Parquet writer at a time: it turns each half float into an object of 40 bytes.
const WRITE_VALUES: usize = 1 << 15;

/// The program without its version: a new version must not change a table's bytes.
const CREATED_BY: &str = "prospect";

/// Footer entries for the stage that wrote the file, and its key.
pub(super) const KEY_ENTRY: &str = "prospect.key";
pub(super) const STAGE_ENTRY: &str = "prospect.stage";

/// A Parquet file being written.
pub(super) struct TableFile {
    path: PathBuf,
    writer: ArrowWriter<HashingWriter>,
    rows: u64,
}

/// A finished file.
pub(super) struct FinishedFile {
    pub rows: u64,
    pub bytes: u64,
    pub blake3: String,
}

impl TableFile {
    pub(super) fn create(path: PathBuf, schema: SchemaRef, stage: &str, key: &str) -> Result<Self> {
        let properties = properties(&schema, stage, key).map_err(write_error(&path))?;
        let file = HashingWriter {
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
    pub(super) fn finish(mut self) -> Result<FinishedFile> {
        // Not by `into_inner`, whose last write fails with a message instead of the I/O error.
        self.writer.finish().map_err(write_error(&self.path))?;
        let written = self.writer.inner_mut();
        disk::crash_point();
        written
            .file
            .sync_all()
            .map_err(Error::io(&self.path, "syncing"))?;
        Ok(FinishedFile {
            rows: self.rows,
            bytes: written.bytes,
            blake3: written.hasher.finalize().to_hex().to_string(),
        })
    }
}

/// A table outside a run folder, written one row group at a time.
pub struct StandaloneTable(TableFile);

impl StandaloneTable {
    /// Creates the file; the schema's metadata goes into its footer.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<StandaloneTable> {
        TableFile::create(path.to_path_buf(), schema, "", "").map(StandaloneTable)
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

/// Writes a table outside a run folder, replacing an existing file.
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

/// The mean number of values per row in the widest column of `batch`.
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

/// zstd level 1 (features gain little from more); dictionaries and statistics for scalar columns only: in vectors they cost time
/// and space and help no reader.
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

/// Counts and hashes the bytes written, so that finished files need not be read again.
struct HashingWriter {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for HashingWriter {
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

/// Converts a read error; an inner I/O error stays one.
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

/// Converts a write error; any but an I/O error is a batch that does not fit its schema or Parquet.
fn write_error(path: &Path) -> impl Fn(ParquetError) -> Error + use<> {
    let path = path.to_path_buf();
    move |error| match io_error(error) {
        Ok(source) => Error::io(&path, "writing")(source),
        Err(found) => Error::internal(path.display(), found),
    }
}

/// The inner I/O error, or the message of any other.
fn io_error(error: ParquetError) -> Result<io::Error, String> {
    let message = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => return Ok(*source),
            Err(inner) => inner.to_string(),
        },
        other => other.to_string(),
    };
    os_error(&message).ok_or(message)
}

/// The system's error at the end of a message: the reader of record batches keeps only the text of what failed below it.
fn os_error(message: &str) -> Option<io::Error> {
    let (_, code) = message.strip_suffix(')')?.rsplit_once("(os error ")?;
    code.parse().ok().map(io::Error::from_raw_os_error)
}
