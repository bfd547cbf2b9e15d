//! A stage of the pipeline, what it is given and what it tells.

use std::sync::OnceLock;

use prospect_common::{Error, Result};
use prospect_config::Config;
use prospect_model::ModelInfo;
use prospect_store::{RunFolder, StageWriter};
use serde_json::Value;

use crate::{
    estimate::TableEstimate,
    progress::{Cancel, Progress},
};

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
        let model = prospect_config::open_model(path, self.config.model.sidecar.as_deref())?;
        Ok(self.model.get_or_init(|| model))
    }
}
