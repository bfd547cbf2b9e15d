//! Estimated output of a run, and whether it fits on the disk.

use prospect_common::{Error, Result};
use prospect_store::{FileRecord, Manifest, RunFolder, StageRecord};
use serde::Serialize;

use super::{
    TableEstimate,
    decision::{Decision, Prepared},
    schema::images,
};

/// One stage of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStage {
    pub stage: &'static str,
    pub about: &'static str,
    #[serde(flatten)]
    pub decision: Decision,
    /// Estimated output still to be written, if it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableEstimate>,
    /// Bytes written under other settings, deleted before the stage writes.
    pub replaces: u64,
    /// Bytes of earlier rows, kept for reuse and deleted when the stage is complete.
    #[serde(skip_serializing_if = "is_zero")]
    pub keeps: u64,
    /// Whether it is complete under its present settings, and waits: it runs only if an earlier stage finds changes.
    #[serde(skip)]
    pub may_stay: bool,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Plan of a run, with its estimated output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The requested stages and their dependencies, in run order.
    pub stages: Vec<PlannedStage>,
    /// The number of images for the estimates, if known.
    pub images: Option<ImageCount>,
}

/// The number of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ImageCount {
    pub n: u64,
    /// `table images` if a scan is up to date, else `folder listing`.
    pub source: &'static str,
}

impl ImageCount {
    /// From the table of images if it is up to date, else from the file listing in its stage's parameters.
    pub(super) fn of(
        prepared: &[Prepared],
        stages: &[PlannedStage],
        manifest: &Manifest,
    ) -> Option<ImageCount> {
        let at = (prepared.iter()).position(|prepared| prepared.stage.lists_images())?;
        if stages[at].decision == Decision::Reuse {
            return ImageCount::now(prepared, manifest);
        }
        Some(ImageCount {
            n: prepared[at].parameters["files"]["n"].as_u64()?,
            source: "folder listing",
        })
    }

    /// From the table of images.
    pub(super) fn now(prepared: &[Prepared], manifest: &Manifest) -> Option<ImageCount> {
        let lister = prepared.iter().find(|one| one.stage.lists_images())?;
        Some(ImageCount {
            n: manifest.stages.get(lister.stage.name)?.rows(images::NAME),
            source: "table images",
        })
    }
}

impl Plan {
    /// Estimated output of all stages, in bytes.
    pub fn bytes(&self) -> u64 {
        let tables = self.stages.iter().flat_map(|planned| &planned.tables);
        tables.map(|table| table.bytes).sum()
    }

    /// Largest growth of the run folder, in bytes, while the stages run in sequence. Each first deletes its output under other
    /// settings and, when complete, the earlier rows it reused. Stages that may stay as they are do not count.
    pub fn growth(&self) -> u64 {
        let (mut now, mut most) = (0i128, 0);
        for planned in self.stages.iter().filter(|planned| !planned.may_stay) {
            now -= i128::from(planned.replaces);
            now += (planned.tables.iter())
                .map(|table| i128::from(table.bytes))
                .sum::<i128>();
            most = most.max(now);
            now -= i128::from(planned.keeps);
        }
        u64::try_from(most).unwrap_or(u64::MAX)
    }

    /// The largest estimated table, with its stage.
    pub fn largest(&self) -> Option<(&'static str, &TableEstimate)> {
        let stages = self.stages.iter().filter(|planned| !planned.may_stay);
        stages
            .flat_map(|planned| planned.tables.iter().map(|table| (planned.stage, table)))
            .max_by_key(|(_, table)| table.bytes)
    }

    /// Fails if the estimated growth exceeds the `free` bytes on the run folder's disk.
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

/// The part of `expected` still to be written, given the finished parts of `record`, which also give the actual bytes per row.
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
    for part in parts.filter(|part| part.stands(run)) {
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
