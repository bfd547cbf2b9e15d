//! Messages between the threads of the stage.

use crossbeam_channel::{Receiver, Sender};
use prospect_common::Result;
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

/// A batch for a stream.
pub struct Job {
    pub rows: Vec<ImageRow>,
    pub pixels: Vec<u8>,
    pub reply: Sender<Result<Computed>>,
}

/// The results of a batch: its images, the network's outputs and the inline explanations.
pub struct Computed {
    pub rows: Vec<ImageRow>,
    pub batch: Batch,
    pub cams: Vec<Rows>,
}

/// To the writer, in image order.
pub struct Promised {
    /// Nothing if no image of the batch could be read.
    pub batch: Option<Receiver<Result<Computed>>>,
    /// The ends of parts among the batch's images: each with the number of images before it, and that of the part's images that could
    /// not be read as scanned.
    pub ends: Vec<(usize, End, u64)>,
}

/// Why an image has no rows, though it was readable during `scan`.
#[derive(Debug, PartialEq)]
pub struct Failure {
    pub reason: String,
    /// Its file could not be read, or has changed: another scan may help.
    pub unread: bool,
}
