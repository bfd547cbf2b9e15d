//! Tables of separated values.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::array::StringBuilder;
use prospect_common::{Error, Result, text};

use super::table::{Attribute, UserTable, check_size};

/// Separators, the usual one first.
const SEPARATORS: [(u8, &str); 3] = [(b',', "commas"), (b';', "semicolons"), (b'\t', "tabs")];

/// Reads text whose first line has the columns' names. Cells are texts, null if empty.
///
/// # Errors
/// A quote that is not closed; two columns of one name; rows of another length than the first.
pub(super) fn read<'t>(path: &'t Path, text: &str) -> Result<UserTable<'t>> {
    let (separator, separators) = separator(path, text);
    if let Err(line) = check_quotes(text.as_bytes(), separator) {
        return Err(Error::invalid(
            path,
            "quotes in pairs around whole cells",
            format!("a quote on line {line} that is not closed before the end of its cell"),
            "correct that line",
        ));
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .from_reader(text.as_bytes());
    let refuse = |error: csv::Error| {
        Error::invalid(
            path,
            "CSV with a header line and rows as long as the header",
            error.to_string(),
            "correct that line",
        )
    };
    let mut names: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (at, name) in reader.headers().map_err(refuse)?.iter().enumerate() {
        let name = match name.trim() {
            // pandas writes its index without a name.
            "" => format!("column_{}", at + 1),
            name => name.to_string(),
        };
        if let Some(first) = seen.insert(name.clone(), at) {
            return Err(Error::invalid(
                path,
                "unique column names",
                format!(
                    "{} as columns {} and {}",
                    text::escaped(&name),
                    first + 1,
                    at + 1
                ),
                "rename one of them",
            ));
        }
        names.push(name);
    }
    check_size(path, names.len(), 0)?;
    let mut cells: Vec<StringBuilder> = names.iter().map(|_| StringBuilder::new()).collect();
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(refuse)? {
        lines.push(record.position().map_or(0, |position| position.line()));
        for (column, cell) in cells.iter_mut().zip(&record) {
            column.append_option((!cell.is_empty()).then_some(cell));
        }
    }
    let columns = names.into_iter().zip(cells);
    let columns = columns.map(|(name, mut cells)| Attribute {
        name,
        values: Arc::new(cells.finish()),
    });
    Ok(UserTable {
        notes: Vec::from_iter(separators.map(|name| format!("its cells are separated by {name}"))),
        lines: Some(lines),
        ..UserTable::new(path, columns.collect(), Vec::new())
    })
}

/// The tab in a `.tsv` file, otherwise the most frequent separator of the first line; with its name if that is unexpected.
fn separator(path: &Path, text: &str) -> (u8, Option<&'static str>) {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    if name.trim_end_matches(".gz").ends_with(".tsv") {
        return (b'\t', None);
    }
    let mut counts = [0; SEPARATORS.len()];
    let mut is_quoted = false;
    for byte in text.bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' | b'\r' if !is_quoted => break,
            byte => {
                let known = SEPARATORS
                    .iter()
                    .position(|(separator, _)| *separator == byte);
                if let Some(at) = known.filter(|_| !is_quoted) {
                    counts[at] += 1;
                }
            }
        }
    }
    // The first of several.
    let best = (0..SEPARATORS.len())
        .rev()
        .max_by_key(|&at| counts[at])
        .unwrap_or(0);
    let (separator, name) = SEPARATORS[best];
    (separator, (best > 0).then_some(name))
}

/// Checks that a quoted cell ends with its quote; a stray quote would swallow the rows up to the next one. Returns the line of the quote
/// otherwise.
fn check_quotes(text: &[u8], separator: u8) -> Result<(), u64> {
    let (mut line, mut at, mut starts_cell) = (1, 0, true);
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte == b'"' && starts_cell {
            let first = line;
            loop {
                match (text.get(at), text.get(at + 1)) {
                    (None, _) => return Err(first),
                    (Some(b'"'), Some(b'"')) => at += 2,
                    (Some(b'"'), next) => {
                        let ends = next.is_none_or(|next| [separator, b'\n', b'\r'].contains(next));
                        at += 1;
                        break if !ends {
                            return Err(first);
                        };
                    }
                    (Some(other), _) => {
                        line += u64::from(*other == b'\n');
                        at += 1;
                    }
                }
            }
            starts_cell = false;
            continue;
        }
        line += u64::from(byte == b'\n');
        starts_cell = [separator, b'\n', b'\r'].contains(&byte);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_that_swallow_rows_are_found() {
        let check = |text: &str| check_quotes(text.as_bytes(), b',');
        for good in [
            "a,b\n\"x\",\"y, \"\"z\"\"\n\"\r\n",
            "5\" tube,x\n",
            "\"\",\"\"",
            "",
            "\"a\nb\",c\n",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check("a,b\n1,\"cat\n2,dog\n"), Err(2));
        assert_eq!(check("a,b\n1,x\n2,\"cat\n3,\"dog\"\n"), Err(3));
        assert_eq!(check("a\n\"\n\"\n\"x\"y\n"), Err(4));
    }

    #[test]
    fn separators_are_those_of_the_first_line() {
        let of = |name: &str, text: &str| separator(Path::new(name), text).0;
        assert_eq!(of("a.csv", "a;b,c;d\n,,,,"), b';');
        assert_eq!(of("a.csv", "a\tb\n"), b'\t');
        assert_eq!(of("a.csv", "\"a;b;c\",d\n"), b',');
        assert_eq!(of("a.csv", "a\n"), b',');
        assert_eq!(of("A.TSV.gz", "a,b\n"), b'\t');
    }
}
