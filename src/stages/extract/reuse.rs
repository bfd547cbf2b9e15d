//! Reuse of earlier rows for images whose content has already been through the network.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::UInt32Type,
    error::ArrowError,
};
use prospect_common::{Error, Result, text::escaped};
use prospect_engine::{
    Context, Stage,
    reuse::{Source, parse_digest, sources},
    schema::{cams, extracted, features, maps, predictions, units},
};
use prospect_store::{
    check_bytes,
    declare::{Cell, Column, Table, Text},
};
use serde_json::Value;

use super::image_row::ImageRow;

/// The column that joins the tables.
const IMAGE_ID: &str = extracted::image_id.name;

/// Location of an image's earlier rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    source: u16,
    part: u32,
    image_id: u32,
}

/// Locations of earlier rows, by content.
pub struct EarlierRows {
    stage: &'static str,
    sources: Arc<Vec<Source>>,
    /// With the network's class of the image's label at that time.
    locations: HashMap<blake3::Hash, (Location, Option<i32>)>,
    /// Whether explanations depend on the label: rows are reused only for the same label then.
    by_label: bool,
    /// Whether the files of each part checked so far are undamaged.
    intact: BTreeMap<(u16, u32), bool>,
}

/// Earlier rows with the current image ids, in any order.
#[derive(Default)]
pub struct Reused {
    pub images: Vec<ImageRow>,
    /// `[images, classes]`
    pub logits: Vec<f32>,
    pub features: Vec<RecordBatch>,
    /// By layer, like the next two.
    pub units: Vec<Vec<RecordBatch>>,
    pub maps: Vec<Vec<RecordBatch>>,
    pub cams: Vec<Vec<RecordBatch>>,
}

/// Names of the layers in each table that has a row per layer.
pub struct LayerNames<'l> {
    pub units: Vec<&'l str>,
    pub maps: Vec<&'l str>,
    pub cams: Vec<&'l str>,
}

impl EarlierRows {
    /// Indexes the earlier rows. `by_label`: explanations depend on the label.
    pub fn read(
        ctx: &Context,
        stage: &Stage,
        parameters: &Value,
        by_label: bool,
    ) -> Result<EarlierRows> {
        let sources = sources(ctx, stage, parameters)?;
        let mut locations = HashMap::new();
        for (number, source) in sources.iter().enumerate() {
            let parts = source.record(stage.name).map(|record| record.parts.keys());
            for &part in parts.into_iter().flatten() {
                let columns = (extracted::image_id, extracted::digest, extracted::class);
                for batch in source.run.rows(&source.manifest, columns).part(part) {
                    for (image_id, digest, class) in batch?.iter() {
                        let Some(content) = parse_digest(digest) else {
                            continue;
                        };
                        let location = Location {
                            source: number as u16,
                            part: part as u32,
                            image_id,
                        };
                        // Sources are ordered best first.
                        locations.entry(content).or_insert((location, class));
                    }
                }
            }
        }
        Ok(EarlierRows {
            stage: stage.name,
            sources: Arc::new(sources),
            locations,
            by_label,
            intact: BTreeMap::new(),
        })
    }

    /// The undamaged earlier rows of an image whose label is the network's `class`, if any.
    pub fn find(&mut self, row: &ImageRow, class: Option<usize>) -> Option<Location> {
        let (location, before) = *self.locations.get(&parse_digest(&row.digest)?)?;
        if self.by_label && before != class.map(|class| class as i32) {
            return None;
        }
        let key = (location.source, location.part);
        let intact = match self.intact.get(&key) {
            Some(&intact) => intact,
            None => {
                let intact = self.is_intact(location);
                self.intact.insert(key, intact);
                intact
            }
        };
        intact.then_some(location)
    }

    /// Compares a part's files with the manifest, including checksums: copies of damaged rows would get valid ones.
    fn is_intact(&self, location: Location) -> bool {
        let Some(source) = self.sources.get(usize::from(location.source)) else {
            return false;
        };
        let record = source.record(self.stage);
        let part = record.and_then(|record| record.parts.get(&(location.part as usize)));
        let files = part.into_iter().flat_map(|part| &part.files);
        let mut damaged = files
            .filter(|file| file.table.is_some())
            .filter_map(|file| check_bytes(&source.run, file).err());
        match damaged.next() {
            None => true,
            Some(error) => {
                let shown = error.to_string();
                tracing::warn!(
                    "{}; its images run through the network again",
                    escaped(&shown)
                );
                false
            }
        }
    }

    /// The sources, shared with the thread that reads the rows.
    pub fn sources(&self) -> Arc<Vec<Source>> {
        Arc::clone(&self.sources)
    }
}

/// Reads earlier rows from their locations.
pub fn fetch(
    sources: &[Source],
    wanted: Vec<(ImageRow, Location)>,
    layers: &LayerNames,
    n_classes: usize,
) -> Result<Reused> {
    let mut reused = Reused {
        units: layers.units.iter().map(|_| Vec::new()).collect(),
        maps: layers.maps.iter().map(|_| Vec::new()).collect(),
        cams: layers.cams.iter().map(|_| Vec::new()).collect(),
        ..Reused::default()
    };
    let mut by_part: BTreeMap<(u16, u32), Vec<(u32, ImageRow)>> = BTreeMap::new();
    for (row, location) in wanted {
        let part = by_part.entry((location.source, location.part)).or_default();
        part.push((location.image_id, row));
    }
    for ((source, part), mut rows) in by_part {
        let source = &sources[usize::from(source)];
        rows.sort_by_key(|(earlier, row)| (*earlier, row.image_id));
        let ids: Vec<(u32, u32)> = rows.iter().map(|(id, row)| (*id, row.image_id)).collect();
        let part = Part {
            source,
            part: part as usize,
            ids: &ids,
        };
        part.logits(n_classes, &mut reused.logits)?;
        reused.features.extend(part.rows(&features::TABLE, None)?);
        for (column, layers, into) in [
            (units::layer, &layers.units, &mut reused.units),
            (maps::layer, &layers.maps, &mut reused.maps),
            (cams::layer, &layers.cams, &mut reused.cams),
        ] {
            for (&layer, into) in layers.iter().zip(into) {
                into.extend(part.rows(column.table, Some((column, layer)))?);
            }
        }
        reused.images.extend(rows.into_iter().map(|(_, row)| row));
    }
    Ok(reused)
}

/// One part of the earlier tables, and the images whose rows are reused.
struct Part<'p> {
    source: &'p Source,
    part: usize,
    /// Earlier and current ids, ascending. Several current images may share the content of an earlier one.
    ids: &'p [(u32, u32)],
}

impl Part<'_> {
    /// The current ids of an earlier image.
    fn current(&self, earlier: u32) -> impl Iterator<Item = u32> {
        let first = self.ids.partition_point(|(id, _)| *id < earlier);
        let same = self.ids[first..]
            .iter()
            .take_while(move |(id, _)| *id == earlier);
        same.map(|(_, current)| *current)
    }

    /// Appends the images' logits, in order of [`Part::ids`].
    fn logits(&self, n_classes: usize, into: &mut Vec<f32>) -> Result<()> {
        let Source { run, manifest } = self.source;
        let columns = (predictions::image_id, predictions::logits);
        let mut found: Vec<u32> = Vec::new();
        for batch in run.rows(manifest, columns).part(self.part) {
            let batch = batch?;
            batch.check_length(&batch.columns().1, n_classes)?;
            for (earlier, logits) in batch.iter() {
                for current in self.current(earlier) {
                    found.push(current);
                    into.extend(logits);
                }
            }
        }
        if !found.iter().eq(self.ids.iter().map(|(_, current)| current)) {
            return Err(self.unexpected(&predictions::TABLE, "a row for every image of extracted"));
        }
        Ok(())
    }

    /// The images' rows of a table, of one layer or all, with current ids.
    fn rows(&self, table: &Table, layer: Option<(Column<Text>, &str)>) -> Result<Vec<RecordBatch>> {
        let Source { run, manifest } = self.source;
        let mut reader = run.read(manifest, table.name).part(self.part);
        if let Some((column, layer)) = layer {
            reader = reader.only(column.name, layer);
        }
        let mut found = Vec::new();
        for batch in reader {
            let batch = batch?;
            let earlier = (batch.column_by_name(IMAGE_ID))
                .and_then(|ids| u32::read(ids).ok())
                .ok_or_else(|| self.unexpected(table, "image ids"))?;
            let (mut rows, mut ids) = (Vec::new(), Vec::new());
            for (row, &id) in earlier.values().iter().enumerate() {
                for current in self.current(id) {
                    rows.push(row as u32);
                    ids.push(current);
                }
            }
            if rows.is_empty() {
                continue;
            }
            let renumbered = take_record_batch(&batch, &UInt32Array::from(rows))
                .and_then(|rows| with_ids(rows, ids));
            found.push(renumbered.map_err(|error| self.unexpected(table, &error.to_string()))?);
        }
        Ok(found)
    }

    fn unexpected(&self, table: &Table, expected: &str) -> Error {
        Error::invalid(
            self.source.run.path(&format!("tables/{}", table.name)),
            expected,
            format!("something else in part {}", self.part),
            "run `prospect verify` on that run, or remove [run] previous",
        )
    }
}

fn with_ids(batch: RecordBatch, ids: Vec<u32>) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let at = schema.index_of(IMAGE_ID)?;
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns[at] = Arc::new(UInt32Array::from(ids));
    RecordBatch::try_new(schema, columns)
}

/// New and reused rows in one batch, ascending by id; the rows of an image keep their order.
pub fn merged(new: RecordBatch, reused: Vec<RecordBatch>) -> Result<RecordBatch, ArrowError> {
    if reused.is_empty() {
        return Ok(new);
    }
    let schema = new.schema();
    let all = concat_batches(&schema, std::iter::once(&new).chain(&reused))?;
    let ids = all.column(schema.index_of(IMAGE_ID)?);
    let ids = ids.as_primitive::<UInt32Type>().values();
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_by_key(|&row| ids[row as usize]);
    take_record_batch(&all, &UInt32Array::from(order))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, StringArray};

    use super::*;

    fn batch(ids: &[u32], words: &[&str]) -> RecordBatch {
        RecordBatch::try_from_iter([
            (
                "word",
                Arc::new(StringArray::from(words.to_vec())) as ArrayRef,
            ),
            (
                "image_id",
                Arc::new(UInt32Array::from(ids.to_vec())) as ArrayRef,
            ),
        ])
        .unwrap()
    }

    #[test]
    fn rows_are_merged_by_id_and_stay_in_order_within_an_image() {
        let new = batch(&[1, 1, 5], &["a", "b", "c"]);
        let reused = vec![batch(&[4, 4], &["d", "e"]), batch(&[0, 2], &["f", "g"])];
        let expected = batch(&[0, 1, 1, 2, 4, 4, 5], &["f", "a", "b", "g", "d", "e", "c"]);
        assert_eq!(merged(new.clone(), reused).unwrap(), expected);
        assert_eq!(merged(new.clone(), Vec::new()).unwrap(), new);
        // A different column type is an error, not cast.
        let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
        let ids: ArrayRef = Arc::new(UInt32Array::from(vec![9]));
        let other = RecordBatch::try_from_iter([("word", numbers), ("image_id", ids)]).unwrap();
        assert!(merged(new, vec![other]).is_err());
    }
}
