//! Ranks the patterns and casts found in the pictures, the candidates of all layers and the units that the classifier relies on. A
//! pattern or a cast is a finding by its p-value; a unit is one if it fires for a pattern that is.

use std::collections::HashMap;

use prospect_analysis::audit::shortcuts::{auroc, head::Ablation, places::Grid};
use prospect_common::{Result, names, text::percent};
use prospect_engine::{
    Context,
    schema::explanations,
    tables::{classes::name_of, layers::Layer},
};
use prospect_store::Manifest;

use super::{
    ablation::{Ablations, Head, UnitAblation},
    boxes::ObjectBoxes,
    casts::CastFound,
    evaluation::Evaluation,
    layer::{Candidate, read_maxima},
    patterns::{Found, View},
};

/// Maximum rows of `shortcuts`, and rows per mark.
const MAX_ROWS: usize = 50;
const MAX_ROWS_PER_MARK: usize = 8;
/// Maximum units examined because the classifier relies on them.
const MAX_LEANING: usize = 64;
/// Jaccard index of their images from which two candidates share a mark.
const SAME_MARK: f64 = 0.5;
names! {
    /// What is suspected.
    pub enum Kind {
        /// No unit: the pictures have the same fine structure in one place.
        Pattern = "pattern",
        /// No unit: the light of the pictures has another colour.
        Cast = "cast",
        /// It fires in one small place for one class.
        Mark = "mark",
        /// The classifier relies on it, and it fires at the border or outside the object.
        Leaning = "leaning",
    }
}

/// A row of `shortcuts`.
#[derive(Debug, Clone)]
pub struct Suspect {
    pub kind: Kind,
    /// Rows with the same number concern the same images.
    pub mark: i32,
    pub class: u32,
    /// The layer and the unit; `None` for a pattern or a cast.
    pub unit: Option<(String, usize)>,
    pub score: f64,
    pub p_value: Option<f64>,
    pub q_value: Option<f64>,
    pub flagged: bool,
    /// AUROC of the unit.
    pub exclusivity: Option<f64>,
    pub of_class: Option<f64>,
    pub of_others: Option<f64>,
    /// In 0..=1 of the network's input, or of the whole picture if `whole`.
    pub edges: Option<[f64; 4]>,
    pub whole: bool,
    /// Of a cast: its colour.
    pub colour: Option<&'static str>,
    /// Fraction of the strongest cells in the outermost ring.
    pub border: Option<f64>,
    /// Mean energy of its images' explanation maps in the outermost ring, and outside the boxes.
    pub border_energy: Option<f64>,
    pub background_energy: Option<f64>,
    pub outside_boxes: Option<f64>,
    /// Mean probability of the label, over images of the class with the mark and without.
    pub p_with: Option<f64>,
    pub p_without: Option<f64>,
    pub ablation: Ablation,
    /// Images of the class with the mark, or on which the unit fires.
    pub marked: Vec<u32>,
    /// Of a pattern: the pictures searched, best match first.
    pub by_match: Vec<u32>,
}

impl Suspect {
    fn new(kind: Kind, mark: i32, class: u32, score: f64) -> Suspect {
        Suspect {
            kind,
            mark,
            class,
            unit: None,
            score,
            p_value: None,
            q_value: None,
            flagged: false,
            exclusivity: None,
            of_class: None,
            of_others: None,
            edges: None,
            whole: false,
            colour: None,
            border: None,
            border_energy: None,
            background_energy: None,
            outside_boxes: None,
            p_with: None,
            p_without: None,
            ablation: Ablation::default(),
            marked: Vec::new(),
            by_match: Vec::new(),
        }
    }

    fn of_pictures(kind: Kind, mark: i32, found: Found) -> Suspect {
        Suspect {
            p_value: Some(found.p_value),
            q_value: Some(found.q_value),
            flagged: found.flagged,
            of_class: Some(found.of_class),
            of_others: Some(found.of_others),
            edges: Some(found.edges),
            marked: found.marked,
            by_match: found.by_match,
            ..Suspect::new(kind, mark, found.class, found.of_class - found.of_others)
        }
    }

    /// One sentence with the figures.
    pub fn evidence(&self, evaluation: &Evaluation) -> String {
        let class = name_of(
            &evaluation.names.dataset,
            evaluation.classes[self.class as usize],
        );
        let percent_of = |share: Option<f64>| percent(share.unwrap_or(0.0));
        let place = self.edges.map_or("", place_name);
        let mut text = match &self.unit {
            None if self.kind == Kind::Cast => format!(
                "the light is {} in {} of the {class} images and in {} of all others (p = {:.1e})",
                self.colour.unwrap_or("of another colour"),
                percent_of(self.of_class),
                percent_of(self.of_others),
                self.p_value.unwrap_or(1.0),
            ),
            None => format!(
                "the same fine structure {place} in {} of the {class} images and in {} of all others (p = {:.1e})",
                percent_of(self.of_class),
                percent_of(self.of_others),
                self.p_value.unwrap_or(1.0),
            ),
            Some((layer, unit)) if self.kind == Kind::Mark => format!(
                "unit {unit} of {layer} is strongest {place} in {} of the {class} images and in {} of all others",
                percent_of(self.of_class),
                percent_of(self.of_others),
            ),
            Some((layer, unit)) => format!(
                "unit {unit} of {layer} tells {class} from the others (AUROC {:.2}) and is strongest at the border in {} of them",
                self.exclusivity.unwrap_or(0.5),
                percent_of(self.border),
            ),
        };
        if let Some(outside) = self.outside_boxes {
            text += &format!("; outside the boxes in {}", percent(outside));
        }
        if let (Some(with), Some(without)) = (self.p_with, self.p_without) {
            text += &format!("; p({class}) is {with:.2} with it, {without:.2} without");
        }
        if let Some(drop) = self.ablation.accuracy_drop() {
            let ablated = match self.kind {
                Kind::Mark | Kind::Pattern | Kind::Cast => {
                    "without what goes with it in the features"
                }
                Kind::Leaning => "with the unit switched off",
            };
            let verb = if drop < 0.0 { "rises" } else { "falls" };
            text += &format!(
                "; {ablated} the accuracy on these {verb} by {:.1} points",
                100.0 * drop.abs()
            );
        }
        text
    }
}

/// A place by thirds of the image: `at the top left`, `in the middle`; or `all over`, for most of the height and width.
fn place_name([x0, y0, x1, y1]: [f64; 4]) -> &'static str {
    if x1 - x0 > 2.0 / 3.0 && y1 - y0 > 2.0 / 3.0 {
        return "all over";
    }
    let third = |low: f64, high: f64| ((low + high) * 1.5).floor().clamp(0.0, 2.0) as usize;
    const NAMES: [[&str; 3]; 3] = [
        ["at the top left", "at the top", "at the top right"],
        ["at the left", "in the middle", "at the right"],
        ["at the bottom left", "at the bottom", "at the bottom right"],
    ];
    NAMES[third(y0, y1)][third(x0, x1)]
}

/// Selects the candidates that become rows, best first, each with the number of its mark. A unit repeated unchanged in another
/// layer, as behind a padding, is kept once.
pub fn choose(mut candidates: Vec<Candidate>) -> Vec<(i32, Candidate)> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<(i32, Candidate)> = Vec::new();
    let mut of_mark: Vec<usize> = Vec::new();
    for candidate in candidates {
        let mut of_class = kept.iter().filter(|(_, one)| one.class == candidate.class);
        let same = of_class
            .clone()
            .find(|(_, one)| overlap(&one.marked, &candidate.marked) >= SAME_MARK);
        let is_twin = of_class.any(|(_, one)| {
            one.unit == candidate.unit
                && one.exclusivity == candidate.exclusivity
                && overlap(&one.marked, &candidate.marked) >= SAME_MARK
        });
        let mark = same.map_or(of_mark.len(), |(mark, _)| *mark as usize - 1);
        if is_twin || of_mark.get(mark).is_some_and(|&n| n >= MAX_ROWS_PER_MARK) {
            continue;
        }
        if mark == of_mark.len() {
            of_mark.push(0);
        }
        of_mark[mark] += 1;
        kept.push((mark as i32 + 1, candidate));
        if kept.len() == MAX_ROWS {
            break;
        }
    }
    kept
}

/// Jaccard index of two ascending lists of ids.
fn overlap(a: &[u32], b: &[u32]) -> f64 {
    let shared = a.iter().filter(|id| b.binary_search(id).is_ok()).count();
    shared as f64 / (a.len() + b.len() - shared).max(1) as f64
}

/// Marks found by units and on the pictures.
pub struct Marks {
    pub candidates: Vec<Candidate>,
    pub patterns: Vec<Found>,
    pub casts: Vec<CastFound>,
}

/// The rows, best first.
pub fn suspects(
    ctx: &Context,
    manifest: &Manifest,
    layers: &[Layer],
    evaluation: &Evaluation,
    found: Marks,
    view: &View,
    boxes: Option<&ObjectBoxes>,
) -> Result<Vec<Suspect>> {
    let (patterns, casts) = (found.patterns, found.casts);
    let (marks, candidates): (Vec<i32>, Vec<Candidate>) =
        choose(found.candidates).into_iter().unzip();
    let head = Head::read(ctx, manifest, evaluation)?;
    let ablations = match &head {
        Some(head) => {
            let of_patterns = patterns.iter().map(|one| (one.class, &*one.marked));
            let of_casts = casts.iter().map(|(one, _)| (one.class, &*one.marked));
            let of_units = candidates.iter().map(|one| (one.class, &*one.marked));
            let marks = of_patterns.chain(of_casts).chain(of_units);
            let marks: Vec<(u32, &[u32])> = marks.collect();
            head.ablate(ctx, manifest, evaluation, &marks)?
        }
        None => Ablations {
            of_marks: vec![Ablation::default(); patterns.len() + casts.len() + candidates.len()],
            of_units: Vec::new(),
        },
    };
    let mut of_marks = ablations.of_marks.into_iter();
    let mut last_mark = marks.iter().copied().max().unwrap_or(0);
    let mut found = Vec::new();
    for (pattern, ablation) in patterns.into_iter().zip(of_marks.by_ref()) {
        let twin = (candidates.iter().zip(&marks))
            .find(|(candidate, _)| fires_for(candidate, &pattern, view));
        let mark = twin.map_or(last_mark + 1, |(_, mark)| *mark);
        last_mark = last_mark.max(mark);
        found.push(Suspect {
            whole: view.whole,
            ablation,
            ..Suspect::of_pictures(Kind::Pattern, mark, pattern)
        });
    }
    for ((cast, colour), ablation) in casts.into_iter().zip(of_marks.by_ref()) {
        last_mark += 1;
        found.push(Suspect {
            whole: true,
            colour: Some(colour),
            ablation,
            ..Suspect::of_pictures(Kind::Cast, last_mark, cast)
        });
    }
    for ((candidate, mark), ablation) in candidates.into_iter().zip(marks).zip(of_marks) {
        let pattern = (found.iter()).find(|one: &&Suspect| {
            one.kind == Kind::Pattern && one.class == candidate.class && one.mark == mark
        });
        found.push(Suspect {
            unit: Some((candidate.layer, candidate.unit)),
            p_value: pattern.and_then(|one| one.p_value),
            q_value: pattern.and_then(|one| one.q_value),
            flagged: pattern.is_some_and(|one| one.flagged),
            exclusivity: Some(candidate.exclusivity),
            of_class: Some(candidate.of_class),
            of_others: Some(candidate.of_others),
            edges: Some(candidate.edges),
            border: Some(candidate.border),
            outside_boxes: candidate.outside_boxes,
            ablation,
            marked: candidate.marked,
            ..Suspect::new(Kind::Mark, mark, candidate.class, candidate.score)
        });
    }
    let dimension = head.map(|head| head.dimension());
    if let Some(layer) = layers
        .iter()
        .rev()
        .find(|layer| Some(layer.channels) == dimension)
    {
        let units = ablations.of_units;
        found.extend(leaning(
            ctx, manifest, layer, evaluation, units, boxes, last_mark,
        )?);
    }
    found.sort_by(|a, b| {
        let place = |one: &Suspect| (!one.flagged, one.unit.is_some());
        (place(a).cmp(&place(b))).then(b.score.total_cmp(&a.score))
    });
    found.truncate(MAX_ROWS);
    add_probabilities(&mut found, evaluation);
    add_energies(ctx, manifest, &mut found)?;
    Ok(found)
}

/// Whether a unit fires for a pattern: for the same images, or in the same place.
fn fires_for(candidate: &Candidate, pattern: &Found, view: &View) -> bool {
    let [x0, y0, x1, y1] = pattern.edges;
    let [left, top, right, bottom] = candidate.edges;
    let meets = !view.whole && x0 < right && left < x1 && y0 < bottom && top < y1;
    candidate.class == pattern.class
        && (meets || overlap(&candidate.marked, &pattern.marked) >= SAME_MARK)
}

/// Units of the feature layer that the classifier relies on and that fire at the border or, given boxes, outside them. The score is
/// the product of separation (`2 AUROC - 1`), location (fraction outside the boxes; without boxes, the excess of the border
/// fraction over that of a uniformly distributed maximum) and accuracy drop without the unit.
fn leaning(
    ctx: &Context,
    manifest: &Manifest,
    layer: &Layer,
    evaluation: &Evaluation,
    mut units: Vec<UnitAblation>,
    boxes: Option<&ObjectBoxes>,
    last_mark: i32,
) -> Result<Vec<Suspect>> {
    let drop = |unit: &UnitAblation| unit.ablation.accuracy_drop().unwrap_or(0.0);
    units.retain(|unit| drop(unit) > 0.0);
    units.sort_by(|a, b| drop(b).total_cmp(&drop(a)));
    units.truncate(MAX_LEANING);
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let grid = Grid::new(layer.height as usize, layer.width as usize);
    let uniform = (0..grid.cells())
        .filter(|&cell| grid.is_border(cell))
        .count() as f64
        / grid.cells() as f64;
    let numbers: Vec<usize> = units.iter().map(|unit| unit.unit).collect();
    let maxima = read_maxima(ctx, manifest, layer, &numbers, evaluation)?;
    let mut found = Vec::new();
    for (at, unit) in units.into_iter().enumerate() {
        let (strengths, positions) = (&maxima.strengths[at], &maxima.positions[at]);
        let inside = maxima.in_class(unit.class);
        let firing: Vec<usize> = (0..inside.len())
            .filter(|&image| inside[image] && strengths[image] > 0.0)
            .collect();
        let on_border = |&&image: &&usize| grid.is_border(grid.cell(positions[image]));
        let border = firing.iter().filter(on_border).count() as f64 / firing.len().max(1) as f64;
        let outside = boxes.and_then(|boxes| {
            let points = firing.iter();
            boxes.share_outside(
                points.map(|&image| (maxima.image_ids[image], layer.centre(positions[image]))),
            )
        });
        let excess = if uniform < 1.0 {
            (border - uniform) / (1.0 - uniform)
        } else {
            0.0
        };
        let exclusivity = auroc(strengths, &inside).unwrap_or(0.5);
        let location = outside.unwrap_or(excess).max(0.0);
        let score = (2.0 * exclusivity - 1.0).max(0.0) * location * drop(&unit);
        if score > 0.0 {
            found.push(Suspect {
                unit: Some((layer.name.clone(), unit.unit)),
                exclusivity: Some(exclusivity),
                border: Some(border),
                outside_boxes: outside,
                ablation: unit.ablation,
                marked: firing
                    .iter()
                    .map(|&image| maxima.image_ids[image])
                    .collect(),
                ..Suspect::new(
                    Kind::Leaning,
                    last_mark + 1 + found.len() as i32,
                    unit.class,
                    score,
                )
            });
        }
    }
    Ok(found)
}

/// Adds the mean probability of the label with and without the mark, over the images searched.
fn add_probabilities(found: &mut [Suspect], evaluation: &Evaluation) {
    for suspect in found.iter_mut().filter(|one| one.kind != Kind::Leaning) {
        let mut searched = suspect.by_match.clone();
        searched.sort_unstable();
        let mut sums = [(0.0, 0_u32); 2];
        for (id, label) in (0..).zip(&evaluation.label) {
            if !searched.is_empty() && searched.binary_search(&id).is_err() {
                continue;
            }
            if let (true, Some(p)) = (
                *label == Some(suspect.class),
                evaluation.p_label[id as usize],
            ) {
                let is_marked = suspect.marked.binary_search(&id).is_ok();
                let (sum, n) = &mut sums[usize::from(!is_marked)];
                *sum += f64::from(p);
                *n += 1;
            }
        }
        let mean = |(sum, n): (f64, u32)| (n > 0).then(|| sum / f64::from(n));
        (suspect.p_with, suspect.p_without) = (mean(sums[0]), mean(sums[1]));
    }
}

/// Adds the fractions of the explanation maps' energy at the border and outside the boxes, over the marked images.
fn add_energies(ctx: &Context, manifest: &Manifest, found: &mut [Suspect]) -> Result<()> {
    if !manifest.has(explanations::NAME) {
        return Ok(());
    }
    // Per image, sums over its maps: energy at the border, and outside the boxes.
    let mut of_image: HashMap<u32, [(f64, u32); 2]> = HashMap::new();
    let columns = (
        explanations::image_id,
        explanations::border_fraction,
        explanations::energy_in_box,
    );
    for batch in ctx.run.rows(manifest, columns) {
        ctx.cancel.check()?;
        for (id, border, inside) in batch?.iter() {
            let border = border.map(f64::from);
            let outside = inside.map(|share| 1.0 - f64::from(share));
            let sums = of_image.entry(id).or_default();
            for (sum, value) in sums.iter_mut().zip([border, outside]) {
                if let Some(value) = value {
                    *sum = (sum.0 + value, sum.1 + 1);
                }
            }
        }
    }
    for suspect in found {
        let mean = |which: usize| {
            let sums = (suspect.marked.iter()).filter_map(|id| Some(of_image.get(id)?[which]));
            let (sum, n) = sums.fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
            (n > 0).then(|| sum / f64::from(n))
        };
        (suspect.border_energy, suspect.background_energy) = (mean(0), mean(1));
    }
    Ok(())
}
