//! The context passed to every stage.

use std::{io, sync::OnceLock};

use prospect_common::{Complaint, Error, Result};
use prospect_config::Config;
use prospect_model::ModelInfo;
use prospect_store::RunFolder;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{
    Stage,
    progress::{Cancel, Progress},
};

/// The context passed to every stage.
pub struct Context<'a> {
    pub config: &'a Config,
    pub run: &'a RunFolder,
    /// Every stage of the pipeline, in run order.
    pub stages: &'a [Stage],
    pub progress: &'a Progress,
    pub cancel: &'a Cancel,
    model: OnceLock<ModelInfo>,
}

impl<'a> Context<'a> {
    pub fn new(
        config: &'a Config,
        run: &'a RunFolder,
        stages: &'a [Stage],
        progress: &'a Progress,
        cancel: &'a Cancel,
    ) -> Context<'a> {
        Context {
            config,
            run,
            stages,
            progress,
            cancel,
            model: OnceLock::new(),
        }
    }

    /// A pool of `[extract] decode_threads` threads.
    pub fn decode_pool(&self) -> Result<ThreadPool> {
        ThreadPoolBuilder::new()
            .num_threads(self.config.extract.decode_threads())
            .build()
            .map_err(|error| {
                Error::io(&self.config.images.dir, "starting threads")(io::Error::other(error))
            })
    }

    /// The network's graph, read on first use. Runs nothing.
    ///
    /// # Errors
    /// No model is configured, or its file is invalid.
    pub fn model(&self) -> Result<&ModelInfo> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let Some(path) = &self.config.model.path else {
            let predicate = "is missing; set it to a torch.export archive (.pt2) from `python jobs/export_model.py`";
            return Err(Complaint::predicate("model", "path", predicate).into());
        };
        let model = prospect_config::open_model(path, self.config.model.sidecar.as_deref())?;
        Ok(self.model.get_or_init(|| model))
    }
}
