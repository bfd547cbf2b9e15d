//! The types that the cells of a declared column may have, and how each is read from and written to Arrow arrays.

use std::{marker::PhantomData, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, FixedSizeListArray, ListArray,
        PrimitiveArray, StringArray,
    },
    buffer::OffsetBuffer,
    datatypes::{
        Field, Float16Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
    error::ArrowError,
};
use half::{f16, slice::HalfFloatSliceExt};

/// The type of a column's cells: a number, `bool`, [`Text`], an `Option` of these, [`List`] or [`Vector`].
pub trait Cell {
    /// As [`ColumnInfo::kind`](crate::declare::ColumnInfo::kind).
    const KIND: &'static str;
    const NULLABLE: bool;
    /// A column in memory.
    type Array;
    /// One cell.
    type Value<'a>;
    /// A column to write.
    type WriteArray;

    /// Converts a column read from a file; fails with the type found instead.
    fn read(array: &ArrayRef) -> Result<Self::Array, String>;
    fn value(array: &Self::Array, row: usize) -> Self::Value<'_>;

    /// Converts a column to write; fails with the type or lengths found instead.
    fn to_arrow(array: Self::WriteArray) -> Result<ArrayRef, String>;
}

/// Text cells: `&str`.
pub struct Text;

/// Lists whose length is constant within a batch, but may differ between layers.
pub struct List<T>(PhantomData<T>);

/// Lists of equal length throughout the table.
pub struct Vector<T>(PhantomData<T>);

/// Lists whose length may differ between rows.
pub struct Ragged<T>(PhantomData<T>);

/// Lists of structs; write-only.
pub struct Structs;

/// A column of lists of equal length.
#[derive(Debug)]
pub struct Lists<P: ArrowPrimitiveType> {
    values: PrimitiveArray<P>,
    rows: usize,
    /// Values per list; 0 without rows.
    pub length: usize,
}

impl<P: ArrowPrimitiveType> Lists<P> {
    /// Lists to be written, one after another.
    pub fn new(values: Vec<P::Native>, length: usize) -> Lists<P> {
        let values = PrimitiveArray::new(values.into(), None);
        let rows = values.len().checked_div(length).unwrap_or(0);
        Lists {
            values,
            rows,
            length,
        }
    }

    /// `rows` empty lists.
    pub fn empty(rows: usize) -> Lists<P> {
        Lists {
            rows,
            ..Lists::new(Vec::new(), 0)
        }
    }

    /// The lists, concatenated.
    pub fn values(&self) -> &[P::Native] {
        self.values.values()
    }
}

impl Lists<Float16Type> {
    /// The values as 32-bit floats.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.values().len()];
        self.values().convert_to_f32_slice(&mut values);
        values
    }
}

fn without_nulls(array: &ArrayRef) -> Result<(), String> {
    match array.null_count() {
        0 => Ok(()),
        n => Err(format!("{n} nulls")),
    }
}

/// Lists, none of which is null.
fn list_array(array: &ArrayRef) -> Result<&ListArray, String> {
    without_nulls(array)?;
    let lists = array.as_list_opt();
    lists.ok_or_else(|| array.data_type().to_string())
}

/// The item field of lists; values are not nullable.
fn item<P: ArrowPrimitiveType>() -> Arc<Field> {
    Arc::new(Field::new("item", P::DATA_TYPE, false))
}

fn array_of<A: Array + 'static>(array: Result<A, ArrowError>) -> Result<ArrayRef, String> {
    match array {
        Ok(array) => Ok(Arc::new(array)),
        Err(error) => Err(error.to_string()),
    }
}

macro_rules! scalars {
    ($($cell:ty, $value:ty, $array:ty, $kind:literal;)*) => {$(
        impl Cell for $cell {
            const KIND: &'static str = $kind;
            const NULLABLE: bool = false;
            type Array = $array;
            type Value<'a> = $value;
            type WriteArray = $array;

            fn read(array: &ArrayRef) -> Result<Self::Array, String> {
                without_nulls(array)?;
                <Option<$cell>>::read(array)
            }

            fn value(array: &Self::Array, row: usize) -> Self::Value<'_> {
                array.value(row)
            }

            fn to_arrow(array: Self::WriteArray) -> Result<ArrayRef, String> {
                Ok(Arc::new(array))
            }
        }

        impl Cell for Option<$cell> {
            const KIND: &'static str = $kind;
            const NULLABLE: bool = true;
            type Array = $array;
            type Value<'a> = Option<$value>;
            type WriteArray = $array;

            fn read(array: &ArrayRef) -> Result<Self::Array, String> {
                let scalars = array.as_any().downcast_ref::<$array>().cloned();
                scalars.ok_or_else(|| array.data_type().to_string())
            }

            fn value(array: &Self::Array, row: usize) -> Self::Value<'_> {
                array.is_valid(row).then(|| array.value(row))
            }

            fn to_arrow(array: Self::WriteArray) -> Result<ArrayRef, String> {
                Ok(Arc::new(array))
            }
        }
    )*};
}

macro_rules! lists {
    ($($native:ty, $arrow:ty, $kind:literal;)*) => {$(
        impl Cell for List<$native> {
            const KIND: &'static str = concat!("list of ", $kind);
            const NULLABLE: bool = false;
            type Array = Lists<$arrow>;
            type Value<'a> = &'a [$native];
            type WriteArray = Lists<$arrow>;

            fn read(array: &ArrayRef) -> Result<Self::Array, String> {
                let lists = list_array(array)?;
                let mut lengths = lists.offsets().lengths();
                let length = lengths.next().unwrap_or(0);
                if let Some(odd) = lengths.find(|n| *n != length) {
                    return Err(format!("lists of {length} and of {odd} values"));
                }
                let first = lists.value_offsets().first().map_or(0, |at| *at as usize);
                let values = lists.values().slice(first, array.len() * length);
                let values = <$native>::read(&values)?;
                Ok(Lists { values, rows: array.len(), length })
            }

            fn value(array: &Self::Array, row: usize) -> &[$native] {
                &array.values()[row * array.length..(row + 1) * array.length]
            }

            fn to_arrow(lists: Lists<$arrow>) -> Result<ArrayRef, String> {
                let Lists { values, rows, length } = lists;
                if values.len() != rows * length {
                    return Err(format!("{} values in lists of {length}", values.len()));
                }
                let offsets = OffsetBuffer::from_repeated_length(length, rows);
                let list = ListArray::try_new(item::<$arrow>(), offsets, Arc::new(values), None);
                array_of(list)
            }
        }

        impl Cell for Ragged<$native> {
            const KIND: &'static str = concat!("list of ", $kind);
            const NULLABLE: bool = false;
            type Array = (OffsetBuffer<i32>, PrimitiveArray<$arrow>);
            type Value<'a> = &'a [$native];
            type WriteArray = ArrayRef;

            fn read(array: &ArrayRef) -> Result<Self::Array, String> {
                let lists = list_array(array)?;
                Ok((lists.offsets().clone(), <$native>::read(lists.values())?))
            }

            fn value((offsets, values): &Self::Array, row: usize) -> &[$native] {
                &values.values()[offsets[row] as usize..offsets[row + 1] as usize]
            }

            fn to_arrow(array: ArrayRef) -> Result<ArrayRef, String> {
                Self::read(&array)?;
                Ok(array)
            }
        }

        impl Cell for Vector<$native> {
            const KIND: &'static str = concat!("vector of ", $kind);
            const NULLABLE: bool = false;
            type Array = Lists<$arrow>;
            type Value<'a> = &'a [$native];
            type WriteArray = Lists<$arrow>;

            fn read(array: &ArrayRef) -> Result<Self::Array, String> {
                without_nulls(array)?;
                let Some(lists) = array.as_fixed_size_list_opt() else {
                    return Err(array.data_type().to_string());
                };
                let length = lists.value_length() as usize;
                let first = lists.value_offset_at(0) as usize;
                let values = lists.values().slice(first, array.len() * length);
                let values = <$native>::read(&values)?;
                Ok(Lists { values, rows: array.len(), length })
            }

            fn value(array: &Self::Array, row: usize) -> &[$native] {
                <List<$native>>::value(array, row)
            }

            fn to_arrow(lists: Lists<$arrow>) -> Result<ArrayRef, String> {
                let (values, length) = (Arc::new(lists.values), lists.length as i32);
                array_of(FixedSizeListArray::try_new(item::<$arrow>(), length, values, None))
            }
        }
    )*};
}

lists! {
    u8, UInt8Type, "u8";
    u16, UInt16Type, "u16";
    u32, UInt32Type, "u32";
    u64, UInt64Type, "u64";
    i16, Int16Type, "i16";
    i32, Int32Type, "i32";
    i64, Int64Type, "i64";
    f16, Float16Type, "f16";
    f32, Float32Type, "f32";
    f64, Float64Type, "f64";
}

scalars! {
    bool, bool, BooleanArray, "bool";
    Text, &'a str, StringArray, "text";
    u8, u8, PrimitiveArray<UInt8Type>, "u8";
    u16, u16, PrimitiveArray<UInt16Type>, "u16";
    u32, u32, PrimitiveArray<UInt32Type>, "u32";
    u64, u64, PrimitiveArray<UInt64Type>, "u64";
    i16, i16, PrimitiveArray<Int16Type>, "i16";
    i32, i32, PrimitiveArray<Int32Type>, "i32";
    i64, i64, PrimitiveArray<Int64Type>, "i64";
    f16, f16, PrimitiveArray<Float16Type>, "f16";
    f32, f32, PrimitiveArray<Float32Type>, "f32";
    f64, f64, PrimitiveArray<Float64Type>, "f64";
}

impl Cell for Structs {
    const KIND: &'static str = "list of structs";
    const NULLABLE: bool = false;
    type Array = ArrayRef;
    type Value<'a> = ();
    type WriteArray = ArrayRef;

    fn read(array: &ArrayRef) -> Result<ArrayRef, String> {
        Ok(Arc::clone(array))
    }

    fn value(_: &ArrayRef, _: usize) {}

    fn to_arrow(array: ArrayRef) -> Result<ArrayRef, String> {
        Ok(array)
    }
}
