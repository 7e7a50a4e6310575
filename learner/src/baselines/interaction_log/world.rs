//! The logged sessions of the world that a run names.

use std::path::Path;

use common::config::Config;
use logs::{Log, Split};
use sim::Reference;

use super::{Clickless, InteractionLog};
use crate::{evaluation::Users, world::World};

/// Sessions side by side while the logging policy writes.
const SLOTS: usize = 64;

impl InteractionLog {
    /// Of an imported log all sessions of a split, training ones only with a click (Sec 4.1.1), which are those that move windows,
    /// of test days too; of another world the first
    /// `sessions` of some users under the logging policy, whose draws have a seed.
    ///
    /// # Errors
    /// A log that cannot be read; a world without a logging policy.
    pub fn of_world(
        world: &World,
        config: &Config,
        split: Split,
        (users, sessions, seed): (Users, u64, u64),
    ) -> anyhow::Result<Self> {
        let path = Path::new(world.name());
        if path.is_dir() {
            let clickless = match split {
                Split::Train => Clickless::LeftOut,
                Split::Test => Clickless::Aside,
            };
            return Ok(Self::of_log(&Log::open(path)?, split, config.model.window, clickless));
        }
        let mut environment = world.build(users, SLOTS, config.environment.session_length)?;
        let first = users.first_session();
        Ok(Self::roll_out(&mut *environment, Reference::Logging, first..first + sessions, seed)?)
    }
}
