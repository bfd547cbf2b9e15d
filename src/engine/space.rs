//! What a run is going to write, and whether it fits on the disk.

use prospect_common::{Error, Result};
use prospect_store::{FileRecord, Manifest, RunFolder, StageRecord};
use serde::Serialize;

use super::{
    TableEstimate,
    decision::{Decision, Prepared, is_there},
    schema::images,
};

/// One stage of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    pub stage: &'static str,
    pub about: &'static str,
    #[serde(flatten)]
    pub decision: Decision,
    /// What it is expected to write, if it runs; of what is done already, nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableEstimate>,
    /// Bytes that it has written under other settings and deletes before it writes.
    pub replaces: u64,
    /// Bytes that it keeps of before, to take rows from, and deletes when it is complete.
    #[serde(skip_serializing_if = "is_zero")]
    pub keeps: u64,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// What a run would do, and how much it would write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The wanted stages and what they need, in run order.
    pub stages: Vec<Planned>,
    /// For how many images the expectations are; none where nothing tells.
    pub images: Option<ImageCount>,
}

/// How many images there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ImageCount {
    pub n: u64,
    /// `table images`, where a scan under the present settings has seen them, else `listing of the folder`.
    pub source: &'static str,
}

impl ImageCount {
    /// From the table of images where that is up to date, else from the file names that its stage has listed for its
    /// parameters.
    pub(super) fn of(
        prepared: &[Prepared],
        stages: &[Planned],
        manifest: &Manifest,
    ) -> Option<ImageCount> {
        let at = (prepared.iter()).position(|prepared| prepared.stage.lists_images())?;
        if stages[at].decision == Decision::Reuse {
            return Some(ImageCount {
                n: manifest.stages.get(stages[at].stage)?.rows(images::NAME),
                source: "table images",
            });
        }
        Some(ImageCount {
            n: prepared[at].parameters["files"]["n"].as_u64()?,
            source: "listing of the folder",
        })
    }
}

impl Plan {
    /// What all stages are expected to write, in bytes.
    pub fn bytes(&self) -> u64 {
        let tables = self.stages.iter().flat_map(|planned| &planned.tables);
        tables.map(|table| table.bytes).sum()
    }

    /// By how many bytes the run folder grows at most while the stages run one after another, each deleting first what it
    /// has written under other settings, and at its end what it has taken rows from.
    pub fn growth(&self) -> u64 {
        let (mut now, mut most) = (0i128, 0);
        for planned in &self.stages {
            now -= i128::from(planned.replaces);
            now += (planned.tables.iter())
                .map(|table| i128::from(table.bytes))
                .sum::<i128>();
            most = most.max(now);
            now -= i128::from(planned.keeps);
        }
        u64::try_from(most).unwrap_or(u64::MAX)
    }

    /// The table that is expected to be the largest, with its stage.
    pub fn largest(&self) -> Option<(&'static str, &TableEstimate)> {
        let stages = self.stages.iter();
        stages
            .flat_map(|planned| planned.tables.iter().map(|table| (planned.stage, table)))
            .max_by_key(|(_, table)| table.bytes)
    }

    /// Refuses what is expected to be more than the `free` bytes on the run folder's disk.
    pub fn check_space(&self, run: &RunFolder, free: u64) -> Result<()> {
        let needed = self.growth();
        let Some((stage, largest)) = self.largest().filter(|_| needed > free) else {
            return Ok(());
        };
        Err(Error::NoSpace {
            path: run.root().to_path_buf(),
            needed,
            free,
            stage,
            largest: largest.table,
            largest_bytes: largest.bytes,
            remedy: largest
                .remedy
                .map_or(String::new(), |remedy| format!("{remedy}, ")),
        })
    }
}

/// What is missing of `expected`, the parts of `record` that are still there being done. Where there are some, they tell
/// how many bytes a row takes.
pub(super) fn missing(
    expected: TableEstimate,
    run: &RunFolder,
    record: &StageRecord,
) -> TableEstimate {
    let folder = format!("{}/", expected.table);
    let is_of = |file: &&FileRecord| match &file.table {
        Some(table) => table == expected.table,
        None => file.path.starts_with(&folder),
    };
    let (mut rows, mut bytes) = (0, 0);
    let parts = record.parts.values();
    for part in parts.filter(|part| part.files.iter().all(|file| is_there(run, file))) {
        for file in part.files.iter().filter(is_of) {
            rows += if file.table.is_some() { file.rows } else { 1 };
            bytes += file.bytes;
        }
    }
    if rows == 0 {
        return expected;
    }
    let left = expected.rows.saturating_sub(rows);
    let share = |bytes: u64, of: u64| (bytes as f64 * left as f64 / of.max(1) as f64) as u64;
    TableEstimate {
        rows: left,
        raw_bytes: share(expected.raw_bytes, expected.rows),
        bytes: share(bytes, rows),
        ..expected
    }
}
