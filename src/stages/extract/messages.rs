//! Messages between the threads of the stage.

use crossbeam_channel::Receiver;
use prospect_model::forward::Batch;

use super::{super::explain::rows::Rows, image_row::ImageRow, reuse::Location};

/// To the batcher, in image order.
pub enum Pending {
    Image {
        row: ImageRow,
        pixels: Receiver<Result<Vec<u8>, String>>,
    },
    EndOfPart(End),
}

/// The end of a part, with its images whose earlier rows are reused.
pub struct End {
    pub part: usize,
    pub reused: Vec<(ImageRow, Location)>,
}

/// To the writer.
pub enum Done {
    Batch(Vec<ImageRow>, Batch, Vec<Rows>),
    /// `complete`: all images of the part could be read.
    EndOfPart {
        end: End,
        complete: bool,
    },
}

/// An image that was readable during `scan` and has changed since.
pub struct Changed {
    pub path: String,
    pub reason: String,
}
