//! A project folder with a configuration and its runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prospect_common::Result;
use prospect_config::Config;
use prospect_engine::{
    Context, Stage,
    progress::{Cancel, Progress, ProgressKind},
    run as run_stages,
};
use prospect_store::RunFolder;
use serde_json::Value;
use tempfile::TempDir;

/// A temporary project folder, deleted on drop.
pub struct Project {
    dir: TempDir,
    /// Text of pipeline.toml.
    settings: String,
    stages: &'static [Stage],
}

impl Project {
    /// A project with these settings and no stages; paths are relative to the folder.
    pub fn new(settings: &str) -> Project {
        Project {
            dir: tempfile::tempdir().unwrap(),
            settings: settings.to_string(),
            stages: &[],
        }
    }

    /// The same project with the stages of a pipeline.
    pub fn with_stages(self, stages: &'static [Stage]) -> Project {
        Project { stages, ..self }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Writes a file and creates its parent folders.
    pub fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn config(&self, run: &str, set: &[&str]) -> Config {
        let run = format!("run.dir={run:?}");
        let set = [&[run.as_str()], set].concat();
        let set: Vec<String> = set.into_iter().map(String::from).collect();
        Config::parse(&self.path("pipeline.toml"), &self.settings, &set).unwrap()
    }

    pub fn run(&self, run: &str) -> RunFolder {
        RunFolder::create(self.path(run)).unwrap()
    }

    /// Calls `act` with a run's context.
    pub fn with<T>(&self, run: &str, set: &[&str], act: impl FnOnce(&Context) -> T) -> T {
        self.with_cancel(run, set, &Cancel::default(), act)
    }

    /// [`Project::with`], with a given cancellation.
    pub fn with_cancel<T>(
        &self,
        run: &str,
        set: &[&str],
        cancel: &Cancel,
        act: impl FnOnce(&Context) -> T,
    ) -> T {
        let (config, run) = (self.config(run, set), self.run(run));
        let progress = Progress::new(ProgressKind::Quiet);
        act(&Context::new(&config, &run, self.stages, &progress, cancel))
    }

    /// Brings a stage and its dependencies up to date; returns the summary of the stage.
    pub fn update(&self, run: &str, set: &[&str], stage: &str) -> Result<Value> {
        self.with(run, set, |ctx| {
            let lock = ctx.run.lock("test")?;
            run_stages(ctx, &lock, &[stage.to_string()], &mut |_| {})?;
            Ok(ctx.run.manifest()?.stages[stage].summary.clone())
        })
    }
}

/// A file of tests/golden.
pub fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../golden")
        .join(file)
}
