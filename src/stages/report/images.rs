//! Which images are in the report, and what it says of each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use prospect_common::Result;
use prospect_engine::tables::{
    classes::name_of,
    columns::{Columns, integer, number, text},
};
use serde_json::{Map, Value, json};

use super::{
    super::neighbors::nearest_of,
    frame::{Frame, Page},
    issues::Issue,
};

/// Images whose records stand in one data file.
pub const SHARD: u32 = 1000;
/// Neighbours of each image that are told.
const NEIGHBORS: usize = 12;
/// Images that are there in a larger size at most.
const LARGE: usize = 2000;
/// Findings of an image that are told.
const FINDINGS: usize = 12;

/// The images that the report shows.
pub struct Shown {
    pub all: BTreeSet<u32>,
    /// Of these, those of which there is a large picture.
    pub large: HashSet<u32>,
    /// Nearest images, nearest first, of those of the pages.
    near: HashMap<u32, Vec<u32>>,
}

impl Shown {
    /// At most `most` of the `n` images: those of the pages in the order in which they give them, the nearest of these, and of
    /// all others as many as there is room for, evenly spread.
    pub fn choose(frame: &Frame, pages: &[Page], n: u32, most: usize) -> Result<Shown> {
        let mut all = BTreeSet::new();
        let mut take = |id: u32| {
            if id < n && all.len() < most {
                all.insert(id);
            }
        };
        let (few, many): (Vec<&Page>, Vec<&Page>) =
            pages.iter().partition(|page| page.name != "map");
        few.iter()
            .flat_map(|page| &page.images)
            .for_each(|id| take(*id));
        let first: HashSet<u32> = few
            .iter()
            .flat_map(|page| page.images.iter().copied())
            .collect();
        let near = nearest_of(frame.ctx, &frame.manifest, &first, NEIGHBORS)?;
        for id in few.iter().flat_map(|page| &page.images) {
            near.get(id).into_iter().flatten().for_each(|id| take(*id));
        }
        // Every stride-th, then those between, and so on: wherever there is no more room, they are evenly spread.
        for ids in many.iter().map(|page| &page.images) {
            spread(ids.len()).for_each(|at| take(ids[at]));
        }
        spread(n as usize).for_each(|id| take(id as u32));
        let large = (pages.iter().flat_map(|page| &page.large))
            .copied()
            .filter(|id| all.contains(id));
        let large: HashSet<u32> = large.take(LARGE).collect();
        let near = nearest_of(
            frame.ctx,
            &frame.manifest,
            &all.iter().copied().collect(),
            NEIGHBORS,
        )?;
        Ok(Shown { all, large, near })
    }

    /// The shards as `prospect.load` names them, with the records of their images.
    pub fn records(
        &self,
        frame: &Frame,
        issues: &[Issue],
        overlays: &HashMap<u32, String>,
    ) -> Result<Vec<(String, Value)>> {
        let mut records: BTreeMap<u32, Map<String, Value>> = BTreeMap::new();
        self.read_images(frame, &mut records)?;
        if frame.manifest.has("predictions") {
            self.read_classes(
                frame,
                "predictions",
                "pred",
                &frame.names.network,
                &mut records,
            )?;
        }
        if frame.manifest.has("probe") {
            self.read_classes(frame, "probe", "probe", &frame.names.dataset, &mut records)?;
        }
        for issue in issues {
            if let Some(record) = records.get_mut(&issue.image_id) {
                let list = record.entry("issues").or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut().filter(|list| list.len() < FINDINGS) {
                    list.push(issue.record());
                }
            }
        }
        for (id, record) in &mut records {
            if let Some(near) = self.near.get(id).filter(|near| !near.is_empty()) {
                record.insert("near".into(), json!(near));
            }
            if let Some(path) = overlays.get(id) {
                record.insert(
                    "overlays".into(),
                    json!([[path, "The photo, and where the network saw each class"]]),
                );
            }
        }
        let mut shards: BTreeMap<u32, Map<String, Value>> = BTreeMap::new();
        for (id, record) in records {
            shards
                .entry(id / SHARD)
                .or_default()
                .insert(id.to_string(), Value::Object(record));
        }
        let pictured =
            STANDARD.encode((self.all.iter().flat_map(|id| id.to_le_bytes())).collect::<Vec<u8>>());
        let names: Vec<String> = shards.keys().map(|shard| format!("{shard:03}")).collect();
        let mut files = vec![(
            "index".to_string(),
            json!({ "shards": names, "pictured": pictured }),
        )];
        files.extend(
            (names.iter().zip(shards.into_values()))
                .map(|(name, shard)| (format!("images-{name}"), Value::Object(shard))),
        );
        Ok(files)
    }

    fn read_images(
        &self,
        frame: &Frame,
        records: &mut BTreeMap<u32, Map<String, Value>>,
    ) -> Result<()> {
        let run = frame.ctx.run;
        let names = [
            "image_id",
            "path",
            "label_name",
            "split",
            "error",
            "width",
            "height",
        ];
        for batch in run.read(&frame.manifest, "images").columns(&names) {
            let batch = batch?;
            let columns = Columns::of(run, "images", &batch);
            let [paths, labels, splits, errors] =
                ["path", "label_name", "split", "error"].map(|name| columns.texts(name));
            let (paths, labels, splits, errors) = (paths?, labels?, splits?, errors?);
            let (widths, heights) = (columns.integers("width")?, columns.integers("height")?);
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if !self.all.contains(&id) {
                    continue;
                }
                let mut record = Map::new();
                record.insert("path".into(), json!(text(&paths, row).unwrap_or_default()));
                for (name, cells) in [("label", &labels), ("split", &splits), ("error", &errors)] {
                    if let Some(word) = text(cells, row) {
                        record.insert(name.into(), json!(word));
                    }
                }
                if let (Some(width), Some(height)) = (integer(&widths, row), integer(&heights, row))
                {
                    record.insert("size".into(), json!([width, height]));
                }
                record.insert("thumb".into(), json!(text(&errors, row).is_none()));
                if self.large.contains(&id) {
                    record.insert("large".into(), json!(true));
                }
                records.insert(id, record);
            }
        }
        Ok(())
    }

    /// The class that a table gives each image, and how likely that is.
    fn read_classes(
        &self,
        frame: &Frame,
        table: &str,
        field: &str,
        names: &BTreeMap<i32, String>,
        records: &mut BTreeMap<u32, Map<String, Value>>,
    ) -> Result<()> {
        let run = frame.ctx.run;
        for batch in run
            .read(&frame.manifest, table)
            .columns(&["image_id", "pred", "p_pred"])
        {
            let batch = batch?;
            let columns = Columns::of(run, table, &batch);
            let (classes, shares) = (columns.integers("pred")?, columns.numbers("p_pred")?);
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                let class = integer(&classes, row).and_then(|class| i32::try_from(class).ok());
                if let (Some(record), Some(class)) = (records.get_mut(&id), class) {
                    let share = number(&shares, row).unwrap_or(0.0);
                    let share = (share * 1e4).round() / 1e4;
                    record.insert(field.into(), json!([name_of(names, class), share]));
                }
            }
        }
        Ok(())
    }
}

/// The places 0..n, so that any first part of them is evenly spread: by the bits of a counter, the least first (van der Corput).
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let bits = n.next_power_of_two().trailing_zeros();
    (0..n.next_power_of_two())
        .map(move |at| match bits {
            0 => 0,
            bits => at.reverse_bits() >> (usize::BITS - bits),
        })
        .filter(move |at| *at < n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_evenly() {
        for n in [0, 1, 2, 5, 8, 1000] {
            let places: Vec<usize> = spread(n).collect();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        }
        let mut first: Vec<usize> = spread(1024).take(64).collect();
        first.sort_unstable();
        assert!(first.windows(2).all(|pair| pair[1] - pair[0] == 16));
    }
}
