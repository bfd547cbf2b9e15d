//! The map page: every image a point, placed by PCA, t-SNE or UMAP.

use std::collections::{HashMap, HashSet};

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use prospect_analysis::space::projection::layout::{GOLDEN, mix};
use prospect_common::{Result, text as words};
use prospect_config::ProjectionMethod;
use prospect_engine::schema::{images, projection};
use prospect_findings::Kind;
use serde_json::{Value, json};

use super::{
    super::project::{self, read_ids, read_places, read_quality},
    frame::{Frame, PATH, Page, Shell, shown},
    issues::Issue,
};

/// Code for a missing class.
const NONE: u32 = u32::MAX;

/// Best first: the page opens with it.
const METHODS: [ProjectionMethod; 5] = [
    ProjectionMethod::Umap,
    ProjectionMethod::Tsne,
    ProjectionMethod::Pca,
    ProjectionMethod::TsneLinfa,
    ProjectionMethod::PcaLinfa,
];

#[derive(Template)]
#[template(path = "map.html")]
struct Map {
    shell: Shell,
    about: String,
    nothing: String,
}

pub fn page(frame: &Frame, issues: &[Issue]) -> Result<Page> {
    let run = frame.ctx.run;
    let all: Vec<u32> = if frame.manifest.has(projection::NAME) {
        read_ids(run, &frame.manifest)?.into_iter().collect()
    } else {
        Vec::new()
    };
    let found = findings(issues);
    let n = all.len();
    let ids = kept(all, &found, frame.ctx.config.report.map_points);
    let among = ids.iter().filter(|id| found.contains_key(id)).count();
    let mut page = frame.page(
        "map",
        &Map {
            shell: frame.shell("map", &["vendor/deck.js", "points.js", "map.js"]),
            about: about(n, ids.len(), among),
            nothing: if ids.is_empty() {
                "No map yet. Run prospect run project report.".into()
            } else {
                String::new()
            },
        },
    )?;
    if !ids.is_empty() {
        page.data.push(("map".into(), data(frame, &ids, &found)?));
        page.data
            .push(("map-paths".into(), json!(paths(frame, &ids)?)));
    }
    page.images = ids;
    Ok(page)
}

fn about(all: usize, kept: usize, found: usize) -> String {
    let count = |n: usize| words::count(n as u64);
    let what = "Each point is an image; images that the network finds similar are close together.";
    if kept == all {
        return what.into();
    }
    format!(
        "{what} Of {} images, {} are drawn: {} with findings and a random sample of the others ([report] map_points sets the limit).",
        count(all),
        count(kept),
        count(found)
    )
}

/// Kinds of each image's flagged findings, without those reviewed as OK, as bits in the order of [`Kind::ALL`].
fn findings(issues: &[Issue]) -> HashMap<u32, u32> {
    let mut found = HashMap::new();
    for issue in issues {
        if issue.flagged && issue.reviewed.as_deref() != Some("ok") {
            *found.entry(issue.image_id).or_default() |= 1 << issue.kind as u32;
        }
    }
    found
}

/// At most `max` of the images, those with findings before others, in an order whose every prefix is a random sample.
fn kept(mut ids: Vec<u32>, found: &HashMap<u32, u32>, max: usize) -> Vec<u32> {
    let place = |id: &u32| (mix(GOLDEN.wrapping_mul(u64::from(*id) + 1)), *id);
    ids.sort_unstable_by_key(|id| (!found.contains_key(id), place(id)));
    ids.truncate(max);
    ids.sort_unstable_by_key(place);
    ids
}

/// The script's data: little-endian arrays in base64, one value per point.
fn data(frame: &Frame, ids: &[u32], found: &HashMap<u32, u32>) -> Result<Value> {
    let run = frame.ctx.run;
    let classes = frame.names.of_images(run, &frame.manifest, ids)?;
    let codes = |classes: &[Option<u32>]| base64(classes.iter().map(|class| class.unwrap_or(NONE)));
    let names: Vec<String> = classes.names.iter().map(|name| shown(name, PATH)).collect();
    Ok(json!({
        "methods": methods(frame, ids)?,
        "ids": base64(ids.iter().copied()),
        "names": names,
        "labels": codes(&classes.labels),
        "predictions": codes(&classes.predictions),
        "kinds": Kind::ALL.map(|kind| kind.info().words[0]),
        "findings": base64(ids.iter().map(|id| found.get(id).copied().unwrap_or(0))),
    }))
}

fn base64(values: impl Iterator<Item = u32>) -> String {
    STANDARD.encode(values.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
}

/// Title, quality and coordinates of every projection that covers the images.
fn methods(frame: &Frame, ids: &[u32]) -> Result<Vec<Value>> {
    let run = frame.ctx.run;
    let quality = read_quality(run, &frame.manifest)?;
    let mut found = Vec::new();
    for method in METHODS {
        let places = read_places(run, &frame.manifest, method)?;
        let xy: Option<Vec<[f32; 2]>> = (ids.iter())
            .map(|id| places.get(id).map(|([x, y, _], _)| [*x, *y]))
            .collect();
        let Some(xy) = xy else { continue };
        let title = project::title(method);
        let quality = quality.iter().find(|(name, _)| name == method.name());
        let figures = quality.and_then(|(_, quality)| {
            Some((
                quality.trustworthiness?,
                quality.knn_preservation?,
                quality.k,
            ))
        });
        let note = figures.map_or(String::new(), |(trust, kept, k)| {
            let percent = 100.0 * kept;
            format!("{title}: trustworthiness {trust:.3}; {percent:.0} % of the {k} nearest neighbours in feature space are also neighbours on the map.")
        });
        found.push(json!({ "title": title, "note": note, "xy": quantised(&xy) }));
    }
    Ok(found)
}

/// Coordinates quantised to a square of 65,535 steps, centred, in base64.
fn quantised(xy: &[[f32; 2]]) -> String {
    let ends = [0, 1].map(|axis| {
        let finite = xy.iter().map(|place| place[axis]).filter(|v| v.is_finite());
        finite.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], v| {
            [low.min(v), high.max(v)]
        })
    });
    let side = ends.map(|[low, high]| high - low);
    let side = side[0].max(side[1]).max(f32::MIN_POSITIVE);
    let step = |value: f32, [low, high]: [f32; 2]| {
        let share = 0.5 + (value - (low / 2.0 + high / 2.0)) / side;
        // Saturates.
        (share * 65_535.0).round() as u16
    };
    let steps = xy
        .iter()
        .flat_map(|[x, y]| [step(*x, ends[0]), step(*y, ends[1])]);
    STANDARD.encode(steps.flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
}

/// Paths of the images, shortened.
fn paths(frame: &Frame, ids: &[u32]) -> Result<Vec<String>> {
    let run = frame.ctx.run;
    let wanted: HashSet<u32> = ids.iter().copied().collect();
    let mut found = HashMap::new();
    for batch in run.rows(&frame.manifest, (images::image_id, images::path)) {
        for (id, path) in batch?.iter() {
            if wanted.contains(&id) {
                found.insert(id, shown(path, PATH));
            }
        }
    }
    let path = |id: &u32| found.remove(id).unwrap_or_default();
    Ok(ids.iter().map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_kept_and_the_others_sampled_evenly() {
        let found: HashMap<u32, u32> = (0..1000).step_by(100).map(|id| (id, 1)).collect();
        let some = kept((0..1000).collect(), &found, 300);
        assert_eq!(some.len(), 300);
        assert!(found.keys().all(|id| some.contains(id)));
        assert_eq!(some, kept((0..1000).rev().collect(), &found, 300));
        let low = some.iter().filter(|id| **id < 500).count();
        assert!((110..190).contains(&low), "{low} of 300 in the first half");
        let low = some[..100].iter().filter(|id| **id < 500).count();
        assert!((30..70).contains(&low), "{low} of the first 100");
        // If not all findings fit, only findings are kept.
        assert!(
            kept((0..1000).collect(), &found, 5)
                .iter()
                .all(|id| found.contains_key(id))
        );
    }

    #[test]
    fn quantised_coordinates_keep_their_proportions() {
        let steps = STANDARD
            .decode(quantised(&[[-1.0, 5.0], [3.0, 6.0], [1.0, 7.0]]))
            .unwrap();
        let steps: Vec<u16> = steps
            .chunks(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(steps, [0, 16384, 65535, 32768, 32768, 49151]);
        let one = STANDARD.decode(quantised(&[[2.0, 2.0]])).unwrap();
        assert_eq!(one, [0, 128, 0, 128]);
    }
}
