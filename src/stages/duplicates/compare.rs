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
};

/// Decoded pictures kept for later batches, 1 GiB; beyond, all are dropped and decoded again when needed.
const MAX_PICTURES: usize = 100_000;

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
    let mut pictures: HashMap<u32, Option<Thumbnail>> = HashMap::new();
    let mut failures: BTreeMap<u32, String> = BTreeMap::new();
    for part in missing {
        let batch = batches[part];
        let wanted: BTreeSet<u32> = (batch.iter().flat_map(|pair| [pair.a, pair.b]))
            .filter(|id| !pictures.contains_key(id))
            .collect();
        let failed = Mutex::new(Vec::new());
        let compared = threads.install(|| {
            let decoded = wanted.into_par_iter().map(|id| {
                ctx.cancel.check()?;
                Ok((
                    id,
                    thumbnail(&sources, id).unwrap_or_else(|reason| {
                        failed
                            .lock()
                            .unwrap_or_else(|e| e.into_inner())
                            .push((id, reason));
                        None
                    }),
                ))
            });
            pictures.par_extend(decoded.collect::<Result<Vec<_>>>()?);
            let pictures = &pictures;
            let rows = batch.par_iter().map(|pair| {
                ctx.cancel.check()?;
                bar.advance(1);
                let of = |id: u32| pictures.get(&id).and_then(Option::as_ref);
                let both = of(pair.a).zip(of(pair.b));
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
        pictures.retain(|id, _| last.get(id).is_some_and(|last| *last > part));
        if pictures.len() > MAX_PICTURES {
            pictures.clear();
        }
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
