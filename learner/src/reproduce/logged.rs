//! The logged sessions of a world: what supervised methods learn from, and what all methods rank.
//!
//! In: a world, a budget; out: an [`InteractionLog`]. Of an imported log its training and test days; else what the world's
//! logging policy shows to training and test users, as many impressions as a run has environment steps.

use std::path::Path;

use anyhow::Result;
use common::config::Config;
use logs::{Log, Split};
use sim::Reference;

use super::Budget;
use crate::{baselines::InteractionLog, evaluation::Users, world::World};

/// Sessions side by side while the logging policy writes.
const SLOTS: usize = 64;
/// Seed of the test sessions: the same for all methods and seeds.
const TEST_SEED: u64 = 0;

/// Sessions to learn from. `seed` is that of the logging policy's draws.
///
/// # Errors
/// A log that cannot be read; a world without a logging policy.
pub fn training(world: &World, config: &Config, budget: &Budget, seed: u64) -> Result<InteractionLog> {
    let sessions = budget.steps / config.environment.session_length as u64;
    of(world, config, Split::Train, (Users::Training, sessions, seed))
}

/// Sessions to rank: at most `budget.sessions`.
///
/// # Errors
/// As for [`training`].
pub fn test(world: &World, config: &Config, budget: &Budget) -> Result<InteractionLog> {
    let log = of(world, config, Split::Test, (Users::Test, budget.sessions as u64, TEST_SEED))?;
    let mut first = InteractionLog::new(log.window());
    for session in log.sessions().take(budget.sessions) {
        first.push(session.user, session.start_windows, session.steps.iter().copied());
    }
    Ok(first)
}

fn of(
    world: &World,
    config: &Config,
    split: Split,
    (users, sessions, seed): (Users, u64, u64),
) -> Result<InteractionLog> {
    let path = Path::new(world.name());
    if path.is_dir() {
        // As in the paper (Sec 4.1.1), nothing is learned from sessions without a click.
        let drop_clickless = split == Split::Train;
        return Ok(InteractionLog::of_log(&Log::open(path)?, split, config.model.window, drop_clickless));
    }
    let mut environment = world.build(users, SLOTS, config.environment.session_length)?;
    let first = users.first_session();
    Ok(InteractionLog::roll_out(&mut *environment, Reference::Logging, first..first + sessions, seed)?)
}
