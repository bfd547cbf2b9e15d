//! Removes a stage's files that the manifest does not list, and nothing else.

use std::{collections::BTreeSet, fs, io};

use prospect_common::{Error, Result};

use super::{Manifest, RunFolder, StageRecord, disk, manifest};

/// Removes parts from a record and records what they leave on disk.
pub(super) fn drop_parts(record: &mut StageRecord, parts: &[usize]) {
    for part in parts {
        let files = record
            .parts
            .remove(part)
            .map_or(Vec::new(), |part| part.files);
        for file in files {
            if file.table.is_some() {
                record.folders.insert(disk::parent(&file.path).to_string());
            } else {
                record.pending.insert(file.path);
            }
        }
    }
}

fn holds_tables(folder: &str) -> bool {
    folder.starts_with("tables/") || folder.starts_with("previous/")
}

/// Removes the previous record from a record, like [`drop_parts`].
pub(super) fn drop_previous(record: &mut StageRecord) {
    let Some(mut previous) = record.previous.take() else {
        return;
    };
    let parts: Vec<usize> = previous.parts.keys().copied().collect();
    drop_parts(&mut previous, &parts);
    for folder in previous.folders {
        let mut folder = folder.as_str();
        while !folder.is_empty() {
            record.folders.insert(folder.to_string());
            folder = disk::parent(folder);
        }
    }
}

/// Drops the parts that do not [stand](PartRecord::stands).
pub(super) fn drop_lost_parts(run: &RunFolder, record: &mut StageRecord) {
    let lost: Vec<usize> = record
        .parts
        .iter()
        .filter(|(_, part)| !part.stands(run))
        .map(|(part, _)| *part)
        .collect();
    if !lost.is_empty() {
        record.complete = false;
        drop_parts(record, &lost);
    }
    // The other previous parts remain usable.
    if let Some(previous) = &mut record.previous {
        drop_lost_parts(run, previous);
        record.folders.append(&mut previous.folders);
    }
}

/// Removes the unlisted files that stage `name` may have left on disk.
pub(super) fn sweep(run: &RunFolder, manifest: &mut Manifest, name: &str) -> Result<()> {
    let Some(record) = manifest.stages.get(name) else {
        return Ok(());
    };
    for folder in &record.folders {
        sweep_folder(run, manifest, folder)?;
    }
    let listed: BTreeSet<&str> = manifest
        .all_files()
        .map(|(.., file)| file.path.as_str())
        .collect();
    let mut touched = BTreeSet::new();
    for relative in record
        .pending
        .iter()
        .filter(|path| !listed.contains(path.as_str()))
    {
        disk::remove_file(&disk::resolve(run, relative)?)?;
        touched.insert(run.path(disk::parent(relative)));
    }
    for folder in touched.iter().filter(|folder| folder.is_dir()) {
        disk::sync_folder(folder)?;
    }
    // Remove empty folders, deepest first.
    let mut removed_folders = BTreeSet::new();
    for folder in record.folders.iter().rev() {
        match fs::remove_dir(disk::resolve(run, folder)?) {
            Ok(()) => removed_folders.insert(folder.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                removed_folders.insert(folder.clone())
            }
            Err(_) => false,
        };
    }
    if let Some(record) = manifest.stages.get_mut(name) {
        record.pending.clear();
        record
            .folders
            .retain(|folder| !removed_folders.contains(folder));
    }
    Ok(())
}

/// Removes temporary files from a folder and, under `tables/` and `previous/`, unlisted parts. Nothing else.
pub(super) fn sweep_folder(run: &RunFolder, manifest: &Manifest, folder: &str) -> Result<()> {
    let path = disk::resolve(run, folder)?;
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(&path, "listing the folder")(error)),
    };
    let listed: BTreeSet<&str> = manifest
        .all_files()
        .map(|(.., file)| file.path.as_str())
        .collect();
    let mut removed = false;
    for entry in entries {
        let entry = entry.map_err(Error::io(&path, "listing the folder"))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let ours = name.ends_with(disk::TEMP_SUFFIX)
            || holds_tables(folder) && manifest::is_part_name(name);
        if ours && !is_folder && !listed.contains(format!("{folder}/{name}").as_str()) {
            disk::remove_file(&entry.path())?;
            removed = true;
        }
    }
    if removed {
        disk::sync_folder(&path)?;
    }
    Ok(())
}
