//! A start that imitates the log (D25): before the first update the low-level actor learns to point at the items that users
//! clicked or ordered.
//!
//! In: a new engine, a world; out: the same engine with another low-level actor. The sessions are those that supervised
//! methods learn from. `imitation` does it, and needs libtorch.

#[cfg(feature = "torch")]
mod imitation;

use anyhow::Result;
use common::config::Config;
use logs::Split;

use crate::{baselines::InteractionLog, engine::Engine, evaluation::Users, world::World};

/// The sessions that a run with these settings imitates: at most `train.warm_start_sessions`.
///
/// # Errors
/// A log that cannot be read; a world without a logging policy.
pub fn log(config: &Config, world: &World) -> Result<InteractionLog> {
    let sessions = config.train.warm_start_sessions;
    let log =
        InteractionLog::of_world(world, config, Split::Train, (Users::Training, sessions, config.seed))?;
    Ok(log.evenly(sessions as usize))
}

/// Replaces the low-level actor of a new engine by one that imitates the log; nothing without such sessions. The mean loss
/// of the first and the last pass.
///
/// # Errors
/// As for [`log`]; a log without a click; what the engine refuses; a build without libtorch.
#[cfg(feature = "torch")]
pub(super) fn imitate(engine: &mut dyn Engine, config: &Config, world: &World) -> Result<Option<[f64; 2]>> {
    if config.train.warm_start_sessions == 0 {
        return Ok(None);
    }
    imitation::imitate(engine, config, (world.items(), &log(config, world)?)).map(Some)
}

#[cfg(not(feature = "torch"))]
pub(super) fn imitate(_: &mut dyn Engine, config: &Config, _: &World) -> Result<Option<[f64; 2]>> {
    anyhow::ensure!(
        config.train.warm_start_sessions == 0,
        "`train.warm_start_sessions` is {}, but {}",
        config.train.warm_start_sessions,
        crate::engine::choice::NEEDS_TORCH
    );
    Ok(None)
}
