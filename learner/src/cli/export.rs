//! `learner export RUN`: the policy for other programs.

use std::path::{Path, PathBuf};

use agent::Weights;
use anyhow::{Context, Result};
use common::config::Config;
use logs::Log;

use super::{Outcome, of_run::OfRun};
use crate::{export::export, world::World};

/// Arguments of `learner export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: OfRun,
    /// Where the files go: a folder that is new or empty (docs/export.md).
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the files.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let (run_dir, config) = args.of.open()?;
    let world = World::open(&config)?;
    run_dir.check_items(world.items(), world.name())?;
    let path = run_dir.policy_path();
    let bytes = std::fs::read(&path).with_context(|| {
        format!("cannot read the policy {}; has the run come to its first checkpoint?", path.display())
    })?;
    let weights = Weights::from_safetensors(&bytes).with_context(|| path.display().to_string())?;
    let log = own_log(&config)?;
    export(&args.out, &config, &weights, world.items(), log.as_ref())?;
    let modules = if cfg!(feature = "torch") {
        "TorchScript in goals.pt, policy.pt and critic.pt"
    } else {
        "no TorchScript, as this program was built without libtorch"
    };
    super::print_lines(&format!(
        "{} is written: {} items, {modules}, shapes in policy.json",
        args.out.display(),
        world.items().n_items()
    ));
    Ok(Outcome::Done)
}

/// The log that a run learned with; none of the built-in world.
pub(super) fn own_log(config: &Config) -> Result<Option<Log>> {
    let folder = Path::new(&config.environment.name);
    Ok(if folder.is_dir() { Some(Log::open_without_embeddings(folder)?) } else { None })
}
