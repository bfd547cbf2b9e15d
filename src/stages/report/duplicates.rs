//! The page of duplicate groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use askama::Template;
use prospect_common::{
    Result,
    text::{self as words, plural},
};
use prospect_engine::schema::duplicates;
use prospect_findings::{Kind, ReportPage};
use serde_json::{Value, json};

use super::{
    frame::{Figure, Frame, Page, Shell},
    issues::Issue,
};

/// Groups shown, and members shown of each.
const GROUPS: usize = 1000;
const MEMBERS: usize = 24;
/// Groups whose pictures have a large version.
const LARGE: usize = 100;
/// Kinds of pairs that are filtered by.
const TURNED: [&str; 2] = ["mirrored", "rotated"];

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
    findings: BTreeSet<Kind>,
    /// Of [`TURNED`].
    turned: BTreeSet<&'static str>,
    min_similarity: Option<f64>,
    conflict: bool,
    leak: bool,
}

pub fn page(frame: &Frame, issues: &[Issue]) -> Result<Page> {
    let mut groups = groups(frame)?;
    add_findings(&mut groups, issues);
    groups.sort_by_key(|group| {
        (
            !group.conflict,
            !group.leak,
            std::cmp::Reverse(group.members.len()),
        )
    });
    let summary = frame.summary("duplicates");
    let figure = |label: &str, name: &str, note: &str| {
        let n = summary[name].as_u64().unwrap_or(0);
        Figure::number(label, words::count(n), note.to_string())
    };
    let pairs = |kind: Kind, name: &str, note: &str| figure(&kind.heading(), name, note);
    let page = Duplicates {
        shell: frame.shell("duplicates", &["duplicates.js"]),
        about: format!(
            "{} of identical files or of one picture saved, scaled, cropped, mirrored or rotated several times. Groups with conflicting labels come first, then those across splits.",
            plural(groups.len() as u64, "group", "groups")
        ),
        empty: groups.is_empty(),
        nothing: match frame.manifest.has(duplicates::NAME) {
            false => "The search for duplicates has not run yet. Run prospect run duplicates report.".into(),
            true if frame.looks_too_similar() => {
                "No duplicates with nearly equal pixels. Others cannot be told from the different pictures of this dataset, which look too similar.".into()
            }
            _ => frame.counts(ReportPage::Duplicates),
        },
        figures: vec![
            figure("Images in groups", "images_in_groups", ""),
            pairs(Kind::DuplicateExact, "exact_pairs", "pairs"),
            pairs(Kind::DuplicateNear, "near_pairs", "pairs: same picture, different file"),
            figure("Mirrored", "mirrored_pairs", "pairs"),
            figure("Rotated", "rotated_pairs", "pairs, by quarter turns"),
            pairs(Kind::DuplicateLabel, "label_conflicts", "pairs"),
            pairs(Kind::Leak, "cross_split_pairs", "pairs in different splits"),
        ],
    };
    let mut page = frame.page("duplicates", &page)?;
    let shown = || groups.iter().take(GROUPS);
    let rows: Vec<Value> = shown()
        .map(|group| {
            json!({
                "images": &group.members[..group.members.len().min(MEMBERS)],
                "size": group.members.len(),
                "findings": group.findings,
                "turned": group.turned,
                "min_similarity": group.min_similarity.map(|min| (min * 1e3).round() / 1e3),
            })
        })
        .collect();
    let kinds: Vec<Value> = (ReportPage::Duplicates.kinds())
        .map(|kind| json!([kind, kind.heading(), kind.info().words[0]]))
        .collect();
    page.data.push((
        "groups".into(),
        json!({ "kinds": kinds, "groups": rows, "all": groups.len() }),
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

/// Adds the flagged findings to their groups; findings about images outside all groups form new groups.
fn add_findings(groups: &mut Vec<Group>, issues: &[Issue]) {
    let mut places: HashMap<u32, usize> = HashMap::new();
    for (place, group) in groups.iter().enumerate() {
        places.extend(group.members.iter().map(|id| (*id, place)));
    }
    for issue in issues.iter().filter(|issue| issue.flagged) {
        if issue.kind.info().page != ReportPage::Duplicates {
            continue;
        }
        let other = issue.other.unwrap_or(issue.image_id);
        let place = match (places.get(&issue.image_id), places.get(&other)) {
            (Some(place), Some(of_other)) if place == of_other => *place,
            _ => {
                let place = groups.len();
                let mut members = vec![issue.image_id, other];
                members.sort_unstable();
                members.dedup();
                for id in &members {
                    places.entry(*id).or_insert(place);
                }
                groups.push(Group {
                    members,
                    ..Group::default()
                });
                place
            }
        };
        groups[place].findings.insert(issue.kind);
    }
}

/// The groups, in the order of the table.
fn groups(frame: &Frame) -> Result<Vec<Group>> {
    let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
    if !frame.manifest.has(duplicates::NAME) {
        return Ok(Vec::new());
    }
    let columns = (
        duplicates::group_id,
        duplicates::image_a,
        duplicates::image_b,
        duplicates::kind,
        duplicates::similarity,
        duplicates::label_conflict,
        duplicates::cross_split,
    );
    for batch in (frame.ctx.run).rows(&frame.manifest, columns) {
        for (id, a, b, kind, similarity, conflict, leak) in batch?.iter() {
            let group = groups.entry(id).or_default();
            group.members.extend([a, b]);
            let turned = TURNED.into_iter().filter(|turned| kind == *turned);
            group.turned.extend(turned);
            let similarity = f64::from(similarity);
            group.min_similarity = match group.min_similarity {
                Some(min) => Some(similarity.min(min)),
                None => Some(similarity),
            };
            group.conflict |= conflict;
            group.leak |= leak;
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in &mut groups {
        group.members.sort_unstable();
        group.members.dedup();
    }
    Ok(groups)
}
