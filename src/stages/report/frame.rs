//! Shared by all pages: the navigation bar, names and numbers, data files.

use std::collections::BTreeMap;

use askama::Template;
use prospect_analysis::audit::label_issues::precision::Estimate;
use prospect_common::{Error, Result, text};
use prospect_engine::{
    Context, Stage,
    schema::issues,
    tables::{classes::ClassNames, files::File},
};
use prospect_findings::{Kind, ReportPage};
use prospect_store::Manifest;
use serde_json::Value;

/// Threshold of the local similarity of duplicates above which many copies are missed.
const TOO_SIMILAR: f64 = 0.998;

/// The pages in the order of the navigation bar: file name without `.html`, and heading.
pub const PAGES: [(&str, &str); 9] = [
    ("index", "Overview"),
    ("labels", "Label issues"),
    ("map", "Map"),
    ("units", "Units"),
    ("classes", "Classes"),
    ("shortcuts", "Shortcuts"),
    ("duplicates", "Duplicates"),
    ("files", "Bad images"),
    ("run", "Run"),
];

/// Characters to which names, paths and messages are cut.
pub const NAME: usize = 60;
pub const PATH: usize = 160;
pub const MESSAGE: usize = 400;

/// The common input of all pages.
pub(super) struct Frame<'a> {
    pub ctx: &'a Context<'a>,
    pub manifest: Manifest,
    pub names: ClassNames,
    /// Flagged findings per kind, without those reviewed as OK.
    pub flagged: BTreeMap<Kind, u64>,
    /// Files of the images with findings.
    pub files: BTreeMap<u32, File>,
    pub dataset: String,
    /// Of the suspicious labels, by the reviews; `None` without any.
    pub precision: Option<Estimate>,
}

/// A page with its data, files and images.
pub(super) struct Page {
    pub name: &'static str,
    pub html: String,
    /// Name and value of each `data/NAME.js`.
    pub data: Vec<(String, Value)>,
    /// Further files, by path in the folder `report`.
    pub files: Vec<(String, Vec<u8>)>,
    /// Images on the page, most important first.
    pub images: Vec<u32>,
    /// Those of them shown large.
    pub large: Vec<u32>,
}

/// The fields of `layout.html`.
pub(super) struct Shell {
    pub title: String,
    pub dataset: String,
    pub page: &'static str,
    pub links: Vec<Link>,
    pub scripts: &'static [&'static str],
    pub version: &'static str,
}

pub(super) struct Link {
    pub href: String,
    pub name: &'static str,
    pub current: bool,
    /// Flagged findings on that page; empty if none.
    pub count: String,
}

impl Frame<'_> {
    /// `name`: one of [`PAGES`]; `scripts`: files in `assets` in addition to `report.js`.
    pub fn shell(&self, name: &str, scripts: &'static [&'static str]) -> Shell {
        let count = |page: &str| {
            let kinds = self.flagged.iter();
            let flagged = kinds.filter(|(kind, _)| kind.info().page.name() == page);
            match flagged.map(|(_, n)| n).sum::<u64>() {
                0 => String::new(),
                n => text::count(n),
            }
        };
        let links = PAGES.iter().map(|(page, heading)| Link {
            href: format!("{page}.html"),
            name: heading,
            current: *page == name,
            count: count(page),
        });
        let heading = PAGES.iter().find(|(page, _)| *page == name);
        Shell {
            title: shown(&self.ctx.config.report.title, 200),
            dataset: shown(&self.dataset, NAME),
            page: heading.map_or("Prospect", |(_, heading)| heading),
            links: links.collect(),
            scripts,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Counts of flagged findings on a page, in words.
    pub fn counts(&self, page: ReportPage) -> String {
        if !self.manifest.has(issues::NAME) {
            return "The audit has not run yet.".into();
        }
        let flagged = |kind: Kind| Some(kind.counted(*self.flagged.get(&kind)?));
        let found: Vec<String> = page.kinds().filter_map(flagged).collect();
        if found.is_empty() {
            return self.clear(page.kinds());
        }
        found.join(", ") + "."
    }

    /// One sentence for each kind without flagged findings; empty before the audit.
    pub fn clear(&self, kinds: impl Iterator<Item = Kind>) -> String {
        if !self.manifest.has(issues::NAME) {
            return String::new();
        }
        let clear = kinds.filter(|kind| !self.flagged.contains_key(kind));
        let sentence = |kind: Kind| {
            match kind {
            Kind::DuplicateNear if self.looks_too_similar() => {
                "No near-duplicates with nearly equal pixels; others cannot be told from different pictures here.".into()
            }
            _ => kind.none(),
        }
        };
        let sentences: Vec<String> = clear.map(sentence).collect();
        sentences.join(" ")
    }

    /// Whether the dataset's different pictures look so similar that many re-encoded, scaled or cropped copies are missed.
    pub fn looks_too_similar(&self) -> bool {
        let min = self.summary("duplicates")["min_local_similarity"].as_f64();
        min.is_some_and(|min| min >= TOO_SIMILAR)
    }

    /// The stages that write tables, in run order: all but the report.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        let stages = self.ctx.stages.iter();
        stages.filter(|stage| !stage.writes.is_empty())
    }

    /// The summary of a stage; null if it has not run.
    pub fn summary(&self, stage: &str) -> &Value {
        (self.manifest.stages.get(stage)).map_or(&Value::Null, |record| &record.summary)
    }

    /// Renders a page, without data or images yet.
    pub fn page(&self, name: &'static str, template: &impl Template) -> Result<Page> {
        let html = (template.render())
            .map_err(|error| Error::internal(format!("report/{name}.html"), error))?;
        Ok(Page {
            name,
            html,
            data: Vec::new(),
            files: Vec::new(),
            images: Vec::new(),
            large: Vec::new(),
        })
    }
}

/// Paths in the run folder of the pictures that a stage drew.
pub fn drawn<'m>(manifest: &'m Manifest, stage: &str) -> impl Iterator<Item = &'m str> {
    let parts = manifest.stages.get(stage).map(|stage| stage.parts.values());
    let files = parts.into_iter().flatten().flat_map(|part| &part.files);
    (files.filter(|file| file.table.is_none())).map(|file| file.path.as_str())
}

/// Untrusted text for a page: shortened, with control and reordering characters made visible.
pub fn shown(name: &str, limit: usize) -> String {
    // Cut first: an escape must not be cut in two.
    text::escaped(&text::shortened(name, limit)).into_owned()
}

/// A number for a script, rounded to four digits; null if not finite.
pub fn short(number: f64) -> Value {
    let short = format!("{number:.3e}").parse::<f64>().ok();
    short
        .filter(|number| number.is_finite())
        .map_or(Value::Null, Value::from)
}

/// Ids in the format of `data-images`.
pub fn ids(images: &[u32]) -> String {
    let ids: Vec<String> = images.iter().map(u32::to_string).collect();
    ids.join(" ")
}

/// A data file. `<` is escaped, so that the file stays inert when inlined in a page.
pub fn script(name: &str, value: &Value) -> String {
    let json = text::escaped_json(&value.to_string()).replace('<', "\\u003c");
    format!("prospect.data({}, {json});\n", Value::from(name))
}

/// A figure at the head of a page.
pub(super) struct Figure {
    pub label: String,
    pub value: String,
    pub note: String,
    /// Text is set smaller than numbers.
    pub is_text: bool,
}

impl Figure {
    pub fn number(label: impl Into<String>, value: String, note: String) -> Figure {
        Figure {
            label: label.into(),
            value,
            note,
            is_text: false,
        }
    }

    pub fn words(label: impl Into<String>, value: String, note: String) -> Figure {
        Figure {
            is_text: true,
            ..Figure::number(label, value, note)
        }
    }
}
