//! Groups of duplicates.

use std::collections::HashMap;

use prospect_common::Result;
use prospect_store::Manifest;

use crate::{Context, schema::duplicates};

/// The duplicate group of each of these images, or its own id.
pub fn copy_groups(ctx: &Context, manifest: &Manifest, image_ids: &[u32]) -> Result<Vec<u32>> {
    let mut group_of: HashMap<u32, u32> = HashMap::new();
    if manifest.has(duplicates::NAME) {
        let columns = (
            duplicates::image_a,
            duplicates::image_b,
            duplicates::group_id,
        );
        for batch in ctx.run.rows(manifest, columns) {
            for (a, b, group) in batch?.iter() {
                group_of.extend([(a, group), (b, group)]);
            }
        }
    }
    let group = |id: &u32| group_of.get(id).copied().unwrap_or(*id);
    Ok(image_ids.iter().map(group).collect())
}
