//! A ShopWorld saved and restored: bytes that name their world, so that no other one takes them for its own.

use common::{RecallSet, SessionId, codec};
use serde::{Deserialize, Serialize};

use super::{Dynamics, ShopWorld, ShopWorldSettings, user::User};
use crate::{
    Environment, Error,
    slots::{SavedSlots, Slots},
};

/// Raised whenever the meaning of the bytes changes.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    world: Identity,
    slots: SavedSlots,
    users: Vec<User>,
}

/// What must be equal for a state to make sense.
#[derive(PartialEq, Serialize, Deserialize)]
struct Identity {
    version: u32,
    world_seed: u64,
    settings: ShopWorldSettings,
    dynamics: Dynamics,
}

fn identity(world: &ShopWorld) -> Identity {
    Identity {
        version: VERSION,
        world_seed: world.catalogue().world_seed(),
        settings: *world.settings(),
        dynamics: world.dynamics,
    }
}

pub(super) fn save(world: &ShopWorld) -> Vec<u8> {
    let saved = Saved { world: identity(world), slots: world.slots.save(), users: world.users.clone() };
    codec::encode(&saved).expect("a few kB a slot: far below the codec's limit")
}

/// The slots and users of saved bytes, checked against `world`.
pub(super) fn read(
    world: &ShopWorld,
    bytes: &[u8],
    candidates: impl FnMut(SessionId) -> RecallSet,
) -> Result<(Slots, Vec<User>), Error> {
    let refuse = |problem: &str| Error::State(problem.to_owned());
    let saved: Saved = codec::decode(bytes).map_err(|error| Error::State(error.to_string()))?;
    if saved.world != identity(world) {
        return Err(refuse("it was saved by a ShopWorld of another seed, size, variant or version"));
    }
    if saved.users.len() != world.n_slots() {
        return Err(refuse("another number of users"));
    }
    if !saved.users.iter().all(User::is_finite) {
        return Err(refuse("a user's state is not a finite number"));
    }
    let slots = world.slots.restored(saved.slots, world.items(), candidates)?;
    Ok((slots, saved.users))
}
