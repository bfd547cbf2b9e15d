//! What the threads of extraction hand to one another.

use crossbeam_channel::Receiver;
use prospect_model::forward::Batch;

use super::{super::explain::rows::Rows, image_row::ImageRow, takeover::Place};

/// What the batcher gets, in image order.
pub enum Pending {
    Image {
        row: ImageRow,
        pixels: Receiver<Result<Vec<u8>, String>>,
    },
    EndOfPart(End),
}

/// The end of a part, with the images whose rows lie elsewhere already.
pub struct End {
    pub part: usize,
    pub taken: Vec<(ImageRow, Place)>,
}

/// What the writer gets.
pub enum Done {
    Batch(Vec<ImageRow>, Batch, Vec<Rows>),
    /// The part is complete, unless images of it could not be read again.
    EndOfPart {
        end: End,
        whole: bool,
    },
}

/// An image that was fine when the folder was scanned and is not now.
pub struct Changed {
    pub path: String,
    pub reason: String,
}
