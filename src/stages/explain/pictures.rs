//! Overlays of class activation maps on a few images of each class.

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

/// Maximum width and height of a photo in an overlay, in pixels.
const MAX_SIDE: u32 = 384;
/// Approximate pixels of a photo in an overlay, including its part of the caption.
pub const PANEL_PIXELS: u64 = MAX_SIDE as u64 * (MAX_SIDE as u64 + 50);
/// Maximum maps per image.
pub const MAX_MAPS: usize = 4;
/// Pictures in memory at a time, a few MiB each.
const CHUNK: usize = 32;

/// An image with an overlay.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlay {
    pub image_id: u32,
    /// Path of the overlay in the run folder.
    pub path: String,
    pub label: Option<String>,
    /// Probability of the predicted class.
    pub p_pred: f64,
    /// Probability of the label, if it is a class of the network.
    pub p_label: Option<f64>,
}

/// The maps to draw: those of one layer and method.
pub struct MapChoice<'a> {
    pub layer: &'a str,
    pub method: CamMethod,
    /// Classes of the network.
    pub classes: &'a [String],
    /// Preprocessing of the network's input.
    pub spec: &'a InputSpec,
}

/// The best candidates of a class, each list limited to the number of pictures.
#[derive(Default)]
struct Candidates {
    /// Correctly classified, lowest loss first.
    correct: Vec<Candidate>,
    /// Misclassified, highest loss first.
    wrong: Vec<Candidate>,
    /// Without a label among the network's classes, most probable prediction first.
    others: Vec<Candidate>,
}

struct Candidate {
    image_id: u32,
    labelled: bool,
    p_pred: f64,
    p_label: Option<f64>,
    /// Ascending.
    order: f64,
}

/// Selects up to `[explain] pictures` images of each class: correctly classified ones, lowest loss first, alternating with
/// misclassified ones, highest loss first, then those without a label among the network's `classes`. An image's class is its
/// label or, without one, the predicted class. Ties go by image id. Of more than `[explain] max_pictures`, it takes the first
/// image of each class before any second one, and of evenly spaced classes if it cannot take all.
///
/// Reads only `images` and `predictions`. Returns the overlays, sorted by class name, and the number left out for
/// `max_pictures`.
pub fn plan(
    ctx: &Context,
    manifest: &Manifest,
    classes: &[String],
) -> Result<(Vec<Overlay>, usize)> {
    let n = ctx.config.explain.pictures;
    if n == 0 {
        return Ok((Vec::new(), 0));
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
                Some(loss) if label == Some(predicted) => (&mut of_class.correct, loss),
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
    let mut rounds = Rounds::of(&candidates, n, ctx.config.explain.max_pictures);
    let (mut overlays, mut left_out) = (Vec::new(), 0);
    for (class, candidates) in candidates {
        for (round, candidate) in candidates.interleaved().take(n).enumerate() {
            if !rounds.takes(round) {
                left_out += 1;
                continue;
            }
            overlays.push(Overlay {
                image_id: candidate.image_id,
                path: path(class, candidate.image_id),
                label: candidate.labelled.then(|| class.to_string()),
                p_pred: candidate.p_pred,
                p_label: candidate.p_label,
            });
        }
    }
    Ok((overlays, left_out))
}

/// Which classes' first, second, … images are taken.
struct Rounds {
    /// Classes with so many images, classes taken, and classes seen, by round.
    of_round: Vec<[usize; 3]>,
}

impl Rounds {
    fn of(candidates: &BTreeMap<&str, Candidates>, n: usize, mut left: usize) -> Rounds {
        let sizes: Vec<usize> = (candidates.values())
            .map(|of_class| of_class.len().min(n))
            .collect();
        let of_round = (0..n)
            .map(|round| {
                let classes = sizes.iter().filter(|size| **size > round).count();
                let taken = classes.min(left);
                left -= taken;
                [classes, taken, 0]
            })
            .collect();
        Rounds { of_round }
    }

    /// Whether the next class's image of this round is taken.
    fn takes(&mut self, round: usize) -> bool {
        let [classes, taken, seen] = &mut self.of_round[round];
        let before = *seen * *taken / *classes;
        *seen += 1;
        *seen * *taken / *classes > before
    }
}

/// Labels of the images; each name is stored once.
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

/// Inserts a candidate into a sorted list of at most `n`.
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
    fn len(&self) -> usize {
        self.correct.len() + self.wrong.len() + self.others.len()
    }

    fn interleaved(self) -> impl Iterator<Item = Candidate> {
        let (mut correct, mut wrong) = (self.correct.into_iter(), self.wrong.into_iter());
        let turns = std::iter::from_fn(move || {
            let turn: Vec<Candidate> = correct.next().into_iter().chain(wrong.next()).collect();
            (!turn.is_empty()).then_some(turn)
        });
        turns.flatten().chain(self.others)
    }
}

/// Path of an image's overlay in the run folder.
fn path(class: &str, image_id: u32) -> String {
    format!("pictures/explanations/{}/{image_id}.png", folder(class))
}

/// A map of one image for one class.
struct Map {
    class: i32,
    kind: String,
    logit: f64,
    rows: usize,
    cols: usize,
    /// Raw values.
    values: Vec<f32>,
}

/// Draws the overlays; calls `done` with the number of each step. Returns the ids of the images drawn and the number of
/// unreadable ones; images without a map are skipped.
pub fn draw(
    ctx: &Context,
    manifest: &Manifest,
    choice: &MapChoice,
    overlays: &[Overlay],
    files: &mut PartWriter,
    done: impl Fn(u64),
) -> Result<(Vec<u32>, usize)> {
    let wanted: HashMap<u32, usize> = (overlays.iter().enumerate())
        .map(|(at, overlay)| (overlay.image_id, at))
        .collect();
    let maps = read_maps(ctx, manifest, choice, &wanted)?;
    let sources = Sources::read(ctx, manifest, |id| wanted.contains_key(&id))?;
    let (mut drawn, mut unreadable) = (Vec::new(), 0);
    let with_maps: Vec<(&Overlay, &Vec<Map>)> = (overlays.iter().zip(&maps))
        .filter(|(_, maps)| !maps.is_empty())
        .collect();
    for chunk in with_maps.chunks(CHUNK) {
        ctx.cancel.check()?;
        let pictures: Vec<Result<Vec<u8>, String>> = chunk
            .par_iter()
            .map(|(overlay, maps)| {
                let image = sources.decode(overlay.image_id)?;
                let path = sources.path(overlay.image_id);
                overlay_png(&image, path, overlay, maps, choice).map_err(|error| error.to_string())
            })
            .collect();
        done(chunk.len() as u64);
        for ((overlay, _), picture) in chunk.iter().zip(pictures) {
            match picture {
                Ok(bytes) => {
                    files.file(&overlay.path, &bytes)?;
                    drawn.push(overlay.image_id);
                }
                Err(reason) => {
                    unreadable += 1;
                    sources.warn("overlay", overlay.image_id, &reason);
                }
            }
        }
    }
    Ok((drawn, unreadable))
}

/// The maps of each wanted image, one per class, in the table's order; `wanted` gives the image's index in the result.
fn read_maps(
    ctx: &Context,
    manifest: &Manifest,
    choice: &MapChoice,
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
        .only(explanations::layer, choice.layer)
        .only(explanations::method, choice.method.name());
    for batch in rows {
        ctx.cancel.check()?;
        for (id, class, kind, height, width, logit, map, scale) in batch?.iter() {
            let Some(&at) = wanted.get(&id) else { continue };
            let length = |cells| usize::try_from(cells).unwrap_or(0);
            let known = found[at].iter().any(|map| map.class == class);
            if known || found[at].len() == MAX_MAPS {
                continue;
            }
            found[at].push(Map {
                class,
                kind: kind.to_string(),
                logit: logit.into(),
                rows: length(height),
                cols: length(width),
                values: map.iter().map(|value| value.to_f32() * scale).collect(),
            });
        }
    }
    Ok(found)
}

/// A PNG of the photo, and of the photo under each map.
fn overlay_png(
    image: &RgbImage,
    file: &str,
    overlay: &Overlay,
    maps: &[Map],
    choice: &MapChoice,
) -> Result<Vec<u8>, PictureError> {
    let geometry = Geometry::new(&image.header, choice.spec);
    let mut lines = vec![file.to_string(), format!("image {}", overlay.image_id)];
    lines.extend(overlay.label.as_ref().map(|label| format!("label {label}")));
    let heats: Vec<Heat> = (maps.iter())
        .map(|map| Heat {
            map: &map.values,
            rows: map.rows,
            cols: map.cols,
            lines: caption(map, overlay, choice),
        })
        .collect();
    picture::png(&heat_picture(image, &geometry, lines, &heats, MAX_SIDE)?)
}

/// Class, logit and probability, method and layer.
fn caption(map: &Map, overlay: &Overlay, choice: &MapChoice) -> Vec<String> {
    let name = usize::try_from(map.class).ok();
    let name = name.and_then(|class| choice.classes.get(class));
    let name = name.map_or("?", String::as_str);
    let (kind, p) = match map.kind.as_str() {
        "predicted" if overlay.label.as_deref() == Some(name) => {
            ("predicted, label", Some(overlay.p_pred))
        }
        "predicted" => ("predicted", Some(overlay.p_pred)),
        "label" => ("label", overlay.p_label),
        kind => (kind, None),
    };
    let p = p.map_or(String::new(), |p| format!(", p {p:.3}"));
    vec![
        format!("{name} ({kind})"),
        format!("logit {}{p}", words::figure(map.logit)),
        format!("{} at {}", choice.method.name(), choice.layer),
    ]
}

#[cfg(test)]
mod tests;
