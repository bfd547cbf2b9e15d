//! Text in CSV files that people open in spreadsheets, which run a cell that looks like a formula.

use std::borrow::Cow;

/// The first characters of what a spreadsheet takes for a formula.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// Whether this is a formula, or one behind apostrophes.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA)
}

/// A text as a cell: with an apostrophe before a formula, which [`text`] removes.
pub fn cell(text: &str) -> Cow<'_, str> {
    match is_formula(text) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// The text of a cell.
pub fn text(cell: &str) -> &str {
    let bare = cell.strip_prefix('\'').filter(|bare| is_formula(bare));
    bare.unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_escaped_and_every_text_comes_back() {
        for formula in [
            "=1+1", "+1", "-1", "@sum(a1)", "\t=1", "\r=1", "\n=1", "'=1", "''-1",
        ] {
            assert_eq!(cell(formula), format!("'{formula}"));
            assert_eq!(text(&cell(formula)), formula);
        }
        for plain in ["cats/=1.jpg", "", "'", "'t Hooft", "a'=1"] {
            assert_eq!(cell(plain), plain);
            assert_eq!(text(plain), plain);
        }
        // Written by hand, before cells were escaped.
        assert_eq!(text("=1.png"), "=1.png");
    }
}
