//! Going through a table that is ordered by image, as images are asked for in order.

use arrow::array::RecordBatch;
use prospect_common::Result;
use prospect_engine::tables::columns::Columns;
use prospect_store::{RunFolder, TableReader};

/// Holds one batch of the table at a time, taken apart by `parse`.
pub struct Walk<'a, P> {
    run: &'a RunFolder,
    table: &'static str,
    reader: TableReader,
    parse: fn(&Columns) -> Result<P>,
    /// Image of every row of the batch, and what was parsed.
    now: Option<(Vec<u32>, P)>,
    at: usize,
}

impl<'a, P> Walk<'a, P> {
    pub fn new(
        run: &'a RunFolder,
        table: &'static str,
        reader: TableReader,
        parse: fn(&Columns) -> Result<P>,
    ) -> Walk<'a, P> {
        Walk {
            run,
            table,
            reader,
            parse,
            now: None,
            at: 0,
        }
    }

    /// The next row of this image, and the batch that it is in; rows of images before it are passed over.
    ///
    /// # Errors
    /// The table is not in order.
    pub fn next_of(&mut self, image_id: u32) -> Result<Option<(&P, usize)>> {
        loop {
            let own = self.now.as_ref().and_then(|(ids, _)| ids.get(self.at));
            match own.copied() {
                Some(own) if own > image_id => return Ok(None),
                Some(own) => {
                    self.at += 1;
                    if own == image_id {
                        break;
                    }
                }
                None => match self.reader.next() {
                    Some(batch) => self.take(&batch?)?,
                    None => return Ok(None),
                },
            }
        }
        let row = self.at - 1;
        Ok(self.now.as_ref().map(|(_, parsed)| (parsed, row)))
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of(self.run, self.table, batch);
        let ids = columns.image_ids()?;
        let last = self.now.as_ref().and_then(|(ids, _)| ids.last()).copied();
        if !ids.is_sorted() || ids.first().copied() < last {
            return Err(columns.unexpected("rows in order of the images", "another order"));
        }
        self.now = Some((ids, (self.parse)(&columns)?));
        self.at = 0;
        Ok(())
    }
}
