//! Sequential access to a table in order of the images.

use prospect_common::Result;
use prospect_store::{Batch, Rows, Selection};

/// Returns the image and the value of the next row; `None` at the end.
type Next<T> = Box<dyn FnMut() -> Result<Option<(u32, T)>>>;

/// Keeps one batch in memory.
pub struct Walk<T> {
    next: Next<T>,
    /// A row already read, of an image after the one last requested.
    ahead: Option<(u32, T)>,
}

impl<T> Walk<T> {
    /// `row` maps a row's cells to its image and value.
    pub fn new<S: Selection + 'static>(
        mut rows: Rows<S>,
        row: impl Fn(S::Values<'_>) -> (u32, T) + 'static,
    ) -> Walk<T> {
        let mut now: Option<Batch<S>> = None;
        let (mut at, mut last) = (0, 0);
        let next = move || {
            loop {
                if let Some(batch) = now.as_ref().filter(|batch| at < batch.len()) {
                    let (image_id, value) = row(batch.row(at));
                    if image_id < last {
                        return Err(
                            batch.unexpected("rows in order of the images", "another order")
                        );
                    }
                    at += 1;
                    last = image_id;
                    return Ok(Some((image_id, value)));
                }
                let Some(batch) = rows.next() else {
                    return Ok(None);
                };
                now = Some(batch?);
                at = 0;
            }
        };
        Walk {
            next: Box::new(next),
            ahead: None,
        }
    }

    /// The next row of this image; skips rows of earlier images.
    ///
    /// # Errors
    /// The table is not in order.
    pub fn next_of(&mut self, image_id: u32) -> Result<Option<T>> {
        loop {
            let row = match self.ahead.take() {
                Some(row) => Some(row),
                None => (self.next)()?,
            };
            match row {
                Some((own, value)) if own == image_id => return Ok(Some(value)),
                Some(row) if row.0 > image_id => {
                    self.ahead = Some(row);
                    return Ok(None);
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}
