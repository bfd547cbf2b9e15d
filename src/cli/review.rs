//! `prospect review`.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use prospect_common::{
    Complaint, Complaints, Error,
    text::{self, did_you_mean},
};
use prospect_config::Config;
use prospect_engine::tables::{
    classes::ClassNames,
    files::{File, files},
};
use prospect_findings::{
    Kind,
    review::{OF_LABELS, Review, Reviews, Verdict, check_label, read_kind, read_verdict},
};
use prospect_queries::review::{Next, next};
use prospect_stages::scan::FileLabels;
use prospect_store::RunFolder;
use serde::Serialize;

use super::{Global, output, output::with_kinds};

/// Record decisions about findings, so that accepted images are not reported again
///
/// Reads the run folder's tables to know its images; writes a CSV next to it, shared by all runs ([audit] reviews), which may
/// also be edited by hand (path, kind, verdict, note, date, digest, label). A decision applies to an image and a kind of finding
/// until the image changes, and takes effect in the next run: an accepted finding is not reported again; a decided label replaces
/// the given one where the label detector is trained and where the neighbours vote.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect review add hat/0512.jpg label ok --note \"a beret\"
  prospect review add hat/0513.jpg label fix --label shoe
  prospect review add '#123' duplicate_near fix
  prospect review next
  prospect review list
  prospect review remove hat/0512.jpg label
  prospect review import from-the-labelling-tool.csv")]
pub(super) struct ReviewArgs {
    #[command(subcommand)]
    command: ReviewCommand,
}

#[derive(Debug, Subcommand)]
enum ReviewCommand {
    /// Record a decision, replacing any earlier one
    ///
    /// Reads the decisions, and the run's images for the digest of their content; writes the updated decisions.
    #[command(after_help = "\
Examples:
  prospect review add hat/0512.jpg label ok --note \"a beret\"
  prospect review add hat/0513.jpg label fix --label shoe
  prospect review add '#123' duplicate_near fix")]
    Add {
        /// A path in the image folder, `#` and an image id, or the image's file
        image: String,
        #[arg(help = with_kinds("Kind of finding"))]
        kind: String,
        /// `ok`: nothing is wrong; `fix`: to be fixed
        #[arg(value_name = "ok|fix")]
        verdict: String,
        /// The right label, of a label to be fixed
        #[arg(long, value_name = "CLASS")]
        label: Option<String>,
        /// The reason
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Name the images whose labels to review next, and estimate how many suspicious labels are wrong
    ///
    /// Reads the scores of the labels and the decisions; writes the list and the estimate to standard output, and notes in the
    /// decisions which images it has asked for. How many suspicious labels are wrong can only be estimated from a random sample:
    /// these are images from the whole range of scores, more of them where the estimate is least certain. Decide all of a list,
    /// also the clear ones; a sample counts only as far as it is complete. Decisions about other images count for themselves.
    /// When all suspicious labels are reviewed, the worst of the others follow, until further reviews are not worth while.
    #[command(after_help = "\
Examples:
  prospect review next
  prospect review next -n 50 --json")]
    Next {
        /// Number of images
        #[arg(short, value_name = "N", default_value_t = 20)]
        n: usize,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the decisions, and which to review again because the image has changed
    ///
    /// Reads the decisions and the run's images; writes the list to standard output.
    #[command(after_help = "\
Examples:
  prospect review list
  prospect review list --json")]
    List {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove a decision
    ///
    /// Reads the decisions; writes them without this one.
    #[command(after_help = "\
Examples:
  prospect review remove hat/0512.jpg label")]
    Remove {
        /// The path in the list, or anything that `add` accepts
        image: String,
        #[arg(help = with_kinds("Kind of finding"))]
        kind: String,
    },
    /// Import decisions from another CSV
    ///
    /// Reads a CSV with columns path, kind, verdict and optionally note, date, digest, label, such as the report's label page saves;
    /// writes the decisions, with those of FILE replacing earlier ones about the same finding.
    #[command(after_help = "\
Examples:
  prospect review import from-the-labelling-tool.csv")]
    Import {
        /// The CSV
        file: PathBuf,
    },
}

pub(super) fn review(global: &Global, args: &ReviewArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let path = config.reviews_path();
    let message = match &args.command {
        ReviewCommand::Add {
            image,
            kind,
            verdict,
            label,
            note,
        } => add(
            &config,
            &path,
            image,
            [kind, verdict, note],
            label.as_deref(),
        )?,
        ReviewCommand::List { json } => {
            let lines = lines(&Reviews::read(&path)?, &images(&config)?);
            if *json {
                let file = path.display().to_string();
                output::print_json(&serde_json::json!({ "file": file, "reviews": lines }))?;
            } else {
                output::print(&page(&lines, &path))?;
            }
            return Ok(0);
        }
        ReviewCommand::Next { n, json } => {
            let next = next(&config, *n, &today())?;
            if *json {
                output::print_json(&next)?;
            } else {
                output::print(&asked(&next))?;
            }
            return Ok(0);
        }
        ReviewCommand::Remove { image, kind } => remove(&config, &path, image, kind)?,
        ReviewCommand::Import { file } => import(&config, &path, file)?,
    };
    if !global.quiet {
        output::print(&message)?;
    }
    Ok(0)
}

/// The images of the configured run, by path.
fn images(config: &Config) -> Result<HashMap<String, File>, Error> {
    let run = RunFolder::open(&config.run.dir)?;
    let files = files(&run, &run.manifest()?, |_, _| true)?.into_values();
    Ok(files.map(|file| (file.path.clone(), file)).collect())
}

fn today() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}

fn add(
    config: &Config,
    path: &Path,
    image: &str,
    [kind, verdict, note]: [&String; 3],
    label: Option<&str>,
) -> Result<String, Error> {
    // Report both arguments if both are wrong.
    let (kind, verdict) = match (read_kind(kind), read_verdict(verdict)) {
        (Ok(kind), Ok(verdict)) => (kind, verdict),
        (kind, verdict) => {
            let complaints = [kind.err(), verdict.err()].into_iter().flatten();
            return Err(Error::Config(complaints.map(Complaint::new).collect()));
        }
    };
    if verdict == Verdict::Asked {
        return Err(Error::usage("a decision is ok or fix"));
    }
    check_label(kind, verdict, label).map_err(Error::usage)?;
    let images = images(config)?;
    let named = resolve(config, &images, image)?;
    let file = images.get(&named);
    if let Some(label) = label {
        let given = file.and_then(|file| file.label.as_deref());
        check_class(&class_names(config)?, label, given)?;
    }
    let review = Review {
        note: note.clone(),
        date: today(),
        digest: file.and_then(|file| file.digest.clone()),
        label: label.map(String::from),
        ..Review::new(&named, kind, verdict)
    };
    let before = Reviews::update(path, |reviews| Ok(reviews.set(review)))?;
    let replaced = match before.filter(|before| before.verdict != Verdict::Asked) {
        Some(before) => format!(" (was {})", before.verdict),
        None => String::new(),
    };
    let label = label.map_or(String::new(), |label| format!(", {label}"));
    Ok(format!(
        "{named}: {kind} is {verdict}{label}{replaced}; {}; {}",
        path.display(),
        next_run(&[kind])
    ))
}

/// What the next run does with the decisions.
fn next_run(kinds: &[Kind]) -> &'static str {
    match kinds.iter().any(|kind| OF_LABELS.contains(kind)) {
        true => "the next `prospect run` repeats the stages from `labels` on",
        false => "the next `prospect run` repeats the stages from `audit` on",
    }
}

/// Names of the dataset's classes.
fn class_names(config: &Config) -> Result<Vec<String>, Error> {
    let run = RunFolder::open(&config.run.dir)?;
    let names = ClassNames::read(&run, &run.manifest()?)?.dataset;
    Ok(names.into_values().collect())
}

/// Checks that a right label is another class of the dataset.
fn check_class(names: &[String], label: &str, given: Option<&str>) -> Result<(), Error> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if !names.contains(&label) {
        return Err(Error::usage(format!(
            "--label {}: not a class of the dataset{}; the classes are {}",
            text::escaped(label),
            did_you_mean(label, &names),
            text::shortened(&names.join(", "), 400)
        )));
    }
    if given == Some(label) {
        return Err(Error::usage(format!(
            "--label {}: the image has this label; if it is right, the verdict is ok",
            text::escaped(label)
        )));
    }
    Ok(())
}

fn remove(config: &Config, path: &Path, image: &str, kind: &str) -> Result<String, Error> {
    let kind = read_kind(kind).map_err(Error::usage)?;
    // Decisions about deleted images can still be removed.
    let reviews = Reviews::read(path)?;
    let named = match reviews.about(image, kind) {
        Some(_) => image.to_string(),
        None => resolve(config, &images(config)?, image).unwrap_or_else(|_| image.to_string()),
    };
    let removed = Reviews::update(path, |reviews| Ok(reviews.remove(&named, kind)))?;
    if removed.is_none() {
        let decided: BTreeSet<&str> = (reviews.iter())
            .filter(|review| review.kind == kind)
            .map(|review| review.path.as_str())
            .collect();
        let decided: Vec<&str> = decided.into_iter().collect();
        return Err(Error::usage(format!(
            "{}: no decision about {} and {kind}{}; see `prospect review list`",
            path.display(),
            text::escaped(&named),
            did_you_mean(&named, &decided)
        )));
    }
    Ok(format!(
        "{named}: removed the decision on {kind}; {}",
        next_run(&[kind])
    ))
}

/// Imports all decisions, or none if any concerns an image missing from the run.
fn import(config: &Config, path: &Path, file: &Path) -> Result<String, Error> {
    // `Reviews::read` takes a missing file for an empty one.
    std::fs::metadata(file).map_err(Error::io(file, "reading the reviews"))?;
    let imported = Reviews::read(file)?;
    let (images, classes) = (images(config)?, class_names(config)?);
    let mut complaints = Complaints::default();
    let mut accepted = Vec::new();
    for review in imported.iter() {
        let named = resolve(config, &images, &review.path).and_then(|named| {
            if let Some(label) = &review.label {
                check_class(&classes, label, images[&named].label.as_deref())?;
            }
            Ok(named)
        });
        match named {
            Err(error) => {
                complaints.push(Complaint::new(format!("{}: {error}", file.display())));
            }
            Ok(named) => {
                let digest = images.get(&named).and_then(|file| file.digest.clone());
                let or_today = |date: &str| match date {
                    "" => today(),
                    date => date.to_string(),
                };
                accepted.push(Review {
                    note: review.note.clone(),
                    date: or_today(&review.date),
                    digest: review.digest.clone().or(digest),
                    label: review.label.clone(),
                    ..Review::new(&named, review.kind, review.verdict)
                });
            }
        }
    }
    complaints.into_result()?;
    let n = accepted.len();
    let kinds: Vec<Kind> = accepted.iter().map(|review| review.kind).collect();
    let replaced = Reviews::update(path, |reviews| {
        let replaced = (accepted.into_iter())
            .filter_map(|review| reviews.set(review))
            .filter(|before| before.verdict != Verdict::Asked);
        Ok(replaced.count())
    })?;
    Ok(format!(
        "imported {}, {replaced} of them replacing earlier ones; {}; {}",
        text::counted(n as u64, "decision"),
        path.display(),
        next_run(&kinds)
    ))
}

/// The image's path in the run.
fn resolve(config: &Config, images: &HashMap<String, File>, image: &str) -> Result<String, Error> {
    let plain = image.strip_prefix("./").unwrap_or(image);
    if images.contains_key(plain) {
        return Ok(plain.to_string());
    }
    if let Some(id) = image
        .strip_prefix('#')
        .and_then(|id| id.parse::<u32>().ok())
    {
        let found = images.iter().find(|(_, file)| file.image_id == id);
        return found.map(|(path, _)| path.clone()).ok_or_else(|| {
            Error::usage(format!(
                "no image #{id} in the run; ids are 0 to {}",
                images.len().saturating_sub(1)
            ))
        });
    }
    let inside = FileLabels::new(config)?.relative(Path::new(image));
    if let Some(path) = inside.filter(|path| images.contains_key(path)) {
        return Ok(path);
    }
    let mut paths: Vec<&str> = images.keys().map(String::as_str).collect();
    paths.sort();
    Err(Error::usage(format!(
        "no image in the run: {}{}; see `prospect query \"select path from images\"`",
        text::escaped(image),
        did_you_mean(plain, &paths)
    )))
}

/// A decision as listed.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    kind: Kind,
    verdict: Verdict,
    /// The right one.
    label: Option<String>,
    /// `valid`, `review again` if the image has changed since, or `image is gone`.
    state: &'static str,
    date: String,
    note: String,
}

fn lines(reviews: &Reviews, images: &HashMap<String, File>) -> Vec<Line> {
    let line = |review: &Review| Line {
        path: review.path.clone(),
        kind: review.kind,
        verdict: review.verdict,
        label: review.label.clone(),
        state: match images.get(&review.path) {
            None => "image is gone",
            Some(file) if review.holds_for(file.digest.as_deref()) => "valid",
            Some(_) => "review again",
        },
        date: review.date.clone(),
        note: review.note.clone(),
    };
    reviews.iter().map(line).collect()
}

/// The list of `review next`.
fn asked(next: &Next) -> String {
    let heading = ["image", "label", "suggested", "score"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(next.images.iter().map(|image| {
        vec![
            image.path.clone(),
            image.label.clone(),
            image.suggested.clone().unwrap_or_default(),
            format!("{:.3}", image.score),
        ]
    }));
    let mut page = output::columns(&rows, &[false, false, false, true]);
    if next.images.is_empty() {
        page = "every label is reviewed\n".to_string();
    } else {
        page += "\ndecide each with `prospect review add IMAGE label ok`, or `fix --label CLASS`\n";
    }
    for message in &next.messages {
        page += &format!("{message}\n");
    }
    page
}

fn page(lines: &[Line], path: &Path) -> String {
    if lines.is_empty() {
        return format!("no decisions yet; {}\n", path.display());
    }
    let heading = ["image", "kind", "verdict", "label", "state", "date", "note"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(lines.iter().map(|line| {
        vec![
            line.path.clone(),
            line.kind.to_string(),
            line.verdict.to_string(),
            line.label.clone().unwrap_or_default(),
            line.state.to_string(),
            line.date.clone(),
            line.note.clone(),
        ]
    }));
    output::columns(&rows, &[false; 7])
}
