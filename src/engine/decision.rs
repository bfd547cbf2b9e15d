//! What is to be done about a stage, and why.

use std::collections::BTreeMap;

use prospect_common::text::shortened;
use prospect_store::{FileRecord, Manifest, RunFolder, StageRecord, stage_key};
use serde::Serialize;
use serde_json::Value;

use super::{Stage, takeover};

/// What is to be done about one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// All of it is there under the right key.
    Reuse,
    /// Some parts are there under the right key.
    Resume {
        done: usize,
        /// Once the stage knows it.
        total: Option<usize>,
        /// Parts that were done, but a file of theirs is gone or has another length.
        lost: usize,
    },
    /// Nothing that is there can be used.
    Run { reason: String },
    /// Known once the stage named has run.
    WaitsFor {
        #[serde(rename = "waits_for")]
        stage: String,
    },
}

/// A wanted stage with its checked parameters.
pub(super) struct Prepared<'s> {
    pub(super) stage: &'s Stage,
    /// The stages whose tables it reads.
    pub(super) needs: Vec<&'s Stage>,
    pub(super) parameters: Value,
}

/// The decision about a stage whose needs are met, and under which key it is.
pub(super) struct Verdict {
    pub(super) decision: Decision,
    pub(super) key: String,
    pub(super) needs: BTreeMap<String, String>,
}

/// Why a stage runs that has never run.
pub const FIRST: &str = "no run yet";

/// Decides about a stage. `ready` holds the dependency keys of all stages that it needs.
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

/// Parts with a file that is gone or has another length, which the writer will do again.
fn lost_parts(run: &RunFolder, record: &StageRecord) -> usize {
    let parts = record.parts.values();
    parts
        .filter(|part| !part.files.iter().all(|file| is_there(run, file)))
        .count()
}

/// Whether a file is there in its length. Contents are `verify`'s business.
pub(super) fn is_there(run: &RunFolder, file: &FileRecord) -> bool {
    (run.path(&file.path).metadata()).is_ok_and(|status| status.len() == file.bytes)
}

/// Every difference between what a stage was run with and what it would be run with now.
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
                false => format!("{need} was redone with other settings"),
            });
        }
    }
    if reasons.is_empty() {
        // The key is a hash of just these; a manifest edited by hand gets here.
        reasons.push("the manifest's key does not belong to its settings".to_string());
    }
    reasons.join("; ")
}

/// `parameter extract.layers changed: a → b`, for each leaf of two JSON objects that differs.
fn differences(name: &str, before: &Value, now: &Value, reasons: &mut Vec<String>) {
    if takeover::same(before, now) {
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

/// A JSON value short enough for a line; of a digest, its first digits.
fn brief(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_string(),
        Value::String(text) if is_digest(text) => text[..8].to_string(),
        Value::String(text) => shortened(text, 60).into_owned(),
        other => shortened(&other.to_string(), 60).into_owned(),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
