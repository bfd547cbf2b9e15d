//! Overlays for people to look at: of every class a few images, under the maps of the classes for which they were explained.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use prospect_common::{Result, text as words};
use prospect_dataset::image::{Geometry, InputSpec, RgbImage};
use prospect_engine::{
    Context,
    schema::{explanations, images, predictions},
    tables::{layers::folder, sources::Sources},
};
use prospect_model::CamMethod;
use prospect_output::picture::{
    self, PictureError,
    heat::{Heat, heat_picture},
};
use prospect_store::{Manifest, PartWriter};
use rayon::prelude::*;

/// Longest side of a photo in an overlay, in pixels.
const SIDE: u32 = 384;
/// About the pixels of a photo in an overlay, with its share of the caption.
pub const PANEL_PIXELS: u64 = SIDE as u64 * (SIDE as u64 + 50);
/// Maps shown of one image at most.
pub const MAX_MAPS: usize = 4;
/// Pictures in memory at a time, a few MiB each.
const CHUNK: usize = 32;

/// An image that is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    pub image_id: u32,
    /// Where its picture lies in the run folder.
    pub path: String,
    pub label: Option<String>,
    /// The predicted class's probability, and the label's, where the network knows it.
    pub p_pred: f64,
    pub p_label: Option<f64>,
}

/// What and how is drawn: the maps of one layer and method.
pub struct Shown<'a> {
    pub layer: &'a str,
    pub method: CamMethod,
    /// The network's.
    pub classes: &'a [String],
    /// How images became input.
    pub spec: &'a InputSpec,
}

/// The best candidates of a class, at most as many as are drawn.
#[derive(Default)]
struct Candidates {
    /// What the network gets right, the least loss first.
    right: Vec<Candidate>,
    /// What it gets wrong, the greatest loss first.
    wrong: Vec<Candidate>,
    /// What cannot be judged, for want of a label that the network knows, the most probable first.
    others: Vec<Candidate>,
}

struct Candidate {
    image_id: u32,
    labelled: bool,
    p_pred: f64,
    p_label: Option<f64>,
    /// The smaller, the sooner it is shown.
    order: f64,
}

/// The images to draw: of every class up to `[explain] pictures`, by turns one that the network gets right with the least
/// loss and one that it gets wrong with the greatest, then those that cannot be judged. An image's class is its label or,
/// without one, the predicted class. Equal ones go by image id.
///
/// Reads `images` and `predictions` alone. `classes` are the network's. Sorted by class name, then in turn.
pub fn plan(ctx: &Context, manifest: &Manifest, classes: &[String]) -> Result<Vec<Chosen>> {
    let n = ctx.config.explain.pictures;
    if n == 0 {
        return Ok(Vec::new());
    }
    let labels = Labels::read(ctx, manifest)?;
    let mut candidates: BTreeMap<&str, Candidates> = BTreeMap::new();
    let columns = (
        predictions::image_id,
        predictions::pred,
        predictions::p_pred,
        predictions::p_label,
        predictions::loss,
    );
    for batch in ctx.run.rows(manifest, columns) {
        let batch = batch?;
        for (image_id, predicted, p_pred, p_label, loss) in batch.iter() {
            let predicted = usize::try_from(predicted).ok();
            let predicted = predicted
                .and_then(|class| classes.get(class))
                .ok_or_else(|| batch.unexpected("the network's classes", "another"))?;
            let label = labels.of(image_id);
            let p_pred = f64::from(p_pred);
            let of_class = candidates.entry(label.unwrap_or(predicted)).or_default();
            let (list, order) = match loss.map(f64::from) {
                Some(loss) if label == Some(predicted) => (&mut of_class.right, loss),
                Some(loss) => (&mut of_class.wrong, -loss),
                None => (&mut of_class.others, -p_pred),
            };
            let candidate = Candidate {
                image_id,
                labelled: label.is_some(),
                p_pred,
                p_label: p_label.map(f64::from),
                order,
            };
            offer(list, candidate, n);
        }
    }
    let mut chosen = Vec::new();
    for (class, candidates) in candidates {
        for candidate in candidates.by_turns().take(n) {
            chosen.push(Chosen {
                image_id: candidate.image_id,
                path: path(class, candidate.image_id),
                label: candidate.labelled.then(|| class.to_string()),
                p_pred: candidate.p_pred,
                p_label: candidate.p_label,
            });
        }
    }
    Ok(chosen)
}

/// Each image's label, every name held once.
struct Labels {
    names: Vec<String>,
    /// Index into `names`, by image id.
    of_image: HashMap<u32, usize>,
}

impl Labels {
    fn read(ctx: &Context, manifest: &Manifest) -> Result<Labels> {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut of_image = HashMap::new();
        for batch in ctx
            .run
            .rows(manifest, (images::image_id, images::label_name))
        {
            for (id, label) in batch?.iter() {
                let Some(label) = label else {
                    continue;
                };
                let next = numbers.len();
                let number = match numbers.get(label) {
                    Some(&number) => number,
                    None => *numbers.entry(label.to_string()).or_insert(next),
                };
                of_image.insert(id, number);
            }
        }
        let mut names = vec![String::new(); numbers.len()];
        for (name, number) in numbers {
            names[number] = name;
        }
        Ok(Labels { names, of_image })
    }

    fn of(&self, image_id: u32) -> Option<&str> {
        (self.of_image.get(&image_id)).map(|&number| self.names[number].as_str())
    }
}

/// Puts a candidate where it belongs in a list of at most `n`.
fn offer(list: &mut Vec<Candidate>, candidate: Candidate, n: usize) {
    let place = list.partition_point(|other| {
        let order = other.order.total_cmp(&candidate.order);
        order.then(other.image_id.cmp(&candidate.image_id)) == Ordering::Less
    });
    if place < n {
        list.insert(place, candidate);
        list.truncate(n);
    }
}

impl Candidates {
    fn by_turns(self) -> impl Iterator<Item = Candidate> {
        let (mut right, mut wrong) = (self.right.into_iter(), self.wrong.into_iter());
        let turns = std::iter::from_fn(move || {
            let turn: Vec<Candidate> = right.next().into_iter().chain(wrong.next()).collect();
            (!turn.is_empty()).then_some(turn)
        });
        turns.flatten().chain(self.others)
    }
}

/// Where the picture of an image lies in the run folder.
fn path(class: &str, image_id: u32) -> String {
    format!("pictures/explanations/{}/{image_id}.png", folder(class))
}

/// A map of one image, and for which class.
struct Map {
    class: i32,
    kind: String,
    logit: f64,
    rows: usize,
    cols: usize,
    /// Raw values.
    values: Vec<f32>,
}

/// Draws the overlays of the chosen images; gives back those that got one, and how many images could not be read again. They get
/// no picture, nor do those without a map.
pub fn draw(
    ctx: &Context,
    manifest: &Manifest,
    shown: &Shown,
    chosen: &[Chosen],
    files: &mut PartWriter,
) -> Result<(Vec<u32>, usize)> {
    let wanted: HashMap<u32, usize> = (chosen.iter().enumerate())
        .map(|(at, chosen)| (chosen.image_id, at))
        .collect();
    let maps = read_maps(ctx, manifest, shown, &wanted)?;
    let sources = Sources::read(ctx, manifest, |id| wanted.contains_key(&id))?;
    let (mut drawn, mut unreadable) = (Vec::new(), 0);
    let subjects: Vec<(&Chosen, &Vec<Map>)> = (chosen.iter().zip(&maps))
        .filter(|(_, maps)| !maps.is_empty())
        .collect();
    for chunk in subjects.chunks(CHUNK) {
        ctx.cancel.check()?;
        let pictures: Vec<Result<Vec<u8>, String>> = chunk
            .par_iter()
            .map(|(chosen, maps)| {
                let image = sources.decode(chosen.image_id)?;
                let path = sources.path(chosen.image_id);
                overlay(&image, path, chosen, maps, shown).map_err(|error| error.to_string())
            })
            .collect();
        for ((chosen, _), picture) in chunk.iter().zip(pictures) {
            match picture {
                Ok(bytes) => {
                    files.file(&chosen.path, &bytes)?;
                    drawn.push(chosen.image_id);
                }
                Err(reason) => {
                    unreadable += 1;
                    sources.warn("overlay", chosen.image_id, &reason);
                }
            }
        }
    }
    Ok((drawn, unreadable))
}

/// The maps of each wanted image (by its place), one a class, in the table's order.
fn read_maps(
    ctx: &Context,
    manifest: &Manifest,
    shown: &Shown,
    wanted: &HashMap<u32, usize>,
) -> Result<Vec<Vec<Map>>> {
    let mut found: Vec<Vec<Map>> = (0..wanted.len()).map(|_| Vec::new()).collect();
    let columns = (
        explanations::image_id,
        explanations::class,
        explanations::class_kind,
        explanations::height,
        explanations::width,
        explanations::logit,
        explanations::map,
        explanations::map_scale,
    );
    let rows = (ctx.run.rows(manifest, columns))
        .only(explanations::layer, shown.layer)
        .only(explanations::method, shown.method.name());
    for batch in rows {
        ctx.cancel.check()?;
        for (id, class, kind, height, width, logit, map, scale) in batch?.iter() {
            let Some(&at) = wanted.get(&id) else { continue };
            let side = |side| usize::try_from(side).unwrap_or(0);
            let known = found[at].iter().any(|map| map.class == class);
            if known || found[at].len() == MAX_MAPS {
                continue;
            }
            found[at].push(Map {
                class,
                kind: kind.to_string(),
                logit: logit.into(),
                rows: side(height),
                cols: side(width),
                values: map.iter().map(|value| value.to_f32() * scale).collect(),
            });
        }
    }
    Ok(found)
}

/// The photo under each map, as a PNG file.
fn overlay(
    image: &RgbImage,
    file: &str,
    chosen: &Chosen,
    maps: &[Map],
    shown: &Shown,
) -> Result<Vec<u8>, PictureError> {
    let geometry = Geometry::new(&image.header, shown.spec);
    let mut about = vec![file.to_string(), format!("image {}", chosen.image_id)];
    about.extend(chosen.label.as_ref().map(|label| format!("label {label}")));
    let heats: Vec<Heat> = (maps.iter())
        .map(|map| Heat {
            map: &map.values,
            rows: map.rows,
            cols: map.cols,
            lines: caption(map, chosen, shown),
        })
        .collect();
    picture::png(&heat_picture(image, &geometry, about, &heats, SIDE)?)
}

/// Class, logit and probability, method and layer.
fn caption(map: &Map, chosen: &Chosen, shown: &Shown) -> Vec<String> {
    let name = usize::try_from(map.class).ok();
    let name = name.and_then(|class| shown.classes.get(class));
    let name = name.map_or("?", String::as_str);
    let (kind, p) = match map.kind.as_str() {
        "predicted" if chosen.label.as_deref() == Some(name) => {
            ("predicted, label", Some(chosen.p_pred))
        }
        "predicted" => ("predicted", Some(chosen.p_pred)),
        "label" => ("label", chosen.p_label),
        kind => (kind, None),
    };
    let p = p.map_or(String::new(), |p| format!(", p {p:.3}"));
    vec![
        format!("{name} ({kind})"),
        format!("logit {}{p}", words::figure(map.logit)),
        format!("{} at {}", shown.method.name(), shown.layer),
    ]
}

#[cfg(test)]
mod tests;
