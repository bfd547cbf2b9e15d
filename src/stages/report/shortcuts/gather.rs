//! What `shortcuts` found, as its tables have it. Nothing is formatted here.

use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::columns::{Columns, integer, number, text},
};
use prospect_store::Manifest;

/// Groups of one value and label that are kept: those that fall short most surely.
pub const WORST: usize = 30;

/// A row of `shortcuts`.
#[derive(Debug, Clone, Default)]
pub struct Suspect {
    pub rank: i64,
    pub class_name: String,
    pub layer: String,
    pub unit: i64,
    /// `mark` or `leaning`.
    pub kind: String,
    /// Rows with one number are about the same images.
    pub mark: i64,
    pub score: f64,
    pub exclusivity: f64,
    pub images: i64,
    pub share_of_class: Option<f64>,
    pub share_of_others: Option<f64>,
    pub border_share: f64,
    pub outside_boxes: Option<f64>,
    /// Of the explanation maps' energy, how much lies in the outermost ring.
    pub border_energy: Option<f64>,
    pub p_with: Option<f64>,
    pub p_without: Option<f64>,
    pub accuracy_drop: Option<f64>,
    pub flagged: bool,
    pub evidence: String,
    /// In the run folder.
    pub picture: Option<String>,
}

/// A row of `associations`.
#[derive(Debug, Clone)]
pub struct Association {
    pub attribute: String,
    /// `metadata` or `quality`.
    pub kind: String,
    pub nmi: f64,
    pub p_value: f64,
    pub top: Option<TopPair>,
}

/// The value and the label that go together most.
#[derive(Debug, Clone)]
pub struct TopPair {
    pub value: String,
    pub label: String,
    pub lift: f64,
    pub images: i64,
}

/// A row of `groups` whose images were judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub attribute: String,
    pub value: String,
    pub label: Option<String>,
    pub images: i64,
    pub accuracy: f64,
    /// At 95 %.
    pub interval: [f64; 2],
    /// Of all images that have a value, or of the label's.
    pub overall: f64,
}

impl Group {
    /// How far the accuracy surely falls short of the others': from the upper end of its interval.
    pub fn shortfall(&self) -> f64 {
        self.overall - self.interval[1]
    }
}

/// The accuracy by value of one attribute, in the table's order.
#[derive(Debug, Clone)]
pub struct ByValue {
    pub attribute: String,
    pub groups: Vec<Group>,
}

#[derive(Debug, Default)]
pub struct Groups {
    pub attributes: Vec<ByValue>,
    /// At most [`WORST`] pairs of value and label that fall short, the surest first.
    pub worst: Vec<Group>,
    /// Who judged: `probe` or `network`.
    pub source: Option<String>,
}

/// Best first.
pub fn suspects(ctx: &Context, manifest: &Manifest) -> Result<Vec<Suspect>> {
    let mut found = Vec::new();
    if !manifest.has("shortcuts") {
        return Ok(found);
    }
    for batch in ctx.run.read(manifest, "shortcuts") {
        let batch = batch?;
        let columns = Columns::of(ctx.run, "shortcuts", &batch);
        let [classes, layers, kinds, evidence, pictures] =
            ["class_name", "layer", "kind", "evidence", "picture"].map(|name| columns.texts(name));
        let (classes, layers, kinds) = (classes?, layers?, kinds?);
        let (evidence, pictures) = (evidence?, pictures?);
        let [ranks, units, marks, images, flagged] =
            ["rank", "unit", "mark", "images", "flagged"].map(|name| columns.integers(name));
        let (ranks, units, marks) = (ranks?, units?, marks?);
        let (images, flagged) = (images?, flagged?);
        let mut numbers = Vec::new();
        for name in [
            "score",
            "exclusivity",
            "border_share",
            "share_of_class",
            "share_of_others",
            "outside_boxes",
            "border_energy",
            "p_with",
            "p_without",
            "accuracy_drop",
        ] {
            numbers.push(columns.numbers(name)?);
        }
        for row in 0..batch.num_rows() {
            let word = |array| text(array, row).unwrap_or_default().to_string();
            let whole = |array| integer(array, row).unwrap_or(0);
            let figure = |at: usize| number(&numbers[at], row);
            found.push(Suspect {
                rank: whole(&ranks),
                class_name: word(&classes),
                layer: word(&layers),
                unit: whole(&units),
                kind: word(&kinds),
                mark: whole(&marks),
                score: figure(0).unwrap_or(0.0),
                exclusivity: figure(1).unwrap_or(0.0),
                images: whole(&images),
                share_of_class: figure(3),
                share_of_others: figure(4),
                border_share: figure(2).unwrap_or(0.0),
                outside_boxes: figure(5),
                border_energy: figure(6),
                p_with: figure(7),
                p_without: figure(8),
                accuracy_drop: figure(9),
                flagged: whole(&flagged) == 1,
                evidence: word(&evidence),
                picture: text(&pictures, row).map(str::to_string),
            });
        }
    }
    Ok(found)
}

/// Strongest first.
pub fn associations(ctx: &Context, manifest: &Manifest) -> Result<Vec<Association>> {
    let mut found = Vec::new();
    if !manifest.has("associations") {
        return Ok(found);
    }
    for batch in ctx.run.read(manifest, "associations") {
        let batch = batch?;
        let columns = Columns::of(ctx.run, "associations", &batch);
        let [attributes, kinds, values, labels] =
            ["attribute", "kind", "top_value", "top_label_name"].map(|name| columns.texts(name));
        let (attributes, kinds, values, labels) = (attributes?, kinds?, values?, labels?);
        let support = columns.integers("support")?;
        let (nmi, p) = (columns.numbers("nmi")?, columns.numbers("p_value")?);
        let lifts = columns.numbers("lift")?;
        for row in 0..batch.num_rows() {
            let word = |array| text(array, row).map(str::to_string);
            let top = || {
                Some(TopPair {
                    value: word(&values)?,
                    label: word(&labels)?,
                    lift: number(&lifts, row)?,
                    images: integer(&support, row)?,
                })
            };
            found.push(Association {
                attribute: word(&attributes).unwrap_or_default(),
                kind: word(&kinds).unwrap_or_default(),
                nmi: number(&nmi, row).unwrap_or(0.0),
                p_value: number(&p, row).unwrap_or(1.0),
                top: top(),
            });
        }
    }
    Ok(found)
}

impl Groups {
    pub fn of_run(ctx: &Context, manifest: &Manifest) -> Result<Groups> {
        let mut found = Groups::default();
        if !manifest.has("groups") {
            return Ok(found);
        }
        for batch in ctx.run.read(manifest, "groups") {
            ctx.cancel.check()?;
            let batch = batch?;
            let columns = Columns::of(ctx.run, "groups", &batch);
            let [attributes, values, labels, sources] =
                ["attribute", "value", "label_name", "source"].map(|name| columns.texts(name));
            let (attributes, values, labels) = (attributes?, values?, labels?);
            let sources = sources?;
            let images = columns.integers("images")?;
            let [accuracy, low, high, overall] =
                ["accuracy", "accuracy_low", "accuracy_high", "overall"]
                    .map(|name| columns.numbers(name));
            let (accuracy, low, high, overall) = (accuracy?, low?, high?, overall?);
            for row in 0..batch.num_rows() {
                if found.source.is_none() {
                    found.source = text(&sources, row).map(str::to_string);
                }
                let figure = |array| number(array, row);
                let figures = figure(&accuracy).zip(figure(&overall));
                let interval = figure(&low).zip(figure(&high));
                let (Some((accuracy, overall)), Some((low, high))) = (figures, interval) else {
                    continue;
                };
                found.add(Group {
                    attribute: text(&attributes, row).unwrap_or_default().to_string(),
                    value: text(&values, row).unwrap_or_default().to_string(),
                    label: text(&labels, row).map(str::to_string),
                    images: integer(&images, row).unwrap_or(0),
                    accuracy,
                    interval: [low, high],
                    overall,
                });
            }
        }
        found.prune();
        Ok(found)
    }

    fn add(&mut self, group: Group) {
        if group.label.is_none() {
            match self
                .attributes
                .iter_mut()
                .find(|known| known.attribute == group.attribute)
            {
                Some(known) => known.groups.push(group),
                None => self.attributes.push(ByValue {
                    attribute: group.attribute.clone(),
                    groups: vec![group],
                }),
            }
        } else if group.shortfall() > 0.0 {
            self.worst.push(group);
            if self.worst.len() >= 4 * WORST {
                self.prune();
            }
        }
    }

    fn prune(&mut self) {
        self.worst
            .sort_by(|a, b| b.shortfall().total_cmp(&a.shortfall()));
        self.worst.truncate(WORST);
    }
}
