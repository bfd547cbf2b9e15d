//! Writes query results as an aligned table, CSV, JSON or Parquet.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
    path::Path,
};

use polars::{
    error::PolarsError,
    prelude::{AnyValue, DataFrame, ParquetCompression, ParquetWriter},
};
use prospect_common::{
    Error, Result, spreadsheet,
    text::{counted, escaped, escaped_json},
};
use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{MAX_ROW_GROUP_ROWS, disk};

/// The format of a query result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people. Long values, excess rows and columns that do not fit are cut, as the last lines report.
    /// Control characters are escaped.
    Table,
    /// RFC 4180 with a header. Null is an empty field, empty text is `""`; lists and structs are JSON text. Text that a spreadsheet
    /// would take for a formula has an apostrophe before it.
    Csv,
    /// One JSON object per line, with complete nested columns. Control characters are escaped. Numbers that JSON lacks (NaN,
    /// infinities) are null.
    JsonLines,
    /// An array of the same objects.
    Json,
    /// A Parquet file; see [`save`].
    Parquet,
}

/// The path in error messages.
const RESULT: &str = "the query result";

/// Maximum rows of a [`Format::Table`].
const TABLE_ROWS: usize = 50;

/// Maximum column width of a [`Format::Table`] in characters, and the minimum that columns are shrunk to.
const COLUMN_WIDTH: usize = 60;
const NARROW_COLUMN: usize = 16;

/// Values shown of a longer list in a [`Format::Table`].
const LIST_ITEMS: usize = 4;

/// Renders a result in memory; see [`render_to`].
pub fn render(frame: &mut DataFrame, format: Format) -> Result<String> {
    let mut bytes = Vec::new();
    render_to(frame, format, None, &mut bytes)?;
    String::from_utf8(bytes).map_err(|error| Error::internal(RESULT, error))
}

/// Writes a result to `out`. `terminal_width` is the line length in characters if `out` is a terminal: tables are fitted to it,
/// and CSV escapes control characters, which it otherwise keeps.
pub fn render_to(
    frame: &DataFrame,
    format: Format,
    terminal_width: Option<usize>,
    out: &mut dyn Write,
) -> Result<()> {
    match format {
        Format::Table => table(frame, terminal_width, out),
        Format::Csv => csv(frame, terminal_width.is_some(), out),
        Format::JsonLines => json_lines(frame, ["", "\n", "\n", ""], out),
        Format::Json => json_lines(frame, ["[\n", ",\n", "\n", "]\n"], out),
        Format::Parquet => {
            let written = ParquetWriter::new(out)
                .with_compression(ParquetCompression::Zstd(None))
                .with_row_group_size(Some(MAX_ROW_GROUP_ROWS))
                .finish(&mut frame.clone());
            written.map(|_| ()).map_err(|error| match error {
                PolarsError::IO { error, .. } => {
                    Error::io(RESULT, "writing")(io::Error::new(error.kind(), error.to_string()))
                }
                other => Error::internal(RESULT, other),
            })
        }
    }
}

/// Atomically writes a result to a file, replacing an existing one.
pub fn save(frame: &DataFrame, format: Format, path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    render_to(frame, format, None, &mut bytes)?;
    // A bare name has no parent folder to sync.
    disk::write_atomically(&Path::new(".").join(path), &bytes)
}

/// A result with its values formatted as in a [`Format::Table`], but not cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    pub columns: Vec<String>,
    /// A text per column; none for null.
    pub rows: Vec<Vec<Option<String>>>,
}

/// The first rows of a result, at most `max_rows`.
pub fn cells(frame: &DataFrame, max_rows: usize) -> Result<Cells> {
    let columns = frame.columns().iter();
    let text = |value: &AnyValue| (!value.is_null()).then(|| cell(value));
    let rows =
        (0..frame.height().min(max_rows)).map(|i| Ok(row(frame, i)?.iter().map(text).collect()));
    Ok(Cells {
        columns: columns.map(|column| column.name().to_string()).collect(),
        rows: rows.collect::<Result<_>>()?,
    })
}

/// The values of a row, left to right.
fn row(frame: &DataFrame, i: usize) -> Result<Vec<AnyValue<'_>>> {
    let values = frame.columns().iter().map(|column| column.get(i));
    values
        .collect::<Result<_, _>>()
        .map_err(|error| Error::internal(RESULT, error))
}

fn put(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .map_err(Error::io(RESULT, "writing"))
}

/// One object per row; `around` is written before the first, between two, after the last, and at the end.
fn json_lines(frame: &DataFrame, around: [&str; 4], out: &mut dyn Write) -> Result<()> {
    let [before, between, after, end] = around;
    put(out, before)?;
    for i in 0..frame.height() {
        let names = frame.columns().iter().map(|column| column.name().as_str());
        let members = names.zip(row(frame, i)?).collect();
        put(out, if i == 0 { "" } else { between })?;
        put(out, &json(&Object(members))?)?;
    }
    put(out, if frame.height() > 0 { after } else { "" })?;
    put(out, end)
}

fn csv(frame: &DataFrame, escape: bool, out: &mut dyn Write) -> Result<()> {
    let mut line = String::new();
    for (n, column) in frame.columns().iter().enumerate() {
        if n > 0 {
            line.push(',');
        }
        csv_text(&spreadsheet::cell(column.name()), escape, &mut line);
    }
    line.push_str("\r\n");
    put(out, &line)?;
    for i in 0..frame.height() {
        line.clear();
        for (n, value) in row(frame, i)?.iter().enumerate() {
            if n > 0 {
                line.push(',');
            }
            match value {
                AnyValue::Null => {}
                AnyValue::Float32(v) => line.push_str(&format!("{v:?}")),
                AnyValue::Float64(v) => line.push_str(&format!("{v:?}")),
                value => match text_of(value) {
                    Some(text) => csv_text(&spreadsheet::cell(text), escape, &mut line),
                    None => csv_text(json(&Json(value))?.trim_matches('"'), escape, &mut line),
                },
            }
        }
        line.push_str("\r\n");
        put(out, &line)?;
    }
    Ok(())
}

fn csv_text(text: &str, escape: bool, line: &mut String) {
    let text = match escape {
        true => escaped(text),
        false => Cow::Borrowed(text),
    };
    let plain = !text.is_empty() && !text.contains(['"', ',', '\n', '\r']);
    if plain && text.trim() == text {
        line.push_str(&text);
    } else {
        line.push('"');
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    }
}

fn text_of<'a>(value: &'a AnyValue<'_>) -> Option<&'a str> {
    match value {
        AnyValue::String(text) => Some(text),
        AnyValue::StringOwned(text) => Some(text.as_str()),
        _ => None,
    }
}

/// JSON that is safe for a terminal.
fn json(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(value).map_err(|error| Error::internal(RESULT, error))?;
    Ok(escaped_json(&json).into_owned())
}

/// A value as JSON.
struct Json<'v, 'a>(&'v AnyValue<'a>);

impl Serialize for Json<'_, '_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        match value {
            AnyValue::Null => out.serialize_unit(),
            AnyValue::Boolean(v) => out.serialize_bool(*v),
            AnyValue::Float64(v) => out.serialize_f64(*v),
            AnyValue::Float32(_) | AnyValue::Float16(_) => value.extract::<f32>().serialize(out),
            AnyValue::List(items) | AnyValue::Array(items, _) => {
                let mut list = out.serialize_seq(Some(items.len()))?;
                for i in 0..items.len() {
                    list.serialize_element(&Json(&items.get(i).unwrap_or(AnyValue::Null)))?;
                }
                list.end()
            }
            AnyValue::Struct(..) | AnyValue::StructOwned(_) => {
                Object(members(value)).serialize(out)
            }
            value if value.is_primitive_numeric() => value.extract::<i128>().serialize(out),
            value => match text_of(value) {
                Some(text) => out.serialize_str(text),
                // Dates and times, as usually spelled.
                None => out.serialize_str(value.to_string().trim_matches('"')),
            },
        }
    }
}

/// Named values, in order.
struct Object<'a, N>(Vec<(N, AnyValue<'a>)>);

impl<N: AsRef<str>> Serialize for Object<'_, N> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(
            self.0
                .iter()
                .map(|(name, value)| (name.as_ref(), Json(value))),
        )
    }
}

/// The members of a struct with their names.
fn members<'a>(value: &'a AnyValue<'a>) -> Vec<(String, AnyValue<'a>)> {
    match value {
        AnyValue::Struct(_, _, fields) => {
            let mut values = Vec::new();
            value._materialize_struct_av(&mut values);
            let names = fields.iter().map(|field| field.name().to_string());
            names.zip(values).collect()
        }
        AnyValue::StructOwned(payload) => {
            let names = payload.1.iter().map(|field| field.name().to_string());
            names.zip(payload.0.iter().cloned()).collect()
        }
        _ => Vec::new(),
    }
}

fn table(frame: &DataFrame, terminal_width: Option<usize>, out: &mut dyn Write) -> Result<()> {
    let n_rows = frame.height().min(TABLE_ROWS);
    let headers: Vec<String> = frame
        .columns()
        .iter()
        .map(|column| escaped(column.name()).into_owned())
        .collect();
    let right: Vec<bool> = frame
        .columns()
        .iter()
        .map(|column| column.dtype().is_primitive_numeric())
        .collect();
    let mut rows = Vec::with_capacity(n_rows);
    for i in 0..n_rows {
        let cells: Vec<String> = row(frame, i)?
            .iter()
            .map(|value| escaped(&cell(value)).into_owned())
            .collect();
        rows.push(cells);
    }
    let mut widths: Vec<usize> = headers
        .iter()
        .enumerate()
        .map(|(i, header)| {
            let cells = rows.iter().map(|row| row[i].chars().count());
            cells
                .chain([header.chars().count()])
                .max()
                .unwrap_or(0)
                .clamp(1, COLUMN_WIDTH)
        })
        .collect();
    let shown = fit(&mut widths, &right, terminal_width.unwrap_or(usize::MAX));

    let mut text = String::new();
    line(&headers[..shown], &widths, &right, &mut text);
    let rule: Vec<String> = widths[..shown]
        .iter()
        .map(|width| "─".repeat(*width))
        .collect();
    line(&rule, &widths, &right, &mut text);
    for row in &rows {
        line(&row[..shown], &widths, &right, &mut text);
    }
    let all = frame.height();
    if n_rows < all {
        let _ = writeln!(
            text,
            "showing {n_rows} of {all} rows; other formats show all"
        );
    } else {
        let _ = writeln!(text, "{}", counted(all as u64, "row"));
    }
    if shown < headers.len() {
        let _ = writeln!(text, "columns not shown: {}", headers[shown..].join(", "));
    }
    put(out, &text)
}

/// Shrinks wide columns until a line fits into `width` characters; returns how many columns then fit.
fn fit(widths: &mut [usize], right: &[bool], width: usize) -> usize {
    let total =
        |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    while total(widths) > width {
        let widest = (0..widths.len())
            .filter(|i| !right[*i] && widths[*i] > NARROW_COLUMN)
            .max_by_key(|i| widths[*i]);
        match widest {
            Some(i) => widths[i] -= 1,
            None => break,
        }
    }
    let mut shown = widths.len();
    while shown > 1 && total(&widths[..shown]) > width {
        shown -= 1;
    }
    shown
}

/// One line of a table: two spaces between columns, numbers right-aligned, long values cut with `…`.
fn line(cells: &[String], widths: &[usize], right: &[bool], out: &mut String) {
    let start = out.len();
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            out.push_str("  ");
        }
        let width = widths[i];
        let length = cell.chars().count();
        if length > width {
            out.extend(cell.chars().take(width - 1));
            out.push('…');
        } else if right[i] {
            let _ = write!(out, "{cell:>width$}");
        } else {
            let _ = write!(out, "{cell:<width$}");
        }
    }
    out.truncate(start + out[start..].trim_end().len());
    out.push('\n');
}

/// A value for people: floats with six digits, and only the first values of long lists.
fn cell(value: &AnyValue) -> String {
    match value {
        AnyValue::Null => "null".into(),
        AnyValue::Float32(_) | AnyValue::Float64(_) | AnyValue::Float16(_) => {
            value.extract::<f64>().map_or("null".into(), float)
        }
        AnyValue::List(items) | AnyValue::Array(items, _) => {
            let n = items.len();
            let shown = if n > LIST_ITEMS + 1 { LIST_ITEMS } else { n };
            let mut cells: Vec<String> = (0..shown)
                .map(|i| cell(&items.get(i).unwrap_or(AnyValue::Null)))
                .collect();
            if shown < n {
                cells.push(format!("… {n} values"));
            }
            format!("[{}]", cells.join(", "))
        }
        AnyValue::Struct(..) | AnyValue::StructOwned(_) => {
            let cells: Vec<String> = members(value)
                .iter()
                .map(|(name, value)| format!("{name}: {}", cell(value)))
                .collect();
            format!("{{{}}}", cells.join(", "))
        }
        value => match text_of(value) {
            Some(text) => text.to_string(),
            None => value.to_string().trim_matches('"').to_string(),
        },
    }
}

/// At most six significant digits; very large and very small numbers with an exponent.
fn float(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:.5e}");
    }
    let decimals = (5 - magnitude.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_string()
}
