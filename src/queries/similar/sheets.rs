//! Contact sheets of similar images.

use std::{collections::HashSet, path::Path};

use prospect_common::{Error, Result, text};
use prospect_dataset::image::{self, DecodeOptions};
use prospect_engine::{
    Context,
    tables::sources::{Sources, small},
};
use prospect_output::picture::{
    self, Picture,
    neighbors::{Frame, MAX_NEIGHBORS, Row, Tile, neighbor_sheet, pages},
};
use rayon::prelude::*;

use super::{Answer, Hit, ImageInfo, Similar, extracted, files};

/// Draws the answers on sheets and passes each (number from 0, PNG) to `done` before drawing the next.
pub fn draw_sheets(
    ctx: &Context,
    similar: &Similar,
    mut done: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let manifest = ctx.run.manifest()?;
    let options = files::decode_options(ctx, extracted(ctx, &manifest)?);
    let title = title(similar);
    let pages = pages(similar.answers.iter().map(|answer| answer.neighbors.len()));
    let mut rest = similar.answers.as_slice();
    for (at, n) in pages.iter().enumerate() {
        let (page, after) = rest.split_at(*n);
        rest = after;
        let shown = |answer: &Answer| -> Vec<u32> {
            let hits = answer.neighbors.iter().take(MAX_NEIGHBORS);
            let images = hits.map(|hit| &hit.image).chain([&answer.query]);
            images.filter_map(|image| image.image_id).collect()
        };
        let wanted: HashSet<u32> = page.iter().flat_map(shown).collect();
        let sources = Sources::read(ctx, &manifest, |id| wanted.contains(&id))?;
        let photos = Photos {
            sources: &sources,
            options,
        };
        let mut rows = Vec::with_capacity(*n);
        for answer in page {
            ctx.cancel.check()?;
            rows.push(photos.row(answer));
        }
        let png = neighbor_sheet(&title, &rows).and_then(|sheet| picture::png(&sheet));
        let png = png
            .map_err(|error| Error::usage(format!("{error}; request fewer neighbours with -k")))?;
        done(at, &png)?;
    }
    Ok(())
}

fn title(similar: &Similar) -> String {
    format!(
        "the nearest of {} images by {} distance of {}",
        text::count(similar.images),
        similar.metric.name(),
        similar.feature_layer
    )
}

struct Photos<'a> {
    sources: &'a Sources,
    options: DecodeOptions,
}

impl Photos<'_> {
    fn row(&self, answer: &Answer) -> Row {
        let query = &answer.query;
        let shown = answer.neighbors.len().min(MAX_NEIGHBORS);
        Row {
            query: Tile {
                picture: self.picture(query),
                frame: Frame::Query,
                lines: vec![
                    Path::new(&query.path)
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                    label(query),
                    prediction(query),
                ],
            },
            neighbors: (answer.neighbors[..shown].par_iter())
                .map(|hit| self.neighbor(query, hit))
                .collect(),
        }
    }

    fn neighbor(&self, query: &ImageInfo, hit: &Hit) -> Tile {
        let frame = match (&query.label, &hit.image.label) {
            (Some(own), Some(other)) if own == other => Frame::Same,
            (Some(_), Some(_)) => Frame::Other,
            _ => Frame::Unknown,
        };
        let about = if hit.exact { "" } else { "~ " };
        let id = (hit.image.image_id).map_or(String::new(), |id| format!("  #{id}"));
        Tile {
            picture: self.picture(&hit.image),
            frame,
            lines: vec![
                label(&hit.image),
                prediction(&hit.image),
                format!("{about}{}{id}", text::figure(hit.distance.into())),
            ],
        }
    }

    /// A thumbnail of the upright image; `None`, with a warning, if it is unavailable.
    fn picture(&self, image: &ImageInfo) -> Option<Picture> {
        let decoded = match image.image_id {
            Some(id) => self.sources.decode(id),
            None => files::read(Path::new(&image.path)).and_then(|bytes| {
                image::decode(&bytes, &self.options).map_err(|error| error.to_string())
            }),
        };
        match decoded.and_then(|image| small(&image)) {
            Ok(picture) => Some(picture),
            Err(reason) => {
                tracing::warn!(
                    "{} is not on the sheet: {}",
                    text::escaped(&image.path),
                    text::escaped(&reason)
                );
                None
            }
        }
    }
}

fn label(image: &ImageInfo) -> String {
    (image.label.as_ref()).map_or("no label".into(), |label| format!("label {label}"))
}

fn prediction(image: &ImageInfo) -> String {
    (image.predicted.as_ref()).map_or(String::new(), |class| format!("pred {class}"))
}
