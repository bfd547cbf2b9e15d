//! Sheets of the worst findings of each kind, with the nearest neighbours or the other image where these help.

use std::collections::{BTreeMap, HashMap, HashSet};

use prospect_common::{Error, Result, text};
use prospect_engine::{
    Context,
    tables::{
        classes::{ClassNames, labels, name_of},
        sources::{Sources, small},
    },
};
use prospect_findings::{Kind, Subject};
use prospect_output::picture::{
    self, Picture, PictureError,
    cards::{Card, Page},
    neighbors::{Frame, Row, Tile, neighbor_sheet},
};
use prospect_store::Manifest;
use rayon::prelude::*;

use super::{super::neighbors::nearest_of, issue::Issue};

/// Maximum findings on a sheet with neighbours, and neighbours per finding.
const ROWS: usize = 24;
const NEIGHBORS: usize = 8;
/// Maximum findings on other sheets.
const CARDS: usize = 80;

/// Title of the sheet.
fn title(kind: Kind) -> String {
    let [_, many] = kind.info().words;
    match kind.info().subject {
        Subject::Label | Subject::Neighbors => format!("{many}, and the nearest images"),
        Subject::Pair | Subject::Image | Subject::File => many.to_string(),
    }
}

/// Draws a sheet for each kind with visible findings, and passes each (PNG) to `done` before drawing the next.
pub fn draw(
    ctx: &Context,
    manifest: &Manifest,
    issues: &[Issue],
    mut done: impl FnMut(Kind, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut shown: BTreeMap<Kind, Vec<&Issue>> = BTreeMap::new();
    for issue in issues {
        let kind = issue.finding.kind;
        let subject = kind.info().subject;
        let max = match subject {
            Subject::Label | Subject::Neighbors => ROWS,
            Subject::Pair | Subject::Image => CARDS,
            Subject::File => 0,
        };
        let of_kind = shown.entry(kind).or_default();
        if of_kind.len() < max && (issue.finding.flagged || subject == Subject::Label) {
            of_kind.push(issue);
        }
    }
    let near: HashSet<u32> = (shown.iter())
        .filter(|(kind, _)| matches!(kind.info().subject, Subject::Label | Subject::Neighbors))
        .flat_map(|(_, issues)| issues.iter().map(|issue| issue.finding.image_id))
        .collect();
    let neighbors = nearest_of(ctx, manifest, &near, NEIGHBORS)?;
    let others = issues.iter().filter_map(|issue| issue.finding.other_id);
    let all = shown.values().flatten().map(|issue| issue.finding.image_id);
    let near = neighbors.values().flatten().copied();
    let wanted: HashSet<u32> = all.chain(others).chain(near).collect();
    let sheet = Sheet {
        sources: Sources::read(ctx, manifest, |id| wanted.contains(&id))?,
        labels: labels(ctx.run, manifest)?,
        names: ClassNames::read(ctx.run, manifest)?,
        neighbors,
    };
    for (kind, issues) in shown.into_iter().filter(|(_, issues)| !issues.is_empty()) {
        ctx.cancel.check()?;
        let cards = || -> Vec<Card> { issues.par_iter().map(|issue| sheet.card(issue)).collect() };
        let title = title(kind);
        let drawn = match kind.info().subject {
            Subject::Image | Subject::File => Page::new(1).draw(&title, &cards()),
            Subject::Pair => Page::new(2).draw(&title, &cards()),
            Subject::Label | Subject::Neighbors => {
                let rows = issues.par_iter().map(|issue| sheet.row(issue));
                neighbor_sheet(&title, &rows.collect::<Vec<Row>>())
            }
        };
        let wrong = |error: PictureError| {
            Error::internal(format!("pictures/audit/{}.png", kind.name()), error)
        };
        done(
            kind,
            &drawn
                .and_then(|sheet| picture::png(&sheet))
                .map_err(wrong)?,
        )?;
    }
    Ok(())
}

/// Data for the tiles.
struct Sheet {
    sources: Sources,
    labels: Vec<Option<i32>>,
    names: ClassNames,
    neighbors: HashMap<u32, Vec<u32>>,
}

impl Sheet {
    fn row(&self, issue: &Issue) -> Row {
        let id = issue.finding.image_id;
        let near = self.neighbors.get(&id).map_or(&[][..], Vec::as_slice);
        Row {
            query: self.query(issue),
            neighbors: near.iter().map(|other| self.other(id, *other)).collect(),
        }
    }

    fn card(&self, issue: &Issue) -> Card {
        let finding = &issue.finding;
        let ids = [Some(finding.image_id), finding.other_id];
        let file = self.file_name(finding.image_id);
        Card {
            pictures: ids
                .into_iter()
                .flatten()
                .map(|id| self.picture(id))
                .collect(),
            texts: vec![
                format!("{}. {file}", issue.rank),
                self.label(finding.image_id),
                finding.evidence.clone(),
            ],
        }
    }

    fn query(&self, issue: &Issue) -> Tile {
        let finding = &issue.finding;
        let mut label = self.label(finding.image_id);
        if let Some(suggested) = finding.suggested_label {
            label = format!("{label} › {}", name_of(&self.names.dataset, suggested));
        }
        let score = text::figure(finding.score.into());
        Tile {
            picture: self.picture(finding.image_id),
            frame: Frame::Query,
            lines: vec![
                self.file_name(finding.image_id),
                label,
                format!("{}. score {score}", issue.rank),
            ],
        }
    }

    fn other(&self, query: u32, id: u32) -> Tile {
        let label = |id: u32| self.labels.get(id as usize).copied().flatten();
        let frame = match (label(query), label(id)) {
            (Some(own), Some(other)) if own == other => Frame::Same,
            (Some(_), Some(_)) => Frame::Other,
            _ => Frame::Unknown,
        };
        Tile {
            picture: self.picture(id),
            frame,
            lines: vec![self.file_name(id), self.label(id)],
        }
    }

    fn label(&self, id: u32) -> String {
        let label = self.labels.get(id as usize).copied().flatten();
        label.map_or("no label".into(), |label| {
            name_of(&self.names.dataset, label)
        })
    }

    fn file_name(&self, id: u32) -> String {
        let path = self.sources.path(id);
        path.rsplit('/').next().unwrap_or(path).to_string()
    }

    /// A thumbnail of the upright image; `None`, with a warning, if it is unavailable.
    fn picture(&self, id: u32) -> Option<Picture> {
        match self.sources.decode(id).and_then(|image| small(&image)) {
            Ok(picture) => Some(picture),
            Err(reason) => {
                self.sources.warn("picture", id, &reason);
                None
            }
        }
    }
}
