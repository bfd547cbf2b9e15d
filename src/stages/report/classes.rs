//! The page of classes: the confusion matrix, accuracies with intervals, and details of each class.
//!
//! Details of classes and matrix cells are in data files of a few classes each, loaded when first opened.

mod gather;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use prospect_common::{
    Result,
    text::{count, percent, plural},
};
use serde_json::{Map, Value, json};

use self::gather::{Cell, Class, Classes, MeanMap, Source};
use super::{
    frame::{Frame, MESSAGE, NAME, Page, Shell, short, shown},
    shortcuts::{Group, Groups, Suspect, suspects},
};

/// Classes up to which the whole matrix is shown; beyond that, the most confused pairs.
const MATRIX: usize = 30;
/// Maximum number of data files of classes.
const FILES: usize = 100;
/// Images of each cell that enter the report before any cell's others.
const FIRST: usize = 6;
/// Groups shown per class, and shortcuts, one per mark.
const GROUPS: usize = 5;
const SHORTCUTS: usize = 3;

/// `classes.html`.
#[derive(Template)]
#[template(path = "classes.html")]
struct ClassesPage {
    shell: Shell,
    /// Whether the images have labels, and whether the network or the probe predicts them.
    labelled: bool,
    predicted: bool,
    is_matrix: bool,
    subtitle: String,
    source: String,
    unknown: String,
}

pub fn page(frame: &Frame) -> Result<Page> {
    let (ctx, manifest) = (frame.ctx, &frame.manifest);
    let classes = Classes::of_run(ctx, manifest)?;
    let shell = frame.shell("classes", &["classes.js"]);
    let mut page = frame.page("classes", &ClassesPage::new(shell, &classes))?;
    if classes.classes.is_empty() {
        return Ok(page);
    }
    let suspects = suspects(ctx, manifest)?;
    let groups = Groups::of_run(ctx, manifest)?;
    let at_a_time = classes.classes.len().div_ceil(FILES);
    page.data
        .push(("classes".into(), overview(&classes, &groups, at_a_time)));
    for (number, first) in (0..classes.classes.len()).step_by(at_a_time).enumerate() {
        let these = first..classes.classes.len().min(first + at_a_time);
        let known: Map<String, Value> = (these.clone())
            .map(|place| {
                (
                    place.to_string(),
                    about(&classes, place, &suspects, &groups),
                )
            })
            .collect();
        let cells: Map<String, Value> = (classes.cells.iter())
            .filter(|cell| these.contains(&cell.from))
            .map(|cell| (format!("{}-{}", cell.from, cell.to), json!(cell.images)))
            .collect();
        let value = json!({ "classes": known, "cells": cells });
        page.data.push((format!("classes-{number:02}"), value));
    }
    page.images = images(&classes.cells);
    Ok(page)
}

impl ClassesPage {
    fn new(shell: Shell, classes: &Classes) -> ClassesPage {
        let overall = classes.overall();
        let n = plural(classes.classes.len() as u64, "class", "classes");
        let subtitle = match (overall.accuracy(), overall.interval()) {
            (Some(accuracy), Some((low, high))) => format!(
                "{n}; {} of {} correct: {} (95 % interval {} to {})",
                count(overall.correct),
                plural(overall.evaluated, "image", "images"),
                percent(accuracy),
                percent(low),
                percent(high)
            ),
            _ => format!(
                "{n}, {}",
                plural(overall.images, "labelled image", "labelled images")
            ),
        };
        let source = match classes.source {
            Some(Source::Network) => {
                "The predictions are the network's, matched to the labels by name."
            }
            Some(Source::Probe) => {
                "No class of the network has these names, so a cross-validated linear probe on its features predicts the labels: \
                 no image is predicted by a probe trained on it."
            }
            None => "",
        };
        ClassesPage {
            shell,
            labelled: !classes.classes.is_empty(),
            predicted: classes.source.is_some(),
            is_matrix: classes.classes.len() <= MATRIX,
            subtitle,
            source: source.into(),
            unknown: match classes.unknown {
                0 => String::new(),
                n => format!(
                    "{} left out: the network has no class of the same name.",
                    plural(n as u64, "class is", "classes are")
                ),
            },
        }
    }
}

/// The data that the script loads first.
fn overview(classes: &Classes, groups: &Groups, at_a_time: usize) -> Value {
    let row = |class: &Class| {
        let interval = class.tally.interval();
        json!([
            shown(&class.name, NAME),
            class.tally.images,
            class.tally.evaluated,
            class.tally.correct,
            interval.map(|interval| short(interval.0)),
            interval.map(|interval| short(interval.1)),
            class.own_neighbors.map(short),
        ])
    };
    let other_classes: Vec<String> = classes
        .other_classes
        .iter()
        .map(|name| shown(name, NAME))
        .collect();
    json!({
        "classes": classes.classes.iter().map(row).collect::<Vec<Value>>(),
        "other_classes": other_classes,
        "cells": classes.cells.iter().map(|cell| (cell.from, cell.to, cell.n)).collect::<Vec<_>>(),
        "at_a_time": at_a_time,
        "groups_by": groups.source,
        "map_of": classes.map_of.as_ref().map(|how| shown(how, NAME)),
    })
}

fn about(classes: &Classes, place: usize, suspects: &[Suspect], groups: &Groups) -> Value {
    let class = &classes.classes[place];
    let mut marks = HashSet::new();
    let suspects = (suspects.iter())
        .filter(|one| one.class_name == class.name && marks.insert(one.mark))
        .take(SHORTCUTS);
    let suspects = suspects.map(|one| {
        json!({
            "rank": one.rank,
            "evidence": shown(&one.evidence, MESSAGE),
            "flagged": one.flagged,
        })
    });
    let is_own = |group: &&Group| group.label.as_ref() == Some(&class.name);
    let groups = groups
        .worst
        .iter()
        .filter(is_own)
        .take(GROUPS)
        .map(|group| {
            json!({
                "attribute": shown(&group.attribute, NAME),
                "value": shown(&group.value, NAME),
                "images": group.images,
                "accuracy": short(group.accuracy),
                "interval": group.interval.map(short),
                "rest": short(group.rest),
            })
        });
    let overlap = class
        .overlap
        .iter()
        .map(|&(place, share)| json!([place, short(share)]));
    json!({
        "overlap": overlap.collect::<Vec<Value>>(),
        "map": class.map.as_ref().map(mean_map),
        "shortcuts": suspects.collect::<Vec<Value>>(),
        "groups": groups.collect::<Vec<Value>>(),
    })
}

/// Values as bytes; 255 is the map's maximum.
fn mean_map(map: &MeanMap) -> Value {
    let max = map.values.iter().copied().fold(0.0, f64::max);
    let scale = if max > 0.0 { 255.0 / max } else { 0.0 };
    let bytes: Vec<u8> = map
        .values
        .iter()
        .map(|value| (value * scale).round() as u8)
        .collect();
    json!({
        "height": map.height,
        "width": map.width,
        "images": map.images,
        "values": BASE64_STANDARD.encode(bytes),
    })
}

/// The first images of every mistake, most frequent mistakes first; then their other images; then correct predictions.
fn images(cells: &[Cell]) -> Vec<u32> {
    let mut mistakes: Vec<&Cell> = cells.iter().filter(|cell| cell.from != cell.to).collect();
    mistakes.sort_by_key(|cell| std::cmp::Reverse(cell.n));
    let first = mistakes
        .iter()
        .flat_map(|cell| cell.images.iter().take(FIRST));
    let rest = mistakes
        .iter()
        .flat_map(|cell| cell.images.iter().skip(FIRST));
    let correct = cells.iter().filter(|cell| cell.from == cell.to);
    let correct = correct.flat_map(|cell| cell.images.iter().take(2 * FIRST));
    first.chain(rest).chain(correct).copied().collect()
}
