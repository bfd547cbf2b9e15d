//! CSV that is safe to open in a spreadsheet.

use std::borrow::Cow;

use prospect_common::{Error, Result, spreadsheet::cell};

use super::folder::Output;

/// A CSV file of an export.
pub(super) struct Csv(csv::Writer<Output>);

impl Csv {
    pub fn new(output: Output, header: &[&str]) -> Result<Csv> {
        let mut csv = Csv(csv::Writer::from_writer(output));
        csv.row(header.iter().map(|name| Cow::Borrowed(*name)))?;
        Ok(csv)
    }

    /// Writes a row of cells unchanged: numbers, and texts escaped by [`cell`].
    pub fn row<'c>(&mut self, cells: impl IntoIterator<Item = Cow<'c, str>>) -> Result<()> {
        let cells = cells.into_iter().map(|cell| cell.into_owned());
        let written = self.0.write_record(cells);
        written.map_err(|error| {
            let path = self.0.get_ref().path();
            Error::io(path, "writing")(error.into())
        })
    }

    pub fn finish(self) -> Result<()> {
        match self.0.into_inner() {
            Ok(output) => output.finish().map(|_| ()),
            Err(error) => Err(Error::io("a CSV file", "writing")(std::io::Error::other(
                error.error().to_string(),
            ))),
        }
    }
}

/// Like [`cell`]; empty for none.
pub(super) fn optional<'t>(text: Option<&'t str>) -> Cow<'t, str> {
    text.map_or(Cow::Borrowed(""), cell)
}

/// A number; empty for none.
pub(super) fn number<'t>(value: Option<impl ToString>) -> Cow<'t, str> {
    Cow::Owned(value.map_or(String::new(), |value| value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_without_a_value_are_empty() {
        assert_eq!(optional(Some("=1+1")), "'=1+1");
        assert_eq!(optional(None), "");
        assert_eq!(number(Some(-0.5_f32)), "-0.5");
    }
}
