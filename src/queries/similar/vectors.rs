//! The features of a few images.

use std::collections::{BTreeSet, HashMap, HashSet};

use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::{columns::Columns, features::has_distances},
};
use prospect_store::{Manifest, TableReader};

/// The stored vectors of the wanted images, as far as there are any.
pub fn read(
    ctx: &Context,
    manifest: &Manifest,
    wanted: HashSet<u32>,
) -> Result<HashMap<u32, Vec<f32>>> {
    let mut found = HashMap::with_capacity(wanted.len());
    // Parts are ranges of ids, so few of them are read. Wherever the others are, they are found, too.
    let extract = manifest.stages.get("extract");
    let size = extract.and_then(|stage| stage.parameters.get("part_size")?.as_u64());
    if let Some(size) = size.filter(|size| *size > 0) {
        let parts: BTreeSet<u64> = wanted.iter().map(|id| u64::from(*id) / size).collect();
        for part in parts {
            let features = ctx.run.read(manifest, "features");
            take(ctx, features.part(part as usize), &wanted, &mut found)?;
        }
    }
    if found.len() < wanted.len() {
        let features = ctx.run.read(manifest, "features");
        take(ctx, features, &wanted, &mut found)?;
    }
    Ok(found)
}

fn take(
    ctx: &Context,
    rows: TableReader,
    wanted: &HashSet<u32>,
    found: &mut HashMap<u32, Vec<f32>>,
) -> Result<()> {
    for batch in rows.columns(&["image_id", "vector"]) {
        ctx.cancel.check()?;
        let batch = batch?;
        let columns = Columns::of(ctx.run, "features", &batch);
        let ids = columns.image_ids()?;
        if !ids.iter().any(|id| wanted.contains(id)) {
            continue;
        }
        let dimension = columns.list_length("vector")?;
        let values = columns.float_lists("vector", dimension)?;
        for (id, vector) in ids.iter().zip(values.chunks_exact(dimension.max(1))) {
            if wanted.contains(id) {
                found.insert(*id, vector.to_vec());
            }
        }
    }
    Ok(())
}

/// A vector that has distances.
pub fn finite(vector: Vec<f32>) -> Result<Vec<f32>, String> {
    if has_distances(&vector) {
        return Ok(vector);
    }
    Err("the network gives no finite features for it".into())
}
