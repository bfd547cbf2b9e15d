//! Selects the images of the report and writes their records.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use prospect_common::Result;
use prospect_engine::{
    schema::{predictions, probe},
    tables::{classes::name_of, files::File},
};
use prospect_store::declare::Column;
use serde_json::{Map, Value, json};

use super::{
    super::neighbors::nearest_of,
    frame::{Frame, Page},
    issues::Issue,
};

/// Image ids per data file.
pub const SHARD: u32 = 1000;
/// Neighbours listed per image.
const NEIGHBORS: usize = 12;
/// Maximum number of large pictures.
const LARGE: usize = 2000;
/// Findings listed per image.
const FINDINGS: usize = 12;

/// The images that the report shows.
pub struct Selection {
    pub all: BTreeSet<u32>,
    /// Those with a large picture.
    pub large: HashSet<u32>,
    /// Nearest images of each, nearest first.
    near: HashMap<u32, Vec<u32>>,
}

impl Selection {
    /// At most `max` of the `n` images: those on the pages, in their order of importance; then their nearest images; then an
    /// even sample of the rest.
    pub fn choose(frame: &Frame, pages: &[Page], n: u32, max: usize) -> Result<Selection> {
        let mut all = BTreeSet::new();
        let mut take = |id: u32| {
            if id < n && all.len() < max {
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
        // In this order any prefix is an even sample, wherever the limit cuts it.
        for ids in many.iter().map(|page| &page.images) {
            even_order(ids.len()).for_each(|at| take(ids[at]));
        }
        even_order(n as usize).for_each(|id| take(id as u32));
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
        Ok(Selection { all, large, near })
    }

    /// The data files `index` and `images-NNN`, with the records of all `files`.
    pub fn records(
        &self,
        frame: &Frame,
        files: &BTreeMap<u32, File>,
        issues: &[Issue],
        overlays: &HashMap<u32, String>,
    ) -> Result<Vec<(String, Value)>> {
        let records = files.iter().map(|(id, file)| (*id, self.record(file)));
        let mut records: BTreeMap<u32, Map<String, Value>> = records.collect();
        let (network, dataset) = (&frame.names.network, &frame.names.dataset);
        let columns = (
            predictions::image_id,
            predictions::pred,
            predictions::p_pred,
        );
        add_classes(frame, columns, "pred", network, &mut records)?;
        let columns = (probe::image_id, probe::pred, probe::p_pred);
        add_classes(frame, columns, "probe", dataset, &mut records)?;
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
                    json!([[
                        path,
                        "The photo, and where the network saw evidence for each class"
                    ]]),
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

    /// The fields from the table `images`.
    fn record(&self, file: &File) -> Map<String, Value> {
        let mut record = Map::new();
        record.insert("path".into(), json!(file.path));
        for (name, text) in [
            ("label", &file.label),
            ("split", &file.split),
            ("error", &file.error),
        ] {
            if let Some(text) = text {
                record.insert(name.into(), json!(text));
            }
        }
        if let Some(size) = file.size {
            record.insert("size".into(), json!(size));
        }
        record.insert("thumb".into(), json!(file.error.is_none()));
        if file.error.is_none() && self.large.contains(&file.image_id) {
            record.insert("large".into(), json!(true));
        }
        record
    }
}

/// Adds each image's predicted class and its probability.
fn add_classes(
    frame: &Frame,
    columns: (Column<u32>, Column<i32>, Column<f32>),
    field: &str,
    names: &BTreeMap<i32, String>,
    records: &mut BTreeMap<u32, Map<String, Value>>,
) -> Result<()> {
    if !frame.manifest.has(columns.0.table.name) {
        return Ok(());
    }
    for batch in frame.ctx.run.rows(&frame.manifest, columns) {
        for (id, class, share) in batch?.iter() {
            if let Some(record) = records.get_mut(&id) {
                let share = (f64::from(share) * 1e4).round() / 1e4;
                record.insert(field.into(), json!([name_of(names, class), share]));
            }
        }
    }
    Ok(())
}

/// 0..n in an order whose every prefix is evenly spaced: bit-reversed counting (van der Corput).
fn even_order(n: usize) -> impl Iterator<Item = usize> {
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
    fn every_prefix_is_evenly_spaced() {
        for n in [0, 1, 2, 5, 8, 1000] {
            let places: Vec<usize> = even_order(n).collect();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        }
        let mut first: Vec<usize> = even_order(1024).take(64).collect();
        first.sort_unstable();
        assert!(first.windows(2).all(|pair| pair[1] - pair[0] == 16));
    }
}
