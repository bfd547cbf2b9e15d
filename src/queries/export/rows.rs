//! The tables joined: one [`Record`] an image, in order of the ids.

use std::collections::HashMap;

use arrow::array::{Array, BooleanArray, Float64Array, Int64Array, StringArray};
use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::columns::{Columns, integer, number, text},
};
use prospect_output::export::{Found, Judged, Record};
use prospect_store::Manifest;

use super::{
    survey::{Sizes, Survey, is_usable},
    walk::Walk,
};

/// What only some formats want.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub features: bool,
    pub probabilities: bool,
    pub neighbors: bool,
}

/// Reads every table once, side by side.
pub struct Rows<'a> {
    survey: &'a Survey,
    images: Walk<'a, Images>,
    /// The next image to look at, and how many there are.
    next: u32,
    end: u32,
    predictions: Option<Walk<'a, Verdicts>>,
    probe: Option<Walk<'a, Verdicts>>,
    scores: Option<Walk<'a, Scores>>,
    findings: HashMap<u32, Vec<Found>>,
    maps: Vec<Walk<'a, Places>>,
    features: Option<Walk<'a, Vectors>>,
    probabilities: Option<Walk<'a, Vectors>>,
    neighbors: Option<Walk<'a, Near>>,
}

struct Images {
    paths: StringArray,
    digests: StringArray,
    splits: StringArray,
    labels: Int64Array,
    sizes: Sizes,
}

struct Verdicts {
    classes: Int64Array,
    confidence: Float64Array,
}

struct Scores {
    suggested: Int64Array,
    scores: Float64Array,
    flagged: BooleanArray,
}

struct Places {
    x: Float64Array,
    y: Float64Array,
}

/// Rows of `length` numbers, and which of them are to be used.
struct Vectors {
    values: Vec<f32>,
    length: usize,
    counts: Vec<bool>,
}

struct Near {
    ids: Int64Array,
    distances: Float64Array,
}

impl<'a> Rows<'a> {
    pub fn open(
        ctx: &'a Context,
        manifest: &Manifest,
        survey: &'a Survey,
        wanted: Wanted,
    ) -> Result<Rows<'a>> {
        let run = ctx.run;
        let read = |table: &str, names: &[&str]| run.read(manifest, table).columns(names);
        let has = |table: &str| is_usable(manifest, table);
        let verdicts = |table: &'static str| {
            let reader = read(table, &["image_id", "pred", "p_pred"]);
            has(table).then(|| Walk::new(run, table, reader, Verdicts::of))
        };
        let names = [
            "image_id",
            "path",
            "digest",
            "split",
            "label",
            "width",
            "height",
            "orientation",
        ];
        let maps = survey.maps.iter().map(|map| {
            let reader = read("projection", &["image_id", "x", "y"]).only("method", map);
            Walk::new(run, "projection", reader, Places::of)
        });
        let images = read("images", &names);
        Ok(Rows {
            survey,
            next: 0,
            end: u32::try_from(images.rows()).unwrap_or(u32::MAX),
            images: Walk::new(run, "images", images, Images::of),
            predictions: verdicts("predictions"),
            probe: verdicts("probe"),
            scores: has("label_scores").then(|| {
                let names = ["image_id", "suggested_label", "score", "flagged"];
                Walk::new(
                    run,
                    "label_scores",
                    read("label_scores", &names),
                    Scores::of,
                )
            }),
            findings: match has("issues") {
                true => findings(ctx, manifest)?,
                false => HashMap::new(),
            },
            maps: maps.collect(),
            features: wanted.features.then(|| {
                let reader = read("features", &["image_id", "vector"]);
                Walk::new(run, "features", reader, Vectors::features)
            }),
            probabilities: wanted.probabilities.then(|| {
                let reader = read("probe", &["image_id", "fold", "source", "probabilities"]);
                Walk::new(run, "probe", reader, Vectors::probabilities)
            }),
            neighbors: wanted.neighbors.then(|| {
                let reader = read("neighbors", &["image_id", "neighbor_id", "distance"]);
                Walk::new(run, "neighbors", reader, Near::of)
            }),
        })
    }

    /// The next images of the export, at most `n`; none at its end.
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
        let Some((images, row)) = self.images.next_of(id)? else {
            return Ok(None);
        };
        let owned = |array| text(array, row).map(str::to_string);
        let (width, height) = images.sizes.upright(row).unwrap_or_default();
        let mut record = Record {
            image_id: id,
            path: owned(&images.paths).unwrap_or_default(),
            digest: owned(&images.digests).unwrap_or_default(),
            size: [width, height],
            split: owned(&images.splits),
            label: class(&images.labels, row),
            findings: self.findings.remove(&id).unwrap_or_default(),
            ..Record::default()
        };
        if let Some(boxes) = survey.boxes.get(&record.path) {
            record.boxes = boxes.clone();
        }
        if let Some(walk) = &mut self.predictions
            && let Some((verdicts, row)) = walk.next_of(id)?
        {
            record.prediction = verdicts.judged(row, |class| survey.network.get(&class).cloned());
        }
        if let Some(walk) = &mut self.probe
            && let Some((verdicts, row)) = walk.next_of(id)?
        {
            let name = |class| usize::try_from(class).ok();
            record.probe = verdicts.judged(row, |class| survey.classes.get(name(class)?).cloned());
        }
        if let Some(walk) = &mut self.scores
            && let Some((scores, row)) = walk.next_of(id)?
        {
            record.suggested = class(&scores.suggested, row);
            record.label_score = number(&scores.scores, row).map(|score| score as f32);
            let flagged = &scores.flagged;
            record.label_issue = flagged.is_valid(row).then(|| flagged.value(row));
        }
        for walk in &mut self.maps {
            let place = walk.next_of(id)?.and_then(|(places, row)| {
                let (x, y) = (number(&places.x, row)?, number(&places.y, row)?);
                Some([x as f32, y as f32])
            });
            record.places.push(place);
        }
        if let Some(walk) = &mut self.features {
            record.features = walk.next_of(id)?.and_then(|(all, row)| all.row(row));
        }
        if let Some(walk) = &mut self.probabilities {
            record.probabilities = walk.next_of(id)?.and_then(|(all, row)| all.row(row));
        }
        if let Some(walk) = &mut self.neighbors {
            while let Some((near, row)) = walk.next_of(id)? {
                let other = integer(&near.ids, row).and_then(|id| u32::try_from(id).ok());
                let other = other.and_then(|id| survey.row(id));
                if let (Some(other), Some(distance)) = (other, number(&near.distances, row)) {
                    record.neighbors.push((other, distance as f32));
                }
            }
        }
        Ok(Some(record))
    }
}

fn class(array: &Int64Array, row: usize) -> Option<i32> {
    integer(array, row).and_then(|class| i32::try_from(class).ok())
}

impl Images {
    fn of(columns: &Columns) -> Result<Images> {
        Ok(Images {
            paths: columns.texts("path")?,
            digests: columns.texts("digest")?,
            splits: columns.texts("split")?,
            labels: columns.integers("label")?,
            sizes: Sizes::of(columns)?,
        })
    }
}

impl Verdicts {
    fn of(columns: &Columns) -> Result<Verdicts> {
        Ok(Verdicts {
            classes: columns.integers("pred")?,
            confidence: columns.numbers("p_pred")?,
        })
    }

    fn judged(&self, row: usize, name: impl Fn(i32) -> Option<String>) -> Option<Judged> {
        let class = class(&self.classes, row)?;
        Some(Judged {
            class,
            name: name(class).unwrap_or_else(|| format!("class {class}")),
            confidence: number(&self.confidence, row)? as f32,
        })
    }
}

impl Scores {
    fn of(columns: &Columns) -> Result<Scores> {
        Ok(Scores {
            suggested: columns.integers("suggested_label")?,
            scores: columns.numbers("score")?,
            flagged: columns.booleans("flagged")?,
        })
    }
}

impl Places {
    fn of(columns: &Columns) -> Result<Places> {
        Ok(Places {
            x: columns.numbers("x")?,
            y: columns.numbers("y")?,
        })
    }
}

impl Vectors {
    fn of(columns: &Columns, name: &str, counts: Vec<bool>) -> Result<Vectors> {
        let length = columns.list_length(name)?;
        Ok(Vectors {
            values: columns.float_lists(name, length)?,
            length,
            counts,
        })
    }

    fn features(columns: &Columns) -> Result<Vectors> {
        Vectors::of(columns, "vector", vec![true; columns.batch.num_rows()])
    }

    /// Of images that the classifier has not seen: those of a fold, and all where it is the network itself.
    fn probabilities(columns: &Columns) -> Result<Vectors> {
        let (folds, sources) = (columns.integers("fold")?, columns.texts("source")?);
        let counts = |row| folds.is_valid(row) || text(&sources, row) != Some("probe");
        let counts = (0..columns.batch.num_rows()).map(counts).collect();
        Vectors::of(columns, "probabilities", counts)
    }

    fn row(&self, row: usize) -> Option<Vec<f32>> {
        let values = &self.values[row * self.length..(row + 1) * self.length];
        self.counts[row].then(|| values.to_vec())
    }
}

impl Near {
    fn of(columns: &Columns) -> Result<Near> {
        Ok(Near {
            ids: columns.integers("neighbor_id")?,
            distances: columns.numbers("distance")?,
        })
    }
}

/// What is flagged and no person has found fine, by image, in the table's order.
fn findings(ctx: &Context, manifest: &Manifest) -> Result<HashMap<u32, Vec<Found>>> {
    const TABLE: &str = "issues";
    let names = [
        "image_id", "kind", "score", "flagged", "evidence", "reviewed",
    ];
    let mut found: HashMap<u32, Vec<Found>> = HashMap::new();
    for batch in ctx.run.read(manifest, TABLE).columns(&names) {
        let batch = batch?;
        let columns = Columns::of(ctx.run, TABLE, &batch);
        let (kinds, evidence) = (columns.texts("kind")?, columns.texts("evidence")?);
        let (scores, reviewed) = (columns.numbers("score")?, columns.texts("reviewed")?);
        let flagged = columns.booleans("flagged")?;
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            let is_open = text(&reviewed, row) != Some("ok");
            if flagged.is_valid(row) && flagged.value(row) && is_open {
                found.entry(id).or_default().push(Found {
                    kind: text(&kinds, row).unwrap_or_default().to_string(),
                    score: number(&scores, row).map_or(1.0, |score| score as f32),
                    evidence: text(&evidence, row).unwrap_or_default().to_string(),
                });
            }
        }
    }
    Ok(found)
}
