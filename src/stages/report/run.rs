//! The page of the run: stages, times, keys.

use std::time::Duration;

use askama::Template;
use prospect_common::{
    Result,
    text::{self as words, percent, plural},
};
use serde_json::Value;

use super::frame::{Figure, Frame, NAME, Page, Shell, shown};

/// Characters to which a stage's summary is cut.
const SUMMARY: usize = 600;

#[derive(Template)]
#[template(path = "run.html")]
struct Run {
    shell: Shell,
    about: String,
    figures: Vec<Figure>,
    stages: Vec<Stage>,
}

struct Stage {
    name: String,
    time: String,
    /// Percent of the longest stage.
    share: String,
    parts: String,
    rows: String,
    size: String,
    key: String,
    whole_key: String,
    summary: String,
}

pub fn page(frame: &Frame) -> Result<Page> {
    let mut found = Vec::new();
    for stage in frame.stages() {
        let Some(record) = frame.manifest.stages.get(stage.name) else {
            continue;
        };
        let of_parts: f64 = record.parts.values().map(|part| part.seconds).sum();
        // A stage that works on several parts at once measures its own time.
        let seconds = record.summary["seconds"].as_f64().unwrap_or(of_parts);
        found.push((stage.name, record, seconds));
    }
    let longest = found
        .iter()
        .map(|stage| stage.2)
        .fold(f64::MIN_POSITIVE, f64::max);
    let total: f64 = found.iter().map(|stage| stage.2).sum();
    let bytes: u64 = (found.iter())
        .flat_map(|(_, record, _)| record.parts.values())
        .flat_map(|part| &part.files)
        .map(|file| file.bytes)
        .sum();
    let stages = found.iter().map(|(name, record, seconds)| {
        let files = || record.parts.values().flat_map(|part| &part.files);
        Stage {
            name: match record.complete {
                true => name.to_string(),
                false => format!("{name} (incomplete)"),
            },
            time: duration(*seconds),
            share: format!("{:.1}", 100.0 * seconds / longest),
            parts: words::count(record.parts.len() as u64),
            rows: words::count(files().map(|file| file.rows).sum()),
            size: words::bytes(files().map(|file| file.bytes).sum()),
            key: record.key.chars().take(12).collect(),
            whole_key: record.key.clone(),
            summary: shown(&described(&record.summary), SUMMARY),
        }
    });
    let stages = stages.collect();
    let page = Run {
        shell: frame.shell("run", &[]),
        about: format!(
            "{} in {}",
            plural(found.len() as u64, "stage", "stages"),
            frame.ctx.run.root().display()
        ),
        figures: figures(frame, total, bytes),
        stages,
    };
    frame.page("run", &page)
}

fn figures(frame: &Frame, seconds: f64, bytes: u64) -> Vec<Figure> {
    let extract = frame.summary("extract");
    let text = |name: &str| extract[name].as_str().map(|text| shown(text, NAME));
    let mut figures = vec![
        Figure::number("Time", duration(seconds), "all stages together".into()),
        Figure::number(
            "On disk",
            words::bytes(bytes),
            "tables and pictures, excluding this report".into(),
        ),
    ];
    if let Some(network) = text("network") {
        let device = format!(
            "on {}, {}",
            text("device").unwrap_or_default(),
            text("dtype").unwrap_or_default()
        );
        figures.push(Figure::words("Network", network, device));
    }
    if let Some(speed) = extract["images_per_second"].as_f64() {
        let note = match extract["bottleneck"].as_str() {
            Some(step) => {
                let busy = extract["busy"][step].as_f64();
                let busy = busy.map_or(String::new(), |busy| {
                    format!(", busy {} of the time", percent(busy))
                });
                format!("limited by {}{busy}", bottleneck(step))
            }
            None => String::new(),
        };
        figures.push(Figure::number(
            "Images per second",
            format!("{speed:.1}"),
            note,
        ));
    }
    let reused = frame
        .manifest
        .stages
        .get("extract")
        .map_or(0, |record| record.reused());
    if reused > 0 {
        figures.push(Figure::number(
            "Reused",
            words::count(reused),
            "images unchanged since the previous run".into(),
        ));
    }
    figures.push(Figure::words(
        "Prospect",
        env!("CARGO_PKG_VERSION").into(),
        "version that wrote this report".into(),
    ));
    figures
}

fn duration(seconds: f64) -> String {
    words::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Display name of a step of `extract`.
fn bottleneck(step: &str) -> String {
    match step {
        "decode" => "decoding".into(),
        "forward" => "the network".into(),
        "write" => "writing".into(),
        other => shown(other, NAME),
    }
}

/// The scalars of a summary, as text.
fn described(summary: &Value) -> String {
    let Some(fields) = summary.as_object() else {
        return String::new();
    };
    let figure = |value: &Value| match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map(words::figure),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.into()),
        _ => None,
    };
    let fields = fields
        .iter()
        .filter_map(|(name, value)| Some(format!("{} {}", name.replace('_', " "), figure(value)?)));
    fields.collect::<Vec<_>>().join(", ")
}
