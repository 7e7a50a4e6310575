//! The loop: rollouts fill the replay, the engine updates, new weights go back to the rollouts.
//!
//! In: a configuration and a run directory; out: metrics, checkpoints and the policy in that directory. All roles run in
//! this process, on the services that a cluster runs, through in-memory pipes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`lockstep`] | Algorithm 1 serially; bitwise reproducible, also across a resume |
//! | [`cluster`] | the learner of a cluster: actors and shards are processes of their own |
//! | [`asynchronous`] | actor threads and the learner running freely under the rate limiter |
//! | [`trainer`] | what both share: engine, schedule of evaluations and checkpoints |
//! | [`warm_start`] | a start that imitates the log |
//! | [`relabel`] | sampled low-level rows with returns of several steps and goals in hindsight |
//! | [`records`] | what is measured and written |
//! | [`clock`] | where the time goes |
//! | [`services`] | the replay service of this process, rollouts and writers from the settings |
//! | [`ages`] | ages of the rows of minibatches, and their quantiles |
//! | [`averages`] | means of what updates and rollouts measure between two records |
//! | [`resume`] | what a checkpoint holds beside the networks |
//! | [`priorities`] | what the critics' errors say of rows that were drawn by priority |
//! | [`progress`] | what a person sees meanwhile |
//! | [`room`] | a disk without room |
//! | [`interrupt`] | Ctrl-C |

mod ages;
mod asynchronous;
mod averages;
mod clock;
mod cluster;
mod interrupt;
mod lockstep;
mod priorities;
mod progress;
mod records;
mod relabel;
mod resume;
mod room;
mod services;
mod trainer;
pub mod warm_start;

use anyhow::{Context, Result};
use common::config::{Config, Mode};

pub use cluster::{Ended, Finished, run_cluster};
pub use interrupt::{Asked, Interrupt};
pub use resume::{may_change, may_move};

use crate::{engine::choice, evaluation::Users, run_dir::RunDir, world::World};
use trainer::Trainer;
pub use trainer::steps_before_learning;

/// Opens the world of a configuration and checks its device and its sessions: what can be wrong with a run before it leaves any
/// file.
pub fn prepare(config: &Config) -> Result<World> {
    choice::choose(config)?;
    let world = World::open(config)?;
    let _of_one_session = world.build(Users::Training, 1, config.environment.session_length)?;
    Ok(world)
}

/// Trains until the configured number of environment steps, or until interrupted; true if it got to the end. Either way
/// the newest checkpoint and the policy are in the run directory afterwards. With `resume` it goes on from the newest
/// whole checkpoint there. `world` is that of [`prepare`]; the caller holds the run directory's lock.
pub fn run(
    config: &Config,
    world: &World,
    run_dir: &RunDir,
    resume: bool,
    interrupt: &Interrupt,
) -> Result<bool> {
    let runtime = runtime()?;
    let (mut trainer, resumed) = Trainer::new(config, world, run_dir, interrupt, resume)?;
    if let Some(resumed) = &resumed {
        resumed.check_kind(false)?;
    }
    match config.train.mode {
        Mode::Lockstep => lockstep::run(&mut trainer, &runtime, resumed)?,
        Mode::Async => asynchronous::run(&mut trainer, &runtime, resumed)?,
    }
    trainer.finish()
}

/// The threads of everything beside the learner's own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("services")
        .enable_all()
        .build()
        .context("cannot start the services' threads")
}
