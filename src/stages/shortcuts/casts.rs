//! Searches the white balance of the pictures for colour casts of one class.

use prospect_analysis::audit::{
    shortcuts::cast::{Balance, casts},
    significance::benjamini_hochberg,
};
use prospect_common::Result;
use prospect_engine::{Context, schema::images};
use prospect_store::Manifest;

use super::{evaluation::Evaluation, patterns::Found};

/// Maximum q-value, and minimum share of the class's pictures beyond that of all others. Without a cast, the light of two classes
/// of CIFAR-10 (airplanes, in the sky, and frogs) differs by up to 0.56, that of two classes of clothes by up to 0.41; of ten
/// classes, one differs from all others by up to 0.35 and 0.24.
const MAX_Q: f64 = 0.01;
const MIN_EXCESS: f64 = 0.45;
const MIN_EXCESS_OF_FEW: f64 = 0.6;
const FEW_CLASSES: usize = 5;

/// A class with a cast, and the cast in a word.
pub type CastFound = (Found, &'static str);

/// The casts that are findings, strongest first. All classes and both axes are one family of comparisons.
pub fn search(
    ctx: &Context,
    manifest: &Manifest,
    evaluation: &Evaluation,
) -> Result<Vec<CastFound>> {
    let mut ids = Vec::new();
    let mut pictures: Vec<(u32, Balance)> = Vec::new();
    let columns = (images::image_id, images::warmth, images::tint);
    for batch in ctx.run.rows(manifest, columns) {
        ctx.cancel.check()?;
        for (id, warmth, tint) in batch?.iter() {
            if let (Some(class), Some(warmth), Some(tint)) = (evaluation.label_of(id), warmth, tint)
            {
                ids.push(id);
                pictures.push((class, [warmth.into(), tint.into()]));
            }
        }
    }
    let all = casts(&pictures, evaluation.classes.len());
    let p_values: Vec<f64> = all.iter().map(|cast| cast.p_value).collect();
    let q_values = benjamini_hochberg(&p_values);
    let min_excess = if evaluation.classes.len() < FEW_CLASSES {
        MIN_EXCESS_OF_FEW
    } else {
        MIN_EXCESS
    };
    let strong = all.into_iter().zip(q_values).filter(|(cast, q_value)| {
        *q_value <= MAX_Q && cast.of_class - cast.of_others >= min_excess
    });
    let mut found: Vec<CastFound> = strong
        .map(|(cast, q_value)| {
            let is_above = cast.limit >= 0.0;
            let beyond = |at: usize| {
                let value = pictures[at].1[cast.axis];
                if is_above { value } else { -value }
            };
            let mut order: Vec<usize> = (0..ids.len()).collect();
            order.sort_by(|&a, &b| beyond(b).total_cmp(&beyond(a)));
            let is_marked = |at: &usize| {
                let (class, balance) = &pictures[*at];
                *class == cast.class && cast.has(balance)
            };
            let found = Found {
                class: cast.class,
                edges: [0.0, 0.0, 1.0, 1.0],
                p_value: cast.p_value,
                q_value,
                of_class: cast.of_class,
                of_others: cast.of_others,
                flagged: true,
                marked: (0..ids.len()).filter(is_marked).map(|at| ids[at]).collect(),
                by_match: order.into_iter().map(|at| ids[at]).collect(),
            };
            (found, word(cast.axis, is_above))
        })
        .collect();
    let excess = |(found, _): &CastFound| found.of_class - found.of_others;
    found.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
    Ok(found)
}

fn word(axis: usize, is_above: bool) -> &'static str {
    match (axis, is_above) {
        (0, true) => "reddish",
        (0, false) => "bluish",
        (_, true) => "greenish",
        (_, false) => "pinkish",
    }
}
