//! Reads the user's Parquet files.

use std::{fs::File, path::Path};

use arrow::array::RecordBatch;
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder, file::metadata::ParquetMetaData,
};
use prospect_common::{
    Error, Result,
    text::{bytes, counted},
};

use super::guard::guarded;

/// Maximum bytes of a table after decompression.
const MAX_BYTES: u64 = 64 << 30;
/// Maximum bytes for each byte of the file; a table of up to [`SMALL_BYTES`] may consist of repetitions.
const MAX_RATIO: u64 = 4096;
const SMALL_BYTES: u64 = 256 << 20;
/// Minimum bytes of a cell in memory.
const CELL_BYTES: u64 = 4;

/// All rows of a Parquet file, in its own schema.
///
/// # Errors
/// Another format; a table that is too large for its file, as its footer declares it.
pub fn read_parquet(path: &Path) -> Result<Vec<RecordBatch>> {
    let refuse = |found: String| {
        Error::invalid(
            path,
            "a Parquet file",
            found,
            "rewrite it, or provide the table as CSV",
        )
    };
    let file = File::open(path).map_err(Error::io(path, "opening"))?;
    let length = file.metadata().map_err(Error::io(path, "opening"))?.len();
    guarded(|| {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
        check_size(builder.metadata(), length)?;
        let reader = builder.build().map_err(|error| error.to_string())?;
        reader
            .map(|batch| batch.map_err(|error| error.to_string()))
            .collect::<Result<_, String>>()
    })
    .and_then(|batches| batches)
    .map_err(refuse)
}

/// Fails if a file of `length` bytes declares more than can be meant.
fn check_size(footer: &ParquetMetaData, length: u64) -> Result<(), String> {
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
    let most = MAX_BYTES.min(length.saturating_mul(MAX_RATIO).max(SMALL_BYTES));
    match size > most {
        true => Err(format!(
            "a footer that declares {} and at least {} in a file of {}",
            counted(rows, "row"),
            bytes(size),
            bytes(length)
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use arrow::array::{ArrayRef, Int64Array};
    use parquet::{
        arrow::ArrowWriter,
        file::metadata::{ParquetMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter},
    };

    use super::*;

    /// A file of three rows whose footer declares other numbers of rows and bytes.
    fn declaring(path: &Path, rows: i64, size: i64) {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let mut written = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut written, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        fs::write(path, &written).unwrap();
        let footer = ParquetMetaDataReader::new()
            .parse_and_finish(&File::open(path).unwrap())
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
        fs::write(path, written).unwrap();
    }

    #[test]
    fn a_footer_that_declares_too_much_is_refused_before_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        declaring(&path, 3, 1000);
        assert_eq!(read_parquet(&path).unwrap()[0].num_rows(), 3);
        for (rows, size) in [(3, 10 << 30), (3, -1), (3_000_000_000, 1000), (-1, 1000)] {
            declaring(&path, rows, size);
            let message = read_parquet(&path).unwrap_err().to_string();
            assert!(message.contains("a footer that declares"), "{message}");
            assert!(message.contains("provide the table as CSV"), "{message}");
        }
    }
}
