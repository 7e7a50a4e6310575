//! The loop: rollouts fill the replay, the engine updates, new weights go back to the rollouts.
//!
//! In: a configuration and a run directory; out: metrics, checkpoints and the policy in that directory. All roles run in
//! this process, on the services that a cluster runs, through in-memory pipes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`lockstep`] | Algorithm 1 serially; bitwise reproducible, also across a resume |
//! | [`asynchronous`] | actor threads and the learner running freely under the rate limiter |
//! | [`trainer`] | what both share: engine, schedule of evaluations and checkpoints, metrics |
//! | [`services`] | the replay service of this process, rollouts and writers from the settings |
//! | [`averages`] | means of what updates and rollouts measure between two records |
//! | [`resume`] | what a checkpoint holds beside the networks |
//! | [`progress`] | what a person sees meanwhile |
//! | [`interrupt`] | Ctrl-C |

mod asynchronous;
mod averages;
mod interrupt;
mod lockstep;
mod progress;
mod resume;
mod services;
mod trainer;

use anyhow::{Context, Result};
use common::config::{Config, Mode};

pub use interrupt::Interrupt;

use crate::{run_dir::RunDir, world::World};
use trainer::Trainer;

/// Trains until the configured number of environment steps, or until interrupted; true if it got to the end. Either way
/// the newest checkpoint and the policy are in the run directory afterwards. With `resume` it goes on from the newest
/// checkpoint there.
pub fn run(config: &Config, run_dir: &RunDir, resume: bool, interrupt: &Interrupt) -> Result<bool> {
    let world = World::open(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("services")
        .enable_all()
        .build()
        .context("cannot start the services' threads")?;
    let mut trainer = Trainer::new(config, &world, run_dir, interrupt)?;
    let resumed = if resume { trainer.resume()? } else { None };
    match config.train.mode {
        Mode::Lockstep => lockstep::run(&mut trainer, &runtime, resumed)?,
        Mode::Async => asynchronous::run(&mut trainer, &runtime, resumed)?,
    }
    trainer.finish()
}
