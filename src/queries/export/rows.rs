//! The joined tables: one [`Record`] per image, in order of the ids.

use std::collections::{BTreeMap, HashMap};

use prospect_common::Result;
use prospect_dataset::image::Header;
use prospect_engine::{
    Context,
    schema::{features, images, issues, label_scores, neighbors, predictions, probe, projection},
    tables::reviewed::{ReviewedLabel, reviewed_labels},
};
use prospect_output::export::{Finding, Prediction, Record, Review};
use prospect_store::Manifest;

use super::{
    survey::{Survey, is_usable},
    walk::Walk,
};

/// Columns that only some formats need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub features: bool,
    pub probabilities: bool,
    pub neighbors: bool,
}

/// Reads all tables side by side, each once.
pub struct Rows<'a> {
    survey: &'a Survey,
    /// Rows of the table `images`.
    images: Walk<Record>,
    /// The next image id, and the number of images.
    next: u32,
    end: u32,
    predictions: Option<Walk<TopClass>>,
    probe: Option<Walk<TopClass>>,
    scores: Option<Walk<Score>>,
    findings: HashMap<u32, Vec<Finding>>,
    /// As of now, not of the run.
    reviewed: BTreeMap<u32, ReviewedLabel>,
    maps: Vec<Walk<[f32; 2]>>,
    features: Option<Walk<Vec<f32>>>,
    /// `None` if the classifier was trained on the image.
    probabilities: Option<Walk<Option<Vec<f32>>>>,
    /// Neighbour and distance.
    neighbors: Option<Walk<(u32, f32)>>,
}

/// The most probable class and its probability.
struct TopClass(i32, f32);

/// Scores of a label.
struct Score {
    suggested: Option<i32>,
    score: f32,
    flagged: bool,
}

impl<'a> Rows<'a> {
    pub fn open(
        ctx: &Context,
        manifest: &Manifest,
        survey: &'a Survey,
        wanted: Wanted,
    ) -> Result<Rows<'a>> {
        let run = ctx.run;
        let has = |table: &str| is_usable(manifest, table);
        let columns = (
            images::image_id,
            images::path,
            images::digest,
            images::split,
            images::label,
            images::width,
            images::height,
            images::orientation,
        );
        let images = run.rows(manifest, columns);
        let end = u32::try_from(images.rows()).unwrap_or(u32::MAX);
        let maps = survey.maps.iter().map(|map| {
            let columns = (projection::image_id, projection::x, projection::y);
            let rows = run
                .rows(manifest, columns)
                .only(projection::method, map.as_str());
            Walk::new(rows, |(id, x, y)| (id, [x, y]))
        });
        Ok(Rows {
            survey,
            images: Walk::new(images, |cells| {
                let (image_id, path, digest, split, label, width, height, orientation) = cells;
                let header = Header::stored(width, height, orientation);
                let (width, height) = header.known_size().unwrap_or_default();
                let record = Record {
                    image_id,
                    path: path.to_string(),
                    digest: digest.unwrap_or_default().to_string(),
                    size: [width, height],
                    split: split.map(str::to_string),
                    label,
                    ..Record::default()
                };
                (image_id, record)
            }),
            next: 0,
            end,
            predictions: has(predictions::NAME).then(|| {
                use predictions::{image_id, p_pred, pred};
                let rows = run.rows(manifest, (image_id, pred, p_pred));
                Walk::new(rows, |(id, class, p)| (id, TopClass(class, p)))
            }),
            probe: has(probe::NAME).then(|| {
                let rows = run.rows(manifest, (probe::image_id, probe::pred, probe::p_pred));
                Walk::new(rows, |(id, class, p)| (id, TopClass(class, p)))
            }),
            scores: has(label_scores::NAME).then(|| {
                let columns = (
                    label_scores::image_id,
                    label_scores::suggested_label,
                    label_scores::score,
                    label_scores::flagged,
                );
                let rows = run.rows(manifest, columns);
                Walk::new(rows, |(id, suggested, score, flagged)| {
                    let score = Score {
                        suggested,
                        score,
                        flagged,
                    };
                    (id, score)
                })
            }),
            findings: match has(issues::NAME) {
                true => findings(ctx, manifest)?,
                false => HashMap::new(),
            },
            reviewed: reviewed_labels(ctx.config, run, manifest)?,
            maps: maps.collect(),
            features: wanted.features.then(|| {
                let rows = run.rows(manifest, (features::image_id, features::vector));
                Walk::new(rows, |(id, vector)| (id, vector.to_vec()))
            }),
            probabilities: wanted.probabilities.then(|| {
                let columns = (
                    probe::image_id,
                    probe::fold,
                    probe::source,
                    probe::probabilities,
                );
                // Rows without a fold count only if the network itself is the classifier.
                let rows = run.rows(manifest, columns);
                Walk::new(rows, |(id, fold, source, p)| {
                    let counts = fold.is_some() || source != "probe";
                    (id, counts.then(|| p.to_vec()))
                })
            }),
            neighbors: wanted.neighbors.then(|| {
                let columns = (
                    neighbors::image_id,
                    neighbors::neighbor_id,
                    neighbors::distance,
                );
                let rows = run.rows(manifest, columns);
                Walk::new(rows, |(id, neighbor, distance)| (id, (neighbor, distance)))
            }),
        })
    }

    /// The next `n` images of the export; fewer or none at the end.
    pub fn next(&mut self, n: usize) -> Result<Vec<Record>> {
        let mut records = Vec::with_capacity(n);
        while records.len() < n && self.next < self.end {
            let id = self.next;
            self.next += 1;
            if self.survey.row(id).is_some()
                && let Some(record) = self.record(id)?
            {
                records.push(record);
            }
        }
        Ok(records)
    }

    fn record(&mut self, id: u32) -> Result<Option<Record>> {
        let survey = self.survey;
        let Some(mut record) = self.images.next_of(id)? else {
            return Ok(None);
        };
        record.findings = self.findings.remove(&id).unwrap_or_default();
        record.review = self.reviewed.get(&id).map(|review| Review {
            verdict: review.verdict.name().to_string(),
            label: review.class,
        });
        if let Some(boxes) = survey.boxes.get(&record.path) {
            record.boxes = boxes.clone();
        }
        if let Some(top) = next_of(&mut self.predictions, id)? {
            record.prediction = Some(top.named(|class| survey.network.get(&class)));
        }
        if let Some(top) = next_of(&mut self.probe, id)? {
            let name = |class| survey.classes.get(usize::try_from(class).ok()?);
            record.probe = Some(top.named(name));
        }
        if let Some(score) = next_of(&mut self.scores, id)? {
            record.suggested = score.suggested;
            record.label_score = Some(score.score);
            record.label_issue = Some(score.flagged);
        }
        for walk in &mut self.maps {
            record.coordinates.push(walk.next_of(id)?);
        }
        record.features = next_of(&mut self.features, id)?;
        record.probabilities = next_of(&mut self.probabilities, id)?.flatten();
        while let Some((neighbor, distance)) = next_of(&mut self.neighbors, id)? {
            if let Some(row) = survey.row(neighbor) {
                record.neighbors.push((row, distance));
            }
        }
        Ok(Some(record))
    }
}

fn next_of<T>(walk: &mut Option<Walk<T>>, id: u32) -> Result<Option<T>> {
    match walk {
        Some(walk) => walk.next_of(id),
        None => Ok(None),
    }
}

impl TopClass {
    fn named<'n>(&self, name: impl Fn(i32) -> Option<&'n String>) -> Prediction {
        let TopClass(class, confidence) = *self;
        Prediction {
            class,
            name: (name(class).cloned()).unwrap_or_else(|| format!("class {class}")),
            confidence,
        }
    }
}

/// Flagged findings not reviewed as `ok`, by image, in the table's order.
fn findings(ctx: &Context, manifest: &Manifest) -> Result<HashMap<u32, Vec<Finding>>> {
    let columns = (
        issues::image_id,
        issues::kind,
        issues::score,
        issues::flagged,
        issues::evidence,
        issues::reviewed,
    );
    let mut found: HashMap<u32, Vec<Finding>> = HashMap::new();
    for batch in ctx.run.rows(manifest, columns) {
        for (id, kind, score, flagged, evidence, reviewed) in batch?.iter() {
            if flagged && reviewed != Some("ok") {
                found.entry(id).or_default().push(Finding {
                    kind: kind.to_string(),
                    score,
                    evidence: evidence.to_string(),
                });
            }
        }
    }
    Ok(found)
}
