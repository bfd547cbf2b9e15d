//! Reads the tables of `shortcuts`. Nothing is formatted here.

use prospect_common::Result;
use prospect_engine::{
    Context,
    schema::{associations, groups, shortcuts},
};
use prospect_store::Manifest;

/// Groups of one value and label that are kept, by largest shortfall.
pub const WORST: usize = 30;

/// A row of `shortcuts`.
#[derive(Debug, Clone, Default)]
pub struct Suspect {
    pub rank: i32,
    pub class_name: String,
    /// Empty for a pattern.
    pub layer: String,
    pub unit: Option<i32>,
    /// `pattern`, `mark` or `leaning`.
    pub kind: String,
    /// Rows with the same number are about the same images.
    pub mark: i32,
    pub score: f64,
    pub q_value: Option<f64>,
    pub exclusivity: Option<f64>,
    pub images: u32,
    pub share_of_class: Option<f64>,
    pub share_of_others: Option<f64>,
    pub border_share: Option<f64>,
    pub outside_boxes: Option<f64>,
    /// Fraction of the explanation maps' energy in the outermost ring.
    pub border_energy: Option<f64>,
    pub p_with: Option<f64>,
    pub p_without: Option<f64>,
    pub accuracy_drop: Option<f64>,
    pub flagged: bool,
    pub evidence: String,
    /// Path in the run folder.
    pub picture: Option<String>,
}

/// A row of `associations`.
#[derive(Debug, Clone)]
pub struct Association {
    pub attribute: String,
    /// `metadata` or `quality`.
    pub kind: String,
    /// Adjusted mutual information.
    pub ami: f64,
    pub q_value: f64,
    pub top: Option<TopPair>,
}

/// The most associated value and label.
#[derive(Debug, Clone)]
pub struct TopPair {
    pub value: String,
    pub label: String,
    pub lift: f64,
    pub images: u32,
}

/// A row of `groups` with an accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub attribute: String,
    pub value: String,
    pub label: Option<String>,
    pub images: u32,
    pub accuracy: f64,
    /// The 95 % interval.
    pub interval: [f64; 2],
    /// Accuracy of the images with other values, of the same label if given.
    pub rest: f64,
    /// Whether the group is less accurate than the rest, corrected for the number of groups.
    pub is_worse: bool,
}

impl Group {
    /// Difference between the accuracy of the rest and the upper end of the interval.
    pub fn shortfall(&self) -> f64 {
        self.rest - self.interval[1]
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
    /// At most [`WORST`] pairs of value and label that are worse than the rest, by shortfall.
    pub worst: Vec<Group>,
    /// Source of the predictions: `probe` or `network`.
    pub source: Option<String>,
}

/// Best first.
pub fn suspects(ctx: &Context, manifest: &Manifest) -> Result<Vec<Suspect>> {
    let mut found = Vec::new();
    if !manifest.has(shortcuts::NAME) {
        return Ok(found);
    }
    let words = (
        shortcuts::rank,
        shortcuts::class_name,
        shortcuts::layer,
        shortcuts::unit,
        shortcuts::kind,
        shortcuts::mark,
        shortcuts::images,
        shortcuts::flagged,
        shortcuts::evidence,
        shortcuts::picture,
    );
    let figures = (
        shortcuts::score,
        shortcuts::q_value,
        shortcuts::exclusivity,
        shortcuts::share_of_class,
        shortcuts::share_of_others,
        shortcuts::border_share,
        shortcuts::outside_boxes,
        shortcuts::border_energy,
        shortcuts::p_with,
        shortcuts::p_without,
        shortcuts::accuracy_drop,
    );
    let batches = (ctx.run.rows(manifest, words)).zip(ctx.run.rows(manifest, figures));
    for (words, figures) in batches {
        for (words, figures) in words?.iter().zip(figures?.iter()) {
            let (rank, class_name, layer, unit, kind, ..) = words;
            let (.., mark, images, flagged, evidence, picture) = words;
            let (score, q_value, exclusivity, share_of_class, share_of_others, border_share, ..) =
                figures;
            let (.., outside_boxes, border_energy, p_with, p_without, accuracy_drop) = figures;
            found.push(Suspect {
                rank,
                class_name: class_name.to_string(),
                layer: layer.unwrap_or_default().to_string(),
                unit,
                kind: kind.to_string(),
                mark,
                score,
                q_value,
                exclusivity,
                images,
                share_of_class,
                share_of_others,
                border_share,
                outside_boxes,
                border_energy,
                p_with,
                p_without,
                accuracy_drop,
                flagged,
                evidence: evidence.to_string(),
                picture: picture.map(str::to_string),
            });
        }
    }
    Ok(found)
}

/// Strongest first.
pub fn associations(ctx: &Context, manifest: &Manifest) -> Result<Vec<Association>> {
    let mut found = Vec::new();
    if !manifest.has(associations::NAME) {
        return Ok(found);
    }
    let columns = (
        associations::attribute,
        associations::kind,
        associations::ami,
        associations::q_value,
        associations::top_value,
        associations::top_label_name,
        associations::lift,
        associations::support,
    );
    for batch in ctx.run.rows(manifest, columns) {
        for (attribute, kind, ami, q_value, value, label, lift, images) in batch?.iter() {
            let top = || {
                Some(TopPair {
                    value: value?.to_string(),
                    label: label?.to_string(),
                    lift: lift?,
                    images: images?,
                })
            };
            found.push(Association {
                attribute: attribute.to_string(),
                kind: kind.to_string(),
                ami,
                q_value,
                top: top(),
            });
        }
    }
    Ok(found)
}

impl Groups {
    /// Rows with an accuracy and a rest; empty if `groups` is missing.
    pub fn of_run(ctx: &Context, manifest: &Manifest) -> Result<Groups> {
        let mut found = Groups::default();
        if !manifest.has(groups::NAME) {
            return Ok(found);
        }
        let columns = (
            groups::attribute,
            groups::value,
            groups::label_name,
            groups::images,
            groups::accuracy,
            groups::accuracy_low,
            groups::accuracy_high,
            groups::rest,
            groups::worse,
            groups::source,
        );
        for batch in ctx.run.rows(manifest, columns) {
            ctx.cancel.check()?;
            for cells in batch?.iter() {
                let (attribute, value, label, images, ..) = cells;
                let (.., accuracy, low, high, rest, is_worse, source) = cells;
                if found.source.is_none() {
                    found.source = source.map(str::to_string);
                }
                let figures = accuracy.zip(rest);
                let (Some((accuracy, rest)), Some((low, high))) = (figures, low.zip(high)) else {
                    continue;
                };
                found.add(Group {
                    attribute: attribute.to_string(),
                    value: value.to_string(),
                    label: label.map(str::to_string),
                    images,
                    accuracy,
                    interval: [low, high],
                    rest,
                    is_worse,
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
        } else if group.is_worse {
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
