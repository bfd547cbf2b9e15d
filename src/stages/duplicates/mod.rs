//! Duplicates: identical files, near-copies (recompressed, scaled or cropped), and mirrored or rotated copies.
//!
//! Candidates are near in perceptual hash or in feature space. They are decoded again and compared pixel by pixel, in parts
//! (`duplicate_candidates`). The last part derives the similarity threshold from pairs mirrored on purpose and groups the duplicates
//! (`duplicates`).

mod candidates;
mod compare;
mod findings;
mod pairs;
mod tables;
#[cfg(test)]
mod tests;
mod thumbnails;

use prospect_analysis::audit::duplicates::hashes::MAX_BITS;
use prospect_common::{Result, text};
use prospect_engine::{Context, Needs, Outcome, Stage, TableEstimate, schema::duplicates};
use prospect_store::StageWriter;
use serde_json::{Value, json};

use self::{
    candidates::{Candidate, Images},
    findings::findings,
    pairs::Duplicates,
    tables::{ComparedPair, duplicate_candidates},
};

pub const STAGE: Stage = Stage {
    name: "duplicates",
    version: 7,
    about: "find duplicate and near-duplicate images",
    needs: Needs::Named(&["scan", "extract", "neighbors"]),
    writes: &[&duplicates::TABLE, &duplicate_candidates::TABLE],
    findings: Some(findings),
    reuse: None,
    parameters,
    estimate,
    run,
};

/// Candidate pairs per part.
const PART_PAIRS: usize = 16_384;

fn parameters(ctx: &Context) -> Result<Value> {
    Ok(json!({ "duplicate_distance": ctx.config.audit.duplicate_distance }))
}

/// Candidate pairs per image: 3 to 6 for photos, 9 for 10,000 pictures of 32 x 32.
const CANDIDATES: u64 = 6;

fn estimate(_: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    Ok(vec![
        TableEstimate::of(&duplicate_candidates::TABLE, images * CANDIDATES),
        TableEstimate::of(&duplicates::TABLE, images / 20),
    ])
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let images = Images::read(ctx, &manifest)?;
    let bar = (ctx.progress).stage("duplicates", images.len() as u64, "images");
    let (candidates, limit) = candidates::find(ctx, &manifest, &images, &bar)?;
    bar.finish(&format!(
        "{} candidate pairs",
        text::count(candidates.len() as u64)
    ));

    let batches: Vec<&[Candidate]> = candidates.chunks(PART_PAIRS).collect();
    writer.set_parts_total(batches.len() + 1)?;
    let bar = ctx
        .progress
        .stage("duplicates", candidates.len() as u64, "pairs");
    compare::all(ctx, &manifest, writer, &batches, &bar)?;

    let manifest = ctx.run.manifest()?;
    let compared = match batches.is_empty() {
        true => Vec::new(),
        false => ComparedPair::read(ctx.run, &manifest)?,
    };
    let found = Duplicates::new(&images, &compared, ctx.config.audit.duplicate_distance);
    if !writer.has_part(batches.len()) {
        let mut part = writer.part(batches.len())?;
        part.write(duplicates::NAME, &found.table(ctx, &manifest, &images)?)?;
        writer.commit(part)?;
    }
    bar.finish(&found.line());
    let mut summary = found.summary(&images);
    summary["compared_pairs"] = json!(compared.len());
    summary["max_hash_bits"] = json!(MAX_BITS);
    summary["neighbor_distance"] = json!(limit);
    Ok(Outcome {
        result: None,
        summary,
    })
}
