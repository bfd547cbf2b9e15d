//! Reads the user's Parquet files.

use std::{fs::File, path::Path};

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prospect_common::{Error, Result};

use super::guard::guarded;

/// All rows of a Parquet file, in its own schema.
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
    guarded(|| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(|builder| builder.build())
            .map_err(|error| error.to_string())?;
        reader
            .map(|batch| batch.map_err(|error| error.to_string()))
            .collect::<Result<_, String>>()
    })
    .and_then(|batches| batches)
    .map_err(refuse)
}
