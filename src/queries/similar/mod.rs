//! Images most similar to an image of the run, or any other file.

mod files;
mod images;
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
    images::Images,
    search::{Query, Search, is_current},
    subjects::Subject,
};

pub use self::{
    images::ImageInfo,
    search::{FailedQuery, Method},
    sheets::draw_sheets,
};

/// A request for similar images.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Paths in the image folder, `#` and an image id, or other files.
    pub images: &'a [String],
    /// Neighbours per image.
    pub k: usize,
    /// `Auto` uses the stored graph if its k suffices, else the faster search; the others always search.
    pub method: SearchMethod,
}

/// Neighbours of all query images.
#[derive(Debug, Serialize)]
pub struct Similar {
    pub metric: Metric,
    pub feature_layer: String,
    /// Number of images searched.
    pub images: u64,
    pub answers: Vec<Answer>,
    /// Queries that failed.
    pub refused: Vec<FailedQuery>,
}

/// The neighbours of one image.
#[derive(Debug, Serialize)]
pub struct Answer {
    pub query: ImageInfo,
    pub method: Method,
    /// Neighbours with the query's label, among those with a label; `None` if there are none or the query has no label.
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
    pub image: ImageInfo,
    pub distance: f32,
    /// Whether the search was exact, so that no nearer image was missed.
    pub exact: bool,
}

/// Finds the nearest images of the run by the features that `extract` stored.
///
/// An image of the run is not its own neighbour, but its duplicates are. A model is needed only for files outside the run.
///
/// # Errors
/// The features are missing, or the model is not the run's. Errors of single images are in [`Similar::refused`].
pub fn similar(ctx: &Context, request: &Request) -> Result<Similar> {
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

    let subjects = subjects::resolve(ctx, &manifest, request.images)?;
    let mut files = Files::new(ctx, extract, &answer.feature_layer);
    let mut queries = Vec::new();
    for (name, subject) in request.images.iter().zip(subjects) {
        let query = match subject {
            Ok(Subject::Image(image)) => Ok(Query {
                image,
                vector: None,
            }),
            Ok(Subject::File { path, label }) => {
                (files.query(&path, name)?).map(|(vector, predicted)| Query {
                    image: ImageInfo {
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
            Err(reason) => answer.refused.push(FailedQuery {
                image: name.clone(),
                reason,
            }),
        }
    }

    let search = Search::new(ctx, &manifest, metric, request.k, request.method);
    let (found, refused) = search.run(queries)?;
    answer.refused.extend(refused);
    let ids = (found.iter()).flat_map(|found| {
        let neighbors = found.neighbors.iter().map(|(one, _)| one.id);
        neighbors.chain(found.image.image_id)
    });
    let images = Images::read(ctx, &manifest, ids.collect())?;
    answer.answers = (found.into_iter())
        .map(|found| to_answer(found, &images))
        .collect();
    Ok(answer)
}

fn to_answer(found: search::SearchResult, images: &Images) -> Answer {
    let query = match found.image.image_id {
        Some(id) => images.get(id),
        None => found.image,
    };
    let neighbors: Vec<Hit> = (found.neighbors.iter().zip(1..))
        .map(|((one, exact), rank)| Hit {
            rank,
            image: images.get(one.id),
            distance: one.distance,
            exact: *exact,
        })
        .collect();
    let share = |of: fn(&ImageInfo) -> Option<&String>| {
        let own = of(&query)?;
        let theirs: Vec<&String> = neighbors.iter().filter_map(|hit| of(&hit.image)).collect();
        (!theirs.is_empty()).then(|| Share {
            n: theirs.iter().filter(|&&name| name == own).count(),
            of: theirs.len(),
        })
    };
    Answer {
        same_label: share(|image| image.label.as_ref()),
        same_prediction: share(|image| image.predicted.as_ref()),
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
