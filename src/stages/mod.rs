//! The stages of a run, in the order in which they run, and what they share.
//!
//! A stage is a value: one file with a `const STAGE`, and one line in [`STAGES`].

mod plan;
mod runner;
#[cfg(test)]
mod tests;

pub use plan::{Decision, Planned, check_names, plan};
pub use runner::{Event, run};

use serde_json::Value;

use crate::{
    config::Config,
    error::Result,
    progress::{Cancel, Progress},
    store::{RunFolder, StageWriter},
};

/// Every stage; whatever a stage needs stands before it.
pub const STAGES: &[Stage] = &[];

/// One step of the pipeline.
pub struct Stage {
    /// What the user calls it; also its name in the manifest.
    pub name: &'static str,
    /// Raised whenever the stage would write something else for the same input.
    pub version: u32,
    /// One line: what it reads and writes.
    pub about: &'static str,
    /// Stages whose tables it reads.
    pub needs: &'static [&'static str],
    /// The checked, resolved settings that change what it writes, as a JSON object. Never threads, devices or the
    /// spelling of paths. Called for all wanted stages before any work starts, so it must not read tables.
    pub parameters: fn(&Context) -> Result<Value>,
    /// Writes the parts that `writer` does not have yet.
    pub run: fn(&Context, &mut StageWriter) -> Result<Outcome>,
}

/// What a finished stage tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What dependents are keyed by, where it says more than the stage's own key: scan's digest of the image list.
    pub result: Option<String>,
    /// Figures for people and for the manifest, as a JSON object.
    pub summary: Value,
}

/// What every stage is given.
pub struct Context<'a> {
    pub config: &'a Config,
    pub run: &'a RunFolder,
    pub progress: &'a Progress,
    pub cancel: &'a Cancel,
}

impl<'a> Context<'a> {
    pub fn new(
        config: &'a Config,
        run: &'a RunFolder,
        progress: &'a Progress,
        cancel: &'a Cancel,
    ) -> Context<'a> {
        Context {
            config,
            run,
            progress,
            cancel,
        }
    }
}
