//! Printing that is safe with closed pipes and control characters in file names.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use prospect_common::{Error, text};
use prospect_findings::Kind;
use serde::Serialize;

/// Writes lines to standard output with control characters escaped.
pub(super) fn print(lines: &str) -> io::Result<()> {
    let end = if lines.ends_with('\n') { "" } else { "\n" };
    write(format!("{}{end}", text::escaped_lines(lines)).as_bytes())
}

/// Writes bytes to standard output unchanged.
pub(super) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// As [`print`], but ignores errors, for work that continues after the reader is gone.
pub(super) fn try_print(lines: &str) {
    let _ = print(lines);
}

/// Writes an error to standard error, for work that continues with the next item.
pub(super) fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "error: {}", text::escaped(line));
}

/// Writes a message to standard error, to keep standard output free for data.
pub(super) fn print_note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", text::escaped(line));
}

/// Writes a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(write(json(value)?.as_bytes())?)
}

/// A value as indented JSON, safe to show on a terminal.
pub(super) fn json(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("JSON output", error))?;
    Ok(format!("{}\n", text::escaped_json(&json)))
}

/// Columns padded to equal width; `right` marks the right-aligned ones.
pub(super) fn columns(rows: &[Vec<String>], right: &[bool]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| text::escaped(cell).into_owned())
                .collect()
        })
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - cell.chars().count());
            if column > 0 {
                line.push_str("  ");
            }
            if right.get(column).copied().unwrap_or(false) {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Help text followed by the kinds of findings.
pub(super) fn with_kinds(help: &str) -> String {
    format!("{help}: {}", Kind::NAMES.join(", "))
}

/// A stage's summary on one line: `64 images, 0 bad`. Nested values are shown by `--json` only.
pub(super) fn summary_line(summary: &serde_json::Value) -> String {
    let Some(members) = summary.as_object() else {
        return String::new();
    };
    let shown = members.iter().filter_map(|(name, value)| {
        let name = name.replace('_', " ");
        match value {
            serde_json::Value::Number(n) if n.is_u64() => {
                Some(format!("{} {name}", text::count(n.as_u64()?)))
            }
            serde_json::Value::Number(n) => Some(match n.as_f64()? {
                small if small != 0.0 && small.abs() < 0.01 => format!("{name} {small:.1e}"),
                number => format!("{name} {number:.3}"),
            }),
            serde_json::Value::String(word) => {
                Some(format!("{name} {}", text::shortened(word, 120)))
            }
            _ => None,
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Names of consecutive files: `a/near.png`, `a/near-2.png`, …
pub(super) fn numbered(path: &Path, at: usize) -> PathBuf {
    if at == 0 {
        return path.to_path_buf();
    }
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{}", at + 1));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Asks on the terminal; an error if standard input is not one.
pub(super) fn confirm(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::usage(
            "no terminal to confirm on: add --yes to proceed, or --dry-run to preview",
        )
        .into());
    }
    let mut err = io::stderr().lock();
    write!(err, "{} [y/N] ", text::escaped(question))?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_files_are_numbered() {
        let name = |path: &str, at| numbered(Path::new(path), at).display().to_string();
        assert_eq!(name("similar.png", 0), "similar.png");
        assert_eq!(name("a/near.png", 1), "a/near-2.png");
        assert_eq!(name("a.b/near", 9), "a.b/near-10");
    }

    #[test]
    fn columns_line_up_and_control_characters_are_escaped() {
        let rows = [
            vec!["scan".to_string(), "1,000".to_string()],
            vec!["x\u{1b}[m".to_string(), "5".to_string()],
        ];
        assert_eq!(
            columns(&rows, &[false, true]),
            "scan       1,000\nx\\u{1b}[m      5\n"
        );
    }

    #[test]
    fn summary_is_one_line() {
        let summary = serde_json::json!({"images": 1064, "bad": 0, "layers": ["a"], "trust": 0.9962, "feature_layer": "avgpool"});
        let line = summary_line(&summary);
        for piece in [
            "1,064 images",
            "0 bad",
            "trust 0.996",
            "feature layer avgpool",
        ] {
            assert!(line.contains(piece), "{line}");
        }
        assert!(!line.contains("layers"), "{line}");
    }
}
