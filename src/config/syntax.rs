//! Explains TOML syntax errors and how to fix them.

use std::ops::Range;

use super::source::on_char_boundaries;

/// The location of a setting.
pub(super) struct Place {
    pub key: Range<usize>,
    pub value: Range<usize>,
}

/// A syntax error.
pub(super) struct SyntaxError {
    pub span: Range<usize>,
    pub message: String,
    /// The text whose parsed settings are unreliable because of it.
    pub invalid: Range<usize>,
}

/// The parser's errors explained, one per line, in order. `places` are the settings parsed nevertheless.
pub(super) fn errors(text: &str, places: &[Place], errors: &[toml::de::Error]) -> Vec<SyntaxError> {
    let mut errors: Vec<(Range<usize>, &str)> = errors
        .iter()
        .map(|error| {
            let span = on_char_boundaries(text, &error.span().unwrap_or(0..0));
            (span, error.message().trim())
        })
        .collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut explained: Vec<SyntaxError> = Vec::new();
    for (span, message) in &errors {
        if (explained.iter())
            .any(|error| error.invalid.start <= span.start && span.start <= error.invalid.end)
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
        explained.push(match unclosed {
            Some(place) => unclosed_value(text, place),
            None => SyntaxError {
                span: span.clone(),
                message: {
                    // A list may span several lines.
                    let setting = places
                        .iter()
                        .find(holds)
                        .map_or(span.start, |place| place.key.start);
                    explain(text, span, message, &subject(text, setting))
                },
                invalid: line_of(text, span.start),
            },
        });
    }
    explained
}

/// A list or string that swallowed everything below it.
fn unclosed_value(text: &str, place: &Place) -> SyntaxError {
    let value = &text[place.value.clone()];
    let subject = subject(text, place.key.start);
    let (opening, what, end) = match value.get(..3) {
        Some("\"\"\"") => (3, "string", "\"\"\""),
        Some("'''") => (3, "string", "'''"),
        _ => (1, "list", "]"),
    };
    SyntaxError {
        span: place.value.start..place.value.start + opening,
        message: format!("{subject}unclosed {what}; add {end} at its end"),
        invalid: place.key.start..place.value.end,
    }
}

/// The line around `at`, without its end.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..end
}

/// The name of the section at `at`.
fn section_at(text: &str, at: usize) -> Option<&str> {
    let above = text[..at].lines().rev();
    above
        .filter_map(|line| line.trim_start().strip_prefix('['))
        .find_map(|line| Some(line.split(']').next()?.trim_matches(['[', ' '])))
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// `[section] key: ` for the line around `at`, as far as recognisable.
fn subject(text: &str, at: usize) -> String {
    let line = &text[line_of(text, at)];
    let Some((key, _)) = line.split_once('=') else {
        return String::new();
    };
    let key = key.trim();
    if key.is_empty() || !key.chars().all(is_key) {
        return String::new();
    }
    match section_at(text, at) {
        Some(section) => format!("[{section}] {key}: "),
        None => format!("{key}: "),
    }
}

/// One of the parser's errors, with the fix.
fn explain(text: &str, span: &Range<usize>, message: &str, subject: &str) -> String {
    let line = text[line_of(text, span.start)].trim();
    let raw = text.get(span.clone()).unwrap_or_default().trim();
    let value = line.split_once('=').map_or("", |(_, value)| value.trim());
    let is = |beginning: &str| message.starts_with(beginning);
    if is("duplicate key") {
        return duplicate(text, span, raw, line);
    }
    if is("string values must be quoted") && raw.is_empty() {
        return format!("{subject}missing value; write one after the =, or delete the line");
    }
    if raw.contains(['“', '”', '„', '‘', '’']) {
        let inner = raw.trim_matches(['“', '”', '„', '‘', '’']);
        return format!("{subject}use straight quotes: write \"{inner}\"");
    }
    if is("string values must be quoted") && raw.contains(';') {
        return text_after_value(subject);
    }
    if is("string values must be quoted") || is("invalid boolean") || is("invalid float") {
        let lower = raw.to_lowercase();
        if lower == "true" || lower == "false" {
            return format!("{subject}write {lower} in lower case");
        }
        let numeral = raw.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        return match numeral {
            true => format!(
                "{subject}{raw} is not a value; write a number (64, 0.5) or a quoted string (\"{raw}\")"
            ),
            false => format!("{subject}strings need quotes; write \"{raw}\""),
        };
    }
    if message.contains("escape") {
        return format!(
            "{subject}a backslash in \"…\" starts an escape; write '…' instead, or double the backslashes"
        );
    }
    if is("invalid basic string") || is("invalid literal string") {
        let quote = value.chars().next().unwrap_or('"');
        return format!("{subject}unclosed string; add {quote} at its end");
    }
    if is("unexpected leading zero") {
        let digits = value.split(|c: char| !c.is_ascii_digit()).next();
        let digits = digits.unwrap_or_default().trim_start_matches('0');
        return format!("{subject}numbers have no leading zeros; write {digits}");
    }
    if is("invalid mantissa") && value.starts_with('.') {
        return format!("{subject}numbers start with a digit; write 0{value}");
    }
    if is("missing comma") {
        return format!("{subject}missing comma between list elements");
    }
    if is("unclosed table") {
        let name = line.trim_start_matches('[');
        return format!("unclosed section header; write [{name}]");
    }
    if is("unexpected key or value") && line.starts_with('[') {
        return "unexpected text after the section header; start a new line".into();
    }
    if is("unexpected key or value") {
        return match value.split_once(',') {
            Some((whole, part)) if is_digits(whole) && is_digits(part) => {
                format!("{subject}numbers have a decimal point, not a comma; write {whole}.{part}")
            }
            _ => text_after_value(subject),
        };
    }
    if is("key with no value") || is("invalid unquoted key") {
        return match line.split_once(':') {
            Some((key, value)) if !line.contains('=') => format!(
                "a setting is KEY = VALUE; write {} = {}",
                key.trim(),
                value.trim()
            ),
            _ if line.chars().all(is_key) => {
                let section = section_at(text, span.start).unwrap_or("?");
                format!("[{section}] {line} has no value; write {line} = VALUE")
            }
            _ => "expected a setting (KEY = VALUE), a section ([NAME]) or a comment (# …)".into(),
        };
    }
    format!("{subject}{message}")
}

fn text_after_value(subject: &str) -> String {
    format!(
        "{subject}unexpected text after the value; write one setting per line, and \\\" for a quote inside a string"
    )
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A duplicate key or section.
fn duplicate(text: &str, span: &Range<usize>, name: &str, line: &str) -> String {
    let number = |at: usize| text[..at].matches('\n').count() + 1;
    let mut start = 0;
    let mut inside = section_at(text, span.start).is_none();
    let section = section_at(text, span.start);
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
    let first = first.map_or(String::new(), |first| format!(", first on line {first}"));
    match line.starts_with('[') {
        true => format!("[{name}] is defined twice{first}; put its keys under one header"),
        false => {
            let section = section.map_or(String::new(), |section| format!("[{section}] "));
            format!("{section}{name} is set twice{first}; keep one of them")
        }
    }
}
