//! Rows of images whose content an earlier run has put through the network.

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
    schema::{cams, extracted, features, maps, predictions, units},
    takeover::{Source, content, sources},
};
use prospect_store::{
    check_bytes,
    declare::{Cell, Column, Table, Text},
};
use serde_json::Value;

use super::image_row::ImageRow;

/// The column by which the tables are joined.
const IMAGE_ID: &str = extracted::image_id.name;

/// Where an image's rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    source: u16,
    part: u32,
    image_id: u32,
}

/// What earlier runs know, by content.
pub struct Earlier {
    stage: &'static str,
    sources: Arc<Vec<Source>>,
    /// With the network's class of the label that the image had then.
    places: HashMap<blake3::Hash, (Place, Option<i32>)>,
    /// Whether rows depend on the label otherwise than through the logits.
    by_label: bool,
    /// Parts that were looked at, and whether their files are what was written.
    sound: BTreeMap<(u16, u32), bool>,
}

/// The rows of some images, as they are to be written: under the ids of now, in any order.
#[derive(Default)]
pub struct Taken {
    pub images: Vec<ImageRow>,
    /// `[images, classes]`
    pub logits: Vec<f32>,
    pub features: Vec<RecordBatch>,
    /// Of each layer.
    pub units: Vec<Vec<RecordBatch>>,
    pub maps: Vec<Vec<RecordBatch>>,
    pub cams: Vec<Vec<RecordBatch>>,
}

/// The layers of the tables that have one row a layer.
pub struct Layers<'l> {
    pub units: Vec<&'l str>,
    pub maps: Vec<&'l str>,
    pub cams: Vec<&'l str>,
}

impl Earlier {
    /// Looks up which contents are known. `by_label`: rows are explanations for the label's class.
    pub fn read(
        ctx: &Context,
        stage: &Stage,
        parameters: &Value,
        by_label: bool,
    ) -> Result<Earlier> {
        let sources = sources(ctx, stage, parameters)?;
        let mut places = HashMap::new();
        for (number, source) in sources.iter().enumerate() {
            let parts = source.record(stage.name).map(|record| record.parts.keys());
            for &part in parts.into_iter().flatten() {
                let columns = (extracted::image_id, extracted::digest, extracted::class);
                for batch in source.run.rows(&source.manifest, columns).part(part) {
                    for (image_id, digest, class) in batch?.iter() {
                        let Some(content) = content(digest) else {
                            continue;
                        };
                        let place = Place {
                            source: number as u16,
                            part: part as u32,
                            image_id,
                        };
                        // The best source comes first.
                        places.entry(content).or_insert((place, class));
                    }
                }
            }
        }
        Ok(Earlier {
            stage: stage.name,
            sources: Arc::new(sources),
            places,
            by_label,
            sound: BTreeMap::new(),
        })
    }

    /// Where the rows of an image lie whose label is the network's `class`, if they are known and not damaged.
    pub fn find(&mut self, row: &ImageRow, class: Option<usize>) -> Option<Place> {
        let (place, before) = *self.places.get(&content(&row.digest)?)?;
        if self.by_label && before != class.map(|class| class as i32) {
            return None;
        }
        let key = (place.source, place.part);
        let sound = match self.sound.get(&key) {
            Some(&sound) => sound,
            None => {
                let sound = self.is_sound(place);
                self.sound.insert(key, sound);
                sound
            }
        };
        sound.then_some(place)
    }

    /// Compares a part's files with the manifest, checksums included: damage is not to be handed on under a new one.
    fn is_sound(&self, place: Place) -> bool {
        let Some(source) = self.sources.get(usize::from(place.source)) else {
            return false;
        };
        let record = source.record(self.stage);
        let part = record.and_then(|record| record.parts.get(&(place.part as usize)));
        let files = part.into_iter().flat_map(|part| &part.files);
        let mut damaged = files
            .filter(|file| file.table.is_some())
            .filter_map(|file| check_bytes(&source.run, file).err());
        match damaged.next() {
            None => true,
            Some(error) => {
                let shown = error.to_string();
                tracing::warn!("{}; its images are read anew", escaped(&shown));
                false
            }
        }
    }

    /// The sources, to read from while [`Earlier::find`] goes on.
    pub fn sources(&self) -> Arc<Vec<Source>> {
        Arc::clone(&self.sources)
    }
}

/// Reads the rows of images, each of which lies in its place.
pub fn fetch(
    sources: &[Source],
    wanted: Vec<(ImageRow, Place)>,
    layers: &Layers,
    n_classes: usize,
) -> Result<Taken> {
    let mut taken = Taken {
        units: layers.units.iter().map(|_| Vec::new()).collect(),
        maps: layers.maps.iter().map(|_| Vec::new()).collect(),
        cams: layers.cams.iter().map(|_| Vec::new()).collect(),
        ..Taken::default()
    };
    let mut by_part: BTreeMap<(u16, u32), Vec<(u32, ImageRow)>> = BTreeMap::new();
    for (row, place) in wanted {
        let part = by_part.entry((place.source, place.part)).or_default();
        part.push((place.image_id, row));
    }
    for ((source, part), mut rows) in by_part {
        let source = &sources[usize::from(source)];
        rows.sort_by_key(|(before, row)| (*before, row.image_id));
        let ids: Vec<(u32, u32)> = rows.iter().map(|(id, row)| (*id, row.image_id)).collect();
        let part = Part {
            source,
            part: part as usize,
            ids: &ids,
        };
        part.logits(n_classes, &mut taken.logits)?;
        taken.features.extend(part.rows(&features::TABLE, None)?);
        for (column, layers, into) in [
            (units::layer, &layers.units, &mut taken.units),
            (maps::layer, &layers.maps, &mut taken.maps),
            (cams::layer, &layers.cams, &mut taken.cams),
        ] {
            for (&layer, into) in layers.iter().zip(into) {
                into.extend(part.rows(column.table, Some((column, layer)))?);
            }
        }
        taken.images.extend(rows.into_iter().map(|(_, row)| row));
    }
    Ok(taken)
}

/// One part of earlier tables, of which some images' rows are wanted.
struct Part<'p> {
    source: &'p Source,
    part: usize,
    /// Ids then and now, ascending. Several images of now may have the content of one of then.
    ids: &'p [(u32, u32)],
}

impl Part<'_> {
    /// The ids of now of an image of then.
    fn now(&self, before: u32) -> impl Iterator<Item = u32> {
        let first = self.ids.partition_point(|(id, _)| *id < before);
        let same = self.ids[first..]
            .iter()
            .take_while(move |(id, _)| *id == before);
        same.map(|(_, now)| *now)
    }

    /// Appends the logits of the wanted images, in order of [`Part::ids`].
    fn logits(&self, n_classes: usize, into: &mut Vec<f32>) -> Result<()> {
        let Source { run, manifest } = self.source;
        let columns = (predictions::image_id, predictions::logits);
        let mut found: Vec<u32> = Vec::new();
        for batch in run.rows(manifest, columns).part(self.part) {
            let batch = batch?;
            batch.check_length(&batch.columns().1, n_classes)?;
            for (before, logits) in batch.iter() {
                for now in self.now(before) {
                    found.push(now);
                    into.extend(logits);
                }
            }
        }
        if !found.iter().eq(self.ids.iter().map(|(_, now)| now)) {
            return Err(self.unexpected(&predictions::TABLE, "a row of every image of extracted"));
        }
        Ok(())
    }

    /// The wanted rows of a table, of one layer or all, under the ids of now and otherwise as they are.
    fn rows(&self, table: &Table, layer: Option<(Column<Text>, &str)>) -> Result<Vec<RecordBatch>> {
        let Source { run, manifest } = self.source;
        let mut reader = run.read(manifest, table.name).part(self.part);
        if let Some((column, layer)) = layer {
            reader = reader.only(column.name, layer);
        }
        let mut found = Vec::new();
        for batch in reader {
            let batch = batch?;
            let before = (batch.column_by_name(IMAGE_ID))
                .and_then(|ids| u32::read(ids).ok())
                .ok_or_else(|| self.unexpected(table, "image ids"))?;
            let (mut places, mut ids) = (Vec::new(), Vec::new());
            for (row, &id) in before.values().iter().enumerate() {
                for now in self.now(id) {
                    places.push(row as u32);
                    ids.push(now);
                }
            }
            if places.is_empty() {
                continue;
            }
            let renewed = take_record_batch(&batch, &UInt32Array::from(places))
                .and_then(|rows| with_ids(rows, ids));
            found.push(renewed.map_err(|error| self.unexpected(table, &error.to_string()))?);
        }
        Ok(found)
    }

    fn unexpected(&self, table: &Table, expected: &str) -> Error {
        Error::invalid(
            self.source.run.path(&format!("tables/{}", table.name)),
            expected,
            format!("something else in part {}", self.part),
            "run `prospect verify` there, or do not take rows from it",
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

/// New and taken rows as one batch in ascending order of ids; the rows of an image keep their order.
pub fn merged(new: RecordBatch, taken: Vec<RecordBatch>) -> Result<RecordBatch, ArrowError> {
    if taken.is_empty() {
        return Ok(new);
    }
    let schema = new.schema();
    let all = concat_batches(&schema, std::iter::once(&new).chain(&taken))?;
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
        let taken = vec![batch(&[4, 4], &["d", "e"]), batch(&[0, 2], &["f", "g"])];
        let expected = batch(&[0, 1, 1, 2, 4, 4, 5], &["f", "a", "b", "g", "d", "e", "c"]);
        assert_eq!(merged(new.clone(), taken).unwrap(), expected);
        assert_eq!(merged(new.clone(), Vec::new()).unwrap(), new);
        // Another column type is refused, not cast.
        let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
        let ids: ArrayRef = Arc::new(UInt32Array::from(vec![9]));
        let other = RecordBatch::try_from_iter([("word", numbers), ("image_id", ids)]).unwrap();
        assert!(merged(new, vec![other]).is_err());
    }
}
