//! Sources of settings, and locations in them.

use std::{ops::Range, path::Path};

use prospect_common::{Place, text::escaped};

/// A source of settings: the file, or one `--set` option.
pub(super) struct Source<'a> {
    /// The file's path as given by the user; `None` for a `--set` option.
    pub(super) file: Option<&'a Path>,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The location of `span`, with the line and carets.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let Range { start, end } = on_char_boundaries(self.text, span);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let line = &self.text[line_start..line_end].trim_end_matches('\r');
        let before = shown(&self.text[line_start..start]);
        let marked = shown(&self.text[start..end.min(line_start + line.len()).max(start)]);
        let caret = format!(
            "{}{}",
            " ".repeat(before.chars().count()),
            "^".repeat(marked.chars().count().max(1))
        );
        let (mut place, mut number) = (self.whole(), String::new());
        if self.file.is_some() {
            number = (self.text[..start].matches('\n').count() + 1).to_string();
            let column = self.text[line_start..start].chars().count() + 1;
            place.name += &format!(":{number}:{column}");
        }
        let margin = " ".repeat(number.len());
        place.excerpt = format!("  {number} | {}\n  {margin} | {caret}", shown(line));
        place
    }

    /// The whole source.
    pub(super) fn whole(&self) -> Place {
        let name = (self.file).map_or("--set".to_string(), |path| path.display().to_string());
        Place {
            name: escaped(&name).into_owned(),
            excerpt: String::new(),
        }
    }
}

/// Clamps a span to the text and moves it to character boundaries.
pub(super) fn on_char_boundaries(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |index: usize| {
        let mut index = index.min(text.len());
        while !text.is_char_boundary(index) {
            index -= 1;
        }
        index
    };
    let start = floor(span.start);
    start..floor(span.end.max(start))
}

/// Part of a line as shown above a caret: tabs as one space, control characters escaped.
fn shown(text: &str) -> String {
    escaped(&text.replace('\t', " ")).into_owned()
}
