//! One thread's sessions (Algorithm 1, lines 5-23).
//!
//! In: a world of E sessions, the newest weights, a sink; out: a stream of periods and steps into the sink. Owner: one
//! thread. At fixed weights a session's course depends on the seed and the session alone, never on E, the slot, the
//! number of actors or timing; only the `random_steps` at the start of a run depend on how far the run is. Warm steps
//! allocate nothing.

#[cfg(test)]
mod allocations;
mod following;
#[cfg(test)]
mod following_tests;
mod saved;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use agent::{
    Address, Chooser, Explorer, Guidance, NO_GOAL, NoiseCounts, Scratch, Sessions, exploration::Turn,
};
use common::{
    Feedback, ItemId, PeriodLayout, SessionId,
    history::N_WINDOWS,
    transition::{Ending, PeriodStart, Step},
};
use replay::TransitionSink;
use serde::{Deserialize, Serialize};
use sim::{Environment, Outcome};

use crate::{Counts, Error, Times, VersionedPolicy, sessions::SessionNumbers, times::Lap};
use following::Following;

pub use following::NewWeights;

/// Where a session is in its periods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Number of the period, from 0.
    period: u32,
    /// p = t mod c, `0..c`.
    step: u32,
}

/// Who plays which sessions: actor `actor` (`0..n_actors`) plays `actor`, `actor + n_actors`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Number of this actor.
    pub actor: u64,
    /// Actors of the run.
    pub n_actors: u64,
}

/// Where a rollout begins when its run has gone before: a run that is resumed without the sessions in progress plays
/// sessions of its own, and is as far as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// First session of the rollouts together, beyond all that were played.
    pub first_session: SessionId,
    /// Environment steps of the run before.
    pub steps: u64,
    /// Steps of the whole run for each of this rollout; 0: as many as there are actors in the share.
    pub pace: u64,
}

/// E sessions side by side.
pub struct Rollout {
    world: Box<dyn Environment>,
    policy: Arc<VersionedPolicy>,
    following: Option<Following>,
    explorer: Explorer,
    chooser: Chooser,
    layout: PeriodLayout,
    sessions: SessionNumbers,
    share: Share,
    /// Environment steps of the whole run before this rollout.
    steps_before: u64,
    /// Steps of the whole run for each of this rollout.
    pace: u64,
    /// Environment steps of this rollout so far.
    steps: u64,
    times: Times,
    /// `[E]`.
    positions: Vec<Position>,
    /// `[E, M, n]` goals of the period that each slot is in.
    goals: Vec<f32>,
    /// A step is under way: a choice of it was void.
    under_way: bool,
    buffers: Buffers,
}

/// Working memory; nothing in it outlives a step.
struct Buffers {
    scratch: Scratch,
    /// Slots whose period is to be opened in this step.
    starting: Vec<usize>,
    period: PeriodStart,
    /// `[E]`.
    addresses: Vec<Address>,
    /// `[E]` number of the active goal.
    active: Vec<u8>,
    /// `[E, n]`.
    virtual_actions: Vec<f32>,
    /// `[E]`.
    items: Vec<ItemId>,
    /// `[E]`.
    outcomes: Vec<Outcome>,
    /// Slots whose session was lost in this step.
    lost: Vec<usize>,
}

impl Rollout {
    /// Begins the share's first sessions in all slots of `world`.
    ///
    /// # Errors
    /// [`Error::Setting`] if world, policy and layout disagree on a size.
    pub fn new(
        world: Box<dyn Environment>,
        policy: Arc<VersionedPolicy>,
        explorer: Explorer,
        layout: PeriodLayout,
        share: Share,
    ) -> Result<Self, Error> {
        check_fit(&*world, &policy, layout)?;
        let (n_slots, n_dims) = (world.n_slots(), world.items().n_dims());
        let buffers = Buffers {
            scratch: Scratch::default(),
            starting: Vec::with_capacity(n_slots),
            period: PeriodStart {
                session: 0,
                period: 0,
                policy_version: 0,
                windows: vec![ItemId::PADDING; N_WINDOWS * world.window()],
                goals: vec![0.0; layout.n_goals * n_dims],
            },
            addresses: Vec::with_capacity(n_slots),
            active: Vec::with_capacity(n_slots),
            virtual_actions: vec![0.0; n_slots * n_dims],
            items: vec![ItemId::PADDING; n_slots],
            outcomes: vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; n_slots],
            lost: Vec::with_capacity(n_slots),
        };
        let mut rollout = Self {
            chooser: Chooser::new(Arc::clone(world.items()), policy.policy.model().item_search),
            positions: vec![Position::default(); n_slots],
            goals: vec![0.0; n_slots * layout.n_goals * n_dims],
            sessions: SessionNumbers::new(0, share.actor, share.n_actors),
            share,
            steps_before: 0,
            pace: share.n_actors,
            steps: 0,
            times: Times::default(),
            under_way: false,
            following: None,
            world,
            policy,
            explorer,
            layout,
            buffers,
        };
        rollout.begin_at(Origin::default());
        Ok(rollout)
    }

    /// Begins anew: the share's first sessions from `origin` on in all slots.
    pub fn begin_at(&mut self, origin: Origin) {
        self.sessions = SessionNumbers::new(origin.first_session, self.share.actor, self.share.n_actors);
        (self.steps_before, self.steps, self.under_way) = (origin.steps, 0, false);
        self.pace = if origin.pace == 0 { self.share.n_actors } else { origin.pace };
        for slot in 0..self.n_slots() {
            self.positions[slot] = Position::default();
            self.world.begin(slot, self.sessions.draw());
        }
    }

    /// Number of sessions side by side, E.
    pub fn n_slots(&self) -> usize {
        self.world.n_slots()
    }

    /// Environment steps so far, E a call of [`Self::step`].
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Where its time went so far.
    pub fn times(&self) -> Times {
        self.times
    }

    /// The weights in use.
    pub fn policy(&self) -> &Arc<VersionedPolicy> {
        &self.policy
    }

    /// Changes the weights between two steps. Goals that are set stay until their period is over.
    ///
    /// # Errors
    /// [`Error::Setting`] if the policy does not fit the world; the old one stays then.
    pub fn set_policy(&mut self, policy: Arc<VersionedPolicy>) -> Result<(), Error> {
        check_fit(&*self.world, &policy, self.layout)?;
        self.policy = policy;
        Ok(())
    }

    /// One step of all E sessions. A session that the sink lost ([`replay::Error::SessionLost`]) is given up: another
    /// one begins in its slot, and its step counts for nothing. There are no steps where the weights became too old for
    /// a choice ([`NewWeights`]): the next call goes on from there.
    ///
    /// # Errors
    /// What the world or the sink refuse, [`Error::StalePolicy`]. The rollout cannot go on then, but from a saved state.
    pub fn step(&mut self, sink: &mut dyn TransitionSink) -> Result<Counts, Error> {
        let (mut lap, waited) = (Lap::start(), sink.waited());
        self.read_addresses();
        if !self.under_way {
            let Buffers { starting, .. } = &mut self.buffers;
            starting.clear();
            starting.extend((0..self.positions.len()).filter(|&slot| self.positions[slot].step == 0));
        }
        self.under_way = true;
        let mut write = Duration::ZERO;
        while !self.buffers.starting.is_empty() {
            self.set_goals();
            if self.is_void() {
                return Ok(Counts::default());
            }
            self.times.forward += lap.read();
            self.begin_periods(sink)?;
            self.begin_instead_of_lost();
            write += lap.read();
            // The sink may have waited for long.
            self.take_newest()?;
        }
        let noise = self.choose()?;
        if self.is_void() {
            self.add_write(write, sink.waited() - waited);
            return Ok(Counts::default());
        }
        self.under_way = false;
        self.times.forward += lap.read();
        self.world.step(&self.buffers.items, &mut self.buffers.outcomes)?;
        self.check_answers()?;
        self.times.environment += lap.read();
        let mut counts = Counts::of_noise(noise);
        for slot in 0..self.world.n_slots() {
            let Outcome { feedback, ending } = self.buffers.outcomes[slot];
            let step = Step { item: self.buffers.items[slot], feedback, ending };
            match sink.step(self.world.session(slot), step) {
                Ok(()) => counts.add_step(feedback, ending),
                Err(error) => self.give_up(slot, error)?,
            }
        }
        write += lap.read();
        for slot in 0..self.world.n_slots() {
            match self.buffers.lost.contains(&slot) {
                true => self.begin(slot),
                false => self.advance(slot, self.buffers.outcomes[slot].ending),
            }
        }
        self.buffers.lost.clear();
        self.times.environment += lap.read();
        self.add_write(write, sink.waited() - waited);
        self.steps += counts.steps;
        Ok(counts)
    }

    fn add_write(&mut self, wall: Duration, waited: Duration) {
        self.times.write += wall.saturating_sub(waited);
        self.times.wait += waited;
    }

    fn read_addresses(&mut self) {
        let addresses = &mut self.buffers.addresses;
        addresses.clear();
        addresses.extend(
            (0..self.world.n_slots()).map(|slot| Address {
                session: self.world.session(slot),
                step: self.world.step_number(slot),
            }),
        );
    }

    /// Notes that the sink lost the session of a slot; any other error is passed on.
    fn give_up(&mut self, slot: usize, error: replay::Error) -> Result<(), Error> {
        match error {
            replay::Error::SessionLost { session } => {
                tracing::debug!(session, "a session was lost with its replay shard: another one begins");
                self.buffers.lost.push(slot);
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// Begins the next session in a slot.
    fn begin(&mut self, slot: usize) {
        self.positions[slot] = Position::default();
        self.world.begin(slot, self.sessions.draw());
    }

    /// Begins the next sessions in the slots that lost theirs, which are those that start a period then.
    fn begin_instead_of_lost(&mut self) {
        for k in 0..self.buffers.lost.len() {
            self.begin(self.buffers.lost[k]);
        }
        let Buffers { starting, lost, .. } = &mut self.buffers;
        std::mem::swap(starting, lost);
        lost.clear();
        self.read_addresses();
    }

    /// Sets the goals of the starting sessions, those at p = 0 (Algorithm 1, lines 7-9).
    fn set_goals(&mut self) {
        let Buffers { scratch, starting, period, addresses, .. } = &mut self.buffers;
        let sessions = Sessions { windows: self.world.windows(), selected: Some(starting) };
        // Eq 4
        self.policy.policy.goals(sessions, scratch, &mut self.goals);
        let n_goals = period.goals.len();
        for &slot in starting.iter() {
            self.explorer.perturb_goals(addresses[slot], &mut self.goals[slot * n_goals..][..n_goals]);
        }
    }

    /// Opens the periods of the starting sessions in the sink.
    fn begin_periods(&mut self, sink: &mut dyn TransitionSink) -> Result<(), Error> {
        for k in 0..self.buffers.starting.len() {
            let Buffers { starting, period, addresses, .. } = &mut self.buffers;
            let (slot, windows) = (starting[k], self.world.windows());
            let (n_goals, n_windows) = (period.goals.len(), period.windows.len());
            period.session = addresses[slot].session;
            period.period = self.positions[slot].period;
            period.policy_version = self.policy.version;
            period.windows.copy_from_slice(&windows[slot * n_windows..][..n_windows]);
            period.goals.copy_from_slice(&self.goals[slot * n_goals..][..n_goals]);
            if let Err(error) = sink.begin_period(period) {
                self.give_up(slot, error)?;
            }
        }
        Ok(())
    }

    /// Fills `items` (Algorithm 1, lines 11-12): virtual action, noise, action mapping.
    fn choose(&mut self) -> Result<NoiseCounts, Error> {
        let Buffers { scratch, addresses, active, virtual_actions, items, .. } = &mut self.buffers;
        active.clear();
        active.extend(self.positions.iter().map(|position| {
            let i = self.layout.sub_period(position.step as usize);
            i.map_or(NO_GOAL, |i| i as u8)
        }));
        let guidance = Guidance { goals: &self.goals, active };
        // Eq 7
        let sessions = Sessions::all(self.world.windows());
        self.policy.policy.virtual_actions(sessions, guidance, scratch, virtual_actions);
        // With A actors at an equal pace the run is A times as far as this rollout.
        let run_step = self.steps_before + self.steps * self.pace;
        let turn = Turn { run_step, addresses, recall: self.world.recall() };
        // Eq 9
        let (chooser, policy) = (&mut self.chooser, &self.policy.policy);
        chooser.begin(policy, sessions, guidance);
        let map = |row, action: &[f32], recall: &_| chooser.choose(policy, row, action, recall);
        let chosen = self.explorer.choose(turn, virtual_actions, map, items);
        chosen.map_err(|error| match error {
            agent::Error::NoCandidate { row } => Error::NoCandidate { session: addresses[row].session },
            other => Error::Agent(other),
        })
    }

    /// Moves a slot on: to the next position of its period, to its next period, or to the next session.
    fn advance(&mut self, slot: usize, ending: Ending) {
        let position = &mut self.positions[slot];
        if ending != Ending::None {
            self.begin(slot);
        } else if position.step as usize + 1 == self.layout.n_steps {
            *position = Position { period: position.period + 1, step: 0 };
        } else {
            position.step += 1;
        }
    }
}

/// World, policy and layout agree on n, N, M and c.
fn check_fit(world: &dyn Environment, policy: &VersionedPolicy, layout: PeriodLayout) -> Result<(), Error> {
    let model = policy.policy.model();
    for (what, expected, found) in [
        ("policy's embedding size n", world.items().n_dims(), model.n_dims),
        ("policy's history window N", world.window(), model.window),
        ("policy's goals per period M", layout.n_goals, model.n_goals),
        ("policy's steps per period c", layout.n_steps, model.period_steps),
    ] {
        if found != expected {
            return Err(Error::Setting { what, problem: format!("{found}, the world's is {expected}") });
        }
    }
    Ok(())
}
