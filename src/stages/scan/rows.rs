//! Rows of `images`: examining files, and record batches.

use std::{
    fs::File,
    io::{self, Read},
};

use arrow::{array::RecordBatch, datatypes::Field};
use prospect_common::{Error, Result};
use prospect_dataset::{
    image::{self, DecodeOptions, Header, ImageError, Quality},
    listing::Entry,
    metadata::Metadata,
    votes::{Agreement, Votes},
};
use prospect_engine::schema::{images, label_votes};

use super::reuse::EarlierResults;

/// Size limit of a file: 16-bit RGBA for `max_pixels`, plus an allowance for metadata.
const BYTES_PER_PIXEL: u64 = 8;
const METADATA_BYTES: u64 = 64 << 20;

/// The result of examining a file.
#[derive(Debug, Default)]
pub struct Row {
    /// BLAKE3 of the bytes; None if they could not be read.
    pub digest: Option<String>,
    /// Stored width and height, if the header could be read.
    pub size: Option<(u32, u32)>,
    pub orientation: Option<u8>,
    pub quality: Option<Quality>,
    pub error: Option<String>,
    /// What a damaged file lost.
    pub warning: Option<String>,
    /// Whether the file could not be read, which may pass.
    pub unread: bool,
    /// Whether an earlier scan's row with the same content was reused instead of decoding.
    pub reused: bool,
}

/// Reads one file and decodes it, unless an earlier scan decoded the same content. Problems go into the row's error.
pub fn examine(entry: &Entry, options: &DecodeOptions, earlier: &EarlierResults) -> Row {
    let mut row = Row::default();
    if let Some(problem) = &entry.problem {
        row.error = Some(problem.clone());
        return row;
    }
    let bytes = match read(entry, options) {
        Ok(bytes) => bytes,
        Err(problem) => {
            row.error = Some(problem.reason);
            row.unread = problem.unread;
            return row;
        }
    };
    let content = blake3::hash(&bytes);
    row.digest = Some(content.to_hex().to_string());
    if let Some(known) = earlier.get(&content) {
        row.size = known.size;
        row.orientation = known.orientation;
        row.quality = Some(known.quality);
        row.warning = known.warning.clone();
        row.reused = true;
        return row;
    }
    let see = |row: &mut Row, header: Header| {
        row.size = Some((header.width, header.height));
        row.orientation = Some(header.orientation);
    };
    match image::decode(&bytes, options) {
        Ok(image) => {
            see(&mut row, image.header);
            row.quality = Some(image::quality(&image));
            row.warning = image.loss;
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

/// Why a file's bytes are not used.
struct Unusable {
    reason: String,
    unread: bool,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable {
            reason: format!("cannot be read: {error}"),
            unread: true,
        }
    }
}

fn read(entry: &Entry, options: &DecodeOptions) -> Result<Vec<u8>, Unusable> {
    let file = File::open(&entry.file)?;
    let length = file.metadata()?.len();
    let limit = options
        .max_pixels
        .saturating_mul(BYTES_PER_PIXEL)
        .saturating_add(METADATA_BYTES);
    if length > limit {
        let max_pixels = options.max_pixels;
        return Err(Unusable {
            reason: format!(
                "{length} bytes are more than an image of max_pixels = {max_pixels} needs"
            ),
            unread: false,
        });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Label, split and metadata of an image.
#[derive(Debug, Clone, Default)]
pub struct Annotation<'k> {
    pub label: Option<i32>,
    pub label_name: Option<&'k str>,
    pub split: Option<&'k str>,
    /// Row in the metadata.
    pub metadata: Option<u32>,
}

/// Rows of `images`; ids start at `first_id`.
pub fn batch(
    first_id: usize,
    entries: &[Entry],
    annotations: &[Annotation],
    rows: &[Row],
    metadata: &Metadata,
) -> Result<RecordBatch> {
    let figure = |pick: fn(&Quality) -> f32| {
        let figures = rows.iter().map(|row| row.quality.as_ref().map(pick));
        figures.collect()
    };
    let dimension = |pick: fn((u32, u32)) -> u32| {
        let values = rows.iter().map(|row| i32::try_from(pick(row.size?)).ok());
        values.collect()
    };
    let phash = |row: &Row| Some(row.quality.as_ref()?.phash);
    let attributes: Vec<Option<u32>> = annotations.iter().map(|one| one.metadata).collect();
    let attributes = (metadata.select(&attributes))
        .map_err(|error| Error::internal("the metadata of images", error))?;
    let fields = metadata
        .attributes()
        .map(|(name, kind)| Field::new(name, kind.clone(), true));
    images::Columns {
        image_id: (first_id..).take(rows.len()).map(|id| id as u32).collect(),
        path: entries.iter().map(|entry| Some(&entry.path)).collect(),
        digest: rows.iter().map(|row| row.digest.as_ref()).collect(),
        width: dimension(|(width, _)| width),
        height: dimension(|(_, height)| height),
        orientation: (rows.iter())
            .map(|row| row.orientation.map(i16::from))
            .collect(),
        label: annotations.iter().map(|one| one.label).collect(),
        label_name: annotations.iter().map(|one| one.label_name).collect(),
        split: annotations.iter().map(|one| one.split).collect(),
        error: rows.iter().map(|row| row.error.as_ref()).collect(),
        warning: rows.iter().map(|row| row.warning.as_ref()).collect(),
        brightness: figure(|quality| quality.brightness),
        contrast: figure(|quality| quality.contrast),
        sharpness: figure(|quality| quality.sharpness),
        entropy: figure(|quality| quality.entropy),
        saturation: figure(|quality| quality.saturation),
        warmth: figure(|quality| quality.warmth),
        tint: figure(|quality| quality.tint),
        phash: rows.iter().map(phash).collect(),
    }
    .batch_and(fields.zip(attributes))
}

/// Rows of `label_votes`.
pub fn votes(first_id: usize, annotations: &[Annotation], votes: &Votes) -> Result<RecordBatch> {
    let of_images = (first_id..).zip(annotations).filter_map(|(id, one)| {
        let agreement = votes.agreement(one.metadata?, one.label_name)?;
        Some((id as u32, agreement))
    });
    let found: Vec<(u32, Agreement)> = of_images.collect();
    label_votes::Columns {
        image_id: found.iter().map(|(id, _)| *id).collect(),
        votes: found.iter().map(|(_, one)| one.votes as f32).collect(),
        majority: found.iter().map(|(_, one)| Some(one.majority)).collect(),
        majority_share: found
            .iter()
            .map(|(_, one)| one.majority_share as f32)
            .collect(),
        agreement: (found.iter())
            .map(|(_, one)| one.agreement.map(|share| share as f32))
            .collect(),
        entropy: found.iter().map(|(_, one)| one.entropy as f32).collect(),
    }
    .batch()
}
