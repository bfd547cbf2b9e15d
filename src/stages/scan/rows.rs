//! One file to one row of `images`, and rows to record batches.

use std::{fs::File, io::Read, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Float32Array, Int16Array, Int32Array, RecordBatch, StringArray, UInt32Array,
        UInt64Array,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use prospect_dataset::{
    image::{self, DecodeOptions, Header, ImageError, Quality},
    listing::Entry,
    metadata::Metadata,
};

use super::takeover::Earlier;

/// No file of an image within `max_pixels` has more bytes a pixel than 16-bit RGBA, besides what is not pixels.
const BYTES_PER_PIXEL: u64 = 8;
const BYTES_APART: u64 = 64 << 20;

/// What a file turned out to be.
#[derive(Debug, Default)]
pub struct Row {
    /// BLAKE3 of the bytes; none where they could not be read.
    pub digest: Option<String>,
    /// Stored width and height, where the header says them.
    pub size: Option<(u32, u32)>,
    pub orientation: Option<u8>,
    pub quality: Option<Quality>,
    pub error: Option<String>,
    /// Not decoded: an earlier scan has seen a file of this content.
    pub taken: bool,
}

/// Reads one file, and decodes what no earlier scan has seen. Whatever is wrong with it is told in the row.
pub fn examine(entry: &Entry, options: &DecodeOptions, earlier: &Earlier) -> Row {
    let mut row = Row::default();
    if let Some(problem) = &entry.problem {
        row.error = Some(problem.clone());
        return row;
    }
    let bytes = match read(entry, options) {
        Ok(bytes) => bytes,
        Err(reason) => {
            row.error = Some(reason);
            return row;
        }
    };
    let content = blake3::hash(&bytes);
    if let Some(row) = earlier.row(&content) {
        return row;
    }
    row.digest = Some(content.to_hex().to_string());
    let see = |row: &mut Row, header: Header| {
        row.size = Some((header.width, header.height));
        row.orientation = Some(header.orientation);
    };
    match image::decode(&bytes, options) {
        Ok(image) => {
            see(&mut row, image.header);
            row.quality = Some(image::quality(&image));
        }
        Err(error) => {
            match (&error, image::read_header(&bytes, options)) {
                (_, Ok(header)) => see(&mut row, header),
                (ImageError::TooLarge { width, height, .. }, _) => {
                    row.size = Some((*width, *height))
                }
                _ => {}
            }
            row.error = Some(error.to_string());
        }
    }
    row
}

fn read(entry: &Entry, options: &DecodeOptions) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(&entry.file).map_err(told)?;
    let length = file.metadata().map_err(told)?.len();
    let limit = options
        .max_pixels
        .saturating_mul(BYTES_PER_PIXEL)
        .saturating_add(BYTES_APART);
    if length > limit {
        return Err(format!(
            "{length} bytes are more than an image of max_pixels = {} needs",
            options.max_pixels
        ));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(limit).read_to_end(&mut bytes).map_err(told)?;
    Ok(bytes)
}

/// What is known about an image without its pixels.
#[derive(Debug, Clone, Default)]
pub struct Known<'k> {
    pub label: Option<i32>,
    pub label_name: Option<&'k str>,
    pub split: Option<&'k str>,
    /// Row of the metadata.
    pub metadata: Option<u32>,
}

/// Our own columns of `images`, in order. The metadata's follow.
pub const COLUMNS: [(&str, DataType, bool); 16] = [
    ("image_id", DataType::UInt32, false),
    ("path", DataType::Utf8, false),
    ("digest", DataType::Utf8, true),
    ("width", DataType::Int32, true),
    ("height", DataType::Int32, true),
    ("orientation", DataType::Int16, true),
    ("label", DataType::Int32, true),
    ("label_name", DataType::Utf8, true),
    ("split", DataType::Utf8, true),
    ("error", DataType::Utf8, true),
    ("brightness", DataType::Float32, true),
    ("contrast", DataType::Float32, true),
    ("sharpness", DataType::Float32, true),
    ("entropy", DataType::Float32, true),
    ("saturation", DataType::Float32, true),
    ("phash", DataType::UInt64, true),
];

/// The schema of `images`.
pub fn schema(metadata: &Metadata) -> SchemaRef {
    let own = COLUMNS
        .iter()
        .map(|(name, kind, nullable)| Field::new(*name, kind.clone(), *nullable));
    let theirs = metadata
        .attributes()
        .map(|(name, kind)| Field::new(name, kind.clone(), true));
    Arc::new(Schema::new(own.chain(theirs).collect::<Vec<_>>()))
}

/// Rows of `images`; the first has the id `first_id`.
pub fn record(
    first_id: usize,
    entries: &[Entry],
    known: &[Known],
    rows: &[Row],
    metadata: &Metadata,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let ids = (0..rows.len()).map(|at| (first_id + at) as u32);
    let figure = |pick: fn(&Quality) -> f32| -> ArrayRef {
        let figures = rows.iter().map(|row| row.quality.as_ref().map(pick));
        Arc::new(figures.collect::<Float32Array>())
    };
    let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let side = |pick: fn((u32, u32)) -> u32| -> ArrayRef {
        let sides = rows.iter().map(|row| i32::try_from(pick(row.size?)).ok());
        Arc::new(sides.collect::<Int32Array>())
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(ids)),
        text(
            entries
                .iter()
                .map(|entry| Some(entry.path.as_str()))
                .collect(),
        ),
        text(rows.iter().map(|row| row.digest.as_deref()).collect()),
        side(|(width, _)| width),
        side(|(_, height)| height),
        Arc::new(
            rows.iter()
                .map(|row| row.orientation.map(i16::from))
                .collect::<Int16Array>(),
        ),
        Arc::new(known.iter().map(|one| one.label).collect::<Int32Array>()),
        text(known.iter().map(|one| one.label_name).collect()),
        text(known.iter().map(|one| one.split).collect()),
        text(rows.iter().map(|row| row.error.as_deref()).collect()),
        figure(|quality| quality.brightness),
        figure(|quality| quality.contrast),
        figure(|quality| quality.sharpness),
        figure(|quality| quality.entropy),
        figure(|quality| quality.saturation),
        Arc::new(
            rows.iter()
                .map(|row| Some(row.quality.as_ref()?.phash))
                .collect::<UInt64Array>(),
        ),
    ];
    let theirs: Vec<Option<u32>> = known.iter().map(|one| one.metadata).collect();
    columns.extend(metadata.select(&theirs)?);
    RecordBatch::try_new(schema.clone(), columns)
}
