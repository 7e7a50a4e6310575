//! The run that a command is about.

use std::path::PathBuf;

use anyhow::Result;
use common::config::Config;

use crate::run_dir::RunDir;

/// A run that is there.
#[derive(Debug, clap::Args)]
pub(super) struct OfRun {
    /// The run directory.
    #[arg(value_name = "RUN")]
    pub(super) run: PathBuf,
    /// The world it learned in, where that is a log that now has another path, or is seen from another directory; its items
    /// must be the same [default: as it was typed then].
    #[arg(long, value_name = "LOG")]
    env: Option<String>,
}

impl OfRun {
    /// The directory and its settings.
    pub(super) fn open(&self) -> Result<(RunDir, Config)> {
        let run_dir = RunDir::open(&self.run)?;
        let env = self.env.iter().map(|env| ("environment.name", env.as_str().into()));
        let config = Config::load_run(&run_dir.config_path(), &env.collect::<Vec<_>>())?;
        Ok((run_dir, config))
    }
}
