//! Decodes candidate pairs and compares them pixel by pixel.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
};

use prospect_analysis::audit::duplicates::picture::{SIDE, Thumbnail};
use prospect_common::Result;
use prospect_dataset::image::{InputSpec, Interpolation, Resize, preprocess};
use prospect_engine::{Context, progress::Bar, tables::sources::Sources};
use prospect_store::{Manifest, StageWriter};
use rayon::prelude::*;

use super::{
    candidates::Candidate,
    tables::{self, ComparedPair, duplicate_candidates},
    thumbnails::Thumbnails,
};

/// Thumbnails kept in memory for later batches, 1 GiB.
const MAX_THUMBNAILS: usize = 100_000;

/// Compares the pairs of each batch without a part.
pub fn all(
    ctx: &Context,
    manifest: &Manifest,
    writer: &mut StageWriter,
    batches: &[&[Candidate]],
    bar: &Bar,
) -> Result<()> {
    let missing: Vec<usize> = (0..batches.len())
        .filter(|part| !writer.has_part(*part))
        .collect();
    let pairs: usize = batches.iter().map(|batch| batch.len()).sum();
    let left: usize = missing.iter().map(|part| batches[*part].len()).sum();
    bar.set_done((pairs - left) as u64);
    // The last batch that needs an image.
    let mut last: HashMap<u32, usize> = HashMap::new();
    for part in &missing {
        for pair in batches[*part] {
            last.extend([(pair.a, *part), (pair.b, *part)]);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let sources = Sources::read(ctx, manifest, |id| last.contains_key(&id))?;
    let threads = ctx.decode_pool()?;
    let mut thumbnails = Thumbnails::new(MAX_THUMBNAILS, ctx.run.root());
    let mut failures: BTreeMap<u32, String> = BTreeMap::new();
    for part in missing {
        let batch = batches[part];
        let wanted: BTreeSet<u32> = batch.iter().flat_map(|pair| [pair.a, pair.b]).collect();
        let failed = Mutex::new(Vec::new());
        let compared = threads.install(|| {
            thumbnails.load(wanted.into_iter(), |id| {
                ctx.cancel.check()?;
                Ok(thumbnail(&sources, id).unwrap_or_else(|reason| {
                    failed
                        .lock()
                        .unwrap_or_else(|e| e.into_inner())
                        .push((id, reason));
                    None
                }))
            })?;
            let rows = batch.par_iter().map(|pair| {
                ctx.cancel.check()?;
                bar.advance(1);
                let both = thumbnails.get(pair.a).zip(thumbnails.get(pair.b));
                Ok(ComparedPair {
                    pair: *pair,
                    found: both.map(|(a, b)| a.compare(b)),
                })
            });
            rows.collect::<Result<Vec<ComparedPair>>>()
        })?;
        failures.extend(failed.into_inner().unwrap_or_else(|e| e.into_inner()));
        let mut files = writer.part(part)?;
        files.write(duplicate_candidates::NAME, &tables::candidates(&compared)?)?;
        writer.commit(files)?;
        thumbnails.retain(|id| last.get(&id).is_some_and(|last| *last > part))?;
    }
    if let Some((id, reason)) = failures.first_key_value() {
        sources.warn("comparison", *id, reason);
        if failures.len() > 1 {
            tracing::warn!("{} more images failed to decode", failures.len() - 1);
        }
    }
    Ok(())
}

/// The image at comparison size; None if it is nearly uniform.
fn thumbnail(sources: &Sources, id: u32) -> Result<Option<Thumbnail>, String> {
    let side = SIDE as u32;
    let spec = InputSpec {
        resize: Resize::Exact {
            height: side,
            width: side,
        },
        crop: None,
        interpolation: Interpolation::Bilinear,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let image = sources.decode(id)?;
    let (rgb, _) = preprocess(&image, &spec).map_err(|error| error.to_string())?;
    Ok(Thumbnail::new(&rgb))
}
