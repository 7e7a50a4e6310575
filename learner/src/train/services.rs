//! The replay service of a run in one process, and how it follows from the settings.

use std::{sync::Arc, time::Duration};

use actor::{Origin, Rollout, Share, VersionedPolicy};
use anyhow::{Context, Result};
use common::config::Config;
use replay::{LocalReplay, Sampler, Settings, Shards, Writer, WriterSettings, client::Request};
use tokio::runtime::Runtime;

use super::{relabel::needs_periods, trainer::Trainer};
use crate::evaluation::Users;

/// Name of the run in its own process; services of other processes are never mixed in.
pub(super) const RUN_ID: &str = "local";
/// Longest wait of a writer or a prefetched minibatch: beyond any evaluation, during which the learner takes nothing.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// Starts the shards.
pub(super) fn start_replay(trainer: &Trainer<'_>, runtime: &Runtime) -> Result<(Shards, LocalReplay)> {
    let settings = Settings::from_config(trainer.config, RUN_ID, trainer.world.items().n_items());
    LocalReplay::start(&settings, trainer.config.replay.shards, runtime.handle())
        .context("cannot start the replay service")
}

/// A sampler whose importance weights are the settings'.
pub(super) fn open_sampler(shards: &Shards, wait: Duration, config: &Config) -> Sampler {
    shards
        .sampler(wait)
        .with_importance_exponent(config.replay.importance_exponent)
        .with_whole_periods(needs_periods(config))
}

/// A rollout thread's writer of this number.
pub(super) fn open_writer(shards: &Shards, runtime: &Runtime, writer: u64) -> Result<Writer> {
    let settings = WriterSettings { wait: LONG, ..WriterSettings::new(writer) };
    runtime.block_on(shards.writer(settings)).context("cannot write to the replay service")
}

/// The sessions of rollout thread `actor`, from `origin` on.
pub(super) fn open_rollout(
    trainer: &Trainer<'_>,
    policy: &Arc<VersionedPolicy>,
    actor: usize,
    origin: Origin,
) -> Result<Rollout> {
    let config = trainer.config;
    let world =
        trainer.world.build(Users::Training, config.actor.sessions, config.environment.session_length)?;
    let share = Share { actor: actor as u64, n_actors: config.actor.actors as u64 };
    let mut rollout =
        Rollout::new(world, Arc::clone(policy), trainer.explorer(), config.period_layout(), share)
            .context("cannot begin the rollouts")?;
    if origin != Origin::default() {
        rollout.begin_at(origin);
    }
    Ok(rollout)
}

/// What update `number` (from 0) samples. The key follows from the seed, so that a minibatch can be drawn again.
pub(super) fn request(config: &Config, number: u64) -> Request {
    // Odd multiplier: distinct seeds and updates have distinct keys within 2^32 updates.
    let key = config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number);
    // Without a high-level agent nothing is stored for it.
    let high = config.model.has_high_level().then_some(config.replay.high.batch);
    Request { low: Some(config.replay.low.batch), high, key }
}
