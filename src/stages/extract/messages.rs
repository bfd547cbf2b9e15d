//! Messages between the threads of the stage.

use crossbeam_channel::Receiver;
use prospect_model::forward::Batch;

use super::{super::explain::rows::Rows, image_row::ImageRow, reuse::Location};

/// To the batcher, in image order.
pub enum Pending {
    Image {
        row: ImageRow,
        pixels: Receiver<Result<Vec<u8>, Failure>>,
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
    /// `unread`: number of images of the part that could not be read as scanned.
    EndOfPart {
        end: End,
        unread: u64,
    },
}

/// Why an image has no rows, though it was readable during `scan`.
#[derive(Debug, PartialEq)]
pub struct Failure {
    pub reason: String,
    /// Its file could not be read, or has changed: another scan may help.
    pub unread: bool,
}
