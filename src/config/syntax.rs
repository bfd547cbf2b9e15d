//! What is wrong with a file that is no TOML, said so that its author can mend it.

use std::ops::Range;

use super::source::whole_characters;

/// Where a setting stands: its key, and its value.
pub(super) struct Place {
    pub key: Range<usize>,
    pub value: Range<usize>,
}

/// One slip of the pen.
pub(super) struct Slip {
    pub span: Range<usize>,
    pub message: String,
    /// What is not to be believed because of it.
    pub spoilt: Range<usize>,
}

/// The parser's complaints in words, one for each line that needs a hand, in order. `places` are the settings that it made out
/// nevertheless.
pub(super) fn slips(text: &str, places: &[Place], errors: &[toml::de::Error]) -> Vec<Slip> {
    let mut errors: Vec<(Range<usize>, &str)> = errors
        .iter()
        .map(|error| {
            let span = whole_characters(text, &error.span().unwrap_or(0..0));
            (span, error.message().trim())
        })
        .collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut slips: Vec<Slip> = Vec::new();
    for (span, message) in &errors {
        if (slips.iter())
            .any(|slip| slip.spoilt.start <= span.start && span.start <= slip.spoilt.end)
        {
            continue;
        }
        let holds =
            |place: &&Place| place.value.start <= span.start && span.start <= place.value.end;
        let unclosed = places.iter().find(holds).filter(|place| {
            errors.iter().any(|(span, message)| {
                let open = message.starts_with("unclosed array") || message.contains("multi-line");
                open && place.value.start <= span.start && span.start <= place.value.end
            })
        });
        slips.push(match unclosed {
            Some(place) => unclosed_value(text, place),
            None => Slip {
                span: span.clone(),
                message: {
                    // A list may go over several lines.
                    let setting = places
                        .iter()
                        .find(holds)
                        .map_or(span.start, |place| place.key.start);
                    explained(text, span, message, &about(text, setting))
                },
                spoilt: line_of(text, span.start),
            },
        });
    }
    slips
}

/// A list or a text that swallowed all that stands below it.
fn unclosed_value(text: &str, place: &Place) -> Slip {
    let value = &text[place.value.clone()];
    let about = about(text, place.key.start);
    let (opening, what, end) = match value.get(..3) {
        Some("\"\"\"") => (3, "text", "\"\"\""),
        Some("'''") => (3, "text", "'''"),
        _ => (1, "list", "]"),
    };
    Slip {
        span: place.value.start..place.value.start + opening,
        message: format!("{about}the {what} that begins here is not closed; put {end} at its end"),
        spoilt: place.key.start..place.value.end,
    }
}

/// The line around `at`, without its end.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..end
}

/// The heading above `at`, with its line's number from 1.
fn heading(text: &str, at: usize) -> Option<&str> {
    let above = text[..at].lines().rev();
    above
        .filter_map(|line| line.trim_start().strip_prefix('['))
        .find_map(|line| Some(line.split(']').next()?.trim_matches(['[', ' '])))
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// `[section] key: ` for the line around `at`, as far as it can be made out.
fn about(text: &str, at: usize) -> String {
    let line = &text[line_of(text, at)];
    let Some((key, _)) = line.split_once('=') else {
        return String::new();
    };
    let key = key.trim();
    if key.is_empty() || !key.chars().all(is_key) {
        return String::new();
    }
    match heading(text, at) {
        Some(section) => format!("[{section}] {key}: "),
        None => format!("{key}: "),
    }
}

/// One complaint of the parser with what to write instead.
fn explained(text: &str, span: &Range<usize>, message: &str, about: &str) -> String {
    let line = text[line_of(text, span.start)].trim();
    let raw = text.get(span.clone()).unwrap_or_default().trim();
    let value = line.split_once('=').map_or("", |(_, value)| value.trim());
    let is = |beginning: &str| message.starts_with(beginning);
    if is("duplicate key") {
        return duplicate(text, span, raw, line);
    }
    if is("string values must be quoted") && raw.is_empty() {
        return format!("{about}there is no value; write one behind the =, or delete the line");
    }
    if raw.contains(['“', '”', '„', '‘', '’']) {
        let inner = raw.trim_matches(['“', '”', '„', '‘', '’']);
        return format!("{about}these are typographic quotes; write \"{inner}\"");
    }
    if is("string values must be quoted") && raw.contains(';') {
        return behind_the_value(about);
    }
    if is("string values must be quoted") || is("invalid boolean") || is("invalid float") {
        let small = raw.to_lowercase();
        if small == "true" || small == "false" {
            return format!("{about}write {small}, in small letters");
        }
        let numeral = raw.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        return match numeral {
            true => format!(
                "{about}{raw} is not a value; write a number (64, 0.5), or a text in quotes (\"{raw}\")"
            ),
            false => format!("{about}a text stands in quotes; write \"{raw}\""),
        };
    }
    if message.contains("escape") {
        return format!(
            "{about}a backslash in \"…\" begins an escape; write '…' in its place, or two backslashes for one"
        );
    }
    if is("invalid basic string") || is("invalid literal string") {
        let quote = value.chars().next().unwrap_or('"');
        return format!("{about}the text is not closed; put {quote} at its end");
    }
    if is("unexpected leading zero") {
        let digits = value.split(|c: char| !c.is_ascii_digit()).next();
        let digits = digits.unwrap_or_default().trim_start_matches('0');
        return format!("{about}a number has no leading zeros; write {digits}");
    }
    if is("invalid mantissa") && value.starts_with('.') {
        return format!("{about}a number begins with a digit; write 0{value}");
    }
    if is("missing comma") {
        return format!("{about}a comma is missing here, between two elements of the list");
    }
    if is("unclosed table") {
        let name = line.trim_start_matches('[');
        return format!("the heading of the section is not closed; write [{name}]");
    }
    if is("unexpected key or value") && line.starts_with('[') {
        return "there is something behind the heading, which stands on a line of its own".into();
    }
    if is("unexpected key or value") {
        return match value.split_once(',') {
            Some((whole, part)) if is_digits(whole) && is_digits(part) => {
                format!("{about}a number has a point, not a comma; write {whole}.{part}")
            }
            _ => behind_the_value(about),
        };
    }
    if is("key with no value") || is("invalid unquoted key") {
        return match line.split_once(':') {
            Some((key, value)) if !line.contains('=') => format!(
                "a setting is written KEY = VALUE; write {} = {}",
                key.trim(),
                value.trim()
            ),
            _ if line.chars().all(is_key) => {
                let section = heading(text, span.start).unwrap_or("?");
                format!("[{section}] {line} has no value; a setting is written KEY = VALUE")
            }
            _ => "a setting is written KEY = VALUE, a section [NAME], and a comment begins with #"
                .into(),
        };
    }
    format!("{about}{message}")
}

fn behind_the_value(about: &str) -> String {
    format!(
        "{about}there is something behind the value; write one setting a line, and \\\" for a quote within a text"
    )
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A key or a section that is there already.
fn duplicate(text: &str, span: &Range<usize>, name: &str, line: &str) -> String {
    let number = |at: usize| text[..at].matches('\n').count() + 1;
    let mut start = 0;
    let mut inside = heading(text, span.start).is_none();
    let section = heading(text, span.start);
    let mut first = None;
    for other in text[..span.start].split_inclusive('\n') {
        let trimmed = other.trim();
        let opened = trimmed
            .strip_prefix('[')
            .map(|line| line.split(']').next().unwrap_or(line).trim());
        if let Some(opened) = opened {
            inside = Some(opened) == section;
        }
        let found = match line.starts_with('[') {
            true => opened == Some(name),
            false => {
                inside
                    && trimmed
                        .split('=')
                        .next()
                        .is_some_and(|key| key.trim() == name)
            }
        };
        if found && first.is_none() {
            first = Some(number(start));
        }
        start += other.len();
    }
    let first = first.map_or(String::new(), |first| format!(", first in line {first}"));
    match line.starts_with('[') {
        true => format!("[{name}] is there twice{first}; put its keys below one heading"),
        false => {
            let section = section.map_or(String::new(), |section| format!("[{section}] "));
            format!("{section}{name} is set twice{first}; keep one of them")
        }
    }
}
