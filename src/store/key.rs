//! Stage keys, which decide whether a stage's tables are up to date.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

/// The key of a stage: BLAKE3 of its name, version, checked parameters and the keys of the stages it needs, as 32 hexadecimal
/// digits. Every value matters; the order of an object's members does not.
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

/// Canonical JSON: no spaces, members in byte order, regardless of the map that serde_json was built with.
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
