//! The page of classes: what each is taken for, how sure its accuracy is, and what is known of it besides.
//!
//! Cells of the confusion matrix and what is known of a class are in data files of some classes each, read when they are opened.

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

/// Classes of which the whole matrix is shown; of more, the pairs that are confused most.
const MATRIX: usize = 30;
/// Data files of classes at most.
const FILES: usize = 100;
/// Images of each cell that are wanted in the report before any cell's others.
const FIRST: usize = 6;
/// Groups of a class, and shortcuts, one of each mark.
const GROUPS: usize = 5;
const SHORTCUTS: usize = 3;

/// `classes.html`.
#[derive(Template)]
#[template(path = "classes.html")]
struct ClassesPage {
    shell: Shell,
    /// Whether the images have labels, and whether anybody predicts them.
    labelled: bool,
    judged: bool,
    is_matrix: bool,
    subtitle: String,
    source: String,
    unknown: String,
}

/// The page, the files that its script reads, by name, and the images that it shows, most important first.
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
                "{n}; {} of {} right: {} (95 % interval {} to {})",
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
                "Predictions are the network's own, matched with the labels by name."
            }
            Some(Source::Probe) => {
                "The network does not know these labels by name, so predictions are those of a linear probe on its \
                 features, each made by folds that have not seen the image."
            }
            None => "",
        };
        ClassesPage {
            shell,
            labelled: !classes.classes.is_empty(),
            judged: classes.source.is_some(),
            is_matrix: classes.classes.len() <= MATRIX,
            subtitle,
            source: source.into(),
            unknown: match classes.unknown {
                0 => String::new(),
                n => format!(
                    "{} left out, whose names the network does not know.",
                    plural(n as u64, "class is", "classes are")
                ),
            },
        }
    }
}

/// What the script needs before any class is opened.
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
    let strangers: Vec<String> = classes
        .strangers
        .iter()
        .map(|name| shown(name, NAME))
        .collect();
    json!({
        "classes": classes.classes.iter().map(row).collect::<Vec<Value>>(),
        "strangers": strangers,
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
                "overall": short(group.overall),
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

/// Values as bytes, 255 the map's greatest.
fn mean_map(map: &MeanMap) -> Value {
    let most = map.values.iter().copied().fold(0.0, f64::max);
    let scale = if most > 0.0 { 255.0 / most } else { 0.0 };
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

/// The first of every mistake, the most frequent mistakes first; then the rest of them; then what is right.
fn images(cells: &[Cell]) -> Vec<u32> {
    let mut mistakes: Vec<&Cell> = cells.iter().filter(|cell| cell.from != cell.to).collect();
    mistakes.sort_by_key(|cell| std::cmp::Reverse(cell.n));
    let first = mistakes
        .iter()
        .flat_map(|cell| cell.images.iter().take(FIRST));
    let rest = mistakes
        .iter()
        .flat_map(|cell| cell.images.iter().skip(FIRST));
    let right = cells.iter().filter(|cell| cell.from == cell.to);
    let right = right.flat_map(|cell| cell.images.iter().take(2 * FIRST));
    first.chain(rest).chain(right).copied().collect()
}
