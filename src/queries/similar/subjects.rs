//! Resolves image arguments.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::files::{File, files},
};
use prospect_stages::scan::FileLabels;
use prospect_store::Manifest;

use super::images::ImageInfo;

/// A resolved query image.
#[derive(Debug, PartialEq)]
pub enum Subject {
    /// An image of the run; its id and path.
    Image(ImageInfo),
    /// Another file, labelled by the rules of `scan`.
    File {
        path: PathBuf,
        label: Option<String>,
    },
}

/// Resolves each of `names`; the inner errors concern single names.
///
/// A path in the table `images` takes precedence over another file of that name.
pub fn resolve(
    ctx: &Context,
    manifest: &Manifest,
    names: &[String],
) -> Result<Vec<Result<Subject, String>>> {
    // Labels may require reading the user's metadata.
    let image_id = |name: &str| name.strip_prefix('#').and_then(|id| id.parse().ok());
    let needs_files = names.iter().any(|name| image_id(name).is_none());
    let labels = if needs_files {
        Some(FileLabels::new(ctx.config)?)
    } else {
        None
    };
    let inside = |name: &str| labels.as_ref()?.relative(Path::new(name));

    let mut ids: HashSet<u32> = HashSet::new();
    let mut paths: HashSet<String> = HashSet::new();
    for name in names {
        match image_id(name) {
            Some(id) => {
                ids.insert(id);
            }
            None => {
                paths.insert(name.clone());
                paths.extend(inside(name));
            }
        }
    }
    let files = files(ctx.run, manifest, |id, path| {
        ids.contains(&id) || paths.contains(path)
    })?;
    let by_path: HashMap<&str, &File> = (files.values())
        .map(|file| (file.path.as_str(), file))
        .collect();

    let mut subjects = Vec::with_capacity(names.len());
    for name in names {
        let found = match image_id(name) {
            Some(id) => files.get(&id),
            None => (by_path.get(name.as_str()).copied())
                .or_else(|| by_path.get(inside(name)?.as_str()).copied()),
        };
        let file = Path::new(name);
        subjects.push(match found {
            Some(File {
                error: Some(error), ..
            }) => Err(format!("could not be read during the scan: {error}")),
            Some(file) => Ok(Subject::Image(ImageInfo {
                image_id: Some(file.image_id),
                path: file.path.clone(),
                ..ImageInfo::default()
            })),
            None if image_id(name).is_some() => Err(
                "no image with this id in the run; see `prospect query \"select image_id, path from images\"`"
                    .into(),
            ),
            None if file.is_dir() => Err("a folder; list the files in it".into()),
            None if !file.exists() => Err(
                "neither a path in the run nor an existing file; \
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
