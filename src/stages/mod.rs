//! The stages of a run, in the order in which they run, and what they share.
//!
//! A stage is a value: one file with a `const STAGE`, and one line in [`STAGES`].

pub mod answer;
pub mod audit;
pub mod backprop;
mod classes;
mod columns;
pub mod confusion;
mod cosine;
pub mod duplicates;
pub mod estimate;
pub mod explain;
pub mod export;
pub mod extract;
mod features;
pub mod history;
pub mod labels;
mod layers;
pub mod neighbors;
pub mod outliers;
pub mod patches;
mod plan;
pub mod probe;
pub mod project;
pub mod report;
mod runner;
pub mod scan;
pub mod shortcuts;
pub mod similar;
mod sources;
mod space;
pub mod summary;
mod takeover;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod unit;
mod units;

pub use estimate::TableEstimate;
pub use plan::{Decision, FIRST, Planned, check_names, plan};
pub use runner::{Event, run, run_within};
pub use space::{ImageCount, Plan};

use std::sync::OnceLock;

use serde_json::Value;

use crate::{
    config::Config,
    error::{Error, Result},
    model::ModelInfo,
    progress::{Cancel, Progress},
    store::{RunFolder, StageWriter},
};

/// Every stage; whatever a stage needs stands before it.
pub const STAGES: &[Stage] = &[
    scan::STAGE,
    extract::STAGE,
    patches::STAGE,
    neighbors::STAGE,
    project::STAGE,
    confusion::STAGE,
    backprop::STAGE,
    explain::STAGE,
    duplicates::STAGE,
    probe::STAGE,
    labels::STAGE,
    outliers::STAGE,
    shortcuts::STAGE,
    audit::STAGE,
    report::STAGE,
];

/// The stage that writes a table, as its line about itself says.
pub fn writer_of(table: &str) -> Option<&'static Stage> {
    let table = match table {
        // Made of them when a query asks.
        "attributes" => "images",
        // Written beside them where there is a previous run.
        "changes" => "issues",
        table => table,
    };
    STAGES.iter().find(|stage| {
        let written = stage
            .about
            .split_once("writes ")
            .map_or("", |(_, list)| list);
        let mut words = written.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.any(|word| word == table)
    })
}

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
    /// What all of its parts would come to for so many images. Called before any work starts, for stages that have
    /// something to do; reads no image and no table.
    pub estimate: fn(&Context, images: u64) -> Result<Vec<TableEstimate>>,
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
    model: OnceLock<ModelInfo>,
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
            model: OnceLock::new(),
        }
    }

    /// The network, read when first asked for. Nothing of it runs.
    ///
    /// # Errors
    /// No model is configured, or its file is not what it should be.
    pub fn model(&self) -> Result<&ModelInfo> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let Some(path) = &self.config.model.path else {
            return Err(Error::Config(vec![
                "[model] path is missing; name a torch.export archive (.pt2), made with `python jobs/export_model.py`"
                    .to_string(),
            ]));
        };
        let model = ModelInfo::open(path, self.config.model.sidecar.as_deref())?;
        Ok(self.model.get_or_init(|| model))
    }
}
