//! Finds `$name` in a statement, outside strings, quoted names and comments.

use std::ops::Range;

/// Byte ranges (of `$name`) and names, in order.
pub fn placeholders(sql: &str) -> Vec<(Range<usize>, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = sql[at..].find(['\'', '"', '-', '/', '$']) {
        let start = at + next;
        let rest = &sql[start..];
        // Number of bytes to skip.
        let through = |opening: usize, closing: &str| {
            let end = rest[opening..].find(closing);
            end.map_or(rest.len(), |end| opening + end + closing.len())
        };
        let length = if rest.starts_with('\'') {
            // A doubled quote ends this string and starts the next.
            through(1, "'")
        } else if rest.starts_with('"') {
            through(1, "\"")
        } else if rest.starts_with("--") {
            through(2, "\n")
        } else if rest.starts_with("/*") {
            through(2, "*/")
        } else if let Some(after) = rest.strip_prefix('$') {
            let name = &after[..after.find(|c| !is_letter(c)).unwrap_or(after.len())];
            if after[name.len()..].starts_with('$') {
                let tag = &rest[..name.len() + 2];
                through(tag.len(), tag)
            } else {
                if is_identifier(name) {
                    found.push((start..start + 1 + name.len(), name));
                }
                1 + name.len()
            }
        } else {
            1
        };
        at = start + length;
    }
    found
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `name` is a valid parameter name.
pub fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| is_letter(c) && !c.is_ascii_uppercase())
}
