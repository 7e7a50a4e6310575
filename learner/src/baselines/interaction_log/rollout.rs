//! The sessions of a world under one of its references.

use std::ops::Range;

use common::{Feedback, ItemId, SessionId, history::N_WINDOWS, transition::Ending};
use sim::{Environment, Outcome, Reference, ReferencePolicy};

use super::{InteractionLog, Step};

/// A session while it is played.
struct Recording {
    start_windows: Vec<ItemId>,
    steps: Vec<Step>,
}

impl InteractionLog {
    /// Plays `sessions` of a world to their ends under a reference, in order; the user of a session is its number. Seeds and
    /// slots as everywhere: the log depends on (world, reference, sessions, seed) only.
    ///
    /// # Errors
    /// A reference that the world does not know; sessions with too few candidates.
    pub fn roll_out(
        world: &mut dyn Environment,
        reference: Reference,
        sessions: Range<SessionId>,
        seed: u64,
    ) -> Result<Self, sim::Error> {
        let mut log = Self::new(world.window());
        let mut policy = ReferencePolicy::new(reference, seed);
        let mut first = sessions.start;
        while first < sessions.end {
            let end = sessions.end.min(first + world.n_slots() as u64);
            log.play(world, &mut policy, first..end)?;
            first = end;
        }
        Ok(log)
    }

    /// At most one session a slot, side by side. Slots without one play along with a filler, as in an evaluation.
    fn play(
        &mut self,
        world: &mut dyn Environment,
        policy: &mut ReferencePolicy,
        sessions: Range<SessionId>,
    ) -> Result<(), sim::Error> {
        let n_slots = world.n_slots();
        let row = N_WINDOWS * self.window;
        let n_sessions = (sessions.end - sessions.start) as usize;
        for slot in 0..n_slots {
            world.begin(slot, sessions.start + if slot < n_sessions { slot as u64 } else { 0 });
        }
        let starts = world.windows().chunks_exact(row).take(n_sessions);
        let mut recordings: Vec<Recording> =
            starts.map(|start| Recording { start_windows: start.to_vec(), steps: Vec::new() }).collect();
        let mut playing = vec![true; n_sessions];
        let mut actions = vec![ItemId::PADDING; n_slots];
        let mut outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; n_slots];
        let mut scores = Vec::new();
        while playing.contains(&true) {
            policy.choose(world, &mut actions)?;
            for slot in (0..n_sessions).filter(|&slot| playing[slot]) {
                let propensity = propensity(policy.reference(), world, slot, actions[slot], &mut scores);
                let (item, feedback) = (actions[slot], Feedback::Skip);
                recordings[slot].steps.push(Step { item, feedback, propensity: Some(propensity) });
            }
            world.step(&actions, &mut outcomes)?;
            for (slot, &Outcome { feedback, ending }) in outcomes.iter().enumerate() {
                if playing.get(slot) == Some(&true) {
                    recordings[slot].steps.last_mut().expect("pushed above").feedback = feedback;
                    playing[slot] = ending == Ending::None;
                }
                if ending != Ending::None {
                    world.begin(slot, sessions.start);
                }
            }
        }
        for (session, recording) in sessions.zip(recordings) {
            self.push(session, &recording.start_windows, recording.steps);
        }
        Ok(())
    }
}

/// Probability with which a reference that knows this world showed `item`.
fn propensity(
    reference: Reference,
    world: &dyn Environment,
    slot: usize,
    item: ItemId,
    scores: &mut Vec<f32>,
) -> f32 {
    let recall = &world.recall()[slot];
    match (reference, world.truth()) {
        (Reference::Random, _) => 1.0 / recall.n_left() as f32,
        (Reference::Logging, Some(truth)) if truth.logging_scores(slot, scores) => {
            // Among those left, by exp(score).
            let chosen = scores[recall.position(item).expect("a reference chooses a candidate")];
            let left = scores.iter().enumerate().filter(|&(position, _)| !recall.is_shown(position));
            1.0 / left.map(|(_, score)| (score - chosen).exp()).sum::<f32>()
        }
        // The others show their best item.
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use sim::{ShopWorld, ShopWorldSettings};

    use super::*;

    fn world(n_slots: usize, leave: bool) -> ShopWorld {
        let settings = ShopWorldSettings {
            n_slots,
            session_length: 12,
            candidates: 60,
            leave,
            ..ShopWorldSettings::default()
        };
        ShopWorld::of_variant(settings).unwrap()
    }

    #[test]
    fn neither_slots_nor_neighbours_show_in_the_log() {
        for leave in [false, true] {
            let play = |n_slots, sessions| {
                InteractionLog::roll_out(&mut world(n_slots, leave), Reference::Logging, sessions, 3).unwrap()
            };
            let log = play(1, 100..121);
            assert_eq!(log, play(8, 100..121));
            assert_eq!(log, play(64, 100..121));
            assert_eq!(log.session(20), play(4, 120..121).session(0));
            assert_eq!((log.n_sessions(), log.session(5).user), (21, 105));
        }
    }

    #[test]
    fn propensities_are_the_shares_of_many_sessions() {
        // Of one user's first step under many seeds, the most frequent item is as frequent as its propensity says.
        let mut counts = std::collections::BTreeMap::new();
        let n = 4000;
        let mut world = world(1, false);
        for seed in 0..n {
            let mut policy = ReferencePolicy::new(Reference::Logging, seed);
            world.begin(0, 5);
            let mut actions = [ItemId::PADDING];
            policy.choose(&world, &mut actions).unwrap();
            *counts.entry(actions[0]).or_insert(0_u64) += 1;
        }
        let (&item, &count) = counts.iter().max_by_key(|(_, count)| **count).unwrap();
        let p = f64::from(propensity(Reference::Logging, &world, 0, item, &mut Vec::new()));
        let share = count as f64 / n as f64;
        // Four standard errors.
        assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / n as f64).sqrt(), "{share} of the draws, {p}");
        let all = world.recall()[0].candidates().to_vec();
        let sum: f32 = all
            .into_iter()
            .filter(|&item| world.recall()[0].position(item).is_some_and(|p| !world.recall()[0].is_shown(p)))
            .map(|item| propensity(Reference::Logging, &world, 0, item, &mut Vec::new()))
            .sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }
}
