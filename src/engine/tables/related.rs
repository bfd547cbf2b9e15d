//! Groups of images that are not independent: copies, and images with a common value in a column of `[audit] group`.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray},
    compute::cast,
    datatypes::{DataType, UInt32Type},
};
use prospect_analysis::audit::duplicates::groups::groups;
use prospect_common::{Error, Result};
use prospect_store::Manifest;
use serde_json::{Value, json};

use crate::{
    Context,
    schema::{duplicates, images},
};

/// The group of each of these images: its lowest image. Copies of related images are related, and so on.
pub fn related_groups(ctx: &Context, manifest: &Manifest, image_ids: &[u32]) -> Result<Vec<u32>> {
    let mut pairs = Vec::new();
    if manifest.has(duplicates::NAME) {
        let columns = (duplicates::image_a, duplicates::image_b);
        for batch in ctx.run.rows(manifest, columns) {
            pairs.extend(batch?.iter());
        }
    }
    pairs.extend(of_metadata(ctx, manifest)?);
    let group_of = groups(pairs);
    let group = |id: &u32| group_of.get(id).copied().unwrap_or(*id);
    Ok(image_ids.iter().map(group).collect())
}

/// Each image with a value of a column of `[audit] group`, and the first with the same value.
fn of_metadata(ctx: &Context, manifest: &Manifest) -> Result<Vec<(u32, u32)>> {
    let wanted = &ctx.config.audit.group;
    let mut pairs = Vec::new();
    if wanted.is_empty() {
        return Ok(pairs);
    }
    let mut first_of: Vec<HashMap<String, u32>> = vec![HashMap::new(); wanted.len()];
    for batch in ctx.run.read(manifest, images::NAME) {
        let batch = batch?;
        ctx.cancel.check()?;
        let column = |name: &str, kind: &DataType| {
            let found = batch.column_by_name(name);
            let found = found.and_then(|column| cast(column, kind).ok());
            found.ok_or_else(|| {
                Error::invalid(
                    ctx.run.path(&format!("tables/{}", images::NAME)),
                    format!("a column {name}"),
                    "none, or one of lists",
                    "run `prospect run scan`",
                )
            })
        };
        let ids = column(images::image_id.name, &DataType::UInt32)?;
        for (name, first_of) in wanted.iter().zip(&mut first_of) {
            let values = column(name, &DataType::Utf8)?;
            let values = values.as_string::<i32>();
            for (row, id) in ids.as_primitive::<UInt32Type>().values().iter().enumerate() {
                if values.is_valid(row) && !values.value(row).is_empty() {
                    let first = first_of.entry(values.value(row).to_string()).or_insert(*id);
                    pairs.push((*first, *id));
                }
            }
        }
    }
    Ok(pairs)
}

/// `[audit] group` and the metadata that the groups depend on, for a stage's parameters; null if it is not set.
///
/// # Errors
/// Columns that the metadata lacks.
pub fn group_parameter(ctx: &Context) -> Result<Value> {
    let (wanted, images) = (&ctx.config.audit.group, &ctx.config.images);
    if wanted.is_empty() {
        return Ok(Value::Null);
    }
    let refuse = |message: String| Err(Error::setting("audit", "group", message));
    let Some(path) = &images.metadata else {
        return refuse("names columns of the metadata, but [images] metadata is not set".into());
    };
    let (names, digest) = ctx.metadata(|metadata| {
        let names = metadata.attributes().map(|(name, _)| name.to_string());
        (names.collect::<Vec<_>>(), metadata.digest.clone())
    })?;
    let missing: Vec<&str> = (wanted.iter())
        .filter(|name| !names.contains(name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return refuse(format!(
            "{} has no column {}; its columns are {}",
            path.display(),
            missing.join(", "),
            names.join(", ")
        ));
    }
    Ok(json!({ "columns": wanted, "metadata": digest }))
}
