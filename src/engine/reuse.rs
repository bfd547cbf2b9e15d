//! Reuse of earlier rows for images with the same content and relevant settings.

use prospect_common::{Error, Result, text::escaped};
use prospect_store::{Manifest, RunFolder, StageRecord};
use serde_json::Value;

use crate::{Context, Stage};

/// A source of reusable rows: one generation of one stage's tables.
pub struct Source {
    pub run: RunFolder,
    pub manifest: Manifest,
}

impl Source {
    /// The stage's parts.
    pub fn record(&self, stage: &str) -> Option<&StageRecord> {
        self.manifest.stages.get(stage)
    }
}

/// Whether rows of `record` are valid for a stage with these parameters.
pub fn is_reusable(stage: &Stage, parameters: &Value, record: &StageRecord) -> bool {
    differences(stage, parameters, record).is_some_and(|names| names.is_empty())
}

/// Names of relevant differences; `None` for a stage whose rows are never reused.
fn differences(stage: &Stage, parameters: &Value, record: &StageRecord) -> Option<Vec<String>> {
    let ignored = stage.reuse?;
    let mut names = Vec::new();
    if record.version != stage.version {
        names.push("stage version".to_string());
    }
    let (Value::Object(before), Value::Object(now)) = (&record.parameters, parameters) else {
        return Some(vec!["parameters".to_string()]);
    };
    let only_before = before.keys().filter(|name| !now.contains_key(*name));
    for name in now.keys().chain(only_before) {
        let none = Value::Null;
        let [before, now] = [before, now].map(|all| all.get(name).unwrap_or(&none));
        if !ignored.contains(&name.as_str()) && !same(before, now) {
            names.push(name.clone());
        }
    }
    Some(names)
}

/// Whether two JSON values are equal up to the last digits of numbers, which parsing the manifest may change.
pub fn same(before: &Value, now: &Value) -> bool {
    match (before, now) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= 1e-14 * a.abs()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && (a.iter()).all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => before == now,
    }
}

/// Sources of rows for a stage, best first: its own earlier rows, the run in `[run] previous`, and that run's earlier rows.
pub fn sources(ctx: &Context, stage: &Stage, parameters: &Value) -> Result<Vec<Source>> {
    let name = stage.name;
    let mut sources = Vec::new();
    let mut add = |run: &RunFolder, manifest: Option<Manifest>| {
        let manifest = manifest?;
        let different = differences(stage, parameters, manifest.stages.get(name)?)?;
        if different.is_empty() {
            sources.push(Source {
                run: run.clone(),
                manifest,
            });
        }
        Some(different)
    };
    add(ctx.run, ctx.run.manifest()?.previous(name));
    if let Some(folder) = &ctx.config.run.previous {
        let run = RunFolder::open(folder)?;
        let manifest = run.manifest()?;
        let earlier = manifest.previous(name);
        let shown = folder.display().to_string();
        match add(&run, Some(manifest)) {
            None => tracing::warn!("{}: {name} has not run there", escaped(&shown)),
            Some(different) if !different.is_empty() => tracing::warn!(
                "{}: no rows of {name} can be reused: different {}",
                escaped(&shown),
                different.join(", ")
            ),
            Some(_) => {}
        }
        add(&run, earlier);
    }
    Ok(sources)
}

/// Checks that `[run] previous` names another run's folder.
pub fn check(ctx: &Context) -> Result<()> {
    let Some(folder) = &ctx.config.run.previous else {
        return Ok(());
    };
    let shown = escaped(&folder.display().to_string()).into_owned();
    let wrong = |why: &str| Err(Error::setting("run", "previous", format!("{shown} {why}")));
    let run = match RunFolder::open(folder) {
        Ok(run) => run,
        Err(Error::Missing { .. }) => {
            return wrong("does not exist; set it to an earlier run's folder, or remove the key");
        }
        Err(error) => return Err(error),
    };
    if run.root() == ctx.run.root() {
        return wrong(
            "is the run folder itself, whose earlier rows are reused anyway; remove the key",
        );
    }
    if run.manifest()?.stages.is_empty() {
        return wrong("contains no run; set it to an earlier run's folder, or remove the key");
    }
    Ok(())
}

/// Parses a digest from a table.
pub fn parse_digest(digest: &str) -> Option<blake3::Hash> {
    blake3::Hash::from_hex(digest).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests;

    #[test]
    fn numbers_are_equal_after_a_round_trip_through_the_manifest() {
        for value in [0.49803921580314636, 1.0 / 3.0, -2.5e-300, 7.0] {
            let now = json!({ "mean": [value], "n": 3 });
            let before: Value = serde_json::from_str(&now.to_string()).unwrap();
            assert!(same(&before, &now), "{before} {now}");
            assert!(!same(&before, &json!({ "mean": [value + 0.001], "n": 3 })));
            assert!(!same(&before, &json!({ "mean": [value], "n": 4 })));
            assert!(!same(&before, &json!({ "mean": [value] })));
        }
        assert!(!same(&json!(u64::MAX), &json!(u64::MAX - 1)) && same(&json!(null), &json!(null)));
    }

    #[test]
    fn rows_are_reused_while_relevant_parameters_are_the_same() {
        let record = StageRecord {
            version: 1,
            parameters: json!({ "model": "a", "part_size": 8, "layers": ["x"] }),
            ..StageRecord::default()
        };
        let reusable = |version, reuse, parameters| {
            let stage = Stage {
                version,
                reuse,
                ..tests::EXTRACT
            };
            is_reusable(&stage, &parameters, &record)
        };
        let ignored: Option<&[&str]> = Some(&["part_size"]);
        let now = json!({ "model": "a", "part_size": 9, "layers": ["x"] });
        assert!(reusable(1, ignored, now.clone()));
        assert!(!reusable(2, ignored, now.clone()));
        assert!(!reusable(1, None, now));
        for other in [
            json!({ "model": "b", "part_size": 8, "layers": ["x"] }),
            json!({ "model": "a", "part_size": 8, "layers": ["x", "y"] }),
            json!({ "model": "a", "part_size": 8, "layers": ["x"], "inline": {} }),
            json!({ "model": "a", "part_size": 8 }),
            json!(null),
        ] {
            assert!(!reusable(1, ignored, other.clone()), "{other}");
        }
    }
}
