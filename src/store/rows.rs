//! Reads the columns of declared tables with their declared types.

use std::path::PathBuf;

use arrow::array::{ArrowPrimitiveType, RecordBatch};
use prospect_common::{Error, Result};

use crate::{
    Manifest, RunFolder, TableReader, Value,
    declare::{Cell, Column, Lists, Table},
};

/// Columns of one table: a tuple of [`Column`]s.
pub trait Selection {
    /// A tuple of typed arrays.
    type Arrays;
    /// A tuple of cells.
    type Values<'a>;

    fn table(&self) -> &'static Table;
    fn names(&self) -> Vec<&'static str>;
    /// Converts the columns of `batch`, which has them in this order.
    fn read(&self, batch: &RecordBatch) -> Result<Self::Arrays, Mismatch>;
    fn values(arrays: &Self::Arrays, row: usize) -> Self::Values<'_>;
}

/// A column of a file that differs from its declaration.
pub struct Mismatch {
    column: &'static str,
    kind: &'static str,
    nullable: bool,
    found: String,
}

fn cells<T: Cell>(column: Column<T>, batch: &RecordBatch, at: usize) -> Result<T::Array, Mismatch> {
    T::read(batch.column(at)).map_err(|found| Mismatch {
        column: column.name,
        kind: T::KIND,
        nullable: T::NULLABLE,
        found,
    })
}

macro_rules! selections {
    ($(($($cell:ident $at:tt),+);)*) => {$(
        impl<$($cell: Cell),+> Selection for ($(Column<$cell>,)+) {
            type Arrays = ($($cell::Array,)+);
            type Values<'a> = ($($cell::Value<'a>,)+);

            fn table(&self) -> &'static Table {
                self.0.table
            }

            fn names(&self) -> Vec<&'static str> {
                vec![$(self.$at.name),+]
            }

            fn read(&self, batch: &RecordBatch) -> Result<Self::Arrays, Mismatch> {
                Ok(($(cells(self.$at, batch, $at)?,)+))
            }

            fn values(arrays: &Self::Arrays, row: usize) -> Self::Values<'_> {
                ($($cell::value(&arrays.$at, row),)+)
            }
        }
    )*};
}

selections! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13);
}

/// Iterates over columns of a table in batches, like [`TableReader`].
pub struct Rows<S> {
    selection: S,
    reader: TableReader,
    /// The table's folder.
    path: PathBuf,
}

/// A batch of rows.
pub struct Batch<S: Selection> {
    arrays: S::Arrays,
    len: usize,
    table: &'static Table,
    path: PathBuf,
}

impl RunFolder {
    /// Reads columns of a declared table: `run.rows(&manifest, (images::image_id, images::path))`. If the table is missing, the
    /// first item is an error.
    pub fn rows<S: Selection>(&self, manifest: &Manifest, selection: S) -> Rows<S> {
        let table = selection.table().name;
        Rows {
            reader: self.read(manifest, table).columns(&selection.names()),
            path: self.path(&format!("tables/{table}")),
            selection,
        }
    }
}

impl<S: Selection> Rows<S> {
    /// Keeps the rows in which `column` equals `value`; see [`TableReader::only`].
    pub fn only<T>(mut self, column: Column<T>, value: impl Into<Value>) -> Rows<S> {
        self.reader = self.reader.only(column.name, value);
        self
    }

    /// Reads only part `part`.
    pub fn part(mut self, part: usize) -> Rows<S> {
        self.reader = self.reader.part(part);
        self
    }

    /// Sets the maximum number of rows per batch.
    pub fn batch_rows(mut self, rows: usize) -> Rows<S> {
        self.reader = self.reader.batch_rows(rows);
        self
    }

    /// Rows of the selected parts according to the manifest, before [`only`](Rows::only).
    pub fn rows(&self) -> u64 {
        self.reader.rows()
    }

    /// Converts a batch to the declared types.
    ///
    /// # Errors
    /// A column that differs from its declaration; the message names table, column and the type found.
    fn typed(&self, batch: &RecordBatch) -> Result<Batch<S>> {
        let arrays = self.selection.read(batch).map_err(|wrong| {
            let Mismatch {
                column,
                kind,
                nullable,
                found,
            } = wrong;
            let nulls = if nullable { "" } else { " without nulls" };
            altered(
                &self.path,
                format!("{kind}{nulls} in column {column}"),
                found,
            )
        })?;
        Ok(Batch {
            arrays,
            len: batch.num_rows(),
            table: self.selection.table(),
            path: self.path.clone(),
        })
    }
}

impl<S: Selection> Iterator for Rows<S> {
    type Item = Result<Batch<S>>;

    fn next(&mut self) -> Option<Result<Batch<S>>> {
        let batch = self.reader.next()?;
        Some(batch.and_then(|batch| self.typed(&batch)))
    }
}

impl<S: Selection> Batch<S> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns' arrays.
    pub fn columns(&self) -> &S::Arrays {
        &self.arrays
    }

    /// The cells of a row.
    pub fn row(&self, row: usize) -> S::Values<'_> {
        S::values(&self.arrays, row)
    }

    /// The cells row by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = S::Values<'_>> {
        (0..self.len).map(|row| self.row(row))
    }

    /// Checks that a column's lists have this length.
    pub fn check_length<P: ArrowPrimitiveType>(
        &self,
        lists: &Lists<P>,
        length: usize,
    ) -> Result<()> {
        if self.is_empty() || lists.length == length {
            return Ok(());
        }
        Err(self.unexpected(
            format!("lists of {length} values"),
            format!("lists of {}", lists.length),
        ))
    }

    /// The error for values that no stage writes.
    pub fn unexpected(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        debug_assert!(self.path.ends_with(self.table.name));
        altered(&self.path, expected, found)
    }
}

/// The error for a table that differs from what its stage writes.
fn altered(path: &std::path::Path, expected: impl Into<String>, found: impl Into<String>) -> Error {
    let next = "run `prospect verify`, then the stage that wrote it again";
    Error::invalid(path, expected, found, next)
}
