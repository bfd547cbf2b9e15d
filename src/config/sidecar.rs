//! The settings in the JSON sidecar of a model, read like `[input]`.

use std::{fs, ops::Range, path::Path};

use prospect_common::{Complaint, Error, Result};
use prospect_model::{ModelInfo, sidecar::Sidecar};
use serde::de::IgnoredAny;
use toml::{Spanned, de::DeValue};

use super::{network::read_input, settings::Settings};

/// Maximum size of a sidecar.
const MAX_BYTES: u64 = 64 << 20;

/// Opens a network with its sidecar: `sidecar`, or else the JSON file next to the network, if it exists.
///
/// # Errors
/// Those of [`read_sidecar`] and [`ModelInfo::open`].
pub fn open_model(path: &Path, sidecar: Option<&Path>) -> Result<ModelInfo> {
    let beside = path.with_extension("json");
    let sidecar = match sidecar {
        Some(sidecar) => read_sidecar(sidecar)?,
        None if beside.exists() => read_sidecar(&beside)?,
        None => Sidecar::default(),
    };
    ModelInfo::open(path, sidecar)
}

/// Reads a sidecar.
///
/// # Errors
/// An unreadable file, or invalid contents, each complaint with its line.
pub fn read_sidecar(path: &Path) -> Result<Sidecar> {
    let reading = "reading the model's sidecar";
    let length = fs::metadata(path).map_err(Error::io(path, reading))?.len();
    if length > MAX_BYTES {
        return Err(Error::invalid(
            path,
            "preprocessing and class names in JSON",
            format!("{length} bytes"),
            "set [model] sidecar to the right file",
        ));
    }
    let text = fs::read_to_string(path).map_err(Error::io(path, reading))?;
    parse_sidecar(path, &text)
}

/// Parses `input` and `classes` from JSON; other keys are ignored.
///
/// # Errors
/// Invalid contents, each complaint with its line.
pub(super) fn parse_sidecar(path: &Path, text: &str) -> Result<Sidecar> {
    let mut settings = Settings::empty(path, text);
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let at = offset(text, &error);
        let message = format!(
            "invalid JSON: {}; correct it, or regenerate the file with `python jobs/export_model.py`",
            reason(&error)
        );
        settings.complain(0, &(at..at), Complaint::new(message));
        settings.check()?;
    }
    let mut classes = Vec::new();
    let top = members(text, 0);
    if top.is_none() {
        let message = "expected {\"input\": {…}, \"classes\": […]}; regenerate the file with `python jobs/export_model.py`";
        settings.complain(0, &(0..text.len()), Complaint::new(message));
    }
    for (key, _, value) in top.unwrap_or_default() {
        let raw = &text[value.clone()];
        match key.as_str() {
            "input" if raw != "null" => match members(text, value.start) {
                Some(inputs) => add_inputs(&mut settings, text, inputs),
                None => {
                    let message = "input must be {\"resize\", \"crop\", \"interpolation\", \"mean\", \"std\"}";
                    settings.complain(0, &value, Complaint::new(message));
                }
            },
            "classes" => match serde_json::from_str(raw) {
                Ok(names) => classes = names,
                Err(error) => {
                    let at = value.start + offset(raw, &error).saturating_sub(1);
                    let message = format!(
                        "classes must be a list of names in quotes, in the order of the logits: {}",
                        reason(&error)
                    );
                    settings.complain(0, &(at..at), Complaint::new(message));
                }
            },
            _ => {}
        }
    }
    let input = read_input(&mut settings);
    settings.check()?;
    Ok(Sidecar { input, classes })
}

/// Adds the members of `input`, except `null`.
fn add_inputs<'a>(settings: &mut Settings<'a>, text: &'a str, inputs: Vec<Member>) {
    for (key, key_span, span) in inputs {
        let raw = &text[span.clone()];
        if raw == "null" {
            continue;
        }
        // TOML spells lists, numbers and nearly all strings like JSON.
        let value = match DeValue::parse(raw) {
            Ok(value) => value.into_inner(),
            Err(_) => DeValue::String(raw.into()),
        };
        let start = span.start;
        settings.put("input", &key, 0, key_span, Spanned::new(span, value), start);
    }
}

/// A key of a JSON object, with its span and that of its value.
type Member = (String, Range<usize>, Range<usize>);

/// The members of the object that starts at `at` in well-formed JSON; `None` if there is no object.
fn members(text: &str, at: usize) -> Option<Vec<Member>> {
    let blank = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let mut at = blank(at);
    if !text[at..].starts_with('{') {
        return None;
    }
    let mut found = Vec::new();
    loop {
        // After the brace or the comma.
        at = blank(at + 1);
        if text[at..].starts_with('}') {
            return Some(found);
        }
        let mut key = serde_json::Deserializer::from_str(&text[at..]).into_iter::<String>();
        let name = key.next()?.ok()?;
        let key_span = at..at + key.byte_offset();
        at = blank(blank(key_span.end) + 1);
        let mut value = serde_json::Deserializer::from_str(&text[at..]).into_iter::<IgnoredAny>();
        value.next()?.ok()?;
        let value_span = at..at + value.byte_offset();
        at = blank(value_span.end);
        found.push((name, key_span, value_span));
        if !text[at..].starts_with(',') {
            return Some(found);
        }
    }
}

/// The byte offset of an error.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let line: usize = (text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1)))
    .map(str::len)
    .sum();
    (line + error.column().saturating_sub(1)).min(text.len())
}

/// The error without its location.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_string()
}
