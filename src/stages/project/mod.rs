//! Two-dimensional maps of the dataset: `projection`, `pca_components`, `projection_quality` and pictures.
//!
//! Part 0 holds the principal components, and the PCA map if configured; each further method has its own part. With `[project]
//! onto`, no map is fitted: the other run's maps are kept, and new images are placed into them.

mod estimate;
mod fit;
mod inputs;
mod onto;
mod pictures;
mod tables;
#[cfg(test)]
mod tests;

use std::time::Instant;

use prospect_analysis::space::projection::pca::{Covariance, Pca};
use prospect_common::{Result, text};
use prospect_config::ProjectionMethod;
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    schema::{pca_components, projection, projection_quality},
    tables::features::FeatureReader,
};
use prospect_store::{Manifest, PartWriter, StageWriter};
use serde_json::{Value, json};

use self::{
    fit::{FittedMap, fit, table_suffices},
    inputs::{Inputs, Phase},
    onto::Base,
};

pub(super) use self::{
    pictures::title,
    tables::{read_ids, read_places, read_quality},
};

pub const STAGE: Stage = Stage {
    name: "project",
    version: 1,
    about: "map all images by PCA, t-SNE and UMAP",
    needs: Needs::Named(&["scan", "extract", "neighbors"]),
    writes: &[
        &projection::TABLE,
        &projection_quality::TABLE,
        &pca_components::TABLE,
    ],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Rows of features in memory at a time while the covariance is summed.
const BATCH_ROWS: usize = 4096;

fn parameters(ctx: &Context) -> Result<Value> {
    let settings = &ctx.config.project;
    let base = Base::open(ctx)?;
    Ok(json!({
        "methods": settings.methods,
        "seed": settings.seed,
        "components": settings.components,
        "perplexity": settings.perplexity,
        "n_neighbors": settings.n_neighbors,
        "min_dist": settings.min_dist,
        "onto": base.as_ref().map(Base::key),
    }))
}

/// The method of each part; part 0 is always PCA.
fn parts(methods: &[ProjectionMethod]) -> Vec<ProjectionMethod> {
    let others = methods
        .iter()
        .filter(|method| **method != ProjectionMethod::Pca);
    std::iter::once(ProjectionMethod::Pca)
        .chain(others.copied())
        .collect()
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let parts = parts(&ctx.config.project.methods);
    writer.set_parts_total(parts.len())?;
    let base = Base::open(ctx)?;
    let inputs = Inputs::read(ctx, &manifest)?;
    if (0..parts.len()).any(|part| !writer.has_part(part)) {
        write_parts(&inputs, writer, &manifest, &parts, base.as_ref())?;
    }
    Ok(Outcome {
        result: Some(digest(ctx)?),
        summary: summary(&inputs, base.is_some())?,
    })
}

/// Writes the missing parts.
fn write_parts(
    inputs: &Inputs,
    writer: &StageWriter,
    manifest: &Manifest,
    parts: &[ProjectionMethod],
    base: Option<&Base>,
) -> Result<()> {
    let ctx = inputs.ctx;
    let pca = match base {
        Some(base) => base.pca()?,
        None if writer.has_part(0) => tables::read_components(ctx.run, manifest)?,
        None => principal_components(ctx, manifest)?,
    };
    let scores = pca.transform(&inputs.features.values);
    let colourings = pictures::colourings(ctx.run, manifest, &inputs.features.image_ids)?;
    let matches = (base.map(|base| base.matches(inputs, manifest))).transpose()?;
    for (part, &method) in parts.iter().enumerate() {
        if writer.has_part(part) {
            continue;
        }
        ctx.cancel.check()?;
        let mut files = writer.part(part)?;
        if part == 0 {
            files.write(pca_components::NAME, &tables::components(&pca)?)?;
        }
        if ctx.config.project.methods.contains(&method) {
            let started = Instant::now();
            let fitted = match &matches {
                Some(matches) => FittedMap {
                    map: matches.map(method, &pca)?,
                    ..FittedMap::default()
                },
                None => fit(inputs, method, &pca, &scores)?,
            };
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(method = method.name(), seconds, "projection finished");
            write_map(inputs, method, &fitted, &colourings, &mut files)?;
        } else {
            let none = tables::projection(method, &[], &tables::Map::default())?;
            files.write(projection::NAME, &none)?;
            files.write(projection_quality::NAME, &tables::quality(&[])?)?;
        }
        writer.commit(files)?;
    }
    Ok(())
}

/// Writes the rows and pictures of one map.
fn write_map(
    inputs: &Inputs,
    method: ProjectionMethod,
    fitted: &FittedMap,
    colourings: &[pictures::PointGroups],
    files: &mut PartWriter,
) -> Result<()> {
    let image_ids = &inputs.features.image_ids;
    let rows = tables::projection(method, image_ids, &fitted.map)?;
    files.write(projection::NAME, &rows)?;
    let quality = fitted.quality(inputs);
    let rows = tables::quality(&[(method, quality.clone())])?;
    files.write(projection_quality::NAME, &rows)?;
    let mut remarks = Vec::new();
    if let (Some(trust), Some(kept)) = (quality.trustworthiness, quality.knn_preservation) {
        let k = quality.k;
        remarks.push(format!("trustworthiness {trust:.3}"));
        remarks.push(format!(
            "{:.0} % of the {k} nearest neighbours preserved",
            100.0 * kept
        ));
    }
    if let Some(kl) = quality.kl {
        remarks.push(format!("KL divergence {kl:.3}"));
    }
    let placed = fitted.map.placed.iter().filter(|placed| **placed).count();
    if placed > 0 {
        remarks.push(format!("{} new images placed", text::count(placed as u64)));
    }
    let axes = fitted.ratios.map(|ratios| {
        [0, 1].map(|axis| {
            let percent = 100.0 * ratios[axis];
            format!("component {} ({percent:.1} % of the variance)", axis + 1)
        })
    });
    let axes = axes.as_ref().map(|[x, y]| [x.as_str(), y.as_str()]);
    let map = (method, &fitted.map);
    pictures::draw(
        inputs.ctx,
        map,
        axes,
        &remarks.join(", "),
        colourings,
        files,
    )
}

/// Principal components of the features, a batch at a time.
fn principal_components(ctx: &Context, manifest: &Manifest) -> Result<Pca> {
    let phase = Phase::new(ctx, "principal components", "images");
    let reader = FeatureReader::new(ctx.run, manifest, BATCH_ROWS);
    let total = reader.rows() as u64;
    let mut covariance: Option<Covariance> = None;
    let mut done = 0;
    for features in reader {
        let features = features?;
        let covariance = covariance.get_or_insert_with(|| Covariance::new(features.dimension));
        covariance.add(&features.values)?;
        done += BATCH_ROWS as u64;
        phase.at(done.min(total), total)?;
    }
    match covariance {
        Some(covariance) => covariance.finish(ctx.config.project.components),
        None => Ok(Pca::default()),
    }
}

/// Digest of the stage's tables.
fn digest(ctx: &Context) -> Result<String> {
    let manifest = ctx.run.manifest()?;
    let mut hasher = blake3::Hasher::new();
    let parts = manifest.stages.get(STAGE.name).into_iter();
    let files = parts
        .flat_map(|stage| stage.parts.values())
        .flat_map(|part| &part.files);
    for file in files.filter(|file| file.table.is_some()) {
        hasher.update(file.path.as_bytes());
        hasher.update(file.blake3.as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn summary(inputs: &Inputs, is_onto: bool) -> Result<Value> {
    let ctx = inputs.ctx;
    let manifest = ctx.run.manifest()?;
    let pca = tables::read_components(ctx.run, &manifest)?;
    let mut summary = json!({
        "images": inputs.n(),
        "left_out": inputs.left_out,
        "components": pca.len(),
        "variance_explained": pca.variance_ratio.iter().sum::<f64>(),
    });
    let methods = &ctx.config.project.methods;
    if is_onto {
        let first = methods.first().copied();
        let places = first.map(|method| tables::read_places(ctx.run, &manifest, method));
        let places = places.transpose()?.unwrap_or_default();
        summary["placed"] = json!(places.values().filter(|(_, placed)| *placed).count());
    } else if methods.contains(&ProjectionMethod::Umap) {
        summary["umap_neighbors"] = json!(if table_suffices(inputs) {
            "from table neighbors"
        } else {
            "exact search"
        });
    }
    for (method, quality) in tables::read_quality(ctx.run, &manifest)? {
        if let Some(trust) = quality.trustworthiness {
            summary[format!("{method}_trustworthiness")] = json!(trust);
        }
        if let Some(kl) = quality.kl {
            summary[format!("{method}_kl")] = json!(kl);
        }
    }
    Ok(summary)
}
