//! Options that every command takes.

use std::path::PathBuf;

use clap::Args;
use prospect_common::Error;
use prospect_config::Config;
use prospect_engine::progress::{Progress, ProgressKind};

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "pipeline.toml",
        help_heading = "Common options"
    )]
    pub(crate) config: PathBuf,
    /// Sets one key, over the file; repeatable. VALUE is TOML, or plain text; relative paths count from the file's
    /// folder, as in the file. Example: --set model.batch_size=64
    #[arg(
        long,
        global = true,
        value_name = "SECTION.KEY=VALUE",
        help_heading = "Common options"
    )]
    pub(crate) set: Vec<String>,
    /// Show only warnings and errors
    #[arg(short, long, global = true, help_heading = "Common options")]
    pub(crate) quiet: bool,
    /// Show what is being done; twice for every detail
    #[arg(
        short,
        long,
        global = true,
        action = clap::ArgAction::Count,
        conflicts_with = "quiet",
        help_heading = "Common options"
    )]
    pub(crate) verbose: u8,
}

impl Global {
    /// The checked configuration.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        Config::load(&self.config, &self.set)
    }

    /// The error with the lines of the configuration that it is about.
    pub(crate) fn placed(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<Error>() {
            Ok(Error::Config(complaints)) => {
                Error::Config(Config::placed(&self.config, &self.set, complaints)).into()
            }
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }

    /// Progress on standard error, as far as it is wanted.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(if self.quiet {
            ProgressKind::Quiet
        } else {
            ProgressKind::Auto
        })
    }
}
