//! People's reviews of findings: a CSV file beside the runs, written by `prospect review` or by hand.
//!
//! ```text
//! path,kind,verdict,note,date,digest,label,sampled
//! hat/0512.jpg,label,ok,a beret,2026-11-23,5f0c…,,
//! hat/0513.jpg,label,fix,,2026-11-23,77a1…,shoe,yes
//! ```
//!
//! A review is about one image and one kind of finding. With a digest, it holds only for that content: an image that has changed
//! since needs another review. Without one, it holds for any content.
//!
//! Text that a spreadsheet would take for a formula has an apostrophe before it ([`spreadsheet`]), here and in the file that the
//! report's page of labels saves; it is removed when a file is read.

use std::{borrow::Cow, collections::HashMap, fs::File, io, path::Path};

use prospect_common::{
    Error, Result, names, spreadsheet,
    text::{escaped, shortened},
};
use prospect_store::{folder_of, write_atomically};

use crate::Kind;

/// Our columns, in the order written. The first [`REQUIRED`] are required.
const COLUMNS: [&str; 8] = [
    "path", "kind", "verdict", "note", "date", "digest", "label", "sampled",
];
const REQUIRED: usize = 3;

/// The kinds of findings about the label, the most certain first.
pub const OF_LABELS: [Kind; 2] = [Kind::Label, Kind::Ambiguous];

/// Marks a sampled image.
const YES: &str = "yes";

/// Maximum number of errors in a message.
const MAX_ERRORS: usize = 3;

names! {
    /// A person's verdict on a finding.
    pub enum Verdict {
        /// Not a problem: no longer reported.
        Ok = "ok",
        /// To be fixed.
        Fix = "fix",
        /// Asked for by `prospect review next`, not decided yet.
        Asked = "asked",
    }
}

/// A review of one finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// As in table `images`.
    pub path: String,
    pub kind: Kind,
    pub verdict: Verdict,
    pub note: String,
    /// The date, `2026-11-23`.
    pub date: String,
    /// BLAKE3 of the reviewed file; none for any content.
    pub digest: Option<String>,
    /// Name of the right label, of a label to be fixed.
    pub label: Option<String>,
    /// Whether `prospect review next` asked for it: a person who picks images picks the most suspicious ones.
    pub sampled: bool,
    /// Cells of additional columns.
    pub more: Vec<String>,
}

impl Review {
    pub fn new(path: &str, kind: Kind, verdict: Verdict) -> Review {
        Review {
            path: path.to_string(),
            kind,
            verdict,
            note: String::new(),
            date: String::new(),
            digest: None,
            label: None,
            sampled: false,
            more: Vec::new(),
        }
    }

    /// Whether nothing is left to decide: it is right, or the right label is known.
    pub fn is_settled(&self) -> bool {
        self.verdict == Verdict::Ok || self.label.is_some()
    }

    /// Replaces `before`: a sampled image stays one.
    fn succeed(&mut self, before: &Review) {
        let same = self.digest.is_none() || self.digest == before.digest;
        self.sampled |= before.sampled && same;
    }

    /// Whether it holds for a file with this digest; `None` for an unreadable file.
    pub fn holds_for(&self, digest: Option<&str>) -> bool {
        self.digest.is_none() || self.digest.as_deref() == digest
    }
}

/// All reviews, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reviews {
    list: Vec<Review>,
    /// Index in `list` of the last review of an image and a kind: lower rows are newer.
    by_subject: HashMap<(String, Kind), usize>,
    /// Names of additional columns, which are kept.
    more: Vec<String>,
}

impl Reviews {
    /// Reads the file; a missing file has no reviews.
    ///
    /// # Errors
    /// An unreadable file, or invalid rows, the first of which are listed with their lines.
    pub fn read(path: &Path) -> Result<Reviews> {
        match std::fs::read(path) {
            Ok(bytes) => Reviews::parse(path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Reviews::default()),
            Err(error) => Err(Error::io(path, "reading the reviews")(error)),
        }
    }

    /// The review of an image and a kind, if it holds for the image's current content. `digest` is from table `images`; none for an
    /// unreadable file.
    pub fn find(&self, path: &str, kind: Kind, digest: Option<&str>) -> Option<&Review> {
        self.about(path, kind)
            .filter(|review| review.holds_for(digest) && review.verdict != Verdict::Asked)
    }

    /// The row of an image and a kind, regardless of the image's content.
    pub fn about(&self, path: &str, kind: Kind) -> Option<&Review> {
        let at = *self.by_subject.get(&(path.to_string(), kind))?;
        self.list.get(at)
    }

    /// The reviews in effect, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Review> {
        (self.rows()).filter(|review| review.verdict != Verdict::Asked)
    }

    /// The images asked for and not decided, in the order of the file.
    pub fn asked(&self) -> impl Iterator<Item = &Review> {
        (self.rows()).filter(|review| review.verdict == Verdict::Asked)
    }

    fn rows(&self) -> impl Iterator<Item = &Review> {
        let in_effect = |(at, review): &(usize, &Review)| {
            self.by_subject.get(&(review.path.clone(), review.kind)) == Some(at)
        };
        let list = self.list.iter().enumerate();
        list.filter(in_effect).map(|(_, review)| review)
    }

    /// Adds a review, replacing and returning the one of the same image and kind. A sampled image stays one.
    pub fn set(&mut self, mut review: Review) -> Option<Review> {
        let before = self.remove(&review.path, review.kind);
        if let Some(before) = &before {
            review.succeed(before);
        }
        self.push(review);
        before
    }

    /// Removes a review.
    pub fn remove(&mut self, path: &str, kind: Kind) -> Option<Review> {
        let found = self.about(path, kind).cloned()?;
        let list = std::mem::take(&mut self.list);
        self.by_subject.clear();
        for review in list {
            if (review.path.as_str(), review.kind) != (path, kind) {
                self.push(review);
            }
        }
        Some(found)
    }

    /// Reads, changes and writes the file atomically, one process at a time.
    ///
    /// # Errors
    /// Those of [`Reviews::read`] and `change`, and a failure to write; the file is then unchanged.
    pub fn update<T>(path: &Path, change: impl FnOnce(&mut Reviews) -> Result<T>) -> Result<T> {
        let folder = folder_of(path);
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "creating the folder"))?;
        // The file itself is replaced, so the lock is on its folder. It ends with the handle.
        let lock = File::open(folder).map_err(Error::io(folder, "opening the folder"))?;
        lock.lock().map_err(Error::io(folder, "locking"))?;
        let before = Reviews::read(path)?;
        let mut reviews = before.clone();
        let done = change(&mut reviews)?;
        if reviews != before {
            write_atomically(path, &reviews.csv(path)?)?;
        }
        Ok(done)
    }

    /// The file's contents.
    fn csv(&self, path: &Path) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = COLUMNS
            .into_iter()
            .chain(self.more.iter().map(String::as_str))
            .map(|name| spreadsheet::cell(name).into_owned());
        let mut outcome = writer.write_record(header);
        for review in &self.list {
            let own = [
                review.path.as_str(),
                review.kind.name(),
                review.verdict.name(),
                &review.note,
                &review.date,
                review.digest.as_deref().unwrap_or_default(),
                review.label.as_deref().unwrap_or_default(),
                if review.sampled { YES } else { "" },
            ];
            let more =
                (0..self.more.len()).map(|at| review.more.get(at).map_or("", String::as_str));
            let cells = own.into_iter().chain(more).map(spreadsheet::cell);
            outcome = outcome.and_then(|()| writer.write_record(cells.map(Cow::into_owned)));
        }
        let failed = |error: String| Error::io(path, "writing")(io::Error::other(error));
        outcome.map_err(|error| failed(error.to_string()))?;
        writer
            .into_inner()
            .map_err(|error| failed(error.to_string()))
    }

    /// Parses the contents of a file; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Reviews> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let refuse = |found: String| {
            Error::invalid(
                path,
                format!(
                    "comma-separated rows with the columns {}",
                    COLUMNS.join(", ")
                ),
                found,
                "correct the file, or move it away to start a new one",
            )
        };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let header = reader
            .headers()
            .map_err(|error| refuse(error.to_string()))?;
        let names: Vec<String> = (header.iter())
            .map(|name| spreadsheet::text(name.trim()).to_string())
            .collect();
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Reviews::default());
        }
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let places = COLUMNS.map(place);
        if places[..REQUIRED].contains(&None) {
            return Err(refuse(format!(
                "the columns {}",
                escaped(&names.join(", "))
            )));
        }
        let others: Vec<usize> = (0..names.len())
            .filter(|at| !places.contains(&Some(*at)))
            .collect();
        let mut reviews = Reviews {
            more: others.iter().map(|&at| names[at].clone()).collect(),
            ..Reviews::default()
        };
        let mut wrong = Vec::new();
        for record in reader.into_records() {
            let record = record.map_err(|error| refuse(error.to_string()))?;
            // Spreadsheets may leave empty rows.
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let line = record.position().map_or(0, |position| position.line());
            let cell = |at: Option<usize>| {
                spreadsheet::text(at.and_then(|at| record.get(at)).unwrap_or_default())
            };
            match read_row(places.map(cell), record.len(), names.len()) {
                Ok(review) => reviews.push(Review {
                    more: others
                        .iter()
                        .map(|&at| cell(Some(at)).to_string())
                        .collect(),
                    ..review
                }),
                Err(why) => wrong.push(format!("line {line}: {why}")),
            }
        }
        match wrong.len() {
            0 => Ok(reviews),
            n => Err(refuse(listed(&wrong, n))),
        }
    }

    fn push(&mut self, mut review: Review) {
        if let Some(before) = self.about(&review.path, review.kind) {
            review.succeed(before);
        }
        let subject = (review.path.clone(), review.kind);
        self.by_subject.insert(subject, self.list.len());
        self.list.push(review);
    }
}

/// The first errors, and the number of others.
fn listed(wrong: &[String], n: usize) -> String {
    let mut text = wrong[..n.min(MAX_ERRORS)].join("; ");
    if n > MAX_ERRORS {
        text += &format!("; and {} more", n - MAX_ERRORS);
    }
    text
}

/// Parses a row's cells, in the order of [`COLUMNS`].
fn read_row(cells: [&str; COLUMNS.len()], found: usize, expected: usize) -> Result<Review, String> {
    if found > expected {
        return Err(format!(
            "{found} cells for {expected} columns (put text with commas in double quotes)"
        ));
    }
    let [path, kind, verdict, note, date, digest, label, sampled] = cells;
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.is_empty() {
        return Err("no path".to_string());
    }
    let (kind, verdict) = (read_kind(kind)?, read_verdict(verdict)?);
    let (digest, label) = (digest.trim().to_ascii_lowercase(), label.trim());
    check_label(kind, verdict, (!label.is_empty()).then_some(label))?;
    Ok(Review {
        note: note.to_string(),
        date: date.trim().to_string(),
        digest: (!digest.is_empty()).then_some(digest),
        label: (!label.is_empty()).then(|| label.to_string()),
        sampled: sampled.trim().eq_ignore_ascii_case(YES),
        ..Review::new(path, kind, verdict)
    })
}

/// Only a label to be fixed has a right label.
pub fn check_label(kind: Kind, verdict: Verdict, label: Option<&str>) -> Result<(), String> {
    match label {
        Some(label) if verdict != Verdict::Fix || !OF_LABELS.contains(&kind) => Err(format!(
            "label {:?} with {kind} {verdict}: only a label to be fixed has a right label",
            escaped(&shortened(label, 60))
        )),
        _ => Ok(()),
    }
}

/// Parses a kind written by a person.
pub fn read_kind(word: &str) -> Result<Kind, String> {
    let word = word.trim().to_lowercase();
    (word.parse()).map_err(|known: String| unknown("kind", &word, &known))
}

/// Parses a verdict written by a person.
pub fn read_verdict(word: &str) -> Result<Verdict, String> {
    let word = word.trim().to_lowercase();
    (word.parse()).map_err(|known: String| unknown("verdict", &word, &known))
}

fn unknown(what: &str, word: &str, known: &str) -> String {
    let word = escaped(&shortened(word, 60)).into_owned();
    format!("unknown {what} {word:?}; {known}")
}

#[cfg(test)]
mod tests;
