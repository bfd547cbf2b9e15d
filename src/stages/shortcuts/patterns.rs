//! Searches the pictures themselves for marks: fixed patterns of one class.

use std::collections::BTreeMap;

use prospect_analysis::audit::{
    shortcuts::pattern::{Cells, Pattern, Residual, patterns},
    significance::benjamini_hochberg,
};
use prospect_common::Result;
use prospect_dataset::image::{Geometry, Header, InputSpec, Interpolation, Resize, preprocess};
use prospect_engine::{Context, schema::images, tables::sources::Sources};
use prospect_store::Manifest;
use rayon::prelude::*;

use super::evaluation::Evaluation;

/// Maximum pictures read, in total and per class; evenly spaced.
const MAX_IMAGES: usize = 10_000;
const MAX_PER_CLASS: usize = 500;
/// Pictures decoded at a time.
const BLOCK: usize = 256;
/// Height and width of whole pictures, in pixels.
const SIDE: u32 = 224;
/// Maximum q-value of a finding, and minimum share of the class's pictures beyond that of all others. Among photos of one size, as in
/// CIFAR-10, tiny differences are significant, but distinguish less than a tenth of a class.
const MAX_Q: f64 = 0.01;
const MIN_EXCESS: f64 = 0.1;
/// Maximum p-value of a candidate.
const MAX_P: f64 = 0.05;

/// The part of the pictures that is searched.
pub struct View {
    pub whole: bool,
    pub spec: InputSpec,
}

/// A fixed pattern of a class.
pub struct Found {
    pub class: u32,
    /// `x0, y0, x1, y1` in 0..=1 of the view.
    pub edges: [f64; 4],
    pub p_value: f64,
    pub q_value: f64,
    pub of_class: f64,
    pub of_others: f64,
    pub flagged: bool,
    /// Pictures of the class with the pattern, ascending.
    pub marked: Vec<u32>,
    /// Pictures searched, best match first.
    pub by_match: Vec<u32>,
}

impl View {
    /// The network's input, or whole pictures, squeezed into a square.
    pub fn new(whole: bool, input: &InputSpec) -> View {
        let mut spec = input.clone();
        if whole || spec.crop.is_none() {
            let (height, width) = match spec.resize {
                Resize::Exact { height, width } if !whole => (height, width),
                _ => (SIDE, SIDE),
            };
            spec.resize = Resize::Exact { height, width };
            spec.crop = None;
            spec.interpolation = Interpolation::Bilinear;
        }
        View { whole, spec }
    }
}

/// The patterns that may be marks, most significant first. The tested classes are one family of comparisons.
pub fn search(
    ctx: &Context,
    manifest: &Manifest,
    evaluation: &Evaluation,
    view: &View,
) -> Result<Vec<Found>> {
    let chosen = sample(evaluation);
    let sources = Sources::read(ctx, manifest, |id| chosen.binary_search(&id).is_ok())?;
    let mut ids = Vec::new();
    let mut pictures: Vec<(u32, Residual)> = Vec::new();
    let mut cells = None;
    let mut unread = 0;
    for block in chosen.chunks(BLOCK) {
        ctx.cancel.check()?;
        let read: Vec<Option<(Cells, Residual)>> = (block.par_iter())
            .map(|&id| residual(&sources, id, &view.spec))
            .collect();
        for (&id, read) in block.iter().zip(read) {
            match (read, evaluation.label_of(id)) {
                (Some((own, residual)), Some(class)) if *cells.get_or_insert(own) == own => {
                    ids.push(id);
                    pictures.push((class, residual));
                }
                _ => unread += 1,
            }
        }
    }
    if unread > 0 {
        tracing::warn!("{unread} pictures could not be searched for marks");
    }
    let Some(cells) = cells else {
        return Ok(Vec::new());
    };
    let patterns = patterns(
        cells,
        &pictures,
        evaluation.classes.len(),
        ctx.config.audit.seed,
    );
    let p_values: Vec<f64> = patterns.iter().map(|pattern| pattern.p_value).collect();
    let q_values = benjamini_hochberg(&p_values);
    let mut found: Vec<Found> = (patterns.into_iter().zip(q_values))
        .filter(|(pattern, _)| pattern.p_value <= MAX_P && pattern.is_own)
        .map(|(pattern, q_value)| {
            let is_own = |at: usize| pictures[at].0 == pattern.class;
            let mut order: Vec<usize> = (0..ids.len()).collect();
            order.sort_by(|&a, &b| pattern.matches[b].total_cmp(&pattern.matches[a]));
            Found {
                class: pattern.class,
                edges: cells.edges(&pattern.window),
                p_value: pattern.p_value,
                q_value,
                of_class: pattern.of_class,
                of_others: pattern.of_others,
                flagged: q_value <= MAX_Q && pattern.of_class - pattern.of_others >= MIN_EXCESS,
                marked: (0..ids.len())
                    .filter(|&at| is_own(at) && Pattern::is_match(pattern.matches[at]))
                    .map(|at| ids[at])
                    .collect(),
                by_match: order.into_iter().map(|at| ids[at]).collect(),
            }
        })
        .collect();
    found.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(a.class.cmp(&b.class)));
    Ok(found)
}

/// Labelled images, evenly spaced in each class; ascending.
fn sample(evaluation: &Evaluation) -> Vec<u32> {
    let mut of_class: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (id, label) in (0..).zip(&evaluation.label) {
        if let Some(class) = label {
            of_class.entry(*class).or_default().push(id);
        }
    }
    let limit = (MAX_IMAGES / of_class.len().max(1)).clamp(1, MAX_PER_CLASS);
    let mut chosen: Vec<u32> = (of_class.values())
        .flat_map(|ids| {
            let n = limit.min(ids.len());
            (0..n).map(move |at| ids[at * ids.len() / n])
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

fn residual(sources: &Sources, id: u32, spec: &InputSpec) -> Option<(Cells, Residual)> {
    let image = sources.decode(id).ok()?;
    let (rgb, geometry) = preprocess(&image, spec).ok()?;
    let (height, width) = geometry.input_size();
    let (height, width) = (height as usize, width as usize);
    let cells = Cells::of(height, width)?;
    Some((cells, cells.residual(&rgb, height, width)))
}

/// Mean fraction of the pictures' pixels that the network does not see; `None` without pictures.
pub fn unseen(ctx: &Context, manifest: &Manifest, spec: &InputSpec) -> Result<Option<f64>> {
    let (mut sum, mut n) = (0.0, 0_u64);
    let columns = (images::width, images::height, images::orientation);
    for batch in ctx.run.rows(manifest, columns) {
        for (width, height, orientation) in batch?.iter() {
            let header = Header::stored(width, height, orientation);
            let Some((width, height)) = header.known_size() else {
                continue;
            };
            let geometry = Geometry::new(&header, spec);
            let (rows, columns) = geometry.input_size();
            let seen = geometry.upright_box([0.0, 0.0, columns.into(), rows.into()]);
            let area = f64::from(seen.x1 - seen.x0) * f64::from(seen.y1 - seen.y0);
            sum += 1.0 - area / (f64::from(width) * f64::from(height));
            n += 1;
        }
    }
    Ok((n > 0).then(|| (sum / n as f64).max(0.0)))
}
