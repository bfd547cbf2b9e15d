//! `manifest.json`: what is complete, and under which key.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RunFolder, disk};

const FILE_NAME: &str = "manifest.json";

/// The manifest format that this version reads and writes.
const FORMAT: u32 = 1;

/// Maximum size of a manifest, in bytes: some million files.
const MAX_BYTES: u64 = 1 << 30;

/// The contents of a run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest format.
    pub format: u32,
    /// The stages that have started, by name.
    pub stages: BTreeMap<String, StageRecord>,
}

/// One stage: its parameters and its finished parts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// See [`stage_key`](super::stage_key).
    pub key: String,
    /// Version of the stage's code; part of the key.
    pub version: u32,
    /// The checked parameters; part of the key.
    pub parameters: Value,
    /// The dependency key of each stage that this one needs; part of the key.
    pub needs: BTreeMap<String, String>,
    /// Total number of parts, once known.
    pub parts_total: Option<usize>,
    /// Whether the stage has finished.
    pub complete: bool,
    /// A digest of the stage's output, if dependent stages go by that instead of the key (see
    /// [`dependency_key`](StageRecord::dependency_key)).
    pub result: Option<String>,
    /// Counts and figures for `prospect status`.
    pub summary: Value,
    /// Folders that the stage writes to, recorded before their first file, so that the leftovers of a killed process are found.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub folders: BTreeSet<String>,
    /// Files outside `tables/` that may be on disk without being part of a finished part: to be deleted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pending: BTreeSet<String>,
    /// The finished parts by number.
    pub parts: BTreeMap<usize, PartRecord>,
    /// The stage's record under its previous key, kept for reuse until this one is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<StageRecord>>,
}

/// One finished part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRecord {
    /// Its files: tables by name, then others by path.
    pub files: Vec<FileRecord>,
    /// Duration.
    pub seconds: f64,
    /// Images whose rows were reused from an earlier run.
    #[serde(default, rename = "taken", skip_serializing_if = "is_zero")]
    pub reused: u64,
    /// Images that could not be read, or not as the earlier stages saw them. The stage's next run writes the part again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
}

/// One file of a part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its table; none for pictures and pages.
    pub table: Option<String>,
    /// Its path in the run folder, `/`-separated.
    pub path: String,
    /// Rows of a table file, otherwise 0.
    pub rows: u64,
    /// File size.
    pub bytes: u64,
    /// BLAKE3 of the file, in hexadecimal.
    pub blake3: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Default for Manifest {
    fn default() -> Self {
        Manifest {
            format: FORMAT,
            stages: BTreeMap::new(),
        }
    }
}

impl StageRecord {
    /// The key that dependent stages include in theirs: the result if there is one, so that running this stage again with the
    /// same result does not invalidate them. Without a result, parts to be written again are part of it.
    pub fn dependency_key(&self) -> Cow<'_, str> {
        if let Some(result) = &self.result {
            return result.into();
        }
        let unread = self.parts.values().filter(|part| part.unread > 0);
        let files: Vec<&str> = unread
            .flat_map(|part| &part.files)
            .map(|file| file.blake3.as_str())
            .collect();
        match files.is_empty() {
            true => self.key.as_str().into(),
            false => blake3::hash([self.key.as_str(), &files.concat()].concat().as_bytes())
                .to_hex()[..32]
                .to_string()
                .into(),
        }
    }

    /// Rows of `table` in the committed parts.
    pub fn rows(&self, table: &str) -> u64 {
        let files = self.parts.values().flat_map(|part| &part.files);
        files
            .filter(|file| file.table.as_deref() == Some(table))
            .map(|file| file.rows)
            .sum()
    }

    /// Images in the committed parts whose rows were reused from an earlier run.
    pub fn reused(&self) -> u64 {
        self.parts.values().map(|part| part.reused).sum()
    }

    /// Images in the committed parts that could not be read.
    pub fn unread(&self) -> u64 {
        self.parts.values().map(|part| part.unread).sum()
    }
}

impl PartRecord {
    /// Whether the part stands: all its files have their recorded length, and all its images were read. `verify` checks contents.
    pub fn stands(&self, run: &RunFolder) -> bool {
        let is_there = |file: &FileRecord| {
            fs::symlink_metadata(run.path(&file.path))
                .is_ok_and(|status| status.is_file() && status.len() == file.bytes)
        };
        self.unread == 0 && self.files.iter().all(is_there)
    }
}

impl RunFolder {
    /// Reads and checks the manifest. A run folder without one is empty.
    pub fn manifest(&self) -> Result<Manifest> {
        let path = self.path(FILE_NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Manifest::default()),
            Err(error) => return Err(Error::io(&path, "opening")(error)),
        };
        let status = file.metadata().map_err(Error::io(&path, "reading"))?;
        if !status.is_file() || status.len() > MAX_BYTES {
            return Err(not_a_manifest(&path, "something too large or not a file"));
        }
        let mut text = String::new();
        file.take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(Error::io(&path, "reading"))?;

        /// Read first, so that another format is reported as such and not as an unknown field.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(&text)
            .map_err(|error| not_a_manifest(&path, error.to_string()))?;
        if head.format != FORMAT {
            return Err(Error::invalid(
                &path,
                format!("manifest format {FORMAT}"),
                format!("format {}", head.format),
                "use the version of prospect that wrote it, or choose another [run] dir",
            ));
        }
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| not_a_manifest(&path, error.to_string()))?;
        manifest.check().map_err(|found| {
            Error::invalid(
                &path,
                "files of this run folder, each listed once",
                found,
                "do not trust this run folder: choose another [run] dir",
            )
        })?;
        Ok(manifest)
    }

    /// The sorted names of the tables with at least one committed part.
    pub fn tables(&self, manifest: &Manifest) -> Vec<String> {
        let names: BTreeSet<&String> = manifest
            .files()
            .filter_map(|(_, _, file)| file.table.as_ref())
            .collect();
        names.into_iter().cloned().collect()
    }

    /// The committed files of `table` in part order.
    pub fn files(&self, manifest: &Manifest, table: &str) -> Vec<PathBuf> {
        manifest
            .table_files(table)
            .map(|(_, file)| self.path(&file.path))
            .collect()
    }
}

impl Manifest {
    /// Every committed file with its stage and part number, by stage name and part.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize, &FileRecord)> {
        self.stages.iter().flat_map(|(name, stage)| {
            stage.parts.iter().flat_map(move |(part, record)| {
                record
                    .files
                    .iter()
                    .map(move |file| (name.as_str(), *part, file))
            })
        })
    }

    /// Like [`Manifest::files`], including previous files; each with the record that lists it.
    pub fn all_files(&self) -> impl Iterator<Item = (&str, &StageRecord, usize, &FileRecord)> {
        self.stages.iter().flat_map(|(name, stage)| {
            [Some(stage), stage.previous.as_deref()]
                .into_iter()
                .flatten()
                .flat_map(move |record| {
                    record.parts.iter().flat_map(move |(part, done)| {
                        let files = done.files.iter();
                        files.map(move |file| (name.as_str(), record, *part, file))
                    })
                })
        })
    }

    /// The committed files of one table with their part numbers, in order.
    pub fn table_files(&self, table: &str) -> impl Iterator<Item = (usize, &FileRecord)> {
        self.files()
            .filter(move |(_, _, file)| file.table.as_deref() == Some(table))
            .map(|(_, part, file)| (part, file))
    }

    /// Whether the table has a committed file.
    pub fn has(&self, table: &str) -> bool {
        self.table_files(table).next().is_some()
    }

    /// Replaces the manifest on disk.
    pub(super) fn store(&self, run: &RunFolder) -> Result<()> {
        let path = run.path(FILE_NAME);
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal(path.display(), error))?;
        text.push('\n');
        disk::write_atomically(&path, text.as_bytes())
    }

    /// Checks that every path stays in the run folder, that every table file is in its table's folder, and that no file is
    /// listed twice.
    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (stage, record, part, file) in self.all_files() {
            disk::check_relative_file(&file.path)?;
            let current = self.stages.get(stage);
            let previous = (!current.is_some_and(|current| std::ptr::eq(current, record)))
                .then_some(record.key.as_str());
            if !is_in_place(file, part, previous) {
                return Err(match &file.table {
                    None => format!("{:?}, which belongs to no table", file.path),
                    Some(table) => format!(
                        "{:?} as part {part} of table {table:?} in stage {stage:?}",
                        file.path
                    ),
                });
            }
            if !seen.insert(&file.path) {
                return Err(format!("{:?} twice", file.path));
            }
        }
        for record in self.stages.values() {
            if let Some(previous) = &record.previous
                && (previous.previous.is_some()
                    || !previous.folders.is_empty()
                    || !previous.pending.is_empty())
            {
                return Err(format!(
                    "more than tables kept under key {:?}",
                    previous.key
                ));
            }
            record
                .folders
                .iter()
                .try_for_each(|path| disk::check_relative(path))?;
            for path in &record.pending {
                disk::check_relative_file(path)?;
                if path.starts_with("tables/") || path.starts_with("previous/") {
                    return Err(format!("{path:?} as a file outside the tables"));
                }
            }
        }
        Ok(())
    }
}

/// The path of part `part` of `table`.
pub(super) fn table_path(table: &str, part: usize) -> String {
    format!("tables/{table}/part-{part:05}.parquet")
}

/// The path of part `part` of `table` kept under the previous key `key`.
pub(super) fn previous_path(key: &str, table: &str, part: usize) -> String {
    format!(
        "previous/{key}/{}",
        &table_path(table, part)["tables/".len()..]
    )
}

/// Whether `file` is in its table's folder, or in that of its `previous` key.
fn is_in_place(file: &FileRecord, part: usize, previous: Option<&str>) -> bool {
    match (&file.table, previous) {
        (Some(table), None) => file.path == table_path(table, part),
        (Some(table), Some(key)) => file.path == previous_path(key, table, part),
        (None, None) => !file.path.starts_with("tables/") && !file.path.starts_with("previous/"),
        (None, Some(_)) => false,
    }
}

/// Whether `name` is a file name made by [`table_path`].
pub(super) fn is_part_name(name: &str) -> bool {
    let digits = name
        .strip_prefix("part-")
        .and_then(|name| name.strip_suffix(".parquet"));
    digits.is_some_and(|digits| digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn not_a_manifest(path: &Path, found: impl Into<String>) -> Error {
    Error::invalid(
        path,
        "a manifest written by prospect",
        found,
        "restore it, or choose another [run] dir",
    )
}
