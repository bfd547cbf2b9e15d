//! Text for people: visible control characters, shortened values, readable sizes and durations.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

/// `text` with every character that could control a terminal or hide text escaped, as `\n` or `\u{1b}`.
///
/// File names are untrusted: an escape sequence in one must not reach the terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(controls_display) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if controls_display(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Like [`escaped`], but keeps line breaks: for multi-line text of our own.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| c != '\n' && controls_display(c)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<Cow<str>> = text.split('\n').map(escaped).collect();
    Cow::Owned(lines.join("\n"))
}

/// Like [`escaped`], for JSON: escapes as JSON does, `\u202e`, and keeps the line breaks between values.
///
/// Outside strings, JSON contains no such characters but line breaks, and serializers escape ASCII controls themselves.
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |c| c != '\n' && controls_display(c);
    if !json.contains(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_escaped(character) {
            // All are below U+10000: one UTF-16 unit. Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Control characters, line separators, marks that reorder text (U+202A..E, U+2066..9, U+200E/F, U+061C) and the byte
/// order mark.
fn controls_display(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}'
        )
}

/// At most `limit` characters of `text`, with an ellipsis if it was cut.
pub fn shortened(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text[..end].trim_end())),
    }
}

/// The first items of a list and the number of the others, for messages about untrusted input: `a, b and 3 more`.
pub fn some_of(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<Cow<str>> = items
        .iter()
        .take(SHOWN)
        .map(|item| shortened(item, 120))
        .collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Bytes with a binary unit: `999 B`, `1.5 KiB`, `23 GiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A count with grouped digits: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 class`, `2,000 classes`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// [`plural`] for regular nouns: `1 image`, `12 images`.
pub fn counted(n: u64, thing: &str) -> String {
    plural(n, thing, &format!("{thing}s"))
}

/// A fraction as `12.3 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// A measured value to three significant digits: `0`, `0.0123`, `14.2`, `-8310`, `1.20e-7`.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() {
        return format!("{}", value + 0.0);
    }
    if !(1e-3..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
    format!("{value:.decimals$}")
}

/// A duration with sensible precision: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = match whole {
        0..60 => write!(out, "{whole} s"),
        60..3600 => write!(out, "{} min {:02} s", whole / 60, whole % 60),
        _ => write!(out, "{} h {:02} min", whole / 3600, whole % 3600 / 60),
    };
    out
}

/// " (did you mean `x`?)" if one of `known` is similar enough.
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    let similar = by_similarity(word, known).into_iter();
    let similar = similar.take_while(|(similarity, _)| *similarity >= 0.8);
    let guess = similar.map(|(_, name)| name).find(|name| *name != word);
    guess.map_or(String::new(), |name| format!(" (did you mean `{name}`?)"))
}

/// `expected one of x, y, z (did you mean `x`?)`.
pub fn expected_one_of(word: &str, known: &[&str]) -> String {
    format!(
        "expected one of {}{}",
        known.join(", "),
        did_you_mean(word, known)
    )
}

/// `similar: x, y, z`: the three of `known` most similar to `word`, for long lists.
pub fn similar_names(word: &str, known: &[&str]) -> String {
    let similar = by_similarity(word, known).into_iter().take(3);
    let similar: Vec<&str> = similar.map(|(_, name)| name).collect();
    format!("similar: {}", similar.join(", "))
}

/// Case-insensitive Jaro-Winkler similarities (0 to 1), highest first.
fn by_similarity<'k>(word: &str, known: &[&'k str]) -> Vec<(f64, &'k str)> {
    let word = word.to_lowercase();
    let similarity = |name: &str| strsim::jaro_winkler(&word, &name.to_lowercase());
    let mut all: Vec<(f64, &str)> = (known.iter().map(|name| (similarity(name), *name))).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_escaped() {
        assert_eq!(escaped("grüße 日本 👩‍🔬.jpg"), "grüße 日本 👩‍🔬.jpg");
        assert_eq!(escaped("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(escaped_lines("one\ntwo\x07"), "one\ntwo\\u{7}");
        assert_eq!(
            escaped_json("[\n\"\u{202e}\u{7f}\"]"),
            r#"[
"\u202e\u007f"]"#
        );
        for (class, first, last) in [
            ("ASCII controls", '\0', '\u{1f}'),
            ("delete and the controls after ASCII", '\u{7f}', '\u{9f}'),
            ("line separators", '\u{2028}', '\u{2029}'),
            ("embeddings and overrides", '\u{202a}', '\u{202e}'),
            ("isolates", '\u{2066}', '\u{2069}'),
            ("marks of direction", '\u{200e}', '\u{200f}'),
            ("the Arabic letter mark", '\u{61c}', '\u{61c}'),
            ("the byte order mark", '\u{feff}', '\u{feff}'),
        ] {
            for character in first..=last {
                let text = format!("a{character}b");
                let code = u32::from(character);
                let seen = escaped(&text);
                assert!(
                    seen.starts_with("a\\") && !seen.contains(character),
                    "{class}: U+{code:04X}"
                );
                if character != '\n' {
                    let json = format!("a\\u{code:04x}b");
                    assert_eq!(escaped_json(&text), json, "{class}");
                    assert_eq!(escaped_lines(&text), seen, "{class}");
                }
            }
        }
    }

    #[test]
    fn typos_get_suggestions() {
        let known = ["layer1", "layer4", "Conv", "avgpool"];
        assert_eq!(did_you_mean("layr4", &known), " (did you mean `layer4`?)");
        assert_eq!(did_you_mean("conv", &known), " (did you mean `Conv`?)");
        assert_eq!(did_you_mean("layer4", &["layer4"]), "", "itself");
        assert_eq!(did_you_mean("x", &known), "");
        assert!(similar_names("layer4", &known).starts_with("similar: layer4, layer1, "));
    }

    #[test]
    fn quantities_are_formatted() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(25 << 30), "25 GiB");
        assert_eq!(count(7), "7");
        assert_eq!(count(1234567), "1,234,567");
        assert_eq!(counted(1, "problem"), "1 problem");
        assert_eq!(counted(2000, "problem"), "2,000 problems");
        assert_eq!(plural(0, "class", "classes"), "0 classes");
        assert_eq!(percent(0.1234), "12.3 %");
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(duration(Duration::from_secs(7620)), "2 h 07 min");
        let figures = [0.0, -0.0, 0.012345, -8310.4, 14.16, 99_999.0, 1.2e-7, -3e9];
        assert_eq!(
            figures.map(figure),
            [
                "0", "0", "0.0123", "-8310", "14.2", "99999", "1.20e-7", "-3.00e9"
            ]
        );
        assert_eq!(figure(f64::NAN), "NaN");
        assert_eq!(shortened("abcdef", 3), "abc…");
        assert_eq!(shortened("abc", 3), "abc");
    }
}
