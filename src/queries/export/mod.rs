//! Joins a run's tables by image and passes the rows to the writer of another tool's format.

mod rows;
mod survey;
#[cfg(test)]
mod tests;
mod walk;

use std::{fs, path::Path};

use prospect_common::{Error, Result, text::counted};
use prospect_dataset::image::{self, DecodeOptions};
use prospect_engine::{
    Context,
    schema::{issues, label_scores, predictions, probe},
    tables::sources::fitted,
};
use prospect_output::{
    export::{Folder, Format, Images, Outline, Record, Summary, is_inside},
    picture::Picture,
};
use prospect_stages::writer_of;
use prospect_store::Manifest;
use rayon::prelude::*;
use serde::Serialize;

use self::{
    rows::{Rows, Wanted},
    survey::{Survey, is_usable},
};

/// Images per batch.
const BATCH: usize = 256;
/// Optional tables used by every format.
const OPTIONAL_TABLES: [&str; 4] = [
    predictions::NAME,
    probe::NAME,
    label_scores::NAME,
    issues::NAME,
];

/// An export request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub format: Format,
    /// Output folder.
    pub out: &'a Path,
    pub images: Images,
    /// Maximum number of images, for formats with a limit.
    pub points: u64,
    /// Longer side in pixels, if not the format's default.
    pub thumbnails: Option<u32>,
}

/// A finished export.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    pub format: Format,
    /// Absolute path of the folder.
    pub path: String,
    pub files: u64,
    #[serde(flatten)]
    pub summary: Summary,
}

/// Writes an export. Keeps one batch of images in memory, and a few bytes per image.
///
/// # Errors
/// A required table is missing or out of date, or the output folder has other content.
pub fn export(ctx: &Context, request: &Request) -> Result<Export> {
    let manifest = ctx.run.manifest()?;
    for table in request.format.needs() {
        require(ctx, &manifest, table)?;
    }
    let dir = &ctx.config.images.dir;
    if is_inside(request.out, dir) && !is_inside(request.out, ctx.run.root()) {
        return Err(Error::usage(format!(
            "--out {}: inside the image folder, so the next scan would include it; choose another folder",
            request.out.display()
        )));
    }
    let dir = fs::canonicalize(dir).map_err(Error::io(dir, "finding the images"))?;
    let survey = Survey::read(ctx, &manifest, request.format, request.points)?;
    let missing: Vec<&str> = (OPTIONAL_TABLES.into_iter())
        .filter(|table| !is_usable(&manifest, table))
        .collect();
    let outline = Outline {
        images: dir,
        rows: survey.n,
        classes: survey.classes.clone(),
        splits: survey.splits.clone(),
        maps: survey
            .maps
            .iter()
            .map(|map| map.replace('-', "_"))
            .collect(),
        probe_classes: survey.probe_classes.clone(),
    };
    let n = outline.rows;
    let side = request.format.thumbnail_size(request.thumbnails, n);
    let folder = Folder::begin(request.out, request.format)?;
    let mut writer = (request.format).writer(&folder, outline.clone(), request.images, side)?;
    let wanted = Wanted {
        features: request.format == Format::Tensorboard,
        probabilities: request.format == Format::Cleanlab,
        neighbors: request.format == Format::EmbeddingAtlas,
    };
    let bar = ctx.progress.stage("export", n, "images");
    let mut rows = Rows::open(ctx, &manifest, &survey, wanted)?;
    loop {
        ctx.cancel.check()?;
        let mut batch = rows.next(BATCH)?;
        if batch.is_empty() {
            break;
        }
        if side > 0 {
            add_thumbnails(ctx, &outline, &mut batch, side);
        }
        let n = batch.len() as u64;
        for record in batch {
            writer.write(&folder, record)?;
        }
        bar.advance(n);
    }
    let mut summary = writer.finish(&folder)?;
    if survey.unreadable > 0 {
        let unreadable = counted(survey.unreadable, "unreadable image");
        summary.remarks.push(format!("skipped {unreadable}"));
    }
    if survey.left_out > 0 {
        let of = counted(survey.left_out + survey.n, "image");
        summary
            .remarks
            .push(format!("a sample of {of}; set its size with --points"));
    }
    if !missing.is_empty() {
        summary.remarks.push(format!(
            "without {}: see `prospect status` for the stages that have not run",
            missing.join(", ")
        ));
    }
    let path = folder.target().display().to_string();
    ctx.cancel.check()?;
    let contents = folder.finish(summary.rows)?;
    bar.finish(&path);
    Ok(Export {
        format: request.format,
        path,
        files: contents.files,
        summary,
    })
}

fn require(ctx: &Context, manifest: &Manifest, table: &str) -> Result<()> {
    if is_usable(manifest, table) {
        return Ok(());
    }
    let stage = writer_of(table).map_or("", |stage| stage.name);
    let of = match manifest.has(table) {
        true => " of the latest scan",
        false => "",
    };
    Err(Error::Missing {
        what: format!("table {table}{of} in {}", ctx.run.root().display()),
        next: format!("create it with `prospect run {stage}`"),
    })
}

/// Adds thumbnails, decoded from the files; none for a file that is missing or has changed.
fn add_thumbnails(ctx: &Context, outline: &Outline, records: &mut [Record], side: u32) {
    let options = ctx.config.images.decode_options();
    records.par_iter_mut().for_each(|record| {
        if !ctx.cancel.requested() {
            record.thumbnail = thumbnail(outline, record, &options, side);
        }
    });
}

fn thumbnail(
    outline: &Outline,
    record: &Record,
    options: &DecodeOptions,
    side: u32,
) -> Option<Picture> {
    let bytes = fs::read(outline.file(record)?).ok()?;
    if blake3::hash(&bytes).to_hex().as_str() != record.digest {
        return None;
    }
    fitted(&image::decode(&bytes, options).ok()?, side).ok()
}
