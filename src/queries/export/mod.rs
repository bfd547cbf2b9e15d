//! A run's tables joined image by image, and handed to the writer of another tool's format.

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

/// Images that are joined at a time.
const BATCH: usize = 256;
/// Tables that every format takes something from, where the run has them.
const TAKEN: [&str; 4] = [
    predictions::NAME,
    probe::NAME,
    label_scores::NAME,
    issues::NAME,
];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub format: Format,
    /// The folder to write.
    pub out: &'a Path,
    pub images: Images,
    /// Most images of formats that hold no more.
    pub points: u64,
    /// Side in pixels, where another than the format's own is wanted.
    pub thumbnails: Option<u32>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    pub format: Format,
    /// The folder, absolute.
    pub path: String,
    pub files: u64,
    #[serde(flatten)]
    pub told: Summary,
}

/// Writes an export. Keeps a batch of images in memory, and of all others some bytes each.
///
/// # Errors
/// A table that the format needs is missing or of images that were scanned before; the folder is not free.
pub fn export(ctx: &Context, asked: &Asked) -> Result<Export> {
    let manifest = ctx.run.manifest()?;
    for table in asked.format.needs() {
        require(ctx, &manifest, table)?;
    }
    let dir = &ctx.config.images.dir;
    if is_inside(asked.out, dir) && !is_inside(asked.out, ctx.run.root()) {
        return Err(Error::usage(format!(
            "--out {}: it lies in the folder of images, whose next scan would find it; choose another folder",
            asked.out.display()
        )));
    }
    let dir = fs::canonicalize(dir).map_err(Error::io(dir, "finding the images"))?;
    let survey = Survey::read(ctx, &manifest, asked.format, asked.points)?;
    let without: Vec<&str> = (TAKEN.into_iter())
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
        probe_classes: survey.judged.clone(),
    };
    let n = outline.rows;
    let side = asked.format.thumbnail_size(asked.thumbnails, n);
    let folder = Folder::begin(asked.out, asked.format)?;
    let mut writer = (asked.format).writer(&folder, outline.clone(), asked.images, side)?;
    let wanted = Wanted {
        features: asked.format == Format::Tensorboard,
        probabilities: asked.format == Format::Cleanlab,
        neighbors: asked.format == Format::EmbeddingAtlas,
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
    let mut told = writer.finish(&folder)?;
    if survey.unreadable > 0 {
        let unreadable = counted(survey.unreadable, "unreadable image");
        told.remarks.push(format!("skipped {unreadable}"));
    }
    if survey.left_out > 0 {
        let of = counted(survey.left_out + survey.n, "image");
        told.remarks
            .push(format!("a sample of {of}; --points sets how many"));
    }
    if !without.is_empty() {
        told.remarks.push(format!(
            "without {}: see `prospect status` for the stages that have not run",
            without.join(", ")
        ));
    }
    let path = folder.target().display().to_string();
    ctx.cancel.check()?;
    let contents = folder.finish(told.rows)?;
    bar.finish(&path);
    Ok(Export {
        format: asked.format,
        path,
        files: contents.files,
        told,
    })
}

fn require(ctx: &Context, manifest: &Manifest, table: &str) -> Result<()> {
    if is_usable(manifest, table) {
        return Ok(());
    }
    let stage = writer_of(table).map_or("", |stage| stage.name);
    let of = match manifest.has(table) {
        true => " of the images as they are now",
        false => "",
    };
    Err(Error::Missing {
        what: format!("table {table}{of} in {}", ctx.run.root().display()),
        next: format!("create it with `prospect run {stage}`"),
    })
}

/// Decodes the images anew; whose file is gone or another one gets none.
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
