//! A learned simulator saved and restored. Members, starts and candidates follow from the sessions, the networks' states
//! from the windows: only the slots are kept.

use common::codec;
use serde::{Deserialize, Serialize};

use super::{LearnedSettings, LearnedWorld};
use crate::{
    Environment, Error,
    slots::{SavedSlots, Slots},
};

/// Raised whenever the meaning of the bytes changes.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    /// SHA-256 of the networks' tensors.
    model: [u8; 32],
    settings: LearnedSettings,
    slots: SavedSlots,
}

pub(super) fn save(world: &LearnedWorld) -> Vec<u8> {
    let saved = Saved {
        version: VERSION,
        model: world.model.digest(),
        settings: world.settings,
        slots: world.slots.save(),
    };
    codec::encode(&saved).expect("a few kB a slot: far below the codec's limit")
}

pub(super) fn read(world: &LearnedWorld, bytes: &[u8]) -> Result<Slots, Error> {
    let saved: Saved = codec::decode(bytes).map_err(|error| Error::State(error.to_string()))?;
    if (saved.version, saved.model) != (VERSION, world.model.digest()) {
        return Err(Error::State(
            "it was saved by a simulator of other networks or another version".to_owned(),
        ));
    }
    if saved.settings != world.settings {
        return Err(Error::State("it was saved by a simulator of another seed, size or noise".to_owned()));
    }
    world.slots.restored(saved.slots, world.items(), |session| world.candidates(session))
}
