//! CSV that is safe to open in a spreadsheet.

use std::borrow::Cow;

use prospect_common::{Error, Result};

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

/// A text as a cell, with an apostrophe before what a spreadsheet would treat as a formula.
pub(super) fn cell(text: &str) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
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
    fn formulas_are_escaped() {
        for formula in ["=1+1", "+1", "-1", "@sum(a1)", "\t=1", "\r=1"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        assert_eq!(cell("cats/=1.jpg"), "cats/=1.jpg");
        assert_eq!(optional(None), "");
        assert_eq!(number(Some(-0.5_f32)), "-0.5");
    }
}
