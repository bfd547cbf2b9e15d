//! Groups of pictures that are one.

use std::collections::BTreeMap;

use askama::Template;
use prospect_common::{
    Result,
    text::{self as words, plural},
};
use prospect_engine::tables::columns::{Columns, integer, number, text};
use serde_json::{Value, json};

use super::frame::{Figure, Frame, Page, Shell};

/// Groups that are shown, and members of each.
const GROUPS: usize = 1000;
const MEMBERS: usize = 24;
/// Groups whose pictures are there in a larger size.
const LARGE: usize = 100;

#[derive(Template)]
#[template(path = "duplicates.html")]
struct Duplicates {
    shell: Shell,
    about: String,
    empty: bool,
    nothing: String,
    figures: Vec<Figure>,
}

#[derive(Default)]
struct Group {
    members: Vec<u32>,
    kinds: Vec<String>,
    least: Option<f64>,
    conflict: bool,
    leak: bool,
}

pub fn page(frame: &Frame) -> Result<Page> {
    let groups = groups(frame)?;
    let told = frame.told("duplicates");
    let figure = |label, name: &str, note: &str| {
        let n = told[name].as_u64().unwrap_or(0);
        Figure::number(label, words::count(n), note.to_string())
    };
    let least = told["least_similarity"].as_f64();
    let page = Duplicates {
        shell: frame.shell("duplicates", &["duplicates.js"]),
        about: format!(
            "{}. A group holds one file or one picture several times, saved, scaled, cropped or mirrored; groups with several labels, and those across splits, come first.",
            plural(groups.len() as u64, "group", "groups")
        ),
        empty: groups.is_empty(),
        nothing: match (frame.manifest.has("duplicates"), least) {
            (false, _) => "The stage duplicates has not been run: prospect run duplicates, then prospect run report.".into(),
            (true, Some(least)) if least >= prospect_analysis::audit::duplicates::threshold::MOST => {
                "No file is there twice. Near-copies cannot be told: different pictures of this dataset are too alike.".into()
            }
            _ => "No picture is there twice.".into(),
        },
        figures: vec![
            figure("Images in groups", "images_in_groups", ""),
            figure("Equal files", "exact_pairs", "pairs"),
            figure("Copies", "near_pairs", "pairs: the same picture, another file"),
            figure("Mirrored", "mirrored_pairs", "pairs"),
            figure("Labels contradict", "label_conflicts", "pairs"),
            figure("In two splits", "cross_split_pairs", "pairs: a test that was trained on"),
        ],
    };
    let mut page = frame.page("duplicates", &page)?;
    let shown = || groups.iter().take(GROUPS);
    let rows: Vec<Value> = shown()
        .map(|group| {
            json!({
                "images": &group.members[..group.members.len().min(MEMBERS)],
                "size": group.members.len(),
                "kinds": group.kinds,
                "least": group.least.map(|least| (least * 1e3).round() / 1e3),
                "conflict": group.conflict,
                "leak": group.leak,
            })
        })
        .collect();
    page.data.push((
        "groups".into(),
        json!({ "groups": rows, "all": groups.len() }),
    ));
    let members = |group: &Group| {
        group
            .members
            .iter()
            .take(MEMBERS)
            .copied()
            .collect::<Vec<u32>>()
    };
    page.images = shown().flat_map(members).collect();
    page.large = shown().take(LARGE).flat_map(members).collect();
    Ok(page)
}

/// Contradicting ones first, then those across splits, then the largest.
fn groups(frame: &Frame) -> Result<Vec<Group>> {
    const TABLE: &str = "duplicates";
    let mut groups: BTreeMap<i64, Group> = BTreeMap::new();
    if !frame.manifest.has(TABLE) {
        return Ok(Vec::new());
    }
    let run = frame.ctx.run;
    for batch in run.read(&frame.manifest, TABLE) {
        let batch = batch?;
        let columns = Columns::of(run, TABLE, &batch);
        let (a, b) = (columns.integers("image_a")?, columns.integers("image_b")?);
        let (kinds, similarities) = (columns.texts("kind")?, columns.numbers("similarity")?);
        let numbers = columns.integers("group_id")?;
        let conflicts = columns.booleans("label_conflict")?;
        let leaks = columns.booleans("cross_split")?;
        for row in 0..batch.num_rows() {
            let group = groups
                .entry(integer(&numbers, row).unwrap_or(-1))
                .or_default();
            for id in [&a, &b] {
                let id = integer(id, row).and_then(|id| u32::try_from(id).ok());
                group.members.extend(id);
            }
            let kind = text(&kinds, row).unwrap_or_default();
            if !group.kinds.iter().any(|known| known == kind) {
                group.kinds.push(kind.to_string());
            }
            let similarity = number(&similarities, row);
            group.least = [group.least, similarity]
                .into_iter()
                .flatten()
                .reduce(f64::min);
            group.conflict |= conflicts.value(row);
            group.leak |= leaks.value(row);
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in &mut groups {
        group.members.sort_unstable();
        group.members.dedup();
        group.kinds.sort_unstable();
    }
    groups.sort_by_key(|group| {
        (
            !group.conflict,
            !group.leak,
            std::cmp::Reverse(group.members.len()),
        )
    });
    Ok(groups)
}
