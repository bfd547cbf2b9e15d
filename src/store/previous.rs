//! A stage's tables under its previous key, kept while it runs again so that it can reuse valid rows.
//!
//! The files are hard-linked as `previous/<key>/<table>/part-00017.parquet` before the manifest drops their old names, so that
//! every file in the manifest exists at all times.

use std::{collections::BTreeSet, fs};

use prospect_common::Result;

use super::{Manifest, RunFolder, StageRecord, disk, manifest};

impl StageRecord {
    /// The record to keep for the stage's next key: this one or the previous one, whichever is reusable and has more rows.
    pub fn worth_keeping(&self, reusable: &dyn Fn(&StageRecord) -> bool) -> Option<&StageRecord> {
        let previous = self.previous.as_deref().filter(|record| reusable(record));
        let last = Some(self).filter(|record| reusable(record) && record.all_rows() > 0);
        match (last, previous) {
            (Some(last), Some(previous)) if last.all_rows() <= previous.all_rows() => {
                Some(previous)
            }
            (Some(last), _) => Some(last),
            (None, previous) => previous,
        }
    }

    /// Bytes of all files, without the previous ones.
    pub fn bytes(&self) -> u64 {
        let files = self.parts.values().flat_map(|part| &part.files);
        files.map(|file| file.bytes).sum()
    }

    /// Bytes of the previous files.
    pub fn previous_bytes(&self) -> u64 {
        self.previous
            .as_ref()
            .map_or(0, |previous| previous.bytes())
    }

    fn all_rows(&self) -> u64 {
        let files = self.parts.values().flat_map(|part| &part.files);
        files.map(|file| file.rows).sum()
    }
}

impl Manifest {
    /// A manifest of only the previous record of stage `name`.
    pub fn previous(&self, name: &str) -> Option<Manifest> {
        let record = self.stages.get(name)?.previous.as_deref()?;
        let mut previous = Manifest::default();
        previous.stages.insert(name.to_string(), record.clone());
        Some(previous)
    }
}

/// Hard-links the table files of stage `name` into `previous/` and returns the record of the links. The stage's record on disk
/// then lists these folders and is incomplete, so that resuming it sweeps them.
pub(super) fn set_aside(
    run: &RunFolder,
    manifest: &mut Manifest,
    name: &str,
) -> Result<Option<StageRecord>> {
    let Some(record) = manifest.stages.get_mut(name) else {
        return Ok(None);
    };
    let mut previous = StageRecord {
        previous: None,
        folders: BTreeSet::new(),
        pending: BTreeSet::new(),
        ..record.clone()
    };
    let mut links: Vec<(String, String)> = Vec::new();
    for (number, part) in &mut previous.parts {
        part.files.retain(|file| file.table.is_some());
        for file in &mut part.files {
            let Some(table) = &file.table else { continue };
            let path = manifest::previous_path(&previous.key, table, *number);
            links.push((std::mem::replace(&mut file.path, path.clone()), path));
        }
    }
    for (_, to) in &links {
        let mut folder = disk::parent(to);
        while !folder.is_empty() {
            record.folders.insert(folder.to_string());
            folder = disk::parent(folder);
        }
    }
    record.complete = false;
    manifest.store(run)?;
    let mut folders = BTreeSet::new();
    for (from, to) in &links {
        let folder = disk::parent(to);
        if folders.insert(folder) {
            disk::make_folder(run, folder)?;
        }
        let (from, to) = (disk::resolve(run, from)?, disk::resolve(run, to)?);
        // Left by a writer killed at this point.
        disk::remove_file(&to)?;
        disk::crash_point();
        if let Err(error) = fs::hard_link(&from, &to) {
            tracing::warn!(
                "{}: {error}; all images are processed again (no hard links on this file system?)",
                to.display()
            );
            return Ok(None);
        }
    }
    for folder in folders {
        disk::sync_folder(&run.path(folder))?;
    }
    Ok(Some(previous))
}
