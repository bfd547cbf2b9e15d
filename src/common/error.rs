//! The one error type of the library. Every message says where, what was expected, what was found and what to do next.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{Complaint, text::bytes};

/// `Result` with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can stop a command. An image that cannot be read is not among them: it becomes a row with `error`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: expected {expected}, found {found}; {next}", path.display())]
    Invalid {
        path: PathBuf,
        expected: String,
        found: String,
        next: String,
    },
    /// Wrong command line or configuration; every complaint at once.
    #[error("{}", lines(.0))]
    Config(Vec<Complaint>),
    /// Something that an earlier stage should have made is not there.
    #[error("{what} is missing; {next}")]
    Missing { what: String, next: String },
    /// More images are unreadable than `images.max_bad_fraction` allows.
    #[error(
        "{bad} of {total} images cannot be read, more than max_bad_fraction = {limit} allows; \
         look at them with `prospect query \"select path, error from images where error is not null\"`, \
         then repair them or raise [images] max_bad_fraction"
    )]
    TooManyBad { bad: u64, total: u64, limit: f64 },
    /// What a run is expected to write is more than the disk has room for.
    #[error(
        "{}: the run is expected to write about {}, but only {} are free there; the largest is {largest} (stage {stage}) \
         with about {}; {remedy}free some space, or choose another [run] dir",
        path.display(), bytes(*needed), bytes(*free), bytes(*largest_bytes)
    )]
    NoSpace {
        path: PathBuf,
        needed: u64,
        free: u64,
        /// The stage and table that take most, and what would make it smaller, `"…, "` or nothing.
        stage: &'static str,
        largest: &'static str,
        largest_bytes: u64,
        remedy: String,
    },
    /// Another process writes this run folder.
    #[error("{} is in use by {holder}; wait for it, or choose another [run] dir", path.display())]
    Locked { path: PathBuf, holder: String },
    /// The user asked to stop.
    #[error("interrupted; the finished parts are kept: run the same command again to go on")]
    Interrupted,
    /// libtorch refused an operation.
    #[error("{context}: libtorch says: {message}")]
    Torch { context: String, message: String },
    /// SQL that cannot be answered.
    #[error("{0}")]
    Query(String),
    /// A mistake of Prospect's own: something that no input should bring about.
    #[error("{0}; this is a fault of Prospect itself, please report it")]
    Internal(String),
}

/// One complaint a line.
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
    /// Wraps an I/O error with its path and what was being done ("reading", "writing", ...).
    pub fn io(path: impl AsRef<Path>, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io {
            path,
            action,
            source,
        }
    }

    /// A file that is not what it should be.
    pub fn invalid(
        path: impl AsRef<Path>,
        expected: impl Into<String>,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Error {
        Error::Invalid {
            path: path.as_ref().to_path_buf(),
            expected: expected.into(),
            found: found.into(),
            next: next.into(),
        }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Error {
        Complaint::new(message).into()
    }

    /// A wrong setting: `[section] key: message`.
    pub fn setting(section: &'static str, key: &'static str, message: impl fmt::Display) -> Error {
        Complaint::setting(section, key, message).into()
    }

    /// A mistake of our own, `what` being what failed, and `why` the reason that was given.
    pub fn internal(what: impl fmt::Display, why: impl fmt::Display) -> Error {
        Error::Internal(format!("{what}: {why}"))
    }

    /// The process exit status that belongs to this error (sysexits where one fits).
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
