//! The policy of a ranker.
//!
//! In: a world; out: in every slot the candidate with the largest score, of those that were not shown; ties go to the
//! lowest id. What a session was shown is told from how its windows change.

use common::{
    Feedback, ItemId, SessionId,
    history::{Kind, N_WINDOWS, window},
};
use sim::Environment;

use super::{Ranker, SessionState, Step};
use crate::evaluation::{Error, EvaluatedPolicy};

/// Greedy by the scores of a ranker.
pub struct GreedyRanker {
    ranker: Box<dyn Ranker>,
    slots: Vec<Slot>,
    candidates: Vec<ItemId>,
    scores: Vec<f32>,
}

/// What is remembered of the session in a slot.
#[derive(Clone, Default)]
struct Slot {
    /// `[3, N]` at the last choice.
    windows: Vec<ItemId>,
    /// The last choice, until its feedback is known.
    chosen: Option<ItemId>,
    shown: Vec<Step>,
}

impl Slot {
    /// Takes up what came of the last choice.
    fn observe(&mut self, windows: &[ItemId]) {
        if let Some(item) = self.chosen.take() {
            let changed = |kind| window(windows, kind) != window(&self.windows, kind);
            let feedback = if changed(Kind::Ordered) {
                Feedback::Order
            } else if changed(Kind::Clicked) {
                Feedback::Click
            } else {
                Feedback::Skip
            };
            self.shown.push(Step { item, feedback, propensity: None });
        }
        self.windows.clear();
        self.windows.extend_from_slice(windows);
    }
}

impl GreedyRanker {
    /// The greedy policy of `ranker`, under its name.
    pub fn new(ranker: Box<dyn Ranker>) -> Self {
        Self { ranker, slots: Vec::new(), candidates: Vec::new(), scores: Vec::new() }
    }
}

impl EvaluatedPolicy for GreedyRanker {
    fn name(&self) -> &str {
        self.ranker.name()
    }

    fn begin(&mut self, slot: usize, _session: SessionId) {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, Slot::default());
        }
        self.slots[slot] = Slot::default();
    }

    fn choose(&mut self, environment: &dyn Environment, actions: &mut [ItemId]) -> Result<(), Error> {
        self.slots.resize(environment.n_slots(), Slot::default());
        let row = N_WINDOWS * environment.window();
        for (e, (slot, action)) in self.slots.iter_mut().zip(actions).enumerate() {
            slot.observe(&environment.windows()[e * row..][..row]);
            let recall = &environment.recall()[e];
            let all = recall.candidates().iter().enumerate();
            self.candidates.clear();
            self.candidates.extend(all.filter(|&(p, _)| !recall.is_shown(p)).map(|(_, &item)| item));
            self.scores.resize(self.candidates.len(), 0.0);
            let state = SessionState { user: None, windows: &slot.windows, shown: &slot.shown };
            self.ranker.scores(&state, &self.candidates, &mut self.scores);
            let Some(best) = argmax(&self.scores) else {
                return Err(Error::Policy {
                    policy: self.ranker.name().to_owned(),
                    problem: format!("session {} has no candidate left to show", environment.session(e)),
                });
            };
            *action = self.candidates[best];
            slot.chosen = Some(*action);
        }
        Ok(())
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(Self::new(self.ranker.fork()))
    }
}

/// Position of the largest score, the first of equals; `None` of none.
fn argmax(scores: &[f32]) -> Option<usize> {
    let mut best = None;
    for (position, &score) in scores.iter().enumerate() {
        debug_assert!(score.is_finite(), "score {position} is {score}");
        if best.is_none_or(|best: usize| score > scores[best]) {
            best = Some(position);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use common::transition::Ending;
    use sim::{Outcome, ShopWorld, ShopWorldSettings};

    use super::*;

    /// Prefers the item with the largest id, and keeps the states it saw.
    struct Spy(std::sync::Arc<std::sync::Mutex<Vec<Vec<Step>>>>);

    impl Ranker for Spy {
        fn name(&self) -> &str {
            "spy"
        }

        fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
            self.0.lock().unwrap().push(state.shown.to_vec());
            scores.iter_mut().zip(candidates).for_each(|(score, item)| *score = item.0 as f32);
        }

        fn fork(&self) -> Box<dyn Ranker> {
            Box::new(Self(self.0.clone()))
        }
    }

    #[test]
    fn the_best_that_is_left_is_shown_and_its_feedback_is_seen() {
        let settings = ShopWorldSettings { n_slots: 1, session_length: 40, ..ShopWorldSettings::default() };
        let mut world = ShopWorld::of_variant(settings).unwrap();
        let seen = std::sync::Arc::default();
        let mut policy = GreedyRanker::new(Box::new(Spy(std::sync::Arc::clone(&seen))));
        let mut outcomes = [Outcome { feedback: Feedback::Skip, ending: Ending::None }];
        let mut expected = Vec::new();
        for session in [7, 8] {
            world.begin(0, session);
            policy.begin(0, session);
            let mut shown = Vec::new();
            for _ in 0..40 {
                expected.push(shown.clone());
                let recall = &world.recall()[0];
                let best = recall.candidates()[recall.nth_left(recall.n_left() - 1).unwrap()];
                let mut actions = [ItemId::PADDING];
                policy.choose(&world, &mut actions).unwrap();
                assert_eq!(actions, [best]);
                world.step(&actions, &mut outcomes).unwrap();
                shown.push(Step { item: best, feedback: outcomes[0].feedback, propensity: None });
            }
        }
        assert_eq!(*seen.lock().unwrap(), expected);
        assert!(expected.iter().flatten().any(|step| step.feedback.clicked()), "the walk saw a click");
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(argmax(&[-2.0, 1.0, 1.0]), Some(1));
        assert_eq!(argmax(&[]), None);
    }
}
