//! Embedding Atlas: a Parquet file with coordinates, neighbours by row, and thumbnails.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryArray, Float32Builder, Int64Builder, ListBuilder, StringArray, StructArray,
    },
    datatypes::{DataType, Field, Fields},
};
use prospect_common::Result;

use super::{
    Folder, Outline, Record, Summary, Writer,
    columns::{self, Columns, Table},
    writer::word,
};
use crate::picture::Picture;

const NAME: &str = "images.parquet";
/// JPEG quality, 1 to 100.
const QUALITY: u8 = 85;
/// The map shown first, in order of preference; all maps are columns.
const PREFERRED: [&str; 3] = ["umap", "tsne", "pca"];

pub(super) struct Atlas {
    outline: Outline,
    table: Table,
    has_thumbnails: bool,
    rows: u64,
}

impl Atlas {
    pub fn new(folder: &Folder, outline: Outline, thumbnail_size: u32) -> Result<Atlas> {
        let has_thumbnails = thumbnail_size > 0;
        let columns = if has_thumbnails {
            with_thumbnails
        } else {
            rows
        };
        Ok(Atlas {
            table: Table::new(folder, NAME, columns, HashMap::new())?,
            outline,
            has_thumbnails,
            rows: 0,
        })
    }
}

impl Writer for Atlas {
    fn write(&mut self, _: &Folder, record: Record) -> Result<()> {
        self.rows += 1;
        self.table.push(&self.outline, record)
    }

    fn finish(self: Box<Self>, folder: &Folder) -> Result<Summary> {
        self.table.finish(&self.outline)?;
        let preferred = PREFERRED
            .into_iter()
            .find(|name| self.outline.maps.iter().any(|map| map == name));
        let first = self.outline.maps.first().map(String::as_str);
        let map = preferred.or(first).unwrap_or_default();
        let mut open = format!(
            "embedding-atlas {} --x {map}_x --y {map}_y --neighbors neighbors",
            word(&folder.target().join(NAME))
        );
        if self.has_thumbnails {
            open += " --image thumbnail";
        }
        Ok(Summary {
            rows: self.rows,
            open,
            remarks: Vec::new(),
        })
    }
}

fn rows(outline: &Outline, records: &[Record]) -> Columns {
    let label = |record: &Record| Some(outline.class(record.label?));
    let mut all = vec![(
        "label".to_string(),
        columns::texts(records.iter().map(label)),
    )];
    all.extend(columns::common(outline, records));
    let findings = columns::texts(records.iter().map(columns::joined_kinds));
    let evidence = columns::texts(records.iter().map(columns::joined_evidence));
    all.push(("findings".to_string(), findings));
    all.push(("evidence".to_string(), evidence));
    all.extend(columns::coordinates(outline, records));
    all.push(("neighbors".to_string(), neighbors(records)));
    all
}

fn with_thumbnails(outline: &Outline, records: &[Record]) -> Columns {
    let mut all = rows(outline, records);
    all.push(("thumbnail".to_string(), thumbnails(records)));
    all
}

/// `{ids, distances}`, where ids are row numbers from 0.
fn neighbors(records: &[Record]) -> ArrayRef {
    let mut ids = ListBuilder::new(Int64Builder::new());
    let mut distances = ListBuilder::new(Float32Builder::new());
    for record in records {
        let near = &record.neighbors;
        ids.append_value(near.iter().map(|(row, _)| Some(i64::from(*row))));
        distances.append_value(near.iter().map(|(_, distance)| Some(*distance)));
    }
    let arrays: [(&str, ArrayRef); 2] = [
        ("ids", Arc::new(ids.finish())),
        ("distances", Arc::new(distances.finish())),
    ];
    struct_array(arrays)
}

/// `{bytes, path}`, the format of images in Hugging Face tables.
fn thumbnails(records: &[Record]) -> ArrayRef {
    let bytes = records
        .iter()
        .map(|record| jpeg(record.thumbnail.as_ref()?));
    let bytes: Vec<Option<Vec<u8>>> = bytes.collect();
    let bytes: BinaryArray = bytes.iter().map(Option::as_deref).collect();
    let paths: StringArray = records.iter().map(|record| Some(&record.path)).collect();
    let arrays: [(&str, ArrayRef); 2] = [("bytes", Arc::new(bytes)), ("path", Arc::new(paths))];
    struct_array(arrays)
}

fn jpeg(picture: &Picture) -> Option<Vec<u8>> {
    let (width, height) = (
        u16::try_from(picture.width).ok()?,
        u16::try_from(picture.height).ok()?,
    );
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, QUALITY);
    let encoded = encoder.encode(&picture.pixels, width, height, jpeg_encoder::ColorType::Rgb);
    encoded.ok().map(|()| bytes)
}

fn struct_array(arrays: [(&str, ArrayRef); 2]) -> ArrayRef {
    let field = |(name, array): &(&str, ArrayRef)| {
        let kind: DataType = array.data_type().clone();
        Field::new(*name, kind, true)
    };
    let fields: Fields = arrays.iter().map(field).collect();
    let arrays = arrays.into_iter().map(|(_, array)| array).collect();
    Arc::new(StructArray::new(fields, arrays, None))
}
