//! Contact sheets of the images in a query's result.

use std::collections::{HashMap, HashSet};

use prospect_common::{Error, Result, text as words};
use prospect_engine::{
    Context,
    tables::{
        files::files,
        sources::{Sources, fitted},
    },
};
use prospect_output::picture::{
    self, Picture,
    cards::{Card, MAX_CARDS, PICTURE_SIZE, Page},
};
use prospect_store::{Cells, Manifest};
use rayon::prelude::*;

/// Columns that identify a row's image, and the image to compare it with, by id or path.
const PICTURES: [[&str; 2]; 2] = [["image_id", "path"], ["other_id", "other_path"]];

/// An image reference in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ImageRef {
    Id(u32),
    Path(String),
}

/// Draws the rows on sheets and passes each (number from 0, PNG) to `done` before drawing the next. Returns the images that
/// could not be drawn, each once, with the reason. `of` is the number of rows in the result.
///
/// # Errors
/// No column identifies images.
pub fn draw_answer(
    ctx: &Context,
    title: &str,
    answer: &Cells,
    of: usize,
    mut done: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<Vec<String>> {
    let place = |name: &str| answer.columns.iter().position(|column| column == name);
    let places: Vec<[Option<usize>; 2]> = (PICTURES.iter())
        .map(|names| names.map(place))
        .filter(|[id, path]| id.is_some() || path.is_some())
        .collect();
    if places.is_empty() {
        return Err(Error::usage(format!(
            "--sheet needs a column image_id or path (and optionally other_id or other_path); the result has {}",
            answer.columns.join(", ")
        )));
    }
    let manifest = ctx.run.manifest()?;
    let shown = answer.rows.len().min(MAX_CARDS);
    let named: Vec<Vec<Option<ImageRef>>> = (answer.rows[..shown].iter())
        .map(|row| places.iter().map(|places| named(row, places)).collect())
        .collect();
    let ids = ids_of_paths(ctx, &manifest, &named)?;
    let id = |named: &ImageRef| match named {
        ImageRef::Id(id) => Some(*id),
        ImageRef::Path(path) => ids.get(path).copied(),
    };
    let wanted: HashSet<u32> = named.iter().flatten().flatten().filter_map(id).collect();
    let sources = Sources::read(ctx, &manifest, |id| wanted.contains(&id))?;
    let picture = |named: &ImageRef| -> Result<Picture, String> {
        let id = id(named).ok_or("no row in the table images")?;
        fitted(&sources.decode(id)?, PICTURE_SIZE)
    };
    let title = match shown < of {
        true => format!(
            "{title} ({} of {} rows)",
            words::count(shown as u64),
            words::count(of as u64)
        ),
        false => title.to_string(),
    };
    let page = Page::new(places.len());
    let mut missing: Vec<String> = Vec::new();
    for (at, first) in (0..shown).step_by(page.cards()).enumerate() {
        ctx.cancel.check()?;
        let rows = first..shown.min(first + page.cards());
        let drawn: Vec<Vec<Option<Result<Picture, String>>>> = (named[rows.clone()].par_iter())
            .map(|row| {
                row.iter()
                    .map(|named| named.as_ref().map(picture))
                    .collect()
            })
            .collect();
        let mut cards = Vec::with_capacity(rows.len());
        for (row, drawn) in rows.zip(drawn) {
            let mut card = Card {
                pictures: Vec::with_capacity(drawn.len()),
                texts: caption(answer, row),
            };
            for (named, drawn) in named[row].iter().zip(drawn) {
                if let (Some(named), Some(Err(reason))) = (named, &drawn) {
                    let name = match named {
                        ImageRef::Id(id) if sources.path(*id).is_empty() => format!("image {id}"),
                        ImageRef::Id(id) => sources.path(*id).to_string(),
                        ImageRef::Path(path) => path.clone(),
                    };
                    missing.push(format!("{name} is not on the sheet: {reason}"));
                }
                card.pictures.push(drawn.and_then(Result::ok));
            }
            cards.push(card);
        }
        let png = page
            .draw(&title, &cards)
            .and_then(|sheet| picture::png(&sheet));
        done(at, &png?)?;
    }
    missing.sort();
    missing.dedup();
    Ok(missing)
}

/// A row's image, by id if present, else by path.
fn named(row: &[Option<String>], [id, path]: &[Option<usize>; 2]) -> Option<ImageRef> {
    let value = |place: &Option<usize>| place.and_then(|place| row[place].as_deref());
    match value(id).and_then(|id| id.parse().ok()) {
        Some(id) => Some(ImageRef::Id(id)),
        None => value(path).map(|path| ImageRef::Path(path.to_string())),
    }
}

fn ids_of_paths(
    ctx: &Context,
    manifest: &Manifest,
    named: &[Vec<Option<ImageRef>>],
) -> Result<HashMap<String, u32>> {
    let paths = named
        .iter()
        .flatten()
        .flatten()
        .filter_map(|named| match named {
            ImageRef::Path(path) => Some(path.as_str()),
            ImageRef::Id(_) => None,
        });
    let wanted: HashSet<&str> = paths.collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let files = files(ctx.run, manifest, |_, path| wanted.contains(path))?;
    Ok((files.into_values())
        .map(|file| (file.path, file.image_id))
        .collect())
}

/// The names of the files, then the other columns, nulls left out.
fn caption(answer: &Cells, row: usize) -> Vec<String> {
    let is = |column: &str, at: usize| PICTURES.iter().any(|names| names[at] == column);
    let cells = || answer.columns.iter().zip(&answer.rows[row]);
    let file = |path: &str| path.rsplit('/').next().unwrap_or(path).to_string();
    let files: Vec<String> = cells()
        .filter(|(column, _)| is(column, 1))
        .filter_map(|(_, path)| Some(file(path.as_ref()?)))
        .collect();
    let others = cells().filter(|(column, _)| !is(column, 0) && !is(column, 1));
    let others = others.filter_map(|(column, value)| Some(format!("{column} {}", value.as_ref()?)));
    let first = (!files.is_empty()).then(|| files.join("  |  "));
    first.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_name_files_and_values() {
        let some = |text: &str| Some(text.to_string());
        let answer = Cells {
            columns: [
                "image_id",
                "path",
                "label_name",
                "other_id",
                "other_path",
                "score",
                "note",
            ]
            .map(String::from)
            .to_vec(),
            rows: vec![
                vec![
                    some("3"),
                    some("a/b.jpg"),
                    some("cat"),
                    some("7"),
                    some("c.jpg"),
                    some("0.5"),
                    None,
                ],
                vec![None, some("gone.jpg"), None, None, None, some("1"), None],
            ],
        };
        assert_eq!(
            caption(&answer, 0),
            ["b.jpg  |  c.jpg", "label_name cat", "score 0.5"]
        );
        assert_eq!(caption(&answer, 1), ["gone.jpg", "score 1"]);
        assert_eq!(
            named(&answer.rows[0], &[Some(0), Some(1)]),
            Some(ImageRef::Id(3))
        );
        let by_path = ImageRef::Path("gone.jpg".into());
        assert_eq!(named(&answer.rows[1], &[Some(0), Some(1)]), Some(by_path));
        assert_eq!(named(&answer.rows[1], &[Some(3), Some(4)]), None);
    }
}
