//! Which image is meant.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::columns::{Columns, text},
};
use prospect_stages::scan::FileLabels;
use prospect_store::Manifest;

use super::names::Seen;

/// What is asked about.
#[derive(Debug, PartialEq)]
pub enum Subject {
    /// An image of the run; its id and path.
    Image(Seen),
    /// Another file, and its label by the rules of `scan`.
    File {
        path: PathBuf,
        label: Option<String>,
    },
}

/// A row of `images`.
struct Row {
    id: u32,
    path: String,
    error: Option<String>,
}

/// What each of `names` means; inner errors say why one means nothing that can be answered for.
///
/// A path in the image folder, as the table `images` spells it, goes before a file of that name elsewhere.
pub fn resolve(
    ctx: &Context,
    manifest: &Manifest,
    names: &[String],
) -> Result<Vec<Result<Subject, String>>> {
    // Both are seldom needed and may mean reading the user's metadata.
    let spelled = |name: &str| name.strip_prefix('#').and_then(|id| id.parse().ok());
    let needs_files = names.iter().any(|name| spelled(name).is_none());
    let labels = if needs_files {
        Some(FileLabels::new(ctx.config)?)
    } else {
        None
    };
    let inside = |name: &str| labels.as_ref()?.relative(Path::new(name));

    let mut by_id: HashMap<u32, Option<usize>> = HashMap::new();
    let mut by_path: HashMap<String, Option<usize>> = HashMap::new();
    for name in names {
        match spelled(name) {
            Some(id) => drop(by_id.insert(id, None)),
            None => {
                by_path.insert(name.clone(), None);
                by_path.extend(inside(name).map(|path| (path, None)));
            }
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    let columns = ["image_id", "path", "error"];
    for batch in ctx.run.read(manifest, "images").columns(&columns) {
        let batch = batch?;
        let columns = Columns::of(ctx.run, "images", &batch);
        let (paths, errors) = (columns.texts("path")?, columns.texts("error")?);
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            let path = text(&paths, row).unwrap_or_default();
            let (wanted_id, wanted_path) = (by_id.get_mut(&id), by_path.get_mut(path));
            if wanted_id.is_some() || wanted_path.is_some() {
                wanted_id.into_iter().for_each(|at| *at = Some(rows.len()));
                wanted_path
                    .into_iter()
                    .for_each(|at| *at = Some(rows.len()));
                rows.push(Row {
                    id,
                    path: path.to_string(),
                    error: text(&errors, row).map(str::to_string),
                });
            }
        }
    }

    let by_path = |path: &str| by_path.get(path).copied().flatten();
    let mut subjects = Vec::with_capacity(names.len());
    for name in names {
        let at = match spelled(name) {
            Some(id) => by_id.get(&id).copied().flatten(),
            None => by_path(name).or_else(|| by_path(&inside(name)?)),
        };
        let file = Path::new(name);
        subjects.push(match at.map(|at| &rows[at]) {
            Some(Row {
                error: Some(error), ..
            }) => Err(format!("it could not be read when the folder was scanned: {error}")),
            Some(row) => Ok(Subject::Image(Seen {
                image_id: Some(row.id),
                path: row.path.clone(),
                ..Seen::default()
            })),
            None if spelled(name).is_some() => Err(
                "the run has no image of this id; see `prospect query \"select image_id, path from images\"`"
                    .into(),
            ),
            None if file.is_dir() => Err("it is a folder; name the files in it".into()),
            None if !file.exists() => Err(
                "no image of the run has this path, and there is no such file; \
                 see `prospect query \"select image_id, path from images\"`"
                    .into(),
            ),
            None => Ok(Subject::File {
                path: file.to_path_buf(),
                label: match &labels {
                    Some(labels) => labels.label(file)?,
                    None => None,
                },
            }),
        });
    }
    Ok(subjects)
}
