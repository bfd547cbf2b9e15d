//! The HTML report: problems of the dataset, the network's view of it, and the run itself.
//!
//! Plain files under `report/` that open from disk, without a server or network access. The first part holds pages, data files,
//! scripts and styles; each further part holds thumbnails. Pages show part of a large dataset (`[report] images`) to bound the size
//! of the report; SQL reaches the rest.

mod classes;
mod duplicates;
mod files;
mod frame;
mod images;
mod issues;
mod labels;
mod map;
mod overlays;
mod overview;
mod run;
mod shortcuts;
#[cfg(test)]
mod tests;
mod thumbs;
mod units;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use prospect_common::{Result, text as words};
use prospect_engine::{
    Context, Needs, Outcome, Stage, TableEstimate, schema,
    tables::{
        classes::ClassNames,
        files::{File, files as image_files},
        sources::Sources,
    },
};
use prospect_store::StageWriter;
use serde_json::{Value, json};

use self::frame::{Frame, Page};
use super::labels::reviews;

pub const STAGE: Stage = Stage {
    name: "report",
    version: 5,
    about: "write figures, findings, pictures and a map as HTML pages",
    needs: Needs::Earlier,
    writes: &[],
    findings: None,
    reuse: None,
    parameters,
    estimate,
    run: write,
};

const INDEX: &str = "report/index.html";
/// Images per part.
const PART: usize = 1000;

/// Scripts, styles and the icon.
const ASSETS: [(&str, &[u8]); 13] = [
    ("icon.svg", include_bytes!("assets/icon.svg")),
    ("report.css", include_bytes!("assets/report.css")),
    ("report.js", include_bytes!("assets/report.js")),
    ("labels.js", include_bytes!("assets/labels.js")),
    ("duplicates.js", include_bytes!("assets/duplicates.js")),
    ("explore.css", include_bytes!("assets/explore.css")),
    ("units.js", include_bytes!("assets/units.js")),
    ("classes.js", include_bytes!("assets/classes.js")),
    ("map.css", include_bytes!("assets/map.css")),
    ("map.js", include_bytes!("assets/map.js")),
    ("points.js", include_bytes!("assets/points.js")),
    ("vendor/deck.js", include_bytes!("assets/vendor/deck.js")),
    (
        "vendor/deck.LICENSES.txt",
        include_bytes!("assets/vendor/deck.LICENSES.txt"),
    ),
];

/// Estimated bytes of a page with its data, and of an image's record.
const PAGE: u64 = 400 << 10;
const RECORD: u64 = 400;
/// Estimated number of images with a large picture.
const LARGE: u64 = 500;

fn parameters(ctx: &Context) -> Result<Value> {
    let report = &ctx.config.report;
    Ok(json!({
        "title": report.title,
        "dataset": dataset(ctx),
        "images": report.images,
        "map_points": report.map_points,
    }))
}

fn estimate(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let shown = images.min(ctx.config.report.images as u64);
    let bytes = frame::PAGES.len() as u64 * PAGE
        + shown * (thumbs::BYTES[0] + RECORD)
        + shown.min(LARGE) * thumbs::BYTES[1];
    Ok(vec![TableEstimate::new(
        "report",
        1,
        [bytes as f64, bytes as f64],
    )])
}

/// The image folder's name, prefixed by its parent's if the name is generic.
fn dataset(ctx: &Context) -> String {
    const GENERIC: [&str; 7] = [
        "images", "photos", "data", "train", "val", "test", "dataset",
    ];
    let dir = &ctx.config.images.dir;
    // `photos/.` and `..` have no name of their own.
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone());
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let own = name(&dir).unwrap_or_else(|| dir.to_string_lossy().into_owned());
    match dir.parent().and_then(name) {
        Some(around) if GENERIC.contains(&own.to_lowercase().as_str()) => {
            format!("{around}/{own}")
        }
        _ => own,
    }
}

fn write(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let names = ClassNames::read(ctx.run, &manifest)?;
    let issues = issues::read(ctx.run, &manifest, &names)?;
    let found: HashSet<u32> = issues.iter().map(|issue| issue.image_id).collect();
    let frame = Frame {
        ctx,
        names,
        flagged: issues::flagged(&issues),
        files: image_files(ctx.run, &manifest, |id, _| found.contains(&id))?,
        dataset: dataset(ctx),
        precision: reviews::Ranking::read(ctx.config, ctx.run, &manifest)?.estimate(),
        manifest,
    };
    let pages = [
        overview::page(&frame, &issues)?,
        labels::page(&frame, &issues)?,
        map::page(&frame, &issues)?,
        duplicates::page(&frame, &issues)?,
        files::page(&frame, &issues)?,
        run::page(&frame)?,
        classes::page(&frame)?,
        shortcuts::page(&frame)?,
        units::page(&frame)?,
    ];
    ctx.cancel.check()?;
    let n = (ctx.run.rows(&frame.manifest, (schema::images::image_id,))).rows();
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    let shown = images::Selection::choose(&frame, &pages, n, ctx.config.report.images)?;
    let files = image_files(ctx.run, &frame.manifest, |id, _| shown.all.contains(&id))?;
    let drawable = files.values().filter(|file| file.error.is_none());
    let drawable: Vec<u32> = drawable.map(|file| file.image_id).collect();
    let parts: Vec<&[u32]> = drawable.chunks(PART).collect();
    writer.set_parts_total(1 + parts.len())?;
    let bar = ctx
        .progress
        .stage("report", drawable.len() as u64, "pictures");
    if !writer.has_part(0) {
        write_pages(&frame, writer, pages, &shown, &issues, &files)?;
    }
    let sources = Sources::of(ctx, files);
    for (part, ids) in parts.into_iter().enumerate() {
        ctx.cancel.check()?;
        if writer.has_part(1 + part) {
            bar.advance(ids.len() as u64);
            continue;
        }
        let mut pictures = writer.part(1 + part)?;
        thumbs::draw(&sources, &shown, ids, &mut pictures, |n| bar.advance(n))?;
        writer.commit(pictures)?;
    }
    bar.finish(&words::escaped(&ctx.run.path(INDEX).display().to_string()));
    Ok(Outcome {
        result: None,
        summary: json!({ "page": INDEX, "pictures": drawable.len() }),
    })
}

fn write_pages(
    frame: &Frame,
    writer: &mut StageWriter,
    pages: impl IntoIterator<Item = Page>,
    shown: &images::Selection,
    issues: &[issues::Issue],
    files: &BTreeMap<u32, File>,
) -> Result<()> {
    let mut part = writer.part(0)?;
    let overlays = overlays::draw_all(frame, &shown.large, files, &mut part)?;
    for page in pages {
        part.file(&format!("report/{}.html", page.name), page.html.as_bytes())?;
        for (name, value) in &page.data {
            part.file(
                &format!("report/data/{name}.js"),
                frame::script(name, value).as_bytes(),
            )?;
        }
        for (path, bytes) in &page.files {
            part.file(&format!("report/{path}"), bytes)?;
        }
    }
    for (name, value) in shown.records(frame, files, issues, &overlays)? {
        part.file(
            &format!("report/data/{name}.js"),
            frame::script(&name, &value).as_bytes(),
        )?;
    }
    for (name, bytes) in ASSETS {
        part.file(&format!("report/assets/{name}"), bytes)?;
    }
    writer.commit(part)
}
