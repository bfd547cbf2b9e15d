//! Options shared by all commands.

use std::path::PathBuf;

use clap::Args;
use prospect_common::Error;
use prospect_config::Config;
use prospect_engine::progress::{Progress, ProgressKind};

/// Options shared by all commands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "pipeline.toml",
        help_heading = "Common options"
    )]
    pub(crate) config: PathBuf,
    /// Override one key of the file; repeatable. VALUE is TOML or plain text; relative paths start at the file's folder.
    /// Example: --set model.batch_size=64
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
    /// Log more; repeat for more detail
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

    /// Adds file and line to configuration errors.
    pub(crate) fn placed(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<Error>() {
            Ok(Error::Config(complaints)) => {
                Error::Config(Config::placed(&self.config, &self.set, complaints)).into()
            }
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }

    /// Progress on standard error; none with --quiet.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(if self.quiet {
            ProgressKind::Quiet
        } else {
            ProgressKind::Auto
        })
    }
}
