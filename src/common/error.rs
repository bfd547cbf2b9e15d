//! The library's error type. Messages state where, what was expected, what was found and what to do next.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    Complaint,
    text::{bytes, shortened},
};

/// Maximum characters of what a message quotes from a file or a library: some print whole schemas, graphs or stacks.
const MAX_QUOTE: usize = 500;

/// `Result` with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can stop a command. An unreadable image does not: it becomes a row with `error` set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on a file failed.
    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    /// A file with invalid contents.
    #[error("{}: expected {expected}, found {found}; {next}", path.display())]
    Invalid {
        path: PathBuf,
        expected: String,
        found: String,
        next: String,
    },
    /// Invalid command line or configuration, with every complaint.
    #[error("{}", lines(.0))]
    Config(Vec<Complaint>),
    /// A prerequisite is missing, such as a table that another stage writes.
    #[error("{what} is missing; {next}")]
    Missing { what: String, next: String },
    /// More images are unreadable than `images.max_bad_fraction` allows.
    #[error(
        "{bad} of {total} images cannot be read, more than max_bad_fraction = {limit} allows; \
         list them with `prospect query \"select path, error from images where error is not null\"`, \
         then repair them or raise [images] max_bad_fraction"
    )]
    TooManyBad { bad: u64, total: u64, limit: f64 },
    /// The run's expected output exceeds the free disk space.
    #[error(
        "{}: the run is expected to write about {}, but only {} is free; the largest table is {largest} (stage {stage}), \
         about {}; {remedy}free some space (`prospect clean`), choose another [run] dir, or use `prospect run --no-space-check`",
        path.display(), bytes(*needed), bytes(*free), bytes(*largest_bytes)
    )]
    NoSpace {
        path: PathBuf,
        needed: u64,
        free: u64,
        /// The stage that writes the largest table.
        stage: &'static str,
        largest: &'static str,
        largest_bytes: u64,
        /// How to make that table smaller, `"…, "`, or empty.
        remedy: String,
    },
    /// Another process is writing to this run folder.
    #[error("{} is in use by {holder}; wait for it, or choose another [run] dir", path.display())]
    Locked { path: PathBuf, holder: String },
    /// Interrupted by the user.
    #[error("interrupted; finished parts are kept: run the same command again to resume")]
    Interrupted,
    /// An error reported by libtorch.
    #[error("{context}: libtorch: {message}")]
    Torch { context: String, message: String },
    /// Invalid or unsupported SQL.
    #[error("{0}")]
    Query(String),
    /// A bug in Prospect: no input should cause this.
    #[error("{0}; this is a bug in Prospect, please report it")]
    Internal(String),
}

/// One complaint per line.
fn lines(complaints: &[Complaint]) -> String {
    let lines: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    lines.join("\n")
}

impl From<Complaint> for Error {
    fn from(complaint: Complaint) -> Error {
        Error::Config(vec![complaint])
    }
}

impl Error {
    /// Wraps an I/O error with its path and the action that failed ("reading", "writing", ...).
    pub fn io(path: impl AsRef<Path>, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io {
            path,
            action,
            source,
        }
    }

    /// A file with invalid contents; a long `found` is cut.
    pub fn invalid(
        path: impl AsRef<Path>,
        expected: impl Into<String>,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Error {
        Error::Invalid {
            path: path.as_ref().to_path_buf(),
            expected: expected.into(),
            found: shortened(&found.into(), MAX_QUOTE).into_owned(),
            next: next.into(),
        }
    }

    /// An invalid command line.
    pub fn usage(message: impl Into<String>) -> Error {
        Complaint::new(message).into()
    }

    /// An invalid setting: `[section] key: message`.
    pub fn setting(section: &'static str, key: &'static str, message: impl fmt::Display) -> Error {
        Complaint::setting(section, key, message).into()
    }

    /// A bug in Prospect: `what` failed, and why.
    pub fn internal(what: impl fmt::Display, why: impl fmt::Display) -> Error {
        Error::Internal(format!(
            "{what}: {}",
            shortened(&why.to_string(), MAX_QUOTE)
        ))
    }

    /// The exit status of the process (from sysexits.h where one fits).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Missing { .. } | Error::Query(_) => 2,
            Error::Invalid { .. } | Error::TooManyBad { .. } => 65,
            Error::Io { .. } | Error::Torch { .. } | Error::NoSpace { .. } => 74,
            Error::Locked { .. } => 75,
            Error::Internal(_) => 101,
            Error::Interrupted => 130,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_cut_and_the_next_step_stays() {
        let graph = "{\"graph\": 1}".repeat(3000);
        let message =
            Error::invalid("x.json", "a table", graph.clone(), "save it as CSV").to_string();
        assert!(
            message.len() < 600 && message.ends_with("…; save it as CSV"),
            "{message}"
        );
        let message = Error::internal("x", graph).to_string();
        assert!(
            message.len() < 600 && message.ends_with("please report it"),
            "{message}"
        );
    }
}
