//! Checks the files on disk against the manifest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use parquet::file::metadata::ParquetMetaData;
use prospect_common::{Error, Result};
use rayon::prelude::*;

use super::{
    FileRecord, Manifest, RunFolder, StageRecord, disk, read,
    table_file::{KEY_ENTRY, MAX_ROW_GROUP_ROWS, STAGE_ENTRY},
};

/// A difference between the disk and the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the run folder, or the stage's name if the whole stage is concerned.
    pub path: String,
    /// Its kind.
    pub kind: ProblemKind,
    /// What was expected and found.
    pub what: String,
}

/// The kinds of [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// A listed file does not exist.
    Missing,
    /// A file has other contents than those written.
    Damaged,
    /// A stage is marked complete although parts are missing.
    Incomplete,
    /// A file is not listed in the manifest. Prospect ignores it, but a program that reads a table's whole folder would include
    /// it.
    Unlisted,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Re-reads every file of the run folder and returns the problems, sorted by path.
pub fn verify(run: &RunFolder, manifest: &Manifest) -> Vec<Problem> {
    let files: Vec<(&str, &StageRecord, &FileRecord)> = manifest
        .all_files()
        .map(|(stage, record, _, file)| (stage, record, file))
        .collect();
    let checked: Vec<Result<(), (ProblemKind, String)>> = files
        .par_iter()
        .map(|(stage, record, file)| check_file(run, stage, record, file))
        .collect();
    let mut problems: Vec<Problem> = files
        .iter()
        .zip(&checked)
        .filter_map(|((.., file), outcome)| {
            outcome.as_ref().err().map(|(kind, what)| Problem {
                path: file.path.clone(),
                kind: *kind,
                what: what.clone(),
            })
        })
        .collect();
    let intact: Vec<&FileRecord> = files
        .iter()
        .zip(&checked)
        .filter(|((.., file), outcome)| outcome.is_ok() && file.path.starts_with("tables/"))
        .map(|((.., file), _)| *file)
        .collect();
    one_schema_per_table(run, &intact, &mut problems);
    for (name, stage) in &manifest.stages {
        let total = stage.parts_total.unwrap_or(0);
        let missing = (0..total)
            .filter(|part| !stage.parts.contains_key(part))
            .count();
        if stage.complete && missing > 0 {
            problems.push(Problem {
                path: name.clone(),
                kind: ProblemKind::Incomplete,
                what: format!("marked complete, but {missing} of {total} parts are missing"),
            });
        }
    }
    unlisted(run, manifest, &mut problems);
    problems.sort_by(|a, b| (&a.path, &a.what).cmp(&(&b.path, &b.what)));
    problems
}

/// Re-reads a file of the run folder before other code reads it.
///
/// # Errors
/// It differs from the manifest.
pub fn check_bytes(run: &RunFolder, file: &FileRecord) -> prospect_common::Result<()> {
    find_difference(run, file)
        .map(|_| ())
        .map_err(|(_, found)| {
            Error::invalid(
                run.path(&file.path),
                "the file that the manifest describes",
                found,
                "run the stage that wrote it again",
            )
        })
}

fn check_file(
    run: &RunFolder,
    stage: &str,
    record: &StageRecord,
    file: &FileRecord,
) -> Result<(), (ProblemKind, String)> {
    let path = find_difference(run, file)?;
    if file.table.is_some() {
        let damaged = |what: String| (ProblemKind::Damaged, what);
        let footer = read::footer(&path).map_err(|error| damaged(error.to_string()))?;
        check_footer(footer.metadata(), stage, record, file).map_err(damaged)?;
    }
    Ok(())
}

/// The file's path, if its bytes match the manifest.
fn find_difference(run: &RunFolder, file: &FileRecord) -> Result<PathBuf, (ProblemKind, String)> {
    let damaged = |what: String| (ProblemKind::Damaged, what);
    let path = disk::resolve(run, &file.path).map_err(|error| damaged(error.to_string()))?;
    let status = match fs::symlink_metadata(&path) {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err((ProblemKind::Missing, "file not found".into()));
        }
        Err(error) => return Err(damaged(error.to_string())),
    };
    if !status.is_file() {
        return Err(damaged("not a file".into()));
    }
    if status.len() != file.bytes {
        let (expected, found) = (file.bytes, status.len());
        return Err(damaged(format!("expected {expected} bytes, found {found}")));
    }
    let hash = hash_file(&path).map_err(|error| damaged(error.to_string()))?;
    if hash != file.blake3 {
        return Err(damaged(format!(
            "expected BLAKE3 {}, found {hash}",
            file.blake3
        )));
    }
    Ok(path)
}

fn check_footer(
    footer: &ParquetMetaData,
    stage: &str,
    record: &StageRecord,
    file: &FileRecord,
) -> Result<(), String> {
    let rows = footer.file_metadata().num_rows();
    if u64::try_from(rows) != Ok(file.rows) {
        return Err(format!("expected {} rows, found {rows}", file.rows));
    }
    let entries = footer.file_metadata().key_value_metadata();
    for (name, expected) in [(KEY_ENTRY, record.key.as_str()), (STAGE_ENTRY, stage)] {
        let found = entries
            .and_then(|entries| entries.iter().find(|entry| entry.key == name))
            .and_then(|entry| entry.value.as_deref());
        if found != Some(expected) {
            let found = found.unwrap_or("none");
            return Err(format!("expected {name} {expected:?}, found {found:?}"));
        }
    }
    let longest = footer
        .row_groups()
        .iter()
        .map(|group| group.num_rows())
        .max();
    match longest {
        Some(rows) if rows > MAX_ROW_GROUP_ROWS as i64 => Err(format!(
            "expected row groups of at most {MAX_ROW_GROUP_ROWS} rows, found {rows}"
        )),
        _ => Ok(()),
    }
}

/// Finds files whose columns differ from others of their table; a scan over them fails.
fn one_schema_per_table(run: &RunFolder, files: &[&FileRecord], problems: &mut Vec<Problem>) {
    let mut schemas = BTreeMap::new();
    for file in files {
        let Some(table) = &file.table else { continue };
        let Ok(schema) = read::schema(&run.path(&file.path)) else {
            continue;
        };
        let (first, known) = schemas
            .entry(table)
            .or_insert_with(|| (&file.path, schema.clone()));
        if known.fields() != schema.fields() {
            problems.push(Problem {
                path: file.path.clone(),
                kind: ProblemKind::Damaged,
                what: format!("expected the columns of {first}, found different ones"),
            });
        }
    }
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            n => hasher.update(&buffer[..n]),
        };
    }
}

/// Finds unlisted files in the stages' folders. Links are not followed.
fn unlisted(run: &RunFolder, manifest: &Manifest, problems: &mut Vec<Problem>) {
    let listed: BTreeSet<&str> = manifest
        .all_files()
        .map(|(.., file)| file.path.as_str())
        .collect();
    let mut folders: Vec<String> = disk::FOLDERS.iter().map(|name| name.to_string()).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(run.path(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if !listed.contains(path.as_str()) {
                problems.push(Problem {
                    path,
                    kind: ProblemKind::Unlisted,
                    what: "not listed in the manifest".into(),
                });
            }
        }
    }
}
