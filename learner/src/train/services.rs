//! The replay service of a run in one process, and how it follows from the settings.

use std::{sync::Arc, time::Duration};

use actor::{Origin, Rollout, Share, VersionedPolicy};
use anyhow::{Context, Result};
use common::config::{Batch, Config, Mode};
use replay::{LocalReplay, Ratio, Settings, Shards, TableSettings, Writer, WriterSettings, client::Request};
use tokio::runtime::Runtime;

use super::trainer::Trainer;
use crate::evaluation::Users;

/// Name of the run in its own process; services of other processes are never mixed in.
pub(super) const RUN_ID: &str = "local";
/// Longest wait of a writer: beyond any evaluation, during which the learner takes nothing.
const WRITER_WAIT: Duration = Duration::from_secs(3600);

/// Settings of the replay service.
pub(super) fn replay_settings(config: &Config, n_items: usize) -> Settings {
    let table = |table: &common::config::TableConfig| TableSettings {
        capacity: table.capacity,
        min_size: table.min_size,
    };
    let (low, high) = (table(&config.replay.low), table(&config.replay.high));
    // ADR 2: the ratio of async is that of lockstep, updates an environment step.
    let ratio = (config.train.mode == Mode::Async).then(|| {
        let rows = match config.replay.low.batch {
            Batch::Rows(rows) => rows,
            Batch::Share(share) => Batch::Share(share).rows(config.replay.low.capacity),
        };
        let sessions = config.actor.actors * config.actor.sessions;
        let largest_insert = sessions.clamp(256, 4096);
        Ratio::for_updates(config.train.updates_per_step, rows, largest_insert)
    });
    Settings {
        run_id: RUN_ID.into(),
        shape: config.shape(),
        n_items,
        partial_periods: config.algorithm.partial_periods,
        low,
        high,
        ratio,
    }
}

/// Starts the shards.
pub(super) fn start_replay(trainer: &Trainer<'_>, runtime: &Runtime) -> Result<(Shards, LocalReplay)> {
    let settings = replay_settings(trainer.config, trainer.world.items().n_items());
    LocalReplay::start(&settings, trainer.config.replay.shards, runtime.handle())
        .context("cannot start the replay service")
}

/// A rollout thread's writer of this number.
pub(super) fn open_writer(shards: &Shards, runtime: &Runtime, writer: u64) -> Result<Writer> {
    let settings = WriterSettings { wait: WRITER_WAIT, ..WriterSettings::new(writer) };
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
    Request { low: Some(config.replay.low.batch), high: Some(config.replay.high.batch), key }
}
