//! Writes a stage in atomic parts.

mod ending;
mod files;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::File,
    mem,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use prospect_common::{Error, Result};
use rayon::prelude::*;
use serde_json::Value;

use super::{
    FileRecord, Manifest, PartRecord, RunFolder, RunLock, StageRecord, disk, manifest, previous,
    read, sweep, table_file::TableFile,
};

/// Writes one stage of a run folder. Parts may be filled and committed by several threads in any order; the tables are the
/// same.
pub struct StageWriter {
    shared: Arc<Shared>,
}

/// A part being filled. If dropped without [`StageWriter::commit`], it leaves nothing behind.
pub struct PartWriter {
    shared: Arc<Shared>,
    part: usize,
    started: Instant,
    tables: BTreeMap<String, TableFile>,
    files: BTreeMap<String, FileRecord>,
    /// Images whose rows are reused from an earlier run.
    reused: u64,
    /// Images that could not be read.
    unread: u64,
    /// Temporary files not yet renamed.
    temporary: BTreeSet<PathBuf>,
}

struct Shared {
    run: RunFolder,
    lock: RunLock,
    stage: String,
    key: String,
    state: Mutex<State>,
}

struct State {
    manifest: Manifest,
    /// Every path in the manifest.
    listed: HashSet<String>,
    schemas: HashMap<String, SchemaRef>,
}

impl State {
    fn new(manifest: Manifest) -> State {
        let listed = manifest
            .all_files()
            .map(|(.., file)| file.path.clone())
            .collect();
        State {
            manifest,
            listed,
            schemas: HashMap::new(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lock.stop_writing();
    }
}

impl StageWriter {
    /// Opens stage `name` for writing.
    ///
    /// With an unchanged key, finished parts stay, except those that do not [stand](PartRecord::stands). With a new key,
    /// everything that the stage has written is dropped: first from the manifest, then from disk. Either way, leftovers of a
    /// killed process in the stage's folders are removed.
    pub fn begin(
        run: &RunFolder,
        lock: &RunLock,
        name: &str,
        version: u32,
        key: String,
        parameters: Value,
        needs: BTreeMap<String, String>,
    ) -> Result<StageWriter> {
        let wanted = StageRecord {
            key,
            version,
            parameters,
            needs,
            ..StageRecord::default()
        };
        StageWriter::begin_keeping(run, lock, name, wanted, &|_| false)
    }

    /// Like [`StageWriter::begin`], with key, version, parameters and needs from `wanted`. With a new key, the tables
    /// [worth keeping](StageRecord::worth_keeping) are kept until [`StageWriter::finish`], listed by [`Manifest::previous`].
    pub fn begin_keeping(
        run: &RunFolder,
        lock: &RunLock,
        name: &str,
        wanted: StageRecord,
        reusable: &dyn Fn(&StageRecord) -> bool,
    ) -> Result<StageWriter> {
        if !is_name(name) {
            return Err(misuse(
                run,
                "a stage name of a-z, 0-9 and _",
                format!("{name:?}"),
            ));
        }
        if !lock.is_for(run) {
            return Err(misuse(run, "this folder's lock", "another folder's"));
        }
        lock.start_writing(name).map_err(|other| {
            misuse(
                run,
                "one stage writer at a time",
                format!("{other} and {name}"),
            )
        })?;
        let mut shared = Shared {
            run: run.clone(),
            lock: lock.clone(),
            stage: name.to_string(),
            key: wanted.key.clone(),
            state: Mutex::new(State::new(Manifest::default())),
        };
        let mut manifest = run.manifest()?;
        let previous = match manifest.stages.get(name) {
            Some(old) if old.key != wanted.key => match old.worth_keeping(reusable) {
                Some(record) if std::ptr::eq(record, old) => {
                    previous::set_aside(run, &mut manifest, name)?
                }
                record => record.cloned(),
            },
            _ => None,
        };
        let before = manifest.stages.remove(name);
        let record = match before.clone() {
            Some(mut record) if record.key == wanted.key => {
                sweep::drop_lost_parts(run, &mut record);
                record
            }
            other => {
                let mut old = other.unwrap_or_default();
                let parts: Vec<usize> = old.parts.keys().copied().collect();
                sweep::drop_parts(&mut old, &parts);
                sweep::drop_previous(&mut old);
                StageRecord {
                    folders: old.folders,
                    pending: old.pending,
                    previous: previous.map(Box::new),
                    ..wanted
                }
            }
        };
        let changed = before.as_ref() != Some(&record);
        manifest.stages.insert(name.to_string(), record);
        if changed {
            manifest.store(run)?;
        }
        sweep::sweep(run, &mut manifest, name)?;
        shared.state = Mutex::new(State::new(manifest));
        Ok(StageWriter {
            shared: Arc::new(shared),
        })
    }

    /// Whether part `part` is committed.
    pub fn has_part(&self, part: usize) -> bool {
        let state = self.shared.state();
        let record = state.manifest.stages.get(&self.shared.stage);
        record.is_some_and(|record| record.parts.contains_key(&part))
    }

    /// The stage's current record.
    pub fn record(&self) -> StageRecord {
        let state = self.shared.state();
        let record = state.manifest.stages.get(&self.shared.stage);
        record.cloned().unwrap_or_default()
    }

    /// Number of committed parts.
    pub fn parts_done(&self) -> usize {
        let state = self.shared.state();
        let record = state.manifest.stages.get(&self.shared.stage);
        record.map_or(0, |record| record.parts.len())
    }

    /// Sets the total number of parts; they are numbered from 0.
    pub fn set_parts_total(&self, total: usize) -> Result<()> {
        self.shared.update(|record| {
            let changed = record.parts_total != Some(total);
            record.parts_total = Some(total);
            Ok(changed)
        })
    }

    /// Starts part `part`, which must not have been committed.
    pub fn part(&self, part: usize) -> Result<PartWriter> {
        if self.has_part(part) {
            return Err(self
                .shared
                .misuse("a part not yet written", format!("part {part}")));
        }
        Ok(PartWriter {
            shared: Arc::clone(&self.shared),
            part,
            started: Instant::now(),
            tables: BTreeMap::new(),
            files: BTreeMap::new(),
            reused: 0,
            unread: 0,
            temporary: BTreeSet::new(),
        })
    }

    /// Puts the part's files in place and then lists them in the manifest.
    pub fn commit(&self, mut writer: PartWriter) -> Result<()> {
        let shared = &self.shared;
        if !Arc::ptr_eq(shared, &writer.shared) {
            return Err(shared.misuse("a part of this stage", "another stage's part"));
        }
        let part = writer.part;
        let mut files = Vec::new();
        for (table, file) in mem::take(&mut writer.tables) {
            let written = file.finish()?;
            files.push(FileRecord {
                path: manifest::table_path(&table, part),
                table: Some(table),
                rows: written.rows,
                bytes: written.bytes,
                blake3: written.blake3,
            });
        }
        let others: Vec<FileRecord> = mem::take(&mut writer.files).into_values().collect();
        others.par_iter().try_for_each(|file| {
            let temp = disk::temp_path(&shared.run.path(&file.path));
            File::open(&temp)
                .and_then(|file| file.sync_all())
                .map_err(Error::io(&temp, "syncing"))
        })?;
        if !others.is_empty() {
            // Leftover tables are found by their folder; these must be listed before they get their names.
            shared.update(|record| {
                record
                    .pending
                    .extend(others.iter().map(|file| file.path.clone()));
                Ok(true)
            })?;
        }
        files.extend(others);
        for file in &files {
            let path = disk::resolve(&shared.run, &file.path)?;
            let temp = disk::temp_path(&path);
            disk::rename(&temp, &path)?;
            writer.temporary.remove(&temp);
        }
        let folders: BTreeSet<&str> = files.iter().map(|file| disk::parent(&file.path)).collect();
        for folder in folders {
            disk::sync_folder(&shared.run.path(folder))?;
        }
        let (seconds, reused) = (writer.started.elapsed().as_secs_f64(), writer.reused);
        let unread = writer.unread;
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        shared.update(|record| {
            if record.parts.contains_key(&part) {
                return Err(shared.misuse("each part once", format!("part {part} twice")));
            }
            for file in &files {
                record.pending.remove(&file.path);
            }
            let done = PartRecord {
                files,
                seconds,
                reused,
                unread,
            };
            record.parts.insert(part, done);
            Ok(true)
        })?;
        shared.state().listed.extend(paths);
        Ok(())
    }
}

impl PartWriter {
    /// The part's number.
    pub fn number(&self) -> usize {
        self.part
    }

    /// Sets the number of images in this part whose rows are reused from an earlier run.
    pub fn set_reused(&mut self, images: u64) {
        self.reused = images;
    }

    /// Sets the number of images in this part that could not be read: the stage's next run writes it again.
    pub fn set_unread(&mut self, images: u64) {
        self.unread = images;
    }

    /// Appends rows to `table` as a new row group (or several, for more than
    /// [`MAX_ROW_GROUP_ROWS`](super::MAX_ROW_GROUP_ROWS)). All parts of a table share one schema. An empty batch creates an
    /// empty table.
    pub fn write(&mut self, table: &str, batch: &RecordBatch) -> Result<()> {
        let shared = &self.shared;
        if !self.tables.contains_key(table) {
            if !is_name(table) {
                return Err(shared.misuse("a table name of a-z, 0-9 and _", format!("{table:?}")));
            }
            shared.check_schema(table, &batch.schema())?;
            shared.enter_folder(&format!("tables/{table}"))?;
            let relative = manifest::table_path(table, self.part);
            let temp = disk::temp_path(&disk::resolve(&shared.run, &relative)?);
            self.temporary.insert(temp.clone());
            let file = TableFile::create(temp, batch.schema(), &shared.stage, &shared.key)?;
            self.tables.insert(table.to_string(), file);
        } else {
            shared.check_schema(table, &batch.schema())?;
        }
        match self.tables.get_mut(table) {
            Some(file) => file.write(batch),
            None => Ok(()),
        }
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        for path in &self.temporary {
            let _ = disk::remove_file(path);
        }
    }
}

/// Removes a stage and everything that it wrote from the run folder. Works on a full disk.
pub fn remove_stage(run: &RunFolder, lock: &RunLock, name: &str) -> Result<()> {
    match remove_in_order(run, lock, name) {
        Err(Error::Io { source, .. }) if disk::is_full(&source) => {
            // Without space for another manifest, the files go first: until then, their parts count as lost.
            for (.., file) in (run.manifest()?.all_files()).filter(|(stage, ..)| *stage == name) {
                disk::remove_file(&disk::resolve(run, &file.path)?)?;
            }
            remove_in_order(run, lock, name)
        }
        result => result,
    }
}

fn remove_in_order(run: &RunFolder, lock: &RunLock, name: &str) -> Result<()> {
    if !run.manifest()?.stages.contains_key(name) {
        return Ok(());
    }
    // Beginning with a key that no stage has empties the stage.
    let writer = StageWriter::begin(
        run,
        lock,
        name,
        0,
        String::new(),
        Value::Null,
        BTreeMap::new(),
    )?;
    let mut state = writer.shared.state();
    state.manifest.stages.remove(name);
    state.manifest.store(run)
}

/// Marks parts of a finished stage, each with a number of images that it did not read as they are: its next run writes them again.
pub fn mark_unread(
    run: &RunFolder,
    lock: &RunLock,
    name: &str,
    unread: &BTreeMap<usize, u64>,
) -> Result<()> {
    if !lock.is_for(run) {
        return Err(misuse(run, "this folder's lock", "another folder's"));
    }
    let mut manifest = run.manifest()?;
    let record = manifest.stages.get_mut(name);
    for (number, part) in record.into_iter().flat_map(|record| &mut record.parts) {
        part.unread += unread.get(number).copied().unwrap_or(0);
    }
    manifest.store(run)
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panicking thread cannot leave the state half changed: updates replace it as a whole.
        self.state.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// Changes this stage's record on disk, then in memory, if `change` returns true.
    fn update(&self, change: impl FnOnce(&mut StageRecord) -> Result<bool>) -> Result<()> {
        self.update_in(&mut self.state(), change)
    }

    fn update_in(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut StageRecord) -> Result<bool>,
    ) -> Result<()> {
        let mut manifest = state.manifest.clone();
        let record = manifest.stages.entry(self.stage.clone()).or_default();
        if change(record)? {
            manifest.store(&self.run)?;
            state.manifest = manifest;
        }
        Ok(())
    }

    /// Records in the manifest that this stage writes to the folder, then creates it. Unlisted parts in a table's folder are
    /// removed: only this stage's table may be there.
    fn enter_folder(&self, relative: &str) -> Result<()> {
        // Under one lock: a second thread entering the folder would sweep away the files that the first has begun.
        let mut state = self.state();
        let record = state.manifest.stages.get(&self.stage);
        if !record.is_some_and(|record| record.folders.contains(relative)) {
            self.update_in(&mut state, |record| {
                Ok(record.folders.insert(relative.to_string()))
            })?;
            sweep::sweep_folder(&self.run, &state.manifest, relative)?;
        }
        drop(state);
        disk::make_folder(&self.run, relative)?;
        Ok(())
    }

    /// Checks a batch's columns against those of the table's parts.
    fn check_schema(&self, table: &str, schema: &SchemaRef) -> Result<()> {
        let mut state = self.state();
        let known = match state.schemas.get(table) {
            Some(known) => Arc::clone(known),
            None => {
                let owner = state
                    .manifest
                    .files()
                    .find(|(_, _, file)| file.table.as_deref() == Some(table));
                let known = match owner {
                    Some((stage, ..)) if stage != self.stage => {
                        let found = format!("stages {stage} and {}", self.stage);
                        return Err(self.misuse(&format!("one stage for table {table}"), found));
                    }
                    Some((_, _, file)) => read::schema(&self.run.path(&file.path))?,
                    None => Arc::clone(schema),
                };
                state.schemas.insert(table.to_string(), Arc::clone(&known));
                known
            }
        };
        if known.fields() != schema.fields() {
            let (expected, found) = first_difference(&known, schema);
            return Err(self.misuse(&format!("{expected} in table {table}"), found));
        }
        Ok(())
    }

    fn misuse(&self, expected: &str, found: impl Into<String>) -> Error {
        misuse(&self.run, expected, found)
    }
}

/// The first column in which two schemas differ, in words.
fn first_difference(known: &SchemaRef, found: &SchemaRef) -> (String, String) {
    let name = |schema: &SchemaRef, i: usize| {
        schema
            .fields()
            .get(i)
            .map_or("no more columns".to_string(), |field| {
                let null = if field.is_nullable() { " or null" } else { "" };
                format!("column {} {}{null}", field.name(), field.data_type())
            })
    };
    let n = known.fields().len().max(found.fields().len());
    let differs = |i: &usize| known.fields().get(*i) != found.fields().get(*i);
    let i = (0..n).find(differs).unwrap_or(0);
    (name(known, i), name(found, i))
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed)
}

fn misuse(run: &RunFolder, expected: &str, found: impl Into<String>) -> Error {
    let why = format!("expected {expected}, found {}", found.into());
    Error::internal(run.root().display(), why)
}
