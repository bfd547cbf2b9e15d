//! Features of selected images.

use std::collections::{BTreeSet, HashMap, HashSet};

use prospect_common::Result;
use prospect_engine::{Context, schema::features, tables::features::has_distances};
use prospect_store::Manifest;

/// The stored vectors of the wanted images; images without one are left out.
pub fn read(
    ctx: &Context,
    manifest: &Manifest,
    wanted: HashSet<u32>,
) -> Result<HashMap<u32, Vec<f32>>> {
    let mut found = HashMap::with_capacity(wanted.len());
    // Parts are ranges of ids, so reading a few suffices; the rest of the table is read only if ids are missing.
    let extract = manifest.stages.get("extract");
    let size = extract.and_then(|stage| stage.parameters.get("part_size")?.as_u64());
    let parts: BTreeSet<u64> = match size.filter(|size| *size > 0) {
        Some(size) => wanted.iter().map(|id| u64::from(*id) / size).collect(),
        None => BTreeSet::new(),
    };
    for part in parts.into_iter().map(Some).chain([None]) {
        if found.len() == wanted.len() {
            break;
        }
        let rows = ctx
            .run
            .rows(manifest, (features::image_id, features::vector));
        let rows = match part {
            Some(part) => rows.part(part as usize),
            None => rows,
        };
        for batch in rows {
            ctx.cancel.check()?;
            let batch = batch?;
            let rows = batch.iter().filter(|(id, _)| wanted.contains(id));
            found.extend(rows.map(|(id, vector)| (id, vector.to_vec())));
        }
    }
    Ok(found)
}

/// The vector, if all its distances are finite.
pub fn finite(vector: Vec<f32>) -> Result<Vec<f32>, String> {
    if has_distances(&vector) {
        return Ok(vector);
    }
    Err("features are not finite".into())
}
