//! The settings in the JSON sidecar of a model, read like `[input]`, or in the words of Hugging Face and timm.

mod foreign;
#[cfg(test)]
mod tests;

use std::{fs, ops::Range, path::Path};

use prospect_common::{Complaint, Error, Result};
use prospect_dataset::image::InputOverrides;
use prospect_model::{ModelInfo, sidecar::Sidecar};
use serde::de::IgnoredAny;
use toml::{Spanned, de::DeValue};

use self::foreign::{CLASSES, Words};
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
    let bytes = fs::read(path).map_err(Error::io(path, reading))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::invalid(
            path,
            "JSON in UTF-8",
            "another encoding",
            "save the file as UTF-8",
        )
    })?;
    parse_sidecar(path, text.strip_prefix('\u{feff}').unwrap_or(&text))
}

/// Parses `input` and `classes` from JSON. Without `input`, the preprocessing is that of timm's `pretrained_cfg` or of the keys
/// beside it; the class names may be `id2label` and the like. Keys that concern neither are ignored.
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
    let top = members(text, 0);
    if top.is_none() {
        let message = "expected {\"input\": {…}, \"classes\": […]}; regenerate the file with `python jobs/export_model.py`";
        settings.complain(0, &(0..text.len()), Complaint::new(message));
    }
    let top = top.unwrap_or_default();
    let of = |key: &str, members: &[Member]| {
        let mut found = members.iter().filter(|(name, ..)| name == key);
        found.find_map(|(_, _, value)| (&text[value.clone()] != "null").then(|| value.clone()))
    };
    let timm = of("pretrained_cfg", &top).and_then(|value| members(text, value.start));
    let own = of("input", &top);
    let is_own = own.is_some();
    let inputs = match own {
        Some(value) => members(text, value.start).unwrap_or_else(|| {
            let message =
                "input must be {\"resize\", \"crop\", \"interpolation\", \"mean\", \"std\"}";
            settings.complain(0, &value, Complaint::new(message));
            Vec::new()
        }),
        None => timm.clone().unwrap_or_else(|| top.clone()),
    };
    let words = Words::new(text, inputs);
    for (key, at, span, translated) in words.inputs() {
        add_input(&mut settings, text, key, at, span, translated);
    }
    let foreign = words.read(is_own).unwrap_or_else(|wrong| {
        for (at, message) in wrong {
            settings.complain(0, &at, Complaint::new(message));
        }
        InputOverrides::default()
    });
    let mut classes = Vec::new();
    let names = [Some(top), timm].into_iter().flatten();
    let names: Vec<(&str, Range<usize>)> = names
        .flat_map(|members| CLASSES.map(|key| Some((key, of(key, &members)?))))
        .flatten()
        .collect();
    if let Some((key, value)) = names.into_iter().next() {
        match read_classes(&text[value.clone()]) {
            Ok(names) => classes = names,
            Err((at, message)) => {
                let at = value.start + at;
                settings.complain(0, &(at..at), Complaint::new(format!("{key} {message}")));
            }
        }
    }
    let input = read_input(&mut settings).or(&foreign);
    settings.check()?;
    Ok(Sidecar { input, classes })
}

/// Class names, or the offset of the error and what they must be.
fn read_classes(raw: &str) -> Result<Vec<String>, (usize, String)> {
    let message = "must be a list of names in quotes, in the order of the logits";
    if raw.starts_with('[') {
        return serde_json::from_str(raw).map_err(|error| {
            let at = offset(raw, &error).saturating_sub(1);
            (at, format!("{message}: {}", reason(&error)))
        });
    }
    let value = serde_json::from_str(raw).ok();
    value.as_ref().and_then(foreign::classes).ok_or_else(|| {
        (
            0,
            format!("{message}, or by index from 0: {{\"0\": \"cat\", \"1\": \"dog\"}}"),
        )
    })
}

/// Adds a key of `[input]`; `translated` replaces its value.
fn add_input<'a>(
    settings: &mut Settings<'a>,
    text: &'a str,
    key: &str,
    key_span: Range<usize>,
    span: Range<usize>,
    translated: Option<&'static str>,
) {
    let raw = &text[span.clone()];
    let value = match (translated, DeValue::parse(raw)) {
        (Some(word), _) => DeValue::String(word.into()),
        // TOML spells lists, numbers and nearly all strings like JSON.
        (None, Ok(value)) => value.into_inner(),
        (None, Err(_)) => DeValue::String(raw.into()),
    };
    let start = span.start;
    settings.put("input", key, 0, key_span, Spanned::new(span, value), start);
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
