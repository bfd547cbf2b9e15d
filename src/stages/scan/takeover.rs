//! What an earlier scan found in files of the same content.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray, PrimitiveArray},
    datatypes::{ArrowPrimitiveType, Float32Type, Int16Type, Int32Type, UInt64Type},
};
use prospect_common::Result;
use prospect_dataset::image::Quality;
use prospect_engine::{
    Context,
    tables::columns::{Columns, text},
    takeover,
};
use serde_json::Value;

use super::rows::Row;

/// Sizes and quality figures by content. A file that could not be decoded is not among them: it is tried again.
#[derive(Default)]
pub struct Earlier(HashMap<blake3::Hash, Seen>);

struct Seen {
    size: Option<(u32, u32)>,
    orientation: Option<u8>,
    quality: Quality,
}

impl Earlier {
    pub fn read(ctx: &Context, parameters: &Value) -> Result<Earlier> {
        let mut known = HashMap::new();
        for source in takeover::sources(ctx, &super::STAGE, parameters)? {
            for batch in source.run.read(&source.manifest, "images") {
                let batch = batch?;
                read(&Columns::of(&source.run, "images", &batch), &mut known)?;
            }
        }
        Ok(Earlier(known))
    }

    /// The row of a file of this content, if one was decoded.
    pub fn row(&self, content: &blake3::Hash) -> Option<Row> {
        let seen = self.0.get(content)?;
        Some(Row {
            digest: Some(content.to_hex().to_string()),
            size: seen.size,
            orientation: seen.orientation,
            quality: Some(seen.quality),
            error: None,
            taken: true,
        })
    }
}

fn read(columns: &Columns, known: &mut HashMap<blake3::Hash, Seen>) -> Result<()> {
    let (digests, errors) = (columns.texts("digest")?, columns.texts("error")?);
    let sides = [
        numbers::<Int32Type>(columns, "width")?,
        numbers::<Int32Type>(columns, "height")?,
    ];
    let orientations = numbers::<Int16Type>(columns, "orientation")?;
    let [brightness, contrast, sharpness, entropy, saturation] = [
        numbers::<Float32Type>(columns, "brightness")?,
        numbers::<Float32Type>(columns, "contrast")?,
        numbers::<Float32Type>(columns, "sharpness")?,
        numbers::<Float32Type>(columns, "entropy")?,
        numbers::<Float32Type>(columns, "saturation")?,
    ];
    let phashes = numbers::<UInt64Type>(columns, "phash")?;
    for row in 0..columns.batch.num_rows() {
        let content = text(&digests, row).and_then(takeover::content);
        let (Some(content), true, true) = (content, errors.is_null(row), phashes.is_valid(row))
        else {
            continue;
        };
        let side = |at: usize| u32::try_from(value(sides[at], row)?).ok();
        let orientation = value(orientations, row).and_then(|tag| u8::try_from(tag).ok());
        let figure = |column| value(column, row).unwrap_or_default();
        let quality = Quality {
            brightness: figure(brightness),
            contrast: figure(contrast),
            sharpness: figure(sharpness),
            entropy: figure(entropy),
            saturation: figure(saturation),
            phash: phashes.value(row),
        };
        let seen = Seen {
            size: side(0).zip(side(1)),
            orientation,
            quality,
        };
        known.insert(content, seen);
    }
    Ok(())
}

fn numbers<'a, T: ArrowPrimitiveType>(
    columns: &Columns<'a>,
    name: &str,
) -> Result<&'a PrimitiveArray<T>> {
    let column = columns.batch.column_by_name(name);
    let array = column.and_then(|column| column.as_primitive_opt::<T>());
    array.ok_or_else(|| columns.unexpected(format!("numbers in column {name}"), "something else"))
}

fn value<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}
