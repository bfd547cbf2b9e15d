//! Reads and checks every image file: `images`, one row per file including unreadable ones, and `classes`.

mod estimate;
mod file_labels;
mod labels;
mod metadata;
mod reuse;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use arrow::array::RecordBatch;
use prospect_common::{Error, Result, text};
use prospect_config::Labels;
use prospect_engine::{
    Context, Needs, Outcome, Stage, Survey,
    schema::{classes, images, label_votes},
    tables::classes::network_classes,
};
use prospect_store::StageWriter;
use rayon::prelude::*;
use serde_json::{Value, json};

use metadata::EXAMPLES;
use reuse::EarlierResults;
use rows::Annotation;

pub use file_labels::FileLabels;
pub use labels::from_folders;

pub const STAGE: Stage = Stage {
    name: "scan",
    version: 5,
    about: "read and check every image file, and assign labels",
    needs: Needs::Named(&[]),
    writes: &[&images::TABLE, &classes::TABLE, &label_votes::TABLE],
    findings: None,
    reuse: Some(&[
        "files",
        "labels",
        "votes",
        "annotators",
        "metadata",
        "columns",
        "model_classes",
    ]),
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Files per part; an interrupted scan repeats at most one part.
const PART_FILES: usize = 2048;

/// Labels, splits and classes, known before an image file is opened.
struct Naming {
    /// Label and split of each entry.
    named: Vec<(Option<String>, Option<String>)>,
    /// Class number of each label.
    numbers: BTreeMap<String, i32>,
    /// Class names in the model's sidecar, if any.
    model_classes: Vec<String>,
    /// Number of labels that the network knows by name.
    known: usize,
    /// What the folders mean, if they are the labels.
    tree: String,
    /// Folders beside those of the splits, and their number of images.
    stray: Vec<(String, u64)>,
}

fn naming(ctx: &Context, survey: &Survey) -> Result<Naming> {
    let images = &ctx.config.images;
    let (listing, metadata) = (&survey.listing, &survey.metadata);
    let paths: Vec<&str> = (listing.entries.iter())
        .map(|entry| entry.path.as_str())
        .collect();
    let labels::FolderTree {
        named: by_folder,
        splits,
        stray,
    } = labels::from_folders(&paths);
    let uses_folders = images.labels == Labels::Folder;
    let tree = match (uses_folders, splits.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "by top-level folder".to_string(),
        (true, false) => {
            let splits: Vec<&str> = splits.into_iter().collect();
            format!("by folder in the splits {}", splits.join(", "))
        }
    };
    let stray = stray.into_iter().filter(|_| uses_folders);
    let stray = stray.map(|(top, n)| (top.to_string(), n)).collect();
    let named = paths.iter().zip(by_folder).map(|(path, folder)| {
        let row = metadata.row(path);
        let label = match images.labels {
            Labels::Folder => folder.label,
            Labels::Metadata => row.and_then(|row| metadata.label(row)),
            Labels::None => None,
        };
        let split = row.and_then(|row| metadata.split(row)).or(folder.split);
        (label.map(str::to_string), split.map(str::to_string))
    });
    let named: Vec<_> = named.collect();
    let model_classes = model_classes(ctx)?;
    let names: BTreeSet<&str> = named
        .iter()
        .filter_map(|(label, _)| label.as_deref())
        .collect();
    let labels: Vec<&str> = names.iter().copied().collect();
    let known = network_classes(&labels, (0..).zip(&model_classes));
    let numbers = labels::class_numbers(&names, &known);
    let known = known.len();
    Ok(Naming {
        named,
        numbers,
        known,
        model_classes,
        tree,
        stray,
    })
}

/// Class names in the model's sidecar, if there is a model.
fn model_classes(ctx: &Context) -> Result<Vec<String>> {
    Ok(match &ctx.config.model.path {
        Some(_) => ctx.model()?.sidecar.classes.clone(),
        None => Vec::new(),
    })
}

fn parameters(ctx: &Context) -> Result<Value> {
    let survey = ctx.survey()?;
    let images = &ctx.config.images;
    let classes = model_classes(ctx)?.join("\n");
    Ok(json!({
        "files": { "n": survey.listing.entries.len(), "digest": survey.listing.digest() },
        "labels": images.labels,
        "votes": images.votes,
        "annotators": images.annotators,
        "metadata": survey.metadata.digest,
        "columns": [images.file_column, images.label_column, images.split_column],
        "model_classes": blake3::hash(classes.as_bytes()).to_hex()[..16],
        "exif_orientation": images.exif_orientation,
        "depth": images.depth,
        "max_pixels": images.max_pixels,
    }))
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let survey = ctx.survey()?;
    let naming = naming(ctx, &survey)?;
    warn(&survey, &naming, &ctx.config.images.dir);
    let entries = &survey.listing.entries;
    let options = ctx.config.images.decode_options();
    let annotations: Vec<Annotation> = (entries.iter().zip(&naming.named))
        .map(|(entry, (label, split))| Annotation {
            label: label
                .as_ref()
                .and_then(|label| naming.numbers.get(label).copied()),
            label_name: label.as_deref(),
            split: split.as_deref(),
            metadata: survey.metadata.row(&entry.path),
        })
        .collect();
    let threads = ctx.decode_pool()?;
    let earlier = EarlierResults::read(ctx, &STAGE, &writer.record().parameters)?;
    writer.set_parts_total(entries.len().div_ceil(PART_FILES))?;
    let bar = ctx.progress.stage("scan", entries.len() as u64, "images");
    let chunks = entries
        .chunks(PART_FILES)
        .zip(annotations.chunks(PART_FILES));
    let mut done = 0;
    for (part, (entries, annotations)) in chunks.enumerate() {
        done += entries.len() as u64;
        if writer.has_part(part) {
            bar.set_done(done);
            continue;
        }
        let rows = threads.install(|| {
            let rows = entries.par_iter().map(|entry| {
                ctx.cancel.check()?;
                let row = rows::examine(entry, &options, &earlier);
                bar.advance(1);
                Ok(row)
            });
            rows.collect::<Result<Vec<_>>>()
        })?;
        let first_id = part * PART_FILES;
        let batch = rows::batch(first_id, entries, annotations, &rows, &survey.metadata)?;
        let mut output = writer.part(part)?;
        output.set_reused(rows.iter().filter(|row| row.reused).count() as u64);
        output.set_unread(rows.iter().filter(|row| row.unread).count() as u64);
        output.write(images::NAME, &batch)?;
        if let Some(votes) = &survey.metadata.votes {
            output.write(
                label_votes::NAME,
                &rows::votes(first_id, annotations, votes)?,
            )?;
        }
        if part == 0 {
            output.write(classes::NAME, &classes(&naming)?)?;
        }
        writer.commit(output)?;
    }
    let check = check_table(ctx)?;
    let unread = writer.record().unread();
    let mut line = format!("{} unreadable", text::count(check.bad));
    if unread > 0 {
        let n = text::count(unread);
        line += &format!(" ({n} could not be read; the next run tries again)");
    }
    if check.damaged > 0 {
        line += &format!(", {} damaged", text::count(check.damaged));
    }
    if !naming.numbers.is_empty() {
        let classes = naming.numbers.len() as u64;
        line += &format!("; {}", text::plural(classes, "class", "classes"));
        if !naming.tree.is_empty() {
            line += &format!(" {}", text::escaped(&naming.tree));
        }
        if !naming.model_classes.is_empty() {
            line += &format!(", {} known to the network", naming.known);
        }
    }
    line += &survey.listing.about_links();
    bar.finish(&line);
    for (n, what, examples) in [
        (check.bad, "unreadable images", &check.examples),
        (check.damaged, "images from damaged files", &check.damage),
    ] {
        for example in examples {
            tracing::warn!("{example}");
        }
        if n > examples.len() as u64 {
            tracing::warn!("{} more {what}", text::count(n - examples.len() as u64));
        }
    }
    let total = entries.len() as u64;
    let limit = ctx.config.images.max_bad_fraction;
    if check.bad as f64 > limit * total as f64 {
        return Err(Error::TooManyBad {
            bad: check.bad,
            total,
            limit,
        });
    }
    let with_metadata = annotations
        .iter()
        .filter(|one| one.metadata.is_some())
        .count();
    let mut summary = json!({
        "images": total,
        "bad": check.bad,
        "damaged": check.damaged,
        "labelled": annotations.iter().filter(|one| one.label.is_some()).count(),
        "classes": naming.numbers.len(),
        "other_files": survey.listing.n_other,
        "hidden_files": survey.listing.n_hidden,
        "images_outside": survey.listing.n_outside,
        "links_skipped": survey.listing.n_links_skipped,
    });
    if unread > 0
        && let Some(summary) = summary.as_object_mut()
    {
        summary.insert("unread".into(), json!(unread));
    }
    let reused = writer.record().reused();
    if reused > 0
        && let Some(summary) = summary.as_object_mut()
    {
        summary.insert("decoded".into(), json!(total - reused));
        summary.insert("reused".into(), json!(reused));
    }
    if survey.metadata.digest.is_some()
        && let Some(summary) = summary.as_object_mut()
    {
        let missing = survey.metadata.n_rows().saturating_sub(with_metadata);
        summary.insert("metadata_rows_without_image".into(), json!(missing));
        summary.insert(
            "images_without_metadata".into(),
            json!(entries.len() - with_metadata),
        );
    }
    Ok(Outcome {
        result: Some(check.digest),
        summary,
    })
}

/// Warns of problems before the files are read.
fn warn(survey: &Survey, naming: &Naming, folder: &Path) {
    for warning in survey.listing.warnings.iter().take(EXAMPLES) {
        tracing::warn!(
            "{}: {}",
            text::escaped(&folder.display().to_string()),
            text::escaped(warning)
        );
    }
    if survey.listing.warnings.len() > EXAMPLES {
        tracing::warn!(
            "{} more warnings of this kind",
            survey.listing.warnings.len() - EXAMPLES
        );
    }
    if let Some(hidden) = &survey.listing.hidden {
        tracing::warn!(
            "{}: left out: {} in hidden or system folders, such as {}",
            text::escaped(&folder.display().to_string()),
            text::plural(survey.listing.n_hidden, "image", "images"),
            text::escaped(hidden)
        );
    }
    for (stray, n) in &naming.stray {
        tracing::warn!(
            "{}: no label for {} in {}, beside the splits",
            text::escaped(&folder.display().to_string()),
            text::plural(*n, "image", "images"),
            text::escaped(stray)
        );
    }
    let names: BTreeSet<&str> = naming.numbers.keys().map(String::as_str).collect();
    for same in labels::spellings(&names) {
        tracing::warn!(
            "the labels {} may be one class in several spellings; they are kept apart",
            text::escaped(&same.join(", "))
        );
    }
    let paths = survey.listing.entries.iter();
    metadata::warn(
        &survey.metadata,
        &paths.map(|entry| entry.path.as_str()).collect(),
        folder,
    );
}

/// Rows of `classes`: the dataset's, then the model's.
fn classes(naming: &Naming) -> Result<RecordBatch> {
    let mut own: Vec<(i32, &str)> = naming
        .numbers
        .iter()
        .map(|(name, class)| (*class, name.as_str()))
        .collect();
    own.sort();
    let own = own
        .into_iter()
        .map(|(class, name)| (class, name, "dataset"));
    let model = (0..).zip(&naming.model_classes);
    let model = model.map(|(class, name)| (class, name.as_str(), "model"));
    let all: Vec<_> = own.chain(model).collect();
    classes::Columns {
        class: all.iter().map(|(class, ..)| *class).collect(),
        name: all.iter().map(|(_, name, _)| Some(name)).collect(),
        source: all.iter().map(|(.., source)| Some(source)).collect(),
    }
    .batch()
}

/// Facts about the finished table `images`.
struct TableCheck {
    /// Digest of everything that later stages depend on: not the metadata's attributes, nor the quality metrics.
    digest: String,
    bad: u64,
    /// Paths and errors of the first unreadable images, escaped for the terminal.
    examples: Vec<String>,
    /// Images that were read from a damaged file.
    damaged: u64,
    /// Paths and warnings of the first of them, escaped for the terminal.
    damage: Vec<String>,
}

/// Reads the table back: a resumed scan did not see the earlier rows.
fn check_table(ctx: &Context) -> Result<TableCheck> {
    let columns = (
        images::path,
        images::digest,
        images::label_name,
        images::split,
        images::error,
        images::label,
        images::orientation,
        images::warning,
    );
    let mut hasher = blake3::Hasher::new();
    let mut check = TableCheck {
        digest: String::new(),
        bad: 0,
        examples: Vec::new(),
        damaged: 0,
        damage: Vec::new(),
    };
    for batch in ctx.run.rows(&ctx.run.manifest()?, columns) {
        for cells in batch?.iter() {
            let (path, digest, label_name, split, error, label, orientation, warning) = cells;
            for text in [Some(path), digest, label_name, split, error] {
                let value = text.unwrap_or("");
                hasher.update(&[u8::from(text.is_some())]);
                hasher.update(&(value.len() as u64).to_le_bytes());
                hasher.update(value.as_bytes());
            }
            hasher.update(&label.unwrap_or(-1).to_le_bytes());
            hasher.update(&orientation.unwrap_or(0).to_le_bytes());
            if let Some(error) = error {
                check.bad += 1;
                if check.examples.len() < EXAMPLES {
                    let (path, error) = (text::escaped(path), text::escaped(error));
                    check.examples.push(format!("{path}: {error}"));
                }
            }
            if let Some(warning) = warning {
                check.damaged += 1;
                if check.damage.len() < EXAMPLES {
                    let (path, warning) = (text::escaped(path), text::escaped(warning));
                    check.damage.push(format!("{path}: {warning}"));
                }
            }
        }
    }
    let columns = (
        label_votes::image_id,
        label_votes::majority,
        label_votes::majority_share,
        label_votes::agreement,
    );
    let manifest = ctx.run.manifest()?;
    if manifest.has(label_votes::NAME) {
        for batch in ctx.run.rows(&manifest, columns) {
            for (id, majority, share, agreement) in batch?.iter() {
                hasher.update(&id.to_le_bytes());
                hasher.update(majority.as_bytes());
                hasher.update(&share.to_le_bytes());
                hasher.update(&agreement.unwrap_or(-1.0).to_le_bytes());
            }
        }
    }
    check.digest = hasher.finalize().to_hex()[..32].to_string();
    Ok(check)
}
