//! Sources of settings, and locations in them.

use std::{ops::Range, path::Path};

use prospect_common::{Place, text::escaped};

/// Maximum bytes shown of a line before and from the start of a span.
const BEFORE: usize = 80;
const AFTER: usize = 160;

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
        let line_end = (line_start + line.len()).max(start);
        // Of a long line, such as a JSON file without line breaks, the part around the span.
        let first = on_char_boundaries(self.text, &(start.saturating_sub(BEFORE)..start)).start;
        let first = if first <= line_start + 1 {
            line_start
        } else {
            first
        };
        let last = on_char_boundaries(self.text, &(start..start + AFTER)).end;
        let last = if last + 1 >= line_end { line_end } else { last };
        let ellipsis = |is_cut| if is_cut { "…" } else { "" };
        let before = ellipsis(first > line_start).to_string() + &shown(&self.text[first..start]);
        let marked = shown(&self.text[start..end.min(last).max(start)]);
        let rest = shown(&self.text[start..last]) + ellipsis(last < line_end);
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
        place.excerpt = format!("  {number} | {before}{rest}\n  {margin} | {caret}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_the_part_around_the_span_is_shown() {
        let text = format!("a\n{}é!{}", "x".repeat(20_000), "y".repeat(20_000));
        let source = Source {
            file: None,
            text: &text,
        };
        let at = text.find('!').unwrap();
        let excerpt = source.place(&(at..at + 1)).excerpt;
        let (line, caret) = excerpt.split_once('\n').unwrap();
        assert!(
            line.contains("…xxx") && line.ends_with("yyy…") && line.len() < 300,
            "{line}"
        );
        let marked = |line: &str, mark| line.chars().position(|c| c == mark);
        assert_eq!(marked(line, '!'), marked(caret, '^'));
        let whole = source.place(&(0..1)).excerpt;
        assert_eq!(whole, "   | a\n   | ^");
    }
}
