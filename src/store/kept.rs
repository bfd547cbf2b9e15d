//! What a stage wrote under another key, kept while it writes anew: rows that still hold are taken from there.
//!
//! The files get a second name, `previous/<key>/<table>/part-00017.parquet`, before the manifest drops the first, so that
//! all that the manifest names is there at every moment.

use std::{collections::BTreeSet, fs};

use prospect_common::Result;

use super::{Manifest, RunFolder, StageRecord, disk, manifest};

impl StageRecord {
    /// What is worth keeping for the stage's next key: of what it wrote last and what it still keeps of before, if `holds` says
    /// that rows can be taken from there, whatever has more rows.
    pub fn worth_keeping(&self, holds: &dyn Fn(&StageRecord) -> bool) -> Option<&StageRecord> {
        let earlier = self.previous.as_deref().filter(|record| holds(record));
        let last = Some(self).filter(|record| holds(record) && record.all_rows() > 0);
        match (last, earlier) {
            (Some(last), Some(earlier)) if last.all_rows() <= earlier.all_rows() => Some(earlier),
            (Some(last), _) => Some(last),
            (None, earlier) => earlier,
        }
    }

    /// Bytes of all files, those of what is kept aside.
    pub fn bytes(&self) -> u64 {
        let files = self.parts.values().flat_map(|part| &part.files);
        files.map(|file| file.bytes).sum()
    }

    /// Bytes of what is kept of before.
    pub fn kept_bytes(&self) -> u64 {
        self.previous.as_ref().map_or(0, |kept| kept.bytes())
    }

    fn all_rows(&self) -> u64 {
        let files = self.parts.values().flat_map(|part| &part.files);
        files.map(|file| file.rows).sum()
    }
}

impl Manifest {
    /// A manifest of nothing but what stage `name` keeps of before.
    pub fn earlier(&self, name: &str) -> Option<Manifest> {
        let kept = self.stages.get(name)?.previous.as_deref()?;
        let mut earlier = Manifest::default();
        earlier.stages.insert(name.to_string(), kept.clone());
        Some(earlier)
    }
}

/// Gives the tables' files of stage `name` their second names, and the record that names them so. The stage's record on disk
/// then knows the folders and is not complete: whoever goes on with it sweeps them.
pub(super) fn set_aside(
    run: &RunFolder,
    manifest: &mut Manifest,
    name: &str,
) -> Result<Option<StageRecord>> {
    let Some(record) = manifest.stages.get_mut(name) else {
        return Ok(None);
    };
    let mut kept = StageRecord {
        previous: None,
        folders: BTreeSet::new(),
        pending: BTreeSet::new(),
        ..record.clone()
    };
    let mut links: Vec<(String, String)> = Vec::new();
    for (number, part) in &mut kept.parts {
        part.files.retain(|file| file.table.is_some());
        for file in &mut part.files {
            let Some(table) = &file.table else { continue };
            let path = manifest::kept_path(&kept.key, table, *number);
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
        // Left by a writer that was killed here.
        disk::remove_file(&to)?;
        disk::moment();
        if let Err(error) = fs::hard_link(&from, &to) {
            tracing::warn!(
                "{}: {error}; so all images are read anew (no second names for files on this file system?)",
                to.display()
            );
            return Ok(None);
        }
    }
    for folder in folders {
        disk::sync_folder(&run.path(folder))?;
    }
    Ok(Some(kept))
}
