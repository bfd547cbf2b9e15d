//! Decides whether a stage runs, resumes or is up to date, and why.

use std::collections::BTreeMap;

use prospect_common::text::shortened;
use prospect_store::{Manifest, RunFolder, StageRecord, stage_key};
use serde::Serialize;
use serde_json::Value;

use super::{Stage, reuse};

/// The decision about one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// Complete under the current key.
    Reuse,
    /// Some parts exist under the current key.
    Resume {
        done: usize,
        /// Number of parts, once known.
        total: Option<usize>,
        /// Finished parts with a missing or truncated file, or with images that could not be read.
        lost: usize,
    },
    /// Nothing can be reused.
    Run { reason: String },
    /// Undecided until another stage has run.
    WaitsFor {
        #[serde(rename = "waits_for")]
        stage: String,
    },
}

/// A requested stage with its checked parameters.
pub(super) struct Prepared<'s> {
    pub(super) stage: &'s Stage,
    /// The stages whose tables it reads.
    pub(super) needs: Vec<&'s Stage>,
    pub(super) parameters: Value,
}

/// The decision about a stage whose dependencies are complete, with its key.
pub(super) struct Verdict {
    pub(super) decision: Decision,
    pub(super) key: String,
    pub(super) needs: BTreeMap<String, String>,
}

/// Reason for the first run of a stage.
pub const FIRST: &str = "no run yet";

/// Decides about a stage. `ready` contains the keys of all its dependencies.
pub(super) fn decide(
    run: &RunFolder,
    prepared: &Prepared,
    manifest: &Manifest,
    ready: &BTreeMap<&'static str, String>,
) -> Verdict {
    let Prepared {
        stage, parameters, ..
    } = prepared;
    let needs: BTreeMap<String, String> = (prepared.needs.iter())
        .filter_map(|need| Some((need.name.to_string(), ready.get(need.name)?.clone())))
        .collect();
    let key = stage_key(stage.name, stage.version, parameters, &needs);
    let decision = match manifest.stages.get(stage.name) {
        None => Decision::Run {
            reason: FIRST.to_string(),
        },
        Some(record) if record.key != key => Decision::Run {
            reason: why_changed(prepared, &needs, record),
        },
        Some(record) => match lost_parts(run, record) {
            0 if record.complete => Decision::Reuse,
            lost => Decision::Resume {
                done: record.parts.len() - lost,
                total: record.parts_total,
                lost,
            },
        },
    };
    Verdict {
        decision,
        key,
        needs,
    }
}

/// Number of parts that the writer will write again.
fn lost_parts(run: &RunFolder, record: &StageRecord) -> usize {
    let parts = record.parts.values();
    parts.filter(|part| !part.stands(run)).count()
}

/// Every difference between a stage's recorded and current version, parameters and dependencies.
fn why_changed(
    prepared: &Prepared,
    needs: &BTreeMap<String, String>,
    record: &StageRecord,
) -> String {
    let Prepared {
        stage, parameters, ..
    } = prepared;
    let mut reasons = Vec::new();
    if record.version != stage.version {
        reasons.push(format!(
            "stage version {} → {}",
            record.version, stage.version
        ));
    }
    differences(stage.name, &record.parameters, parameters, &mut reasons);
    for (need, key) in needs {
        if record.needs.get(need) != Some(key) {
            let mut stages = prepared.needs.iter();
            let lists_images = stages.any(|stage| stage.name == need && stage.lists_images());
            reasons.push(match lists_images {
                true => format!("{need}'s image list changed"),
                false => format!("{need} ran with other settings"),
            });
        }
    }
    if reasons.is_empty() {
        // The key is a hash of exactly these settings, so this manifest was edited manually.
        reasons.push("the manifest's key does not match its settings".to_string());
    }
    reasons.join("; ")
}

/// `parameter extract.layers changed: a → b` for each differing leaf of two JSON objects.
fn differences(name: &str, before: &Value, now: &Value, reasons: &mut Vec<String>) {
    if reuse::same(before, now) {
        return;
    }
    if let (Value::Object(before), Value::Object(now)) = (before, now) {
        let only_before = before.keys().filter(|key| !now.contains_key(*key));
        for key in now.keys().chain(only_before) {
            let none = Value::Null;
            differences(
                &format!("{name}.{key}"),
                before.get(key).unwrap_or(&none),
                now.get(key).unwrap_or(&none),
                reasons,
            );
        }
        return;
    }
    reasons.push(format!(
        "parameter {name} changed: {} → {}",
        brief(before),
        brief(now)
    ));
}

/// A JSON value shortened for a line; a digest to its first digits.
fn brief(value: &Value) -> String {
    match value {
        Value::Null => "unset".to_string(),
        Value::String(text) if is_digest(text) => text[..8].to_string(),
        Value::String(text) => shortened(text, 60).into_owned(),
        other => shortened(&other.to_string(), 60).into_owned(),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
