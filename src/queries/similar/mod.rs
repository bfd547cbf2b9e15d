//! Images most similar to an image of the run, or any other file.

mod files;
mod names;
mod search;
mod sheets;
mod subjects;
#[cfg(test)]
mod tests;
mod vectors;

use prospect_analysis::space::neighbors::Metric;
use prospect_common::{Error, Result};
use prospect_config::SearchMethod;
use prospect_engine::{Context, schema::features};
use prospect_store::{Manifest, StageRecord};
use serde::Serialize;

use self::{
    files::Files,
    names::Names,
    search::{Query, Search, is_current},
    subjects::Subject,
};

pub use self::{
    names::Seen,
    search::{Method, Refused},
    sheets::draw_sheets,
};

/// The request.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Each a path in the image folder, `#` and an image's id, or a file.
    pub images: &'a [String],
    /// Neighbours per image.
    pub k: usize,
    /// `Auto` uses the stored graph if it has enough neighbours, else the faster search; the others always search.
    pub method: SearchMethod,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Similar {
    pub metric: Metric,
    pub feature_layer: String,
    /// Number of images searched.
    pub images: u64,
    pub answers: Vec<Answer>,
    /// Queries that failed.
    pub refused: Vec<Refused>,
}

/// The neighbours of one image.
#[derive(Debug, Serialize)]
pub struct Answer {
    pub query: Seen,
    pub method: Method,
    /// Neighbours with the query's label, of those with a label; `None` if there are none, or the query has none.
    pub same_label: Option<Share>,
    /// Neighbours with the query's predicted class.
    pub same_prediction: Option<Share>,
    /// Nearest first, ties by id; fewer than requested if the run has no more images.
    pub neighbors: Vec<Hit>,
}

/// `n` of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share {
    pub n: usize,
    pub of: usize,
}

#[derive(Debug, Serialize)]
pub struct Hit {
    /// 1 is nearest.
    pub rank: usize,
    #[serde(flatten)]
    pub image: Seen,
    pub distance: f32,
    /// Whether no nearer image can have been missed.
    pub exact: bool,
}

/// Finds the nearest images of the run by the features that `extract` stored.
///
/// An image of the run is not its own neighbour, but its duplicates are. The network runs only on files outside the run; without
/// them, no model is needed.
///
/// # Errors
/// There are no features, or the model is not the run's. Errors of single images are in [`Similar::refused`].
pub fn similar(ctx: &Context, asked: &Asked) -> Result<Similar> {
    let manifest = ctx.run.manifest()?;
    let extract = extracted(ctx, &manifest)?;
    let recorded = |name: &str| {
        extract
            .parameters
            .get(name)
            .and_then(|value| value.as_str())
    };
    let metric = metric(ctx, &manifest);
    let mut answer = Similar {
        metric,
        feature_layer: recorded("feature_layer").unwrap_or("auto").to_string(),
        images: extract.rows(features::NAME),
        answers: Vec::new(),
        refused: Vec::new(),
    };
    if !extract.complete {
        tracing::warn!(
            "extract is incomplete: searching among the {} images extracted so far",
            answer.images
        );
    }

    let subjects = subjects::resolve(ctx, &manifest, asked.images)?;
    let mut files = Files::new(ctx, extract, &answer.feature_layer);
    let mut queries = Vec::new();
    for (name, subject) in asked.images.iter().zip(subjects) {
        let query = match subject {
            Ok(Subject::Image(seen)) => Ok(Query { seen, vector: None }),
            Ok(Subject::File { path, label }) => {
                (files.query(&path, name)?).map(|(vector, predicted)| Query {
                    seen: Seen {
                        image_id: None,
                        path: name.clone(),
                        label,
                        predicted: Some(predicted),
                    },
                    vector: Some(vector),
                })
            }
            Err(reason) => Err(reason),
        };
        match query {
            Ok(query) => queries.push(query),
            Err(reason) => answer.refused.push(Refused {
                image: name.clone(),
                reason,
            }),
        }
    }

    let search = Search::new(ctx, &manifest, metric, asked.k, asked.method);
    let (found, refused) = search.run(queries)?;
    answer.refused.extend(refused);
    let ids = (found.iter()).flat_map(|found| {
        let neighbors = found.neighbors.iter().map(|(one, _)| one.id);
        neighbors.chain(found.seen.image_id)
    });
    let names = Names::read(ctx, &manifest, ids.collect())?;
    answer.answers = (found.into_iter())
        .map(|found| answered(found, &names))
        .collect();
    Ok(answer)
}

fn answered(found: search::Found, names: &Names) -> Answer {
    let query = match found.seen.image_id {
        Some(id) => names.seen(id),
        None => found.seen,
    };
    let neighbors: Vec<Hit> = (found.neighbors.iter().zip(1..))
        .map(|((one, exact), rank)| Hit {
            rank,
            image: names.seen(one.id),
            distance: one.distance,
            exact: *exact,
        })
        .collect();
    let share = |of: fn(&Seen) -> Option<&String>| {
        let own = of(&query)?;
        let theirs: Vec<&String> = neighbors.iter().filter_map(|hit| of(&hit.image)).collect();
        (!theirs.is_empty()).then(|| Share {
            n: theirs.iter().filter(|&&name| name == own).count(),
            of: theirs.len(),
        })
    };
    Answer {
        same_label: share(|seen| seen.label.as_ref()),
        same_prediction: share(|seen| seen.predicted.as_ref()),
        query,
        method: found.method,
        neighbors,
    }
}

/// The record of `extract`, if its features match the latest scan.
fn extracted<'m>(ctx: &Context, manifest: &'m Manifest) -> Result<&'m StageRecord> {
    let extract = manifest.stages.get("extract");
    extract
        .filter(|extract| extract.rows(features::NAME) > 0 && is_current(manifest, extract))
        .ok_or_else(|| Error::Missing {
            what: format!(
                "the table features{} in {}",
                extract.map_or("", |_| " of the latest scan"),
                ctx.run.root().display()
            ),
            next: "run `prospect run extract`".into(),
        })
}

/// The metric of the run's neighbours, or the configured one if it has none.
fn metric(ctx: &Context, manifest: &Manifest) -> Metric {
    let neighbors = manifest.stages.get("neighbors");
    let recorded = neighbors.and_then(|record| record.parameters.get("metric"));
    recorded
        .and_then(|metric| serde_json::from_value(metric.clone()).ok())
        .unwrap_or(ctx.config.neighbors.metric)
}
