//! Reads the user's Parquet files.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Fields, Schema},
    error::ArrowError,
};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    },
    file::metadata::ParquetMetaData,
};
use prospect_common::{
    Error, Result,
    text::{self, counted},
};

use super::guard::guarded;

/// Maximum bytes of a table in memory: this, or so many for each byte of the file.
const SMALL_BYTES: u64 = 400 << 20;
const MAX_RATIO: u64 = 64;
/// Bytes of a cell in memory, besides its text.
const CELL_BYTES: u64 = 8;
/// Rows of any file; of a large one, as many as it has bytes.
const MAX_ROWS: u64 = 4 << 20;
/// Maximum number of columns, with the members of nested ones.
const MAX_COLUMNS: usize = 10_000;

/// All rows of a Parquet file with this `content`, in its own schema, without the extras of Arrow's: dictionaries are read as their
/// values.
///
/// # Errors
/// Another format; a table that is too large for its file: a small one may declare any number of rows, or repeat a long text in each.
pub fn read_parquet(path: &Path, content: Vec<u8>) -> Result<Vec<RecordBatch>> {
    let refuse = |found: String| {
        Error::invalid(
            path,
            "a Parquet file",
            found,
            "rewrite it, or provide the table as CSV",
        )
    };
    let most = SMALL_BYTES.max(content.len() as u64 * MAX_RATIO);
    guarded(|| read(Bytes::from(content), most))
        .and_then(|batches| batches)
        .map_err(refuse)
}

fn read(content: Bytes, most: u64) -> Result<Vec<RecordBatch>, String> {
    let reason = |error: ArrowError| error.to_string();
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let footer =
        ArrowReaderMetadata::load(&content, options()).map_err(|error| error.to_string())?;
    check_size(footer.metadata(), content.len() as u64, most)?;
    // Views share a repeated text, whose length can then be counted before it is written out.
    let schema = Arc::clone(footer.schema());
    let views = Schema::new(with_views(schema.fields()));
    let options = options().with_schema(Arc::new(views));
    let footer = ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options)
        .map_err(|error| error.to_string())?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(content, footer)
        .build()
        .map_err(|error| error.to_string())?;
    let mut size = 0;
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch.map_err(reason)?;
        size += batch.columns().iter().map(text_bytes).sum::<u64>();
        if size > most {
            return Err(format!("texts of more than {}", text::bytes(most)));
        }
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        let columns = columns.collect::<Result<_, _>>().map_err(reason)?;
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(reason)?);
    }
    Ok(batches)
}

/// With views in place of texts and bytes.
fn with_views(fields: &Fields) -> Fields {
    fn view(field: &Field) -> Field {
        let nested = |inner: &Arc<Field>| Arc::new(view(inner));
        let kind = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            DataType::List(inner) => DataType::List(nested(inner)),
            DataType::Struct(fields) => DataType::Struct(with_views(fields)),
            other => other.clone(),
        };
        field.clone().with_data_type(kind)
    }
    fields.iter().map(|field| Arc::new(view(field))).collect()
}

/// Bytes of the texts in a column when they are written out.
fn text_bytes(column: &ArrayRef) -> u64 {
    let length = |view: &u128| u64::from(*view as u32);
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().views().iter().map(length).sum(),
        DataType::BinaryView => column.as_binary_view().views().iter().map(length).sum(),
        DataType::List(_) => text_bytes(column.as_list::<i32>().values()),
        DataType::Struct(_) => column.as_struct().columns().iter().map(text_bytes).sum(),
        _ => 0,
    }
}

/// Fails if a file of `length` bytes declares more than can be meant.
fn check_size(footer: &ParquetMetaData, length: u64, most: u64) -> Result<(), String> {
    let n_columns = footer.file_metadata().schema_descr().num_columns();
    if n_columns > MAX_COLUMNS {
        return Err(format!("{} columns", text::count(n_columns as u64)));
    }
    let number = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    let groups = footer.row_groups().iter();
    let sizes = groups.map(|group| {
        let cells = number(group.num_rows()).saturating_mul(group.num_columns() as u64);
        (
            number(group.num_rows()),
            number(group.total_byte_size()).max(cells.saturating_mul(CELL_BYTES)),
        )
    });
    let (rows, size) = sizes.fold((0u64, 0u64), |sum, group| {
        (sum.0.saturating_add(group.0), sum.1.saturating_add(group.1))
    });
    match size > most || rows > MAX_ROWS.max(length) {
        true => Err(format!(
            "a footer that declares {} and at least {} in a file of {}",
            counted(rows, "row"),
            text::bytes(size),
            text::bytes(length)
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        DictionaryArray, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder,
    };
    use parquet::{
        arrow::ArrowWriter,
        file::metadata::{ParquetMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter},
    };

    use super::*;

    /// A file of three rows whose footer declares other numbers of rows and bytes.
    fn declaring(rows: i64, size: i64) -> Vec<u8> {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let mut written = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut written, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let footer = ParquetMetaDataReader::new()
            .parse_and_finish(&Bytes::from(written.clone()))
            .unwrap();
        let group = footer.row_group(0).clone().into_builder();
        let group = group
            .set_num_rows(rows)
            .set_total_byte_size(size)
            .build()
            .unwrap();
        let footer = ParquetMetaDataBuilder::new(footer.file_metadata().clone())
            .add_row_group(group)
            .build();
        let length = written[written.len() - 8..][..4].try_into().unwrap();
        written.truncate(written.len() - 8 - u32::from_le_bytes(length) as usize);
        ParquetMetaDataWriter::new(&mut written, &footer)
            .finish()
            .unwrap();
        written
    }

    #[test]
    fn a_footer_that_declares_too_much_is_refused_before_reading() {
        let read = |rows, size| read_parquet(Path::new("x.parquet"), declaring(rows, size));
        assert_eq!(read(3, 1000).unwrap()[0].num_rows(), 3);
        for (rows, size) in [(3, 10 << 30), (3, -1), (3_000_000_000, 1000), (-1, 1000)] {
            let message = read(rows, size).unwrap_err().to_string();
            assert!(message.contains("a footer that declares"), "{message}");
            assert!(message.contains("provide the table as CSV"), "{message}");
        }
    }

    /// The file of one column.
    fn file(column: ArrayRef) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut written = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut written, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        written
    }

    #[test]
    fn texts_are_read_and_a_long_one_in_every_row_is_refused() {
        let path = Path::new("x.parquet");
        let texts = StringArray::from(vec![Some("a"), None, Some("a text of more than 12 bytes")]);
        let read = read_parquet(path, file(Arc::new(texts.clone()))).unwrap();
        assert_eq!(read[0].column(0).as_string::<i32>(), &texts);

        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), Some("a text of more than 12 bytes")]);
        lists.append_null();
        let lists = lists.finish();
        let read = read_parquet(path, file(Arc::new(lists.clone()))).unwrap();
        assert_eq!(read[0].column(0).as_list::<i32>(), &lists);

        let keys = Int32Array::from(vec![0; 2000]);
        let long = StringArray::from(vec!["x".repeat(1 << 19)]);
        let repeated = DictionaryArray::new(keys, Arc::new(long));
        let bytes = file(Arc::new(repeated));
        assert!(bytes.len() < 4 << 20, "{}", bytes.len());
        let message = read_parquet(path, bytes).unwrap_err().to_string();
        assert!(message.contains("texts of more than"), "{message}");
    }
}
