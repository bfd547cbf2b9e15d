//! Records as Arrow columns, for Parquet formats.

use std::{collections::HashMap, mem, path::PathBuf, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
        UInt32Array,
    },
    datatypes::{Field, Schema, SchemaRef},
};
use prospect_common::{Error, Result};
use prospect_store::StandaloneTable;

use super::{Folder, Outline, Prediction, Record, record::kinds};

/// Rows per row group, the unit that readers load.
const ROWS: usize = 4096;

/// Named columns. All are nullable, as their readers expect.
pub(super) type Columns = Vec<(String, ArrayRef)>;

/// A Parquet file of records, written one row group at a time.
pub(super) struct Table {
    name: String,
    path: PathBuf,
    columns: fn(&Outline, &[Record]) -> Columns,
    /// Schema metadata for its readers.
    metadata: HashMap<String, String>,
    records: Vec<Record>,
    file: Option<StandaloneTable>,
}

impl Table {
    pub fn new(
        folder: &Folder,
        name: &str,
        columns: fn(&Outline, &[Record]) -> Columns,
        metadata: HashMap<String, String>,
    ) -> Result<Table> {
        Ok(Table {
            name: name.to_string(),
            path: folder.path(name)?,
            columns,
            metadata,
            records: Vec::new(),
            file: None,
        })
    }

    pub fn push(&mut self, outline: &Outline, record: Record) -> Result<()> {
        self.records.push(record);
        if self.records.len() == ROWS {
            self.flush(outline)?;
        }
        Ok(())
    }

    fn flush(&mut self, outline: &Outline) -> Result<()> {
        let columns = (self.columns)(outline, &mem::take(&mut self.records));
        let batch = self.batch(columns)?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(StandaloneTable::create(&self.path, batch.schema())?),
        };
        file.write(&batch)
    }

    fn batch(&self, columns: Columns) -> Result<RecordBatch> {
        let field = |(name, array): &(String, ArrayRef)| {
            Field::new(name.as_str(), array.data_type().clone(), true)
        };
        let fields: Vec<Field> = columns.iter().map(field).collect();
        let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, self.metadata.clone()));
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(schema, arrays).map_err(|error| Error::internal(&self.name, error))
    }

    /// Finishes the file, which has columns even without rows.
    pub fn finish(mut self, outline: &Outline) -> Result<()> {
        if !self.records.is_empty() || self.file.is_none() {
            self.flush(outline)?;
        }
        match self.file {
            Some(file) => file.finish(),
            None => Ok(()),
        }
    }
}

pub(super) fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(super) fn floats(values: impl Iterator<Item = Option<f32>>) -> ArrayRef {
    Arc::new(values.collect::<Float32Array>())
}

/// Lists of texts.
pub(super) fn text_lists<'r>(rows: impl Iterator<Item = Vec<&'r str>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        lists.append_value(row.into_iter().map(Some));
    }
    Arc::new(lists.finish())
}

/// The columns of all Parquet exports, except label and findings.
pub(super) fn common(outline: &Outline, records: &[Record]) -> Columns {
    let name = |of: fn(&Record) -> &Option<Prediction>| {
        texts(
            records
                .iter()
                .map(move |record| Some(of(record).as_ref()?.name.clone())),
        )
    };
    let confidence = |of: fn(&Record) -> &Option<Prediction>| {
        floats(
            records
                .iter()
                .map(move |record| Some(of(record).as_ref()?.confidence)),
        )
    };
    let numbers = |of: fn(&Record) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(records.iter().map(of)))
    };
    let suggested = records
        .iter()
        .map(|record| Some(outline.class(record.suggested?)));
    let issues: BooleanArray = records.iter().map(|record| record.label_issue).collect();
    let columns: [(&str, ArrayRef); 12] = [
        ("image_id", numbers(|record| record.image_id)),
        (
            "path",
            texts(records.iter().map(|record| Some(record.path.clone()))),
        ),
        ("width", numbers(|record| record.size[0])),
        ("height", numbers(|record| record.size[1])),
        (
            "split",
            texts(records.iter().map(|record| record.split.clone())),
        ),
        ("prediction", name(|record| &record.prediction)),
        ("confidence", confidence(|record| &record.prediction)),
        ("probe", name(|record| &record.probe)),
        ("probe_confidence", confidence(|record| &record.probe)),
        ("suggested_label", texts(suggested)),
        (
            "label_score",
            floats(records.iter().map(|record| record.label_score)),
        ),
        ("label_issue", Arc::new(issues)),
    ];
    let named = columns.into_iter();
    named
        .map(|(name, array)| (name.to_string(), array))
        .collect()
}

/// Coordinates on all maps: `umap_x`, `umap_y`, …
pub(super) fn coordinates(outline: &Outline, records: &[Record]) -> Columns {
    let maps = outline.maps.iter().enumerate();
    maps.flat_map(|(at, map)| {
        ["x", "y"].into_iter().enumerate().map(move |(axis, name)| {
            let values = records
                .iter()
                .map(|record| Some((*record.coordinates.get(at)?)?[axis]));
            (format!("{map}_{name}"), floats(values))
        })
    })
    .collect()
}

/// `label, blurred`; none if there are no findings.
pub(super) fn joined_kinds(record: &Record) -> Option<String> {
    (!record.findings.is_empty()).then(|| kinds(record).join(", "))
}

/// The evidence of all findings.
pub(super) fn joined_evidence(record: &Record) -> Option<String> {
    let all: Vec<&str> = record
        .findings
        .iter()
        .map(|found| found.evidence.as_str())
        .collect();
    (!all.is_empty()).then(|| all.join("; "))
}
