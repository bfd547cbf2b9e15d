//! The page's words: every number formatted, every name from outside made visible and cut to a sane length.
//!
//! Escaping for HTML is the template's; what happens here is for the eye: control and reordering characters become
//! visible escapes, so that a file name cannot pretend to be another.

use std::time::Duration;

use askama::Template;

use super::gather::{Facts, LayerFacts, StageFacts, UnitFacts};
use crate::text;

/// Classes that are shown with a bar, and classes named under a contact sheet.
const CLASSES_SHOWN: usize = 24;
const UNIT_CLASSES_SHOWN: usize = 3;
/// Characters of a name or message from outside.
const NAME: usize = 60;
const UNIT_CLASS: usize = 32;
const PATH: usize = 160;
const MESSAGE: usize = 240;

/// `index.html`.
#[derive(Template)]
#[template(path = "index.html", config = "src/report/askama.toml")]
pub struct Page {
    title: String,
    dataset: String,
    subtitle: String,
    figures: Vec<Figure>,
    classes: Vec<Class>,
    more_classes: String,
    bad: Vec<BadFile>,
    more_bad: String,
    overlays: Vec<Overlay>,
    overlays_note: String,
    units_note: String,
    layers: Vec<Layer>,
    stages: Vec<StageRow>,
    version: &'static str,
}

struct Figure {
    label: &'static str,
    value: String,
    note: String,
    /// Words are set smaller than numbers.
    is_text: bool,
}

struct Class {
    name: String,
    images: String,
    /// Of all images.
    share: String,
    /// The bar's length.
    percent_of_most: String,
}

struct BadFile {
    path: String,
    error: String,
}

struct Overlay {
    picture: String,
    alt: String,
}

struct Layer {
    anchor: String,
    name: String,
    about: String,
    units: Vec<Unit>,
}

struct Unit {
    number: i64,
    picture: String,
    alt: String,
    /// The patches' pixels, or nothing.
    pixels: String,
    selectivity: String,
    classes: Vec<UnitClass>,
}

struct UnitClass {
    name: String,
    /// How many of the regions, said only if more than one.
    times: String,
}

struct StageRow {
    name: String,
    time: String,
    parts: String,
    rows: String,
    size: String,
    key: String,
}

impl Page {
    pub fn new(title: &str, dataset: &str, facts: &Facts) -> Page {
        let dataset = shown(dataset, NAME);
        let mut subtitle = format!("What a network sees in {dataset}");
        if let Some(network) = &facts.network {
            subtitle = format!("What {} sees in {dataset}", shown(network, NAME));
        }
        let most = facts.classes.first().map_or(1, |class| class.1);
        let classes = facts
            .classes
            .iter()
            .take(CLASSES_SHOWN)
            .map(|(name, n)| Class {
                name: shown(name, NAME),
                images: text::count(*n),
                share: percent(*n, facts.n_images),
                percent_of_most: format!("{:.2}", 100.0 * *n as f64 / most as f64),
            });
        let bad = facts.bad.iter().map(|(path, error)| BadFile {
            path: shown(path, PATH),
            error: shown(error, MESSAGE),
        });
        Page {
            title: shown(title, 200),
            subtitle,
            figures: figures(facts, &dataset),
            classes: classes.collect(),
            more_classes: more_classes(facts),
            bad: bad.collect(),
            more_bad: match facts.n_bad - facts.bad.len() as u64 {
                0 => String::new(),
                more => format!(
                    "And {} more: query the table images for them.",
                    text::count(more)
                ),
            },
            overlays: facts.overlays.iter().map(|path| overlay(path)).collect(),
            overlays_note: overlays_note(facts),
            units_note: units_note(facts),
            layers: facts.layers.iter().enumerate().map(layer).collect(),
            stages: facts.stages.iter().map(stage).collect(),
            dataset,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn shown(name: &str, limit: usize) -> String {
    // Cut first: an escape must not be cut in two.
    text::escaped(&text::shortened(name, limit)).into_owned()
}

fn percent(n: u64, of: u64) -> String {
    format!("{:.1} %", 100.0 * n as f64 / of.max(1) as f64)
}

fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", text::count(n), if n == 1 { one } else { many })
}

fn figures(facts: &Facts, dataset: &str) -> Vec<Figure> {
    let number = |label, value: String, note: String| Figure {
        label,
        value,
        note,
        is_text: false,
    };
    let words = |label, value: String, note: String| Figure {
        label,
        value,
        note,
        is_text: true,
    };
    let mut figures = vec![number(
        "Images",
        text::count(facts.n_images),
        format!("in {dataset}"),
    )];
    if !facts.classes.is_empty() {
        let note = match facts.n_unlabelled {
            0 => String::new(),
            n => format!("{} without a label", plural(n, "image", "images")),
        };
        figures.push(number(
            "Classes",
            text::count(facts.classes.len() as u64),
            note,
        ));
    }
    figures.push(number(
        "Unreadable",
        text::count(facts.n_bad),
        match facts.n_bad {
            0 => "every file could be decoded".into(),
            n => format!("{} of all files", percent(n, facts.n_images)),
        },
    ));
    if facts.judged > 0 {
        figures.push(number(
            "Accuracy",
            percent(facts.correct, facts.judged),
            format!(
                "{} of {} images whose label is one of the network's classes",
                text::count(facts.correct),
                text::count(facts.judged)
            ),
        ));
    }
    if let Some(speed) = facts.images_per_second {
        let note = match (&facts.bottleneck, facts.busy) {
            (Some(what), Some(busy)) => {
                format!(
                    "held up by {}, busy {:.0} % of the time",
                    bottleneck(what),
                    100.0 * busy
                )
            }
            (Some(what), None) => format!("held up by {}", bottleneck(what)),
            _ => String::new(),
        };
        figures.push(number("Images per second", format!("{speed:.1}"), note));
    }
    if let Some(network) = &facts.network {
        let note = facts
            .device
            .as_ref()
            .map_or(String::new(), |d| format!("on {}", shown(d, NAME)));
        figures.push(words("Network", shown(network, NAME), note));
    }
    figures
}

/// What `extract` calls its steps, in words.
fn bottleneck(step: &str) -> String {
    match step {
        "decode" => "decoding".into(),
        "forward" => "the network".into(),
        "write" => "writing".into(),
        other => shown(other, NAME),
    }
}

fn more_classes(facts: &Facts) -> String {
    let Some(rest) = facts
        .classes
        .get(CLASSES_SHOWN..)
        .filter(|rest| !rest.is_empty())
    else {
        return String::new();
    };
    let n = plural(rest.len() as u64, "more class", "more classes");
    let (most, least) = (rest[0].1, rest[rest.len() - 1].1);
    if most == least {
        format!("And {n} of {} each.", plural(most, "image", "images"))
    } else {
        format!(
            "And {n} of {} to {} images.",
            text::count(least),
            text::count(most)
        )
    }
}

fn overlay(path: &str) -> Overlay {
    let class = path.rsplit('/').nth(1).unwrap_or_default();
    Overlay {
        picture: format!("../{path}"),
        alt: format!(
            "A photo of class {} under its class activation maps",
            shown(class, NAME)
        ),
    }
}

fn overlays_note(facts: &Facts) -> String {
    let rest = match facts.n_overlays - facts.overlays.len() {
        0 => String::new(),
        _ => format!(
            " These are {} of {}; all of them lie in pictures/explanations.",
            facts.overlays.len(),
            text::count(facts.n_overlays as u64)
        ),
    };
    format!(
        "Class activation maps of a few images of each class, the surest right and the surest wrong predictions. The \
         numbers at the colour bar are the raw map's; the dimmed margin is what the network did not see.{rest}"
    )
}

fn units_note(facts: &Facts) -> String {
    let measure = if facts.measure == "class_selectivity" {
        "The figure beside a unit is its class selectivity: 0 is excited by all classes alike, 1 by one class only."
    } else {
        "The figure beside a unit is its lifetime sparseness: 0 is excited by all images alike, 1 by one image only."
    };
    format!(
        "For the most selective units of each layer, the regions of at most {} that excite them most, strongest \
         first, cut to the receptive field. {measure}",
        plural(facts.k, "image", "images")
    )
}

fn layer((index, layer): (usize, &LayerFacts)) -> Layer {
    let [channels, rows, cols] = layer.shape;
    let mut about = format!(
        "{}: {} of {rows} × {cols} cells",
        shown(&layer.op, NAME),
        plural(channels.unsigned_abs(), "unit", "units")
    );
    match layer.field {
        Some([(height, stride_y), (width, stride_x)]) => {
            let stride = if stride_y == stride_x {
                format!("{stride_y}")
            } else {
                format!("{stride_y} × {stride_x}")
            };
            about.push_str(&format!(
                "; receptive field {height} × {width} pixels of the input, stride {stride}"
            ));
        }
        None => about.push_str("; every cell sees the whole input"),
    }
    if layer.n_dead > 0 {
        about.push_str(&format!(
            "; {} here",
            match layer.n_dead {
                1 => "1 unit is silent or constant".to_string(),
                n => format!("{} units are silent or constant", text::count(n as u64)),
            }
        ));
    }
    about.push('.');
    let name = shown(&layer.name, PATH);
    Layer {
        anchor: format!("layer-{index}"),
        units: layer.units.iter().map(|facts| unit(&name, facts)).collect(),
        name,
        about,
    }
}

fn unit(layer: &str, facts: &UnitFacts) -> Unit {
    let shown_classes = || facts.classes.iter().take(UNIT_CLASSES_SHOWN);
    let classes = shown_classes().map(|(name, n)| UnitClass {
        name: shown(name, UNIT_CLASS),
        times: if *n > 1 {
            format!(" × {n}")
        } else {
            String::new()
        },
    });
    let named: Vec<String> = shown_classes()
        .map(|(name, n)| format!("{n} of {}", shown(name, NAME)))
        .collect();
    let of = if named.is_empty() {
        String::new()
    } else {
        format!(": {}", named.join(", "))
    };
    Unit {
        number: facts.unit,
        picture: format!("../{}", facts.sheet),
        alt: format!(
            "The {} that excite unit {} of {layer} most{of}",
            plural(facts.images.len() as u64, "image region", "image regions"),
            facts.unit
        ),
        pixels: (facts.pixels.as_ref()).map_or(String::new(), |path| format!("../{path}")),
        selectivity: format!("{:.2}", facts.selectivity),
        classes: classes.collect(),
    }
}

fn stage(facts: &StageFacts) -> StageRow {
    let time = text::duration(Duration::try_from_secs_f64(facts.seconds).unwrap_or_default());
    StageRow {
        name: if facts.complete {
            facts.name.clone()
        } else {
            format!("{} (not complete)", facts.name)
        },
        time,
        parts: text::count(facts.parts as u64),
        rows: text::count(facts.rows),
        size: text::bytes(facts.bytes),
        key: facts.key.chars().take(12).collect(),
    }
}
