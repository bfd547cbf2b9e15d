//! Table declarations: each column's name, type and documentation in one place, for typed readers and writers.
//!
//! [`table!`](crate::table) turns a declaration into a module: `TABLE` describes the table, one constant per column selects it
//! for reading, and `Columns` holds the arrays of a batch to write.
//!
//! ```
//! prospect_store::table! {
//!     /// The nearest neighbours of each image.
//!     pub mod neighbors = "neighbors", "image and rank", [15.0, 9.0] {
//!         image_id: u32,
//!         /// 1 is the nearest.
//!         rank: i16,
//!         distance: Option<f32>,
//!     }
//! }
//! # fn main() -> prospect_common::Result<()> {
//! let batch = neighbors::Columns {
//!     image_id: [7, 7].into_iter().collect(),
//!     rank: [1, 2].into_iter().collect(),
//!     distance: [Some(0.5), None].into_iter().collect(),
//! }
//! .batch()?;
//! assert_eq!(batch.num_rows(), 2);
//! # Ok(())
//! # }
//! ```
use std::{marker::PhantomData, sync::Arc};

use arrow::datatypes::Schema;
pub use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::Field,
};
pub use half::f16;
use prospect_common::Error;
pub use prospect_common::Result;

pub use crate::cell::{Cell, List, Lists, Ragged, Structs, Text, Vector};

/// A table: what a row is, its columns, and the size of a row.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// What a row represents.
    pub row: &'static str,
    /// Measured bytes per row without its lists: before encoding and on disk.
    pub bytes: [f64; 2],
    pub columns: &'static [ColumnInfo],
}

/// A column of a [`Table`].
#[derive(Debug)]
pub struct ColumnInfo {
    pub name: &'static str,
    /// Its type in words: `u32`, `text`, `list of f16`.
    pub kind: &'static str,
    pub nullable: bool,
    /// Empty if the name is self-explanatory.
    pub doc: &'static str,
}

/// A column to read, typed by its cells.
pub struct Column<T> {
    pub table: &'static Table,
    pub name: &'static str,
    cell: PhantomData<fn() -> T>,
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Column<T> {
        *self
    }
}

impl<T> Copy for Column<T> {}

impl<T> Column<T> {
    /// Column `name` of `table`; called by [`table!`](crate::table).
    pub const fn new(table: &'static Table, name: &'static str) -> Column<T> {
        Column {
            table,
            name,
            cell: PhantomData,
        }
    }
}

impl Table {
    /// A batch from the table's columns in order, followed by the undeclared columns `more`.
    ///
    /// # Errors
    /// Columns that differ from the declaration: a bug in the caller.
    pub fn batch(
        &self,
        arrays: Vec<Result<ArrayRef, String>>,
        more: impl IntoIterator<Item = (Field, ArrayRef)>,
    ) -> Result<RecordBatch> {
        let wrong = |column: &str, found: String| {
            Error::Internal(format!("table {}, column {column}: {found}", self.name))
        };
        let mut fields = Vec::with_capacity(arrays.len());
        let mut columns = Vec::with_capacity(arrays.len());
        for (column, array) in self.columns.iter().zip(arrays) {
            let array = array.map_err(|found| wrong(column.name, found))?;
            fields.push(Field::new(
                column.name,
                array.data_type().clone(),
                column.nullable,
            ));
            columns.push(array);
        }
        for (field, array) in more {
            fields.push(field);
            columns.push(array);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| wrong("any", error.to_string()))
    }
}

/// Declares a table; see [the module](crate::declare).
#[macro_export]
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $visibility:vis mod $module:ident = $name:literal, $row:literal, $bytes:tt {
            $($(#[doc = $column_doc:literal])* $column:ident: $cell:ty,)+
        }
    ) => {
        $(#[doc = $doc])+
        $visibility mod $module {
            #![allow(non_upper_case_globals, unused)]
            use $crate::declare::*;

            pub const NAME: &str = $name;

            pub static TABLE: Table = Table {
                name: $name,
                doc: concat!($($doc),+),
                row: $row,
                bytes: $bytes,
                columns: &[$(ColumnInfo {
                    name: stringify!($column),
                    kind: <$cell as Cell>::KIND,
                    nullable: <$cell as Cell>::NULLABLE,
                    doc: concat!($($column_doc),*),
                }),+],
            };

            $($(#[doc = $column_doc])* pub const $column: Column<$cell> =
                Column::new(&TABLE, stringify!($column));)+

            /// The columns of a batch to write.
            pub struct Columns {
                $($(#[doc = $column_doc])* pub $column: <$cell as Cell>::WriteArray,)+
            }

            impl Columns {
                /// # Errors
                /// Columns of different lengths, or nulls in a non-nullable column.
                pub fn batch(self) -> Result<RecordBatch> {
                    self.batch_and([])
                }

                /// Like [`Columns::batch`], followed by undeclared columns.
                pub fn batch_and(
                    self,
                    more: impl IntoIterator<Item = (Field, ArrayRef)>,
                ) -> Result<RecordBatch> {
                    TABLE.batch(vec![$(<$cell as Cell>::to_arrow(self.$column)),+], more)
                }
            }
        }
    };
}
