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
use prospect_engine::tables::files::{File, files};
use prospect_findings::{
    Kind,
    review::{Review, Reviews, Verdict, read_kind, read_verdict},
};
use prospect_stages::scan::FileLabels;
use prospect_store::RunFolder;
use serde::Serialize;

use super::{Global, output, output::with_kinds};

/// Record decisions about findings, so that accepted images are not reported again
///
/// Reads the run folder's tables to know its images; writes a CSV next to it, shared by all runs ([audit] reviews), which may
/// also be edited by hand (path, kind, verdict, note, date, digest). A decision applies to an image and a kind of finding
/// until the image changes, and takes effect in the next run's audit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect review add hat/0512.jpg label ok --note \"a beret\"
  prospect review add '#123' duplicate_near fix
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
  prospect review add '#123' duplicate_near fix")]
    Add {
        /// A path in the image folder, `#` and an image id, or the image's file
        image: String,
        #[arg(help = with_kinds("Kind of finding"))]
        kind: String,
        /// `ok`: nothing is wrong; `fix`: to be fixed
        #[arg(value_name = "ok|fix")]
        verdict: String,
        /// The reason
        #[arg(long, default_value = "")]
        note: String,
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
    /// Reads a CSV with columns path, kind, verdict and optionally note, date, digest, such as the report's label page saves;
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
            note,
        } => add(&config, &path, image, [kind, verdict, note])?,
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
) -> Result<String, Error> {
    // Report both arguments if both are wrong.
    let (kind, verdict) = match (read_kind(kind), read_verdict(verdict)) {
        (Ok(kind), Ok(verdict)) => (kind, verdict),
        (kind, verdict) => {
            let complaints = [kind.err(), verdict.err()].into_iter().flatten();
            return Err(Error::Config(complaints.map(Complaint::new).collect()));
        }
    };
    let images = images(config)?;
    let named = resolve(config, &images, image)?;
    let review = Review {
        note: note.clone(),
        date: today(),
        digest: images.get(&named).and_then(|file| file.digest.clone()),
        ..Review::new(&named, kind, verdict)
    };
    let before = Reviews::update(path, |reviews| Ok(reviews.set(review)))?;
    let replaced = match before {
        Some(before) => format!(" (was {})", before.verdict),
        None => String::new(),
    };
    Ok(format!(
        "{named}: {kind} is {verdict}{replaced}; {}",
        path.display()
    ))
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
    Ok(format!("{named}: removed the decision on {kind}"))
}

/// Imports all decisions, or none if any concerns an image missing from the run.
fn import(config: &Config, path: &Path, file: &Path) -> Result<String, Error> {
    // `Reviews::read` takes a missing file for an empty one.
    std::fs::metadata(file).map_err(Error::io(file, "reading the reviews"))?;
    let imported = Reviews::read(file)?;
    let images = images(config)?;
    let mut complaints = Complaints::default();
    let mut accepted = Vec::new();
    for review in imported.iter() {
        match resolve(config, &images, &review.path) {
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
                    ..Review::new(&named, review.kind, review.verdict)
                });
            }
        }
    }
    complaints.into_result()?;
    let n = accepted.len();
    let replaced = Reviews::update(path, |reviews| {
        let replaced = accepted
            .into_iter()
            .filter_map(|review| reviews.set(review));
        Ok(replaced.count())
    })?;
    Ok(format!(
        "imported {}, {replaced} of them replacing earlier ones; {}",
        text::counted(n as u64, "decision"),
        path.display()
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

fn page(lines: &[Line], path: &Path) -> String {
    if lines.is_empty() {
        return format!("no decisions yet; {}\n", path.display());
    }
    let heading = ["image", "kind", "verdict", "state", "date", "note"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(lines.iter().map(|line| {
        vec![
            line.path.clone(),
            line.kind.to_string(),
            line.verdict.to_string(),
            line.state.to_string(),
            line.date.clone(),
            line.note.clone(),
        ]
    }));
    output::columns(&rows, &[false; 6])
}
