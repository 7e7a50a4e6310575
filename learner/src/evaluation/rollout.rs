//! The sessions of a policy, without exploration.
//!
//! In: a policy and a way to build worlds; out: one [`SessionRecord`] a session, in the order of the session ids. The
//! sessions are cut into units of E; threads take units as they come. Neither their number nor their timing shows in
//! the records, because a session's course depends on the session only.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use common::{Feedback, ItemId, ItemTable, SessionId, transition::Ending};
use serde::{Deserialize, Serialize};
use sim::{Environment, Outcome};

use super::{Error, EvaluatedPolicy, EvaluationResult, SessionRecord, policy::Hierarchy, record::StepRecord};

/// Whose sessions are played. The three never meet: a session id is the key of the user's random stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Users {
    /// Those the actors learn from; sessions from 0.
    Training,
    /// Those that choose between settings and stop a training; sessions from 2^40.
    Validation,
    /// Those of final tables; sessions from 2^41.
    Test,
}

impl Users {
    /// The first session of these users. 2^40 sessions are more than any run plays.
    pub fn first_session(self) -> SessionId {
        match self {
            Self::Training => 0,
            Self::Validation => 1 << 40,
            Self::Test => 1 << 41,
        }
    }
}

/// Size and seeds of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSettings {
    /// Whose sessions.
    pub users: Users,
    /// Number of sessions, at least 2.
    pub sessions: usize,
    /// Steps after which a session is truncated, at least 1.
    pub length: usize,
    /// Seed of the bootstrap. The users' seed belongs to the world.
    pub seed: u64,
    /// Sessions side by side in a thread, E, at least 1. Changes no result.
    pub slots: usize,
    /// Threads, at least 1. Changes no result.
    pub threads: usize,
}

/// Builds a world of `settings.slots` sessions that are truncated after `settings.length` steps. Called once a thread.
pub type Worlds<'a> = dyn Fn(&EvaluationSettings) -> Result<Box<dyn Environment>, sim::Error> + Sync + 'a;

/// The sessions of one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollouts {
    /// In the order of the session ids.
    pub records: Vec<SessionRecord>,
    /// Items of the catalogue.
    pub n_items: usize,
}

/// Told how many sessions were played since it was told last, by any of the threads.
pub type Played<'a> = dyn Fn(usize) + Sync + 'a;

/// Plays the sessions and sums them up.
pub fn evaluate(
    policy: &mut dyn EvaluatedPolicy,
    worlds: &Worlds<'_>,
    settings: &EvaluationSettings,
) -> Result<EvaluationResult, Error> {
    evaluate_watched(policy, worlds, settings, &|_| ())
}

/// The same, with somebody who looks on.
pub fn evaluate_watched(
    policy: &mut dyn EvaluatedPolicy,
    worlds: &Worlds<'_>,
    settings: &EvaluationSettings,
    played: &Played<'_>,
) -> Result<EvaluationResult, Error> {
    let rollouts = roll_out_watched(policy, worlds, settings, played)?;
    Ok(EvaluationResult::new(policy.name(), &rollouts, settings))
}

impl EvaluationSettings {
    /// Checks every range; the error names the setting, its value and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        for (key, value, least, expected) in [
            ("sessions", self.sessions, 2, "at least 2"),
            ("length", self.length, 1, "at least 1"),
            ("slots", self.slots, 1, "at least 1"),
            ("threads", self.threads, 1, "at least 1"),
        ] {
            if value < least {
                return Err(Error::Setting { key, value, expected });
            }
        }
        Ok(())
    }
}

/// Plays `settings.sessions` sessions to their ends.
pub fn roll_out(
    policy: &mut dyn EvaluatedPolicy,
    worlds: &Worlds<'_>,
    settings: &EvaluationSettings,
) -> Result<Rollouts, Error> {
    roll_out_watched(policy, worlds, settings, &|_| ())
}

fn roll_out_watched(
    policy: &mut dyn EvaluatedPolicy,
    worlds: &Worlds<'_>,
    settings: &EvaluationSettings,
    played: &Played<'_>,
) -> Result<Rollouts, Error> {
    settings.validate()?;
    let n_units = settings.sessions.div_ceil(settings.slots);
    let units = Units { next: AtomicUsize::new(0), n: n_units, played };
    let mut forks: Vec<_> = (1..settings.threads.min(n_units)).map(|_| policy.fork()).collect();
    let parts: Vec<Result<Part, Error>> = std::thread::scope(|scope| {
        let units = &units;
        let others: Vec<_> = forks
            .iter_mut()
            .map(|fork| scope.spawn(move || play_units(&mut **fork, worlds, settings, units)))
            .collect();
        let mut parts = vec![play_units(policy, worlds, settings, units)];
        for other in others {
            parts.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        parts
    });
    let mut rollouts = Rollouts { records: Vec::with_capacity(settings.sessions), n_items: 0 };
    for part in parts {
        let part = part?;
        rollouts.n_items = part.n_items;
        rollouts.records.extend(part.records);
    }
    rollouts.records.sort_unstable_by_key(|record| record.session);
    Ok(rollouts)
}

/// What the threads share.
struct Units<'a> {
    /// The one that nobody has taken yet.
    next: AtomicUsize,
    n: usize,
    played: &'a Played<'a>,
}

/// What one thread has played.
struct Part {
    records: Vec<SessionRecord>,
    n_items: usize,
}

fn play_units(
    policy: &mut dyn EvaluatedPolicy,
    worlds: &Worlds<'_>,
    settings: &EvaluationSettings,
    units: &Units<'_>,
) -> Result<Part, Error> {
    let name = policy.name().to_owned();
    let failed = |source| Error::World { policy: name.clone(), source };
    let mut world = worlds(settings).map_err(failed)?;
    let mut records = Vec::new();
    loop {
        // Relaxed: the counter hands out numbers and guards no other memory.
        let unit = units.next.fetch_add(1, Ordering::Relaxed);
        if unit >= units.n {
            return Ok(Part { records, n_items: world.items().n_items() });
        }
        let first = settings.users.first_session();
        let start = unit * settings.slots;
        let end = (start + settings.slots).min(settings.sessions);
        let sessions = first + start as u64..first + end as u64;
        play_unit(&mut *world, policy, sessions, settings.length, &mut records)?;
        (units.played)(end - start);
    }
}

/// Plays the sessions of a unit side by side, at most one a slot. A world steps all its slots, so that slots without a
/// session of the unit (an incomplete unit, a user who left) play along with a filler whose course is not recorded.
fn play_unit(
    world: &mut dyn Environment,
    policy: &mut dyn EvaluatedPolicy,
    sessions: Range<SessionId>,
    length: usize,
    records: &mut Vec<SessionRecord>,
) -> Result<(), Error> {
    let n_slots = world.n_slots();
    let filler = sessions.start;
    let mut seats: Vec<Option<SessionRecord>> = Vec::with_capacity(n_slots);
    for slot in 0..n_slots {
        let session = sessions.start + slot as u64;
        let seated = sessions.contains(&session);
        seats.push(seated.then(|| SessionRecord {
            session,
            steps: Vec::with_capacity(length),
            ending: Ending::None,
        }));
        let session = if seated { session } else { filler };
        world.begin(slot, session);
        policy.begin(slot, session);
    }
    let mut actions = vec![ItemId::PADDING; n_slots];
    let mut outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; n_slots];
    while seats.iter().any(Option::is_some) {
        policy.choose(world, &mut actions)?;
        for (slot, seat) in seats.iter_mut().enumerate() {
            let Some(record) = seat else { continue };
            let item = actions[slot];
            let truth = world.truth().filter(|_| world.items().contains(item));
            record.steps.push(StepRecord {
                item,
                feedback: Feedback::Skip,
                truth: truth.map(|truth| truth.probability(slot, item)),
                internal: policy
                    .hierarchy()
                    .map_or(0.0, |hierarchy| internal_reward(hierarchy, world, slot, item)),
            });
        }
        world
            .step(&actions, &mut outcomes)
            .map_err(|source| Error::World { policy: policy.name().to_owned(), source })?;
        for slot in 0..n_slots {
            let Outcome { feedback, ending } = outcomes[slot];
            if let Some(record) = &mut seats[slot] {
                record.steps.last_mut().expect("a row was pushed above").feedback = feedback;
                record.ending = ending;
                if ending == Ending::None && record.steps.len() >= length {
                    return Err(Error::Endless { session: record.session, length });
                }
            }
            if ending != Ending::None {
                records.extend(seats[slot].take());
            }
        }
        if seats.iter().any(Option::is_some) {
            for slot in (0..n_slots).filter(|&slot| outcomes[slot].ending != Ending::None) {
                world.begin(slot, filler);
                policy.begin(slot, filler);
            }
        }
    }
    Ok(())
}

/// r_in = cos(a, g^i) (Eq 11) of `item` at the current step of a slot; 0 at positions without a goal.
fn internal_reward(hierarchy: Hierarchy<'_>, world: &dyn Environment, slot: usize, item: ItemId) -> f32 {
    let Hierarchy { layout, goals } = hierarchy;
    let items: &ItemTable = world.items();
    let position = (world.step_number(slot) % layout.n_steps as u64) as usize;
    let Some(sub_period) = layout.sub_period(position) else { return 0.0 };
    if !items.contains(item) {
        return 0.0;
    }
    let goal = &goals[(slot * layout.n_goals + sub_period) * items.n_dims()..][..items.n_dims()];
    let dot: f32 = goal.iter().zip(items.unit_embedding(item)).map(|(g, a)| g * a).sum();
    let norm = goal.iter().map(|g| g * g).sum::<f32>().sqrt();
    if norm > 0.0 { dot / norm } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::test_world::{EndPolicy, settings, worlds};

    fn play(hazard: f32, settings: &EvaluationSettings) -> Rollouts {
        roll_out(&mut EndPolicy::named("last"), &worlds(hazard), settings).unwrap()
    }

    #[test]
    fn neither_slots_nor_threads_show_in_the_records() {
        for hazard in [0.0, 0.2] {
            let expected = play(hazard, &EvaluationSettings { slots: 1, threads: 1, ..settings(21) });
            for (slots, threads) in [(1, 3), (4, 1), (8, 2), (64, 2)] {
                let found = play(hazard, &EvaluationSettings { slots, threads, ..settings(21) });
                assert_eq!(found, expected, "{slots} slots, {threads} threads, hazard {hazard}");
            }
        }
    }

    #[test]
    fn every_session_of_the_users_is_played_once_to_its_end() {
        let rollouts = play(0.2, &settings(50));
        let sessions: Vec<u64> = rollouts.records.iter().map(|r| r.session - (1 << 41)).collect();
        assert_eq!(sessions, (0..50).collect::<Vec<_>>());
        for record in &rollouts.records {
            match record.ending {
                Ending::Terminated => assert!((1..=12).contains(&record.steps.len())),
                Ending::Truncated => assert_eq!(record.steps.len(), 12),
                Ending::None => panic!("session {} did not end", record.session),
            }
        }
        assert!(rollouts.records.iter().any(|r| r.ending == Ending::Terminated));
    }

    #[test]
    fn other_users_are_other_sessions() {
        let test = play(0.0, &settings(9));
        let validation = play(0.0, &EvaluationSettings { users: Users::Validation, ..settings(9) });
        assert!(test.records.iter().zip(&validation.records).all(|(a, b)| a.steps != b.steps));
    }

    #[test]
    fn bad_settings_and_a_world_without_end_are_named() {
        let mut policy = EndPolicy::named("last");
        let one = EvaluationSettings { sessions: 1, ..settings(9) };
        let error = roll_out(&mut policy, &worlds(0.0), &one).unwrap_err();
        assert!(error.to_string().contains("`sessions` is 1"));
        let endless = |settings: &EvaluationSettings| -> Result<Box<dyn Environment>, sim::Error> {
            worlds(0.0)(&EvaluationSettings { length: 20, ..settings.clone() })
        };
        let error = roll_out(&mut policy, &endless, &settings(9)).unwrap_err();
        assert!(matches!(error, Error::Endless { length: 12, .. }), "{error}");
    }
}
