//! Stage keys: what decides whether a stage's tables can stay.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

use super::manifest::StageRecord;

/// The key of a stage: BLAKE3 over its name, version, checked parameters and the keys of what it needs, as 32
/// hexadecimal digits. The order of an object's members does not matter, every value does.
pub fn stage_key(
    name: &str,
    version: u32,
    parameters: &Value,
    needs: &BTreeMap<String, String>,
) -> String {
    let mut text = String::new();
    canonical(
        &serde_json::json!([name, version, parameters, needs]),
        &mut text,
    );
    let mut key = blake3::hash(text.as_bytes()).to_hex().to_string();
    key.truncate(32);
    key
}

/// JSON without spaces, members in byte order: one text for one value, whatever map serde_json was built with.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            out.push('{');
            for (i, (name, item)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::from(name.as_str()));
                canonical(item, out);
            }
            out.push('}');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

/// Why a stage that stands under `old` must be done again: one short clause for each thing that differs, in a
/// fixed order (version, parameters by name, needs by name). Empty exactly when the keys agree.
pub fn changes(
    old: &StageRecord,
    version: u32,
    parameters: &Value,
    needs: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut found = Vec::new();
    if old.version != version {
        found.push(format!("stage version {} → {version}", old.version));
    }
    differences("", &old.parameters, parameters, &mut found);
    for (need, key) in needs {
        match old.needs.get(need) {
            Some(before) if before == key => {}
            Some(_) => found.push(format!("{need} changed")),
            None => found.push(format!("{need} is needed now")),
        }
    }
    for need in old.needs.keys().filter(|need| !needs.contains_key(*need)) {
        found.push(format!("{need} is not needed any more"));
    }
    found
}

/// Longest spelling of a value in a message, in characters.
const MAX_SHOWN: usize = 60;

fn differences(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if let (Value::Object(before), Value::Object(after)) = (old, new) {
        let names: std::collections::BTreeSet<&String> =
            before.keys().chain(after.keys()).collect();
        for name in names {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match (before.get(name), after.get(name)) {
                (Some(before), Some(after)) => differences(&path, before, after, found),
                (Some(before), None) => found.push(format!("{path} {} → not set", shown(before))),
                (None, after) => {
                    found.push(format!(
                        "{path} not set → {}",
                        shown(after.unwrap_or(&Value::Null))
                    ));
                }
            }
        }
    } else {
        let (mut before, mut after) = (String::new(), String::new());
        canonical(old, &mut before);
        canonical(new, &mut after);
        if before != after {
            let name = if path.is_empty() { "parameters" } else { path };
            found.push(format!("{name} {} → {}", shown(old), shown(new)));
        }
    }
}

fn shown(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    if text.chars().count() > MAX_SHOWN {
        text = text.chars().take(MAX_SHOWN - 1).collect();
        text.push('…');
    }
    text
}
