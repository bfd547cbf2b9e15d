//! A stage of the pipeline and its outcome.

use prospect_common::Result;
use prospect_findings::Finding;
use prospect_store::{Manifest, StageWriter, declare::Table};
use serde_json::Value;

use crate::{Context, TableEstimate, schema::images};

/// One step of the pipeline.
#[derive(Clone, Copy)]
pub struct Stage {
    /// Its name on the command line and in the manifest.
    pub name: &'static str,
    /// Incremented when the stage's output for the same input changes.
    pub version: u32,
    /// One-line description.
    pub about: &'static str,
    /// Stages whose tables it reads.
    pub needs: Needs,
    /// Every table that it may write, including internal ones.
    pub writes: &'static [&'static Table],
    /// Reads the findings in its tables, which stage `audit` gathers; none if the tables are missing.
    pub findings: Option<Findings>,
    /// For stages whose rows depend only on each image's content: the parameters that do not affect a row, such as the list of
    /// images, their metadata or the size of parts. `None` for stages that are fast or use all images at once.
    pub reuse: Option<&'static [&'static str]>,
    /// The checked, resolved settings that change what it writes, as a JSON object. Never threads, devices or the
    /// spelling of paths. Called for all wanted stages before any work starts, so it must not read tables.
    pub parameters: fn(&Context) -> Result<Value>,
    /// Estimated output of all parts for a number of images. Called before any work starts, for stages that will run; reads no
    /// image and no table.
    pub estimate: fn(&Context, images: u64) -> Result<Vec<TableEstimate>>,
    /// Writes the parts that `writer` does not have yet.
    pub run: fn(&Context, &mut StageWriter) -> Result<Outcome>,
}

/// Reads a stage's findings.
pub type Findings = fn(&Context, &Manifest) -> Result<Vec<Finding>>;

/// The stages whose tables a stage reads; all of them run earlier.
#[derive(Clone, Copy)]
pub enum Needs {
    /// The named stages.
    Named(&'static [&'static str]),
    /// The named stages, and all that yield findings.
    Findings(&'static [&'static str]),
    /// All earlier stages.
    Earlier,
}

impl Needs {
    /// The explicit names.
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Needs::Named(names) | Needs::Findings(names) => names,
            Needs::Earlier => &[],
        }
    }

    /// The matching stages among the earlier ones.
    pub(crate) fn among<'s>(&self, earlier: &'s [Stage]) -> Vec<&'s Stage> {
        let named = |name: &&str| earlier.iter().find(|stage| stage.name == *name);
        let mut needs: Vec<&Stage> = self.names().iter().filter_map(named).collect();
        let more = earlier.iter().filter(|stage| match self {
            Needs::Named(_) => false,
            Needs::Findings(names) => stage.findings.is_some() && !names.contains(&stage.name),
            Needs::Earlier => true,
        });
        needs.extend(more);
        needs
    }
}

impl Stage {
    /// Whether it lists the images. Its parameters have their number as `files.n`.
    pub(crate) fn lists_images(&self) -> bool {
        self.writes.iter().any(|table| table.name == images::NAME)
    }
}

/// Result of a finished stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Key for dependents, if more precise than the stage's own: scan's digest of the image list.
    pub result: Option<String>,
    /// Summary for users and the manifest, a JSON object.
    pub summary: Value,
}
