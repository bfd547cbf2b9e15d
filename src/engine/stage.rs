//! A stage of the pipeline, the context passed to it, and its outcome.

use std::{
    collections::BTreeSet,
    io, mem,
    sync::{Arc, Mutex, OnceLock},
};

use prospect_common::{Complaint, Error, Result};
use prospect_config::Config;
use prospect_dataset::metadata::Metadata;
use prospect_findings::Finding;
use prospect_model::ModelInfo;
use prospect_store::{Manifest, RunFolder, StageWriter, declare::Table};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::Value;

use crate::{
    Survey, TableEstimate,
    progress::{Cancel, Progress},
    schema::images,
    survey::read_metadata,
};

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

/// The context passed to every stage.
pub struct Context<'a> {
    pub config: &'a Config,
    pub run: &'a RunFolder,
    /// Every stage of the pipeline, in run order.
    pub stages: &'a [Stage],
    pub progress: &'a Progress,
    pub cancel: &'a Cancel,
    /// Images that a stage could not read as scanned, which the run then scans again.
    pub unread: Unread,
    model: OnceLock<ModelInfo>,
    survey: Mutex<Option<Arc<Survey>>>,
}

/// Ids of images.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<Mutex<BTreeSet<u32>>>);

impl Unread {
    pub fn add(&self, image_id: u32) {
        self.0
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .insert(image_id);
    }

    /// Returns and forgets the images added so far.
    pub(crate) fn take(&self) -> BTreeSet<u32> {
        mem::take(&mut self.0.lock().unwrap_or_else(|e| e.into_inner()))
    }
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
            unread: Unread::default(),
            model: OnceLock::new(),
            survey: Mutex::default(),
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

    /// The images and their metadata, read on first use: what the stages' parameters describe is what the stages see.
    ///
    /// # Errors
    /// Those of [`Survey::read`].
    pub fn survey(&self) -> Result<Arc<Survey>> {
        let mut known = self.survey.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(survey) = &*known {
            return Ok(survey.clone());
        }
        let survey = Arc::new(Survey::read(&self.config.images, self.run.root())?);
        *known = Some(survey.clone());
        Ok(survey)
    }

    /// What `read` makes of the metadata: the survey's, or that of the file if there is no survey. (The spelling of the paths may be
    /// the file's or the images'.)
    ///
    /// # Errors
    /// Those of reading the metadata.
    pub fn metadata<T>(&self, read: impl FnOnce(&Metadata) -> T) -> Result<T> {
        let known = self.survey.lock().unwrap_or_else(|e| e.into_inner());
        match &*known {
            Some(survey) => Ok(read(&survey.metadata)),
            None => Ok(read(&read_metadata(&self.config.images)?)),
        }
    }

    /// Frees the survey; the next use reads it again.
    pub(crate) fn forget_survey(&self) {
        *self.survey.lock().unwrap_or_else(|e| e.into_inner()) = None;
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
