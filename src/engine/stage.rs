//! A stage of the pipeline, and what it tells.

use prospect_common::Result;
use prospect_findings::Finding;
use prospect_store::{Manifest, StageWriter, declare::Table};
use serde_json::Value;

use crate::{Context, TableEstimate, schema::images};

/// One step of the pipeline.
#[derive(Clone, Copy)]
pub struct Stage {
    /// What the user calls it; also its name in the manifest.
    pub name: &'static str,
    /// Raised whenever the stage would write something else for the same input.
    pub version: u32,
    /// What it does, in one line.
    pub about: &'static str,
    /// Stages whose tables it reads.
    pub needs: Needs,
    /// Every table that it may write, those for its own use among them.
    pub writes: &'static [&'static Table],
    /// What its tables say is wrong with the images: empty where they are missing. Stage `audit` gathers it.
    pub findings: Option<Findings>,
    /// Where a row depends on its image's content alone: the parameters that have no part in it. They say which images
    /// there are, what is known of them besides their content, or how the rows are cut into parts. `None` for stages that are
    /// quick, or look at all images at once.
    pub reuse: Option<&'static [&'static str]>,
    /// The checked, resolved settings that change what it writes, as a JSON object. Never threads, devices or the
    /// spelling of paths. Called for all wanted stages before any work starts, so it must not read tables.
    pub parameters: fn(&Context) -> Result<Value>,
    /// What all of its parts would come to for so many images. Called before any work starts, for stages that have
    /// something to do; reads no image and no table.
    pub estimate: fn(&Context, images: u64) -> Result<Vec<TableEstimate>>,
    /// Writes the parts that `writer` does not have yet.
    pub run: fn(&Context, &mut StageWriter) -> Result<Outcome>,
}

/// Reads what a stage has found.
pub type Findings = fn(&Context, &Manifest) -> Result<Vec<Finding>>;

/// The stages whose tables a stage reads; all of them run earlier.
#[derive(Clone, Copy)]
pub enum Needs {
    /// Those named.
    Named(&'static [&'static str]),
    /// Those named, and all that yield findings.
    Findings(&'static [&'static str]),
    /// All.
    Earlier,
}

impl Needs {
    /// The names that are written out.
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Needs::Named(names) | Needs::Findings(names) => names,
            Needs::Earlier => &[],
        }
    }

    /// The stages that are meant, of those that run earlier.
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
    /// Whether it says which images there are. Its parameters count them as `files.n`.
    pub(crate) fn lists_images(&self) -> bool {
        self.writes.iter().any(|table| table.name == images::NAME)
    }
}

/// What a finished stage tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What dependents are keyed by, where it says more than the stage's own key: scan's digest of the image list.
    pub result: Option<String>,
    /// Figures for people and for the manifest, as a JSON object.
    pub summary: Value,
}
