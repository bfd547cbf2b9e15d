//! Faults of a file.

use crate::image::{ImageError, format::Format};

pub(super) const FORMAT: Format = Format::Tiff;
pub(super) const OLD_JPEG_IN_PARTS: &str = "old-style JPEG in parts: save it with Deflate or LZW";

/// Why a chunk is not complete.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub reason: String,
    /// The data ends early; otherwise it is damaged.
    pub early: bool,
}

impl Fault {
    pub(super) fn early() -> Fault {
        Fault {
            reason: "the file ends early".into(),
            early: true,
        }
    }

    pub(super) fn damaged(reason: impl Into<String>) -> Fault {
        Fault {
            reason: reason.into(),
            early: false,
        }
    }

    pub(super) fn into_error(self) -> ImageError {
        match self.early {
            true => FORMAT.truncated(self.reason),
            false => FORMAT.corrupt(self.reason),
        }
    }
}

/// What came of a chunk.
pub(super) struct Outcome {
    /// Bytes from the start of the buffer, as far as they are right.
    pub n_bytes: usize,
    pub fault: Option<Fault>,
}

impl Outcome {
    pub fn nothing(fault: Fault) -> Outcome {
        Outcome {
            n_bytes: 0,
            fault: Some(fault),
        }
    }
}
