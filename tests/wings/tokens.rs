//! Splits Rust source text into tokens.

/// Words, `::` and single symbols, without comments, lifetimes and the contents of literals.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal_length(rest) {
            found.push("\"");
            length
        } else if first == '\'' {
            1 + word_length(&rest[1..])
        } else {
            let length = match rest.starts_with("::") {
                true => 2,
                false => word_length(rest).max(first.len_utf8()),
            };
            if !first.is_whitespace() {
                found.push(&rest[..length]);
            }
            length
        };
        rest = &rest[length..];
    }
    found
}

fn word_length(text: &str) -> usize {
    text.find(|letter: char| letter != '_' && !letter.is_alphanumeric())
        .unwrap_or(text.len())
}

/// Length in bytes of the string or character literal at the start of `text`, if any.
fn literal_length(text: &str) -> Option<usize> {
    let raw = text.trim_start_matches(['b', 'c']);
    if text.len() - raw.len() <= 1
        && let Some(after) = raw.strip_prefix('r')
        && let Some(body) = after.trim_start_matches('#').strip_prefix('"')
    {
        let hashes = after.len() - body.len() - 1;
        let start = text.len() - body.len();
        let end = format!("\"{}", "#".repeat(hashes));
        return body.find(&end).map(|at| start + at + end.len());
    }
    let plain = text.strip_prefix(['b', 'c']).unwrap_or(text);
    let mut letters = plain.char_indices();
    let (_, quote) = letters.next().filter(|(_, quote)| "\"'".contains(*quote))?;
    // A quote without a closing one starts a lifetime.
    if quote == '\'' && !plain.starts_with("'\\") && plain.chars().nth(2) != Some('\'') {
        return None;
    }
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return Some(text.len() - plain.len() + at + 1);
        }
    }
    None
}

#[test]
fn literals_and_comments_are_not_code() {
    let text = "/* a::B */ r#\"x\" a::B\"# b'\\'' '\"' \"\\\" a::B\" f::<'a>('x', c\"é\")";
    let expected = [
        "\"", "\"", "\"", "\"", "f", "::", "<", ">", "(", "\"", ",", "\"", ")",
    ];
    assert_eq!(tokens(text), expected);
}
