//! What labels hang together with besides what the images show: attributes, and units of the network that fire for a mark.
//!
//! Part 0 holds the images' attributes against labels and accuracy: `associations` and `groups`.

mod attributes;
mod judged;
mod tables;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use self::{
    attributes::{Attribute, Attributes},
    judged::Judged,
    tables::Association,
};
use super::{Context, Outcome, Stage, TableEstimate};
use crate::{
    error::{Error, Result},
    groups::groups,
    store::{PartWriter, StageWriter},
    text::escaped,
};

pub const STAGE: Stage = Stage {
    name: "shortcuts",
    version: 1,
    about: "hold attributes and units against labels; writes associations, groups, shortcuts",
    needs: &["scan", "extract", "patches", "explain", "probe"],
    parameters,
    estimate,
    run,
};

/// Images that a pair of value and label needs to be told of: so many, and one in so many of all.
const LEAST_IMAGES: u64 = 10;
const LEAST_SHARE: u64 = 10_000;

fn parameters(ctx: &Context) -> Result<Value> {
    let audit = &ctx.config.audit;
    // What scan tells its dependents leaves the metadata's attributes out.
    let metadata = match &ctx.config.images.metadata {
        None => None,
        Some(path) => {
            let bytes = std::fs::read(path).map_err(Error::io(path, "reading the metadata"))?;
            Some(blake3::hash(&bytes).to_hex().to_string())
        }
    };
    Ok(json!({
        "attributes": audit.attributes,
        "metadata": metadata,
        "permutations": audit.permutations,
        "seed": audit.seed,
    }))
}

fn estimate(_: &Context, _: u64) -> Result<Vec<TableEstimate>> {
    Ok(Vec::new())
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    let manifest = ctx.run.manifest()?;
    let judged = Judged::read(ctx, &manifest)?;
    let bar = ctx.progress.stage("shortcuts", 1, "parts");
    if !writer.has_part(0) {
        bar.note("attributes");
        let attributes = Attributes::read(ctx, &manifest)?;
        for (name, reason) in &attributes.left_out {
            tracing::info!(
                "attribute {} is left out: {}",
                escaped(name),
                escaped(reason)
            );
        }
        let mut part = writer.part(0)?;
        hold_against_labels(ctx, &attributes.list, &judged, &mut part)?;
        writer.commit(part)?;
        bar.advance(1);
    }
    bar.finish("attributes");
    Ok(Outcome {
        result: None,
        summary: json!({}),
    })
}

/// Writes `associations`, strongest first, and `groups`.
fn hold_against_labels(
    ctx: &Context,
    attributes: &[Attribute],
    judged: &Judged,
    part: &mut PartWriter,
) -> Result<()> {
    let audit = &ctx.config.audit;
    let mut found = Vec::new();
    for attribute in attributes {
        ctx.cancel.check()?;
        let association = Association::of(attribute, judged, audit.permutations, audit.seed);
        let Some(association) = association else {
            continue;
        };
        let images = (attribute
            .of_image
            .iter()
            .zip(&judged.label)
            .zip(&judged.right))
        .filter_map(|((value, label), right)| Some(((*value)?, (*label)?, *right)));
        let groups = groups(images, LEAST_IMAGES);
        part.write("groups", &tables::groups(attribute, &groups, judged)?)?;
        found.push((attribute, association));
    }
    found.sort_by(|a, b| b.1.nmi.total_cmp(&a.1.nmi));
    if !found.is_empty() {
        part.write("associations", &tables::associations(&found, judged)?)?;
    }
    Ok(())
}
