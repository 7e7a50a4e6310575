//! The logged sessions of a world: what supervised methods learn from, and what all methods rank.
//!
//! In: a world, a budget; out: an [`InteractionLog`]. Of an imported log its training and test days; else what the world's
//! logging policy shows to training and test users, as many impressions as a run has environment steps.

use anyhow::Result;
use common::config::Config;
use logs::Split;

use super::Budget;
use crate::{baselines::InteractionLog, evaluation::Users, world::World};

/// Seed of the test sessions: the same for all methods and seeds.
const TEST_SEED: u64 = 0;

/// Sessions to learn from. `seed` is that of the logging policy's draws.
///
/// # Errors
/// A log that cannot be read; a world without a logging policy.
pub fn training(world: &World, config: &Config, budget: &Budget, seed: u64) -> Result<InteractionLog> {
    let sessions = budget.steps / config.environment.session_length as u64;
    InteractionLog::of_world(world, config, Split::Train, (Users::Training, sessions, seed))
}

/// Sessions to rank: at most `budget.sessions`, of a log at equal distances.
///
/// # Errors
/// As for [`training`].
pub fn test(world: &World, config: &Config, budget: &Budget) -> Result<InteractionLog> {
    let users = (Users::Test, budget.sessions as u64, TEST_SEED);
    Ok(InteractionLog::of_world(world, config, Split::Test, users)?.evenly(budget.sessions))
}
