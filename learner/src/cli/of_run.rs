//! The run that a command is about.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use common::config::Config;
use sim::OpenWorld;

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
        let path = run_dir.config_path();
        let trained = Config::load_run(&path, &[])?;
        let Some(env) = &self.env else { return Ok((run_dir, trained)) };
        for name in [&trained.environment.name, env] {
            ensure!(
                OpenWorld::shopworld(name)?.is_none(),
                "--env says where the log of a run is now, and `{name}` is the built-in world"
            );
        }
        Ok((run_dir, Config::load_run(&path, &[("environment.name", env.as_str().into())])?))
    }
}
