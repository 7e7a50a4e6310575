//! The state of a rollout between two steps, as bytes: what is needed to go on bit-identically. The weights and what the
//! sink holds are saved elsewhere.

use common::codec;
use serde::{Deserialize, Serialize};

use super::{Position, Rollout};
use crate::{Error, sessions::SessionNumbers};

/// Number of this form.
const FORM: u32 = 2;

/// A rollout's state.
#[derive(Serialize, Deserialize)]
struct Saved {
    form: u32,
    world: Vec<u8>,
    sessions: SessionNumbers,
    steps_before: u64,
    steps: u64,
    /// `[E]`.
    positions: Vec<Position>,
    /// `[E, M, n]`.
    goals: Vec<f32>,
}

impl Rollout {
    /// The state between two steps (opaque bytes, versioned). Flush the sink first: what it still holds is not in it.
    pub fn save(&self) -> Vec<u8> {
        let saved = Saved {
            form: FORM,
            world: self.world.save(),
            sessions: self.sessions,
            steps_before: self.steps_before,
            steps: self.steps,
            positions: self.positions.clone(),
            goals: self.goals.clone(),
        };
        codec::encode(&saved).expect("plain values encode")
    }

    /// Goes back to what [`Self::save`] gave, also in another process.
    ///
    /// # Errors
    /// [`Error::State`] if the bytes are no state of a rollout of this size and share, [`Error::World`] if the world
    /// refuses its part. Nothing has changed then.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), Error> {
        let refused = |problem: String| Error::State(problem);
        let saved: Saved = codec::decode(state).map_err(|e| {
            let cause = std::error::Error::source(&e).map_or_else(String::new, |cause| format!(": {cause}"));
            refused(format!("{e}{cause}"))
        })?;
        if saved.form != FORM {
            return Err(refused(format!("form {}, this build reads form {FORM}", saved.form)));
        }
        let (e, found) = (self.positions.len(), saved.positions.len());
        if found != e || saved.goals.len() != self.goals.len() {
            return Err(refused(format!(
                "{found} sessions with {} goal components, this rollout has {e} with {}",
                saved.goals.len(),
                self.goals.len()
            )));
        }
        if !saved.sessions.is_of_same_actor(&self.sessions) {
            return Err(refused("it belongs to another actor or number of actors".to_owned()));
        }
        if let Some(position) = saved.positions.iter().find(|p| p.step as usize >= self.layout.n_steps) {
            let c = self.layout.n_steps;
            return Err(refused(format!("position {} in a period of {c} steps", position.step)));
        }
        self.world.restore(&saved.world)?;
        self.sessions = saved.sessions;
        self.steps_before = saved.steps_before;
        self.steps = saved.steps;
        self.positions = saved.positions;
        self.goals = saved.goals;
        Ok(())
    }
}
